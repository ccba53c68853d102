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
from lipwright.options import Restore
from lipwright.runtime.device import Device
from lipwright.testing import (
    check_engine,
    synthetic_driving_sequence,
    synthetic_face_track,
    synthetic_face_views,
    synthetic_landmarks,
)
from lipwright.weights.store import WeightStore


@pytest.mark.parametrize("name", [spec.name for spec in list_engines()])
@pytest.mark.parametrize("seed", [0, 7])
def test_every_installed_engine_fulfils_the_contract(name, seed):
    check_engine(find_engine(name), seed=seed)


def test_built_in_engines_are_installed():
    assert {"exemplar", "passthrough"} <= {spec.name for spec in list_engines()}


def test_unknown_engine_error_names_the_installed_engines():
    with pytest.raises(EngineNotFound, match=r"'neural'.*exemplar.*passthrough"):
        find_engine("neural")


def test_engine_opens_weights_through_the_given_store():
    stores = []

    def load(device, store):
        stores.append(store)
        return Correct()

    store = WeightStore()
    spec = replace(_spec(Correct), load=load)
    spec.open(Device.CPU, store)
    spec.open()
    assert stores[0] is store
    assert isinstance(stores[1], WeightStore)


def test_exemplar_engine_restores_with_the_given_store():
    store = WeightStore()
    engine = find_engine("exemplar").open(Device.CPU, store)
    landmarks = synthetic_landmarks(1)
    face = synthetic_face_track(landmarks, views := synthetic_face_views(landmarks))
    speaker = engine.study(face, lambda frames: (views[i] for i in frames))
    driving = synthetic_driving_sequence(face, [0], opening=np.zeros(1, np.float32))
    list(engine.paint(speaker, replace(driving, restore=Restore.TWICE), iter(views)))
    assert "span_x2" in store.used()


def test_load_that_takes_only_the_device_is_deprecated():
    spec = replace(_spec(Correct), load=lambda device: Correct())
    with pytest.deprecated_call(match=r"'tested'.*load\(device, store\)"):
        assert isinstance(spec.open(), Correct)


@pytest.mark.parametrize(
    ("load_result", "message"),
    [(lambda: 1 / 0, "cannot be loaded"), (lambda: "no spec", "not an EngineSpec")],
)
def test_broken_plug_in_raises_engine_error(monkeypatch, load_result, message):
    class Point:
        name, value = "odd", "odd:SPEC"

        def load(self) -> Any:
            return load_result()

    monkeypatch.setattr("lipwright.engines.registry.entry_points", lambda **_: [Point()])
    with pytest.raises(EngineError, match=message):
        find_engine("odd")


# ---------------------------------------------------------------- engines that break one rule each
class Correct:
    """Draws a grey square over the middle of each view; asks for every frame with a face."""

    def study(self, face: FaceTrack, fetch_views: FetchViews) -> Any:
        return [view.rgb.mean() for view in fetch_views(np.flatnonzero(face.confidence > 0))]

    def paint(
        self, speaker: Any, driving: DrivingSequence, views: Iterable[FaceView | None]
    ) -> Iterator[Patch | None]:
        for k, view in enumerate(views):
            if view is None or driving.strength[k] <= 0:
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


class ChangesSize(Correct):
    """rgb is"""

    def patch(self, view, k):
        patch = super().patch(view, k)
        return replace(patch, rgb=patch.rgb[:-2], mask=patch.mask[:-2])


class ChangesType(Correct):
    """rgb is float32"""

    def patch(self, view, k):
        patch = super().patch(view, k)
        return replace(patch, rgb=patch.rgb.astype(np.float32))


class ReturnsEightBits(Correct):
    """rgb is uint8, the view uint16"""

    def patch(self, view, k):
        patch = super().patch(view, k)
        return replace(patch, rgb=patch.rgb.astype(np.uint8))


class PaintsTooBright(Correct):
    """over 1023 of 10 bits"""

    def patch(self, view, k):
        patch = super().patch(view, k)
        if patch.rgb.dtype == np.uint16:
            patch.rgb[patch.mask > 0] = 60000
        return patch


class MasksAnotherSize(Correct):
    """mask is"""

    def patch(self, view, k):
        patch = super().patch(view, k)
        return replace(patch, mask=patch.mask[:, 1:])


class MasksInBytes(Correct):
    """mask is uint8, not float32"""

    def patch(self, view, k):
        patch = super().patch(view, k)
        return replace(patch, mask=patch.mask.astype(np.uint8))


class MasksAboveOne(Correct):
    """mask is out of range"""

    def patch(self, view, k):
        patch = super().patch(view, k)
        return replace(patch, mask=patch.mask * 255)


class MasksWithNaN(Correct):
    """mask is out of range 0 to 1: nan"""

    def patch(self, view, k):
        patch = super().patch(view, k)
        return replace(patch, mask=patch.mask * np.float32(np.nan))


class PaintsOutsideTheMask(Correct):
    """1 pixels differ from the view's where the mask is 0"""

    def patch(self, view, k):
        patch = super().patch(view, k)
        patch.rgb[0, 0, 2] += 1
        return patch


