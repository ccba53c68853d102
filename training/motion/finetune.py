"""Stage ``finetune``: measure the gain of training the encoder's upper layers along.

This stage is not part of ``all``. A network like the others is trained together with low-rank
adapters of layers 3 and 4 (see `lora`), and both are scored on the test clips. Clips are encoded as
in `mixing`: joined to windows of one speaker, half of them with augmented sound.
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

from lipwright.motion.basis import Basis
from lipwright.motion.resampling import STATE_RATE, resample, spline_weights
from lipwright.speech import encoder
from lipwright.speech.encoder import HOP, LAYER_SIZE, TAIL_SAMPLES, WINDOW
from lipwright.types import Floats, Ints
from lipwright.weights.store import WeightStore, onnx_session
from training.motion import linear_filter, train_motion
from training.motion.data import corpus, mixing
from training.motion.data.batches import target_coefficients
from training.motion.data.corpus import Example
from training.motion.lora import UpperLayers, read_weights
from training.motion.metrics import MIN_RUN_SECONDS, TEST_SETS, compare, opening_and_width
from training.motion.network import TemporalNet
from training.motion.optimizer import OnStep

PASSES = 2  # times that each clip is encoded, every second time with augmented sound
MAX_FRAMES = 40  # frames of a clip in one training step, at most
MIN_FRAMES = 12  # and at least
JITTER = 0.005  # seconds by which the sound is moved at random


@dataclass(frozen=True, kw_only=True)
class FinetuneRecipe(train_motion.Recipe):
    """Training of adapters and network."""

    emphasis: tuple[float, ...] = (1.0,)
    steps: int = 450
    rank: int = 8  #: of the adapters; 0 leaves the layers unchanged
    windows: int = 4  #: per step


@dataclass(frozen=True, kw_only=True)
class EncodedWindow:
    """A window of sound, encoded by the layers up to 2."""

    raw: NDArray[np.float16]  #: (n, 512) raw states of layer 2, the tail included
    count: int  #: number of states before the tail
    sinks: tuple[Ints, Ints, Ints, Floats]  #: see :func:`lipwright.speech.encoder.find_sinks`


@dataclass(frozen=True, kw_only=True)
class WindowClip:
    """The position of a clip in a window."""

    name: str
    start: int  #: index of its first state
    stop: int  #: index after its last state
    speed: float  #: playback speed


@dataclass(frozen=True, kw_only=True)
class TrainingWindow:
    """Joined clips of one speaker."""

    encoded: EncodedWindow
    clips: tuple[WindowClip, ...]
    speaker: str


class FinetunedNet(nn.Module):  # type: ignore[misc]
    """Predicts mouth motion from encoded windows."""

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
        """Assemble the network.

        Args:
            layers: upper layers with their adapters.
            head: network from P channels to the coefficients.
            centre: (WINDOW, 1024) mean state at each position of a window.
            mean: (1024,) of the states.
            directions: (1024, P) principal directions.
            deviation: (P,) standard deviation of the projected states.
        """
        super().__init__()
        self.layers, self.head = layers, head
        named = {"centre": centre, "mean": mean, "directions": directions, "deviation": deviation}
        for name, value in named.items():
            self.register_buffer(name, torch.from_numpy(value.astype(np.float32)))

    def states(self, window: EncodedWindow) -> Tensor:
        """Return the states (count, 1024) of a window, as the encoder returns them."""
        raw = torch.from_numpy(window.raw.astype(np.float32))
        upper = self.layers(raw[None])[0, : window.count]
        bad, before, after, weight = window.sinks
        mix = torch.from_numpy(weight)
        filled = (1 - mix) * upper[before] + mix * upper[after]
        upper = upper.index_put((torch.from_numpy(bad),), filled)
        return torch.cat([raw[: window.count], upper], 1) - self.centre[: window.count]

    def forward(self, states: Tensor, noise: float = 0.0) -> Tensor:
        """Map states (n, 1024) to coefficients (n, K); *noise* is in standard deviations."""
        projected = (states - self.mean) @ self.directions
        projected = projected + noise * self.deviation * torch.randn_like(projected)
        ends = [end.expand(self.head.reach, -1) for end in (projected[:1], projected[-1:])]
        out: Tensor = self.head(torch.cat([ends[0], projected, ends[1]])[None])[0]
        return out


# -------------------------------------------------------------------------------------- encoding
def encode_window(session: Any, sound: Floats, *, last: bool = True) -> EncodedWindow:
    """Encode a window of sound (n,), 16 kHz; the last one of a sound is padded with silence."""
    count = -(-len(sound) // HOP)
    states = encoder.raw_states(session, np.pad(sound, (0, TAIL_SAMPLES)) if last else sound)
    return EncodedWindow(
        raw=states[:, :LAYER_SIZE].astype(np.float16),
        count=count,
        sinks=encoder.find_sinks(states[:count]),
    )


def encode_training_windows(data: Path, speakers: Mapping[str, str]) -> Iterator[TrainingWindow]:
    """Yield encoded windows of training clips, pass after pass.

    Args:
        data: the folder with ``train``.
        speakers: speaker of each clip, by name of the clip.
    """
    session = _session()
    sounds = mixing.read_sounds(data, speakers)
    for index in range(PASSES):
        random = np.random.default_rng(index + 1)
        played, speeds = mixing.prepare_sounds(sounds, random, varied=index % 2 == 1)
        for group in mixing.group_by_speaker(played, speakers, random):
            sound = np.concatenate([mixing.pad_to_state(played[name]) for name in group])
            encoded = encode_window(session, sound[: WINDOW * HOP])
            ends = np.cumsum([-(-len(played[name]) // HOP) for name in group]).tolist()
            yield TrainingWindow(
                encoded=encoded,
                clips=tuple(
                    WindowClip(name=n, start=a, stop=min(b, encoded.count), speed=speeds[n])
                    for n, a, b in zip(group, [0, *ends], ends, strict=False)
                ),
                speaker=speakers[group[0]],
            )


def encode_test_windows(data: Path, names: set[str]) -> dict[str, list[EncodedWindow]]:
    """Return the encoded windows of test clips, split as the encoder splits sound."""
    session = _session()
    found = {}
    for name, sound in mixing.read_sounds(data, names).items():
        split = encoder.split_windows(encoder.split_samples(sound, WINDOW * HOP))
        found[name] = [encode_window(session, window, last=last) for window, last in split]
    return found


def load_or_make(path: Path, make: Callable[[], Any]) -> Any:
    """Load a pickled file of the cache; make and write it first if it is missing."""
    if not path.exists():
        path.write_bytes(pickle.dumps(make()))
    return pickle.loads(path.read_bytes())


def _session() -> Any:
    return onnx_session(WeightStore().path("whisper_base_encoder"))


# -------------------------------------------------------------------------------------- training
def finetune(
    examples: Sequence[Example],
    windows: Sequence[TrainingWindow],
    basis: Basis,
    recipe: FinetuneRecipe,
    on_step: OnStep | None = None,
) -> FinetunedNet:
    """Train a network together with the adapters; the result is averaged over the last steps.

    Args:
        examples: with offsets.
        windows: encoded windows of their clips.
        basis: basis of the mouth motion.
        recipe: training.
        on_step: called with the number of each step, its loss and the averaged parameters.
    """
    random = np.random.default_rng(recipe.seed)
    torch.manual_seed(recipe.seed)
    net, loss_weights = build_net(examples, basis, recipe), train_motion.loss_weights(basis)
    runs: dict[str, list[tuple[Example, Floats]]] = {}
    for example in examples:
        runs.setdefault(example.name, []).append((example, target_coefficients(example, basis)))
    probability = _window_probabilities(examples, windows)

    def draw_loss() -> Tensor:
        outs: list[Tensor] = []
        targets: list[Tensor] = []
        for i in random.choice(len(windows), recipe.windows, p=probability):
            with torch.set_grad_enabled(recipe.rank > 0):
                states = net.states(windows[i].encoded)
            out = net(states, recipe.noise)
            for taps, weights, target in sample_segments(windows[i], runs, random):
                mixed = out[torch.from_numpy(taps)] * torch.from_numpy(weights)[..., None]
                outs.append(mixed.sum(1))
                targets.append(torch.from_numpy(target))
        mask = nn.utils.rnn.pad_sequence([torch.ones(len(t), 1) for t in targets], True)
        out, target = (nn.utils.rnn.pad_sequence(x, True) for x in (outs, targets))
        return train_motion.motion_loss(out, target, mask, loss_weights, recipe)

    train_motion.run_optimizer(net, draw_loss, recipe, on_step)
    return net


def sample_segments(
    window: TrainingWindow,
    runs: Mapping[str, Sequence[tuple[Example, Floats]]],
    random: np.random.Generator,
) -> Iterator[tuple[Ints, Floats, Floats]]:
    """Yield a random segment of each run in a window: taps, weights (n, 4) and target (n, K).

    Args:
        window: encoded clips.
        runs: examples and the coefficients of their frames, by name of the clip.
        random: chooses where a segment begins.
    """
    for clip in window.clips:
        for example, target in runs.get(clip.name, ()):
            times = (example.times + example.offset) / clip.speed + clip.start / STATE_RATE
            times = times + random.uniform(-JITTER, JITTER)
            inside = (times > clip.start / STATE_RATE) & (times < clip.stop / STATE_RATE)
            frames = np.flatnonzero(inside)
            if len(frames) < MIN_FRAMES:
                continue
            first = int(random.integers(0, max(len(frames) - MAX_FRAMES, 0) + 1))
            segment = frames[first : first + MAX_FRAMES]
            taps, weights = spline_weights(window.encoded.count, times[segment])
            yield taps, weights, target[segment]


def build_net(examples: Sequence[Example], basis: Basis, recipe: FinetuneRecipe) -> FinetunedNet:
    """Return the untrained network."""
    store = WeightStore()
    mean, directions = linear_filter.principal_directions(examples, recipe.directions)
    projected = [linear_filter.project(e, mean, directions) for e in examples]
    head, deviation = train_motion.build_member(projected, basis, recipe)
    return FinetunedNet(
        UpperLayers(read_weights(store.path("whisper_base_encoder")), recipe.rank),
        head,
        centre=np.load(store.path("speech_centre")),
        mean=mean,
        directions=directions,
        deviation=deviation.numpy(),
    )


def _window_probabilities(
    examples: Sequence[Example], windows: Sequence[TrainingWindow]
) -> NDArray[np.float64]:
    """Return the probability (w,) of each window, by its length and the weight of its speaker."""
    weights = dict(
        zip((e.speaker for e in examples), corpus.speaker_weights(examples), strict=True)
    )
    lengths = np.array([w.encoded.count * weights[w.speaker] for w in windows], np.float64)
    probability: NDArray[np.float64] = lengths / lengths.sum()
    return probability


# --------------------------------------------------------------------------------------- scoring
def predict_coefficients(net: FinetunedNet, windows: Sequence[EncodedWindow]) -> Floats:
    """Return the coefficients (S, K) for a whole sound, encoded in windows."""
    with torch.no_grad():
        parts = ((net.states(window).numpy(), window is windows[-1]) for window in windows)
        states = np.concatenate([*encoder.crossfade_windows(parts)])
        found: Floats = net(torch.from_numpy(states)).numpy()
    return found


def score_net(
    net: FinetunedNet,
    basis: Basis,
    test_examples: Sequence[Example],
    encoded: Mapping[str, Sequence[EncodedWindow]],
    other_motion: Callable[[Example], Floats],
    share: float,
) -> dict[str, tuple[float, float]]:
    """Return opening r and width r, the means over long runs, for each test set.

    Each set appears twice: with the network alone, and mixed with other motion.

    Args:
        net: finetuned network.
        basis: basis of its coefficients.
        test_examples: with offsets.
        encoded: their windows, by name of the clip.
        other_motion: returns the other motion (T, 61, 3) of an example.
        share: weight of the network in the mix.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for example in test_examples:
        if example.seconds < MIN_RUN_SECONDS:
            continue
        predicted = predict_coefficients(net, encoded[example.name])
        own = basis.shapes(resample(predicted, example.times + example.offset))
        group = next(s for s in TEST_SETS if example.name.startswith(s))
        for kind, shapes in (
            (group, own),
            (f"{group}, mixed", share * own + (1 - share) * other_motion(example)),
        ):
            mouth = example.mouth.mean(0) + shapes
            agreement = compare(
                opening_and_width(mouth), opening_and_width(example.mouth), example.seconds
            )
            found.setdefault(kind, []).append((agreement.opening, agreement.width))
    means = {kind: np.mean(values, 0) for kind, values in found.items()}
    return {kind: (float(a), float(b)) for kind, (a, b) in means.items()}
