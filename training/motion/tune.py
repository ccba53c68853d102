"""Stage ``tune``: what the encoder's upper layers bring when they learn mouths, too.

Asked for by itself. A network like the others learns together with low-rank changes of layers 3 and
4 (see `lowrank`), and both are scored on the clips that measure. Clips are heard as in `amid`:
joined to windows of one speaker, half of them varied.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lipwright.motion import resampling as curve
from lipwright.motion.basis import Basis
from lipwright.speech import encoder
from lipwright.speech.encoder import HOP, LAYER, TAIL, WINDOW
from lipwright.types import Floats, Ints
from lipwright.weights.store import WeightStore, onnx_session
from training.motion import amid, corpus, fit, linear
from training.motion.batches import wanted
from training.motion.corpus import Example
from training.motion.descent import OnStep
from training.motion.lowrank import UpperLayers, read_weights
from training.motion.measure import LONG, SETS, compare, curves
from training.motion.network import TemporalNet

PASSES = 2  # times that every clip is heard, every second time varied
STRETCH = 40  # frames of a clip at most that a step learns from
LEAST = 12  # and at least
JITTER = 0.005  # seconds by which the sound is moved at random


@dataclass(frozen=True, kw_only=True)
class Tuning(fit.Recipe):
    """How layers and network learn."""

    emphasis: tuple[float, ...] = (1.0,)
    steps: int = 450
    rank: int = 8  #: of the changes; 0: the layers stay
    windows: int = 4  #: for each step


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A window of sound, as layer 2 hears it."""

    raw: NDArray[np.float16]  #: (n, 512) states of layer 2 as they are, those of the tail too
    count: int  #: of states before the tail
    sinks: tuple[Ints, Ints, Ints, Floats]  #: see :func:`lipwright.speech.encoder.around_sinks`


@dataclass(frozen=True, kw_only=True)
class Part:
    """A clip in a window."""

    name: str
    start: int  #: its first state
    stop: int  #: the one after its last
    speed: float  #: how much faster it is played


@dataclass(frozen=True, kw_only=True)
class Window:
    """Clips of one speaker, one after the other."""

    heard: Heard
    parts: tuple[Part, ...]
    speaker: str


class Tuned(nn.Module):  # type: ignore[misc]
    """Windows as layer 2 hears them to the motion of a mouth."""

    centre: Tensor
    mean: Tensor
    directions: Tensor
    deviation: Tensor

    def __init__(
        self,
        layers: UpperLayers,
        head: TemporalNet,
        *,
        centre: Floats,
        mean: Floats,
        directions: Floats,
        deviation: Floats,
    ) -> None:
        """Put the parts together.

        Args:
            layers: with what they learn.
            head: from P channels to the coefficients.
            centre: (WINDOW, 1024) mean state of each place.
            mean: (1024,) of the states.
            directions: (1024, P) main directions.
            deviation: (P,) of the states along them.
        """
        super().__init__()
        self.layers, self.head = layers, head
        named = {"centre": centre, "mean": mean, "directions": directions, "deviation": deviation}
        for name, value in named.items():
            self.register_buffer(name, torch.from_numpy(value.astype(np.float32)))

    def states(self, heard: Heard) -> Tensor:
        """Return the states (count, 1024) of a window, as the encoder gives them."""
        raw = torch.from_numpy(heard.raw.astype(np.float32))
        upper = self.layers(raw[None])[0, : heard.count]
        bad, before, after, weight = heard.sinks
        share = torch.from_numpy(weight)
        filled = (1 - share) * upper[before] + share * upper[after]
        upper = upper.index_put((torch.from_numpy(bad),), filled)
        return torch.cat([raw[: heard.count], upper], 1) - self.centre[: heard.count]

    def forward(self, states: Tensor, noise: float = 0.0) -> Tensor:
        """Map states (n, 1024) to coefficients (n, K); *noise* in the states' deviations."""
        seen = (states - self.mean) @ self.directions
        seen = seen + noise * self.deviation * torch.randn_like(seen)
        ends = [end.expand(self.head.reach, -1) for end in (seen[:1], seen[-1:])]
        out: Tensor = self.head(torch.cat([ends[0], seen, ends[1]])[None])[0]
        return out


