from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lipwright.engines.base import (
    DrivingSequence,
    EngineSpec,
    FaceTrack,
    FaceView,
    FetchViews,
    Patch,
)
from lipwright.engines.registry import find_engine, list_engines
from lipwright.errors import EngineError, EngineNotFound
from lipwright.testing import check_engine


@pytest.mark.parametrize("name", [spec.name for spec in list_engines()])
@pytest.mark.parametrize("seed", [0, 7])
def test_every_installed_engine_keeps_the_contract(name, seed):
    check_engine(find_engine(name), seed=seed)


def test_our_own_engines_are_installed():
    assert {"exemplar", "passthrough"} <= {spec.name for spec in list_engines()}


def test_an_engine_that_is_not_installed_is_named_with_those_that_are():
    with pytest.raises(EngineNotFound, match=r"'neural'.*exemplar.*passthrough"):
        find_engine("neural")


@pytest.mark.parametrize(
    ("loads", "says"),
    [(lambda: 1 / 0, "cannot be loaded"), (lambda: "no spec", "no EngineSpec")],
)
def test_a_plug_in_that_cannot_be_used_is_an_engine_error(monkeypatch, loads, says):
    class Point:
        name, value = "odd", "odd:SPEC"

        def load(self) -> Any:
            return loads()

    monkeypatch.setattr("lipwright.engines.registry.entry_points", lambda **_: [Point()])
    with pytest.raises(EngineError, match=says):
        find_engine("odd")


# ---------------------------------------------------------------- engines that break one rule each
class Honest:
    """Draws a grey square over the middle of each view; asks for every frame with a face."""

    def study(self, portrait: FaceTrack, fetch: FetchViews) -> Any:
        return [view.rgb.mean() for view in fetch(np.flatnonzero(portrait.confidence > 0))]

    def paint(
        self, speaker: Any, script: DrivingSequence, views: Iterable[FaceView | None]
    ) -> Iterator[Patch | None]:
        for k, view in enumerate(views):
            if view is None or script.strength[k] <= 0:
                yield None
            else:
                yield self.patch(view, k)

    def patch(self, view: FaceView, k: int) -> Patch:
        h, w = view.rgb.shape[:2]
        middle = slice(h // 3, 2 * h // 3), slice(w // 3, 2 * w // 3)
        rgb, mask = view.rgb.copy(), np.zeros((h, w), np.float32)
        rgb[middle], mask[middle] = 128, 1
        return Patch(rgb=rgb, mask=mask, box=view.box)

    def close(self) -> None:
        pass


class ChangesSize(Honest):
    """rgb is"""

    def patch(self, view, k):
        patch = super().patch(view, k)
        return replace(patch, rgb=patch.rgb[:-2], mask=patch.mask[:-2])


class ChangesType(Honest):
    """rgb is float32"""

    def patch(self, view, k):
        patch = super().patch(view, k)
        return replace(patch, rgb=patch.rgb.astype(np.float32))


class ForgetsTenBits(Honest):
    """rgb is uint8, the view uint16"""

    def patch(self, view, k):
        patch = super().patch(view, k)
        return replace(patch, rgb=patch.rgb.astype(np.uint8))


class PaintsTooBright(Honest):
    """over 1023 of 10 bits"""

    def patch(self, view, k):
        patch = super().patch(view, k)
        if patch.rgb.dtype == np.uint16:
            patch.rgb[patch.mask > 0] = 60000
        return patch


class MasksAnotherSize(Honest):
    """mask is"""

    def patch(self, view, k):
        patch = super().patch(view, k)
        return replace(patch, mask=patch.mask[:, 1:])


class MasksInBytes(Honest):
    """mask is uint8, not float32"""

    def patch(self, view, k):
        patch = super().patch(view, k)
        return replace(patch, mask=patch.mask.astype(np.uint8))


class MasksBeyondOne(Honest):
    """mask leaves 0 to 1"""

    def patch(self, view, k):
        patch = super().patch(view, k)
        return replace(patch, mask=patch.mask * 255)


class MasksWithNothing(Honest):
    """mask leaves 0 to 1: nan"""

    def patch(self, view, k):
        patch = super().patch(view, k)
        return replace(patch, mask=patch.mask * np.float32(np.nan))


class LeaksOutsideTheMask(Honest):
    """1 pixels differ from the view's where the mask is 0"""

    def patch(self, view, k):
        patch = super().patch(view, k)
        patch.rgb[0, 0, 2] += 1
        return patch


class MovesTheBox(Honest):
    """is not the view's"""

    def patch(self, view, k):
        patch = super().patch(view, k)
        return replace(patch, box=patch.box._replace(x0=patch.box.x0 + 2))


class YieldsArrays(Honest):
    """ndarray is no Patch"""

    def patch(self, view, k):
        return super().patch(view, k).rgb


class PaintsWithoutStrength(Honest):
    """painted though the strength is 0"""

    def paint(self, speaker, script, views):
        for k, view in enumerate(views):
            yield None if view is None else self.patch(view, k)


class PaintsNothingness(Honest):
    """a None view must give None"""

    def paint(self, speaker, script, views):
        last = None
        for k, view in enumerate(views):
            last = view or last
            yield self.patch(last, k) if view is None or script.strength[k] > 0 else None


class SkipsNone(Honest):
    """must give None|out of order|yields"""

    def paint(self, speaker, script, views):
        yield from (p for p in super().paint(speaker, script, views) if p is not None)


class StopsEarly(Honest):
    """yields 8 patches for 9 views"""

    def paint(self, speaker, script, views):
        yield from list(super().paint(speaker, script, views))[: max(8, len(script.strength) - 1)]


class GoesOn(Honest):
    """yields more patches than there are views"""

    def paint(self, speaker, script, views):
        yield from super().paint(speaker, script, views)
        yield None


class MixesTheOrder(Honest):
    """out of order"""

    def paint(self, speaker, script, views):
        patches = list(super().paint(speaker, script, views))
        yield from [patches[1], patches[0], *patches[2:]]


class ScribblesOnViews(Honest):
    """changed its input View"""

    def patch(self, view, k):
        patch = super().patch(view, k)
        view.rgb[:] = 0
        return patch


class ScribblesOnSource(Honest):
    """changed its input View"""

    def study(self, portrait, fetch):
        for view in fetch([0]):
            view.landmarks[:] += 1


class ScribblesOnPortrait(Honest):
    """changed its input Portrait"""

    def study(self, portrait, fetch):
        np.nan_to_num(portrait.landmarks, copy=False)
        portrait.light[:] = 0


class ScribblesOnScript(Honest):
    """changed its input Script"""

    def paint(self, speaker, script, views):
        yield from super().paint(speaker, script, views)
        script.mouth[:] *= 2


class RollsDice(Honest):
    """other bytes in a second job"""

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)

    def patch(self, view, k):
        patch = super().patch(view, k)
        patch.rgb[patch.mask > 0] = self._random.integers(0, 200)
        return patch