class MovesTheBox(Correct):
    """is not the view's"""

    def patch(self, view, k):
        patch = super().patch(view, k)
        return replace(patch, box=patch.box._replace(x0=patch.box.x0 + 2))


class YieldsArrays(Correct):
    """ndarray is not a Patch"""

    def patch(self, view, k):
        return super().patch(view, k).rgb


class PaintsWithoutStrength(Correct):
    """painted though the strength is 0"""

    def paint(self, speaker, driving, views):
        for k, view in enumerate(views):
            yield None if view is None else self.patch(view, k)


class PaintsNoneViews(Correct):
    """a None view must give None"""

    def paint(self, speaker, driving, views):
        last = None
        for k, view in enumerate(views):
            last = view or last
            yield self.patch(last, k) if view is None or driving.strength[k] > 0 else None


class SkipsNone(Correct):
    """must give None|out of order|yields"""

    def paint(self, speaker, driving, views):
        yield from (p for p in super().paint(speaker, driving, views) if p is not None)


class StopsEarly(Correct):
    """yields 8 patches for 9 views"""

    def paint(self, speaker, driving, views):
        yield from list(super().paint(speaker, driving, views))[: max(8, len(driving.strength) - 1)]


class YieldsTooMany(Correct):
    """yields more patches than there are views"""

    def paint(self, speaker, driving, views):
        yield from super().paint(speaker, driving, views)
        yield None


class ReordersPatches(Correct):
    """out of order"""

    def paint(self, speaker, driving, views):
        patches = list(super().paint(speaker, driving, views))
        yield from [patches[1], patches[0], *patches[2:]]


class ModifiesViews(Correct):
    """modified its input FaceView"""

    def patch(self, view, k):
        patch = super().patch(view, k)
        view.rgb[:] = 0
        return patch


class ModifiesSourceViews(Correct):
    """modified its input FaceView"""

    def study(self, face, fetch_views):
        for view in fetch_views([0]):
            view.landmarks[:] += 1


class ModifiesFaceTrack(Correct):
    """modified its input FaceTrack"""

    def study(self, face, fetch_views):
        np.nan_to_num(face.landmarks, copy=False)
        face.light[:] = 0


class ModifiesDrivingSequence(Correct):
    """modified its input DrivingSequence"""

    def paint(self, speaker, driving, views):
        yield from super().paint(speaker, driving, views)
        driving.mouth[:] *= 2


class IsNotDeterministic(Correct):
    """other bytes in a second job"""

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)

    def patch(self, view, k):
        patch = super().patch(view, k)
        patch.rgb[patch.mask > 0] = self._random.integers(0, 200)
        return patch


class DiffersByInstance(Correct):
    """other bytes in a second engine"""

    created = 0

    def __init__(self) -> None:
        DiffersByInstance.created += 1
        self._own = DiffersByInstance.created

    def patch(self, view, k):
        patch = super().patch(view, k)
        patch.rgb[patch.mask > 0] = self._own % 200
        return patch


class ClosesOnce(Correct):
    """close\\(\\), the first or second time"""

    closed = False

    def close(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


class RequestsFramesBackwards(Correct):
    """rising indices"""

    def study(self, face, fetch_views):
        list(fetch_views([1, 0] if len(face.light) > 1 else [0, 0]))


class RequestsFramesWithoutFace(Correct):
    """shows no face"""

    def study(self, face, fetch_views):
        list(fetch_views(range(len(face.light))))


class RequestsFramesBeyondTheEnd(Correct):
    """source frame 99"""

    def study(self, face, fetch_views):
        list(fetch_views([99]))


class CannotStudy(Correct):
    """study\\(\\) raises ZeroDivisionError"""

    def study(self, face, fetch_views):
        return 1 / 0


class CannotPaint(Correct):
    """paint\\(\\) raises RuntimeError"""

    def paint(self, speaker, driving, views):
        raise RuntimeError("out of paint")


class CannotLoad(Correct):
    """load\\(\\) raises OSError"""

    def __init__(self) -> None:
        raise OSError("no such weight")


class LacksMethods:
    """has no study, paint, close"""


def _spec(engine: type) -> EngineSpec:
    return EngineSpec(
        name="tested",
        summary="an engine under test",
        licence="CC0-1.0",
        load=lambda device, store: engine(),
    )


BROKEN = [
    kind
    for kind in list(globals().values())
    if isinstance(kind, type) and kind.__module__ == __name__ and kind is not Correct
]


def test_correct_engine_passes():
    check_engine(_spec(Correct))


@pytest.mark.parametrize("engine", BROKEN, ids=lambda kind: kind.__name__)
def test_error_names_the_broken_rule(engine):
    with pytest.raises(AssertionError, match=engine.__doc__) as caught:
        check_engine(_spec(engine))
    assert "'tested'" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": " "}, "name is empty"),
        ({"summary": "two\nlines"}, "one line"),
        ({"licence": None}, "licence must be a string"),
        ({"devices": ()}, "supports no device"),
    ],
)
def test_invalid_spec_fields_are_rejected(changes, message):
    with pytest.raises(AssertionError, match=message):
        check_engine(replace(_spec(Correct), **changes))


def test_other_objects_are_rejected():
    with pytest.raises(AssertionError, match="not an EngineSpec"):
        check_engine(Correct)