# --------------------------------------------------------------------------------------- hearing
def hear(session: Any, sound: Floats, *, last: bool = True) -> Heard:
    """Hear a window; behind the last one of a sound comes silence."""
    count = -(-len(sound) // HOP)
    states = encoder.raw_states(session, np.pad(sound, (0, TAIL)) if last else sound)
    return Heard(
        raw=states[:, :LAYER].astype(np.float16),
        count=count,
        sinks=encoder.around_sinks(states[:count]),
    )


def hear_windows(data: Path, speakers: Mapping[str, str]) -> Iterator[Window]:
    """Yield the clips of *speakers* (by name of the clip) in windows, pass after pass."""
    session = _session()
    sounds = amid.read_sounds(data, speakers)
    for index in range(PASSES):
        random = np.random.default_rng(index + 1)
        played, speeds = amid.play(sounds, random, varied=index % 2 == 1)
        for group in amid.groups(played, speakers, random):
            sound = np.concatenate([amid.whole(played[name]) for name in group])
            heard = hear(session, sound[: WINDOW * HOP])
            ends = np.cumsum([-(-len(played[name]) // HOP) for name in group]).tolist()
            yield Window(
                heard=heard,
                parts=tuple(
                    Part(name=n, start=a, stop=min(b, heard.count), speed=speeds[n])
                    for n, a, b in zip(group, [0, *ends], ends, strict=False)
                ),
                speaker=speakers[group[0]],
            )


def hear_measured(data: Path, names: set[str]) -> dict[str, list[Heard]]:
    """Return the windows of the clips that measure, as the encoder cuts them."""
    session = _session()
    found = {}
    for name, sound in amid.read_sounds(data, names).items():
        cut = encoder.windows(encoder.pieces(sound, WINDOW * HOP))
        found[name] = [hear(session, window, last=last) for window, last in cut]
    return found


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """Return what lies in a file of the cache, made if it is not there."""
    if not path.exists():
        path.write_bytes(pickle.dumps(make()))
    return pickle.loads(path.read_bytes())


def _session() -> Any:
    return onnx_session(WeightStore().path("whisper_base_encoder"))


# -------------------------------------------------------------------------------------- learning
def tune(
    examples: Sequence[Example],
    windows: Sequence[Window],
    basis: Basis,
    tuning: Tuning,
    on_step: OnStep | None = None,
) -> Tuned:
    """Return a network and the layers it learnt with, averaged over the last steps.

    Args:
        examples: with offsets.
        windows: in which their clips are heard.
        basis: of the mouths.
        tuning: how to learn.
        on_step: told the number of each step, its loss and the averaged parameters.
    """
    random = np.random.default_rng(tuning.seed)
    torch.manual_seed(tuning.seed)
    net, probe = begin(examples, basis, tuning), fit.probes(basis)
    runs: dict[str, list[tuple[Example, Floats]]] = {}
    for example in examples:
        runs.setdefault(example.name, []).append((example, wanted(example, basis)))
    chance = _chances(examples, windows)

    def draw() -> Tensor:
        outs: list[Tensor] = []
        targets: list[Tensor] = []
        for i in random.choice(len(windows), tuning.windows, p=chance):
            with torch.set_grad_enabled(tuning.rank > 0):
                states = net.states(windows[i].heard)
            out = net(states, tuning.noise)
            for taps, weights, target in stretches(windows[i], runs, random):
                read = out[torch.from_numpy(taps)] * torch.from_numpy(weights)[..., None]
                outs.append(read.sum(1))
                targets.append(torch.from_numpy(target))
        known = nn.utils.rnn.pad_sequence([torch.ones(len(t), 1) for t in targets], True)
        out, target = (nn.utils.rnn.pad_sequence(x, True) for x in (outs, targets))
        return fit.loss(out, target, known, probe, tuning)

    fit.learn(net, draw, tuning, on_step)
    return net


def stretches(
    window: Window,
    runs: Mapping[str, Sequence[tuple[Example, Floats]]],
    random: np.random.Generator,
) -> Iterator[tuple[Ints, Floats, Floats]]:
    """Yield a stretch of each run in a window: taps and weights (n, 4), and what is wanted (n, K).

    Args:
        window: of clips.
        runs: and coefficients of their frames, by name of the clip.
        random: chooses where a stretch begins.
    """
    for part in window.parts:
        for example, target in runs.get(part.name, ()):
            times = (example.times + example.offset) / part.speed + part.start / curve.RATE
            times = times + random.uniform(-JITTER, JITTER)
            heard = (times > part.start / curve.RATE) & (times < part.stop / curve.RATE)
            frames = np.flatnonzero(heard)
            if len(frames) < LEAST:
                continue
            first = int(random.integers(0, max(len(frames) - STRETCH, 0) + 1))
            some = frames[first : first + STRETCH]
            taps, weights = curve.taps(window.heard.count, times[some])
            yield taps, weights, target[some]


def begin(examples: Sequence[Example], basis: Basis, tuning: Tuning) -> Tuned:
    """Return the network before it has learnt."""
    store = WeightStore()
    mean, directions = linear.main_directions(examples, tuning.directions)
    seen = [linear.project(e, mean, directions) for e in examples]
    head, deviation = fit.new_member(seen, basis, tuning)
    return Tuned(
        UpperLayers(read_weights(store.path("whisper_base_encoder")), tuning.rank),
        head,
        centre=np.load(store.path("speech_centre")),
        mean=mean,
        directions=directions,
        deviation=deviation.numpy(),
    )


def _chances(examples: Sequence[Example], windows: Sequence[Window]) -> NDArray[np.float64]:
    """Return how often each window is drawn: by its length, and as its speaker counts."""
    counts = dict(zip((e.speaker for e in examples), corpus.weights(examples), strict=True))
    chance = np.array([w.heard.count * counts[w.speaker] for w in windows], np.float64)
    share: NDArray[np.float64] = chance / chance.sum()
    return share


# ------------------------------------------------------------------------------------- measuring
def coefficients(net: Tuned, windows: Sequence[Heard]) -> Floats:
    """Return the motion (S, K) to a whole sound, heard in windows."""
    with torch.no_grad():
        parts = ((net.states(heard).numpy(), heard is windows[-1]) for heard in windows)
        states = np.concatenate([*encoder.joined(parts)])
        found: Floats = net(torch.from_numpy(states)).numpy()
    return found


def scores(
    net: Tuned,
    basis: Basis,
    measuring: Sequence[Example],
    heard: Mapping[str, Sequence[Heard]],
    beside: Callable[[Example], Floats],
    share: float,
) -> dict[str, tuple[float, float]]:
    """Return opening and width r, means over long runs by set, alone and mixed with another motion.

    Args:
        net: tuned.
        basis: of its coefficients.
        measuring: clips with offsets.
        heard: their windows.
        beside: gives the other motion's shapes (T, 61, 3) of a clip.
        share: of the tuned network in the mix.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for example in measuring:
        if example.seconds < LONG:
            continue
        said = coefficients(net, heard[example.name])
        own = basis.shapes(curve.read(said, example.times + example.offset))
        group = next(s for s in SETS if example.name.startswith(s))
        for kind, shapes in (
            (group, own),
            (f"{group}, mixed", share * own + (1 - share) * beside(example)),
        ):
            mouth = example.mouth.mean(0) + shapes
            agreed = compare(curves(mouth), curves(example.mouth), example.seconds)
            found.setdefault(kind, []).append((agreed.opening, agreed.width))
    means = {kind: np.mean(values, 0) for kind, values in found.items()}
    return {kind: (float(a), float(b)) for kind, (a, b) in means.items()}