class DiffersByInstance(Honest):
    """other bytes in a second engine"""

    born = 0

    def __init__(self) -> None:
        DiffersByInstance.born += 1
        self._own = DiffersByInstance.born

    def patch(self, view, k):
        patch = super().patch(view, k)
        patch.rgb[patch.mask > 0] = self._own % 200
        return patch


class ClosesOnce(Honest):
    """close\\(\\), the first or second time"""

    closed = False

    def close(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


class GoesBack(Honest):
    """rising indices"""

    def study(self, portrait, fetch):
        list(fetch([1, 0] if len(portrait.light) > 1 else [0, 0]))


class AsksForNobody(Honest):
    """shows no face"""

    def study(self, portrait, fetch):
        list(fetch(range(len(portrait.light))))


class AsksForTooMuch(Honest):
    """source frame 99"""

    def study(self, portrait, fetch):
        list(fetch([99]))


class CannotStudy(Honest):
    """study\\(\\) raises ZeroDivisionError"""

    def study(self, portrait, fetch):
        return 1 / 0


class CannotPaint(Honest):
    """paint\\(\\) raises RuntimeError"""

    def paint(self, speaker, script, views):
        raise RuntimeError("out of paint")


class CannotLoad(Honest):
    """load\\(\\) raises OSError"""

    def __init__(self) -> None:
        raise OSError("no such weight")


class IsNoEngine:
    """has no study, paint, close"""


def _spec(engine: type) -> EngineSpec:
    return EngineSpec(
        name="tried", summary="an engine to try", licence="CC0-1.0", load=lambda device: engine()
    )


BROKEN = [
    kind
    for kind in list(globals().values())
    if isinstance(kind, type) and kind.__module__ == __name__ and kind is not Honest
]


def test_an_honest_engine_passes():
    check_engine(_spec(Honest))


@pytest.mark.parametrize("engine", BROKEN, ids=lambda kind: kind.__name__)
def test_an_engine_that_breaks_a_rule_is_told_which(engine):
    with pytest.raises(AssertionError, match=engine.__doc__) as caught:
        check_engine(_spec(engine))
    assert "'tried'" in str(caught.value)


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"name": " "}, "name is empty"),
        ({"summary": "two\nlines"}, "one line"),
        ({"licence": None}, "licence must be text"),
        ({"devices": ()}, "no device"),
    ],
)
def test_facts_that_say_nothing_are_refused(facts, says):
    with pytest.raises(AssertionError, match=says):
        check_engine(replace(_spec(Honest), **facts))


def test_something_else_is_no_spec():
    with pytest.raises(AssertionError, match="no EngineSpec"):
        check_engine(Honest)
