"""Which clips are fit to learn from, who speaks in them, and who is held back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lipwright.face import shape
from lipwright.face.smooth import smooth
from lipwright.types import Floats
from training.motion import people
from training.motion.features import Clip, load

TRAINED = "train__"  # only clips whose name begins so are ever trained on
#: Clips of people who are also in the clips that measure.
LEFT_OUT = frozenset({"train__misc__3_hq.mp4", "train__misc__WDA_AlexandriaOcasioCortez_000.mp4"})
ANCHORS = "train__arabic_anchors__"
HELD = "train__grid_s1__"  # another language, another studio: for validation alone

LEAST_FRAMES = 12
MOST_YAW = 40.0  # degrees, median over a run
LARGEST_JUMP = 0.25  # inter-ocular distances from frame to frame: a cut
LARGEST_RESIZE = 1.15
LARGEST_SHAPE = 0.5  # canonical units from the run's mean: the tracker was lost


@dataclass(frozen=True, kw_only=True)
class Example:
    """An unbroken run of frames that show one mouth, with the sound of its clip."""

    name: str  #: of the clip
    times: NDArray[np.float64]  #: (T,) seconds, the middle of the time that a frame is shown
    mouth: Floats  #: (T, 61, 3) canonical
    states: NDArray[np.float16]  #: (S, 1024) of the whole clip
    speaker: str  #: who; the same text, the same person
    held: bool = False  #: held back for validation
    offset: float = 0.0  #: seconds by which the sound that belongs to a frame comes after it

    @property
    def rate(self) -> float:
        """Frames per second."""
        return (len(self.times) - 1) / float(self.times[-1] - self.times[0])

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.times) / self.rate


def read(cache: Path, kind: str = TRAINED) -> tuple[list[Example], Counter[str]]:
    """Return the examples of the clips in a cache, and how many were left out for what reason."""
    examples: list[Example] = []
    reasons: Counter[str] = Counter()
    faces: dict[str, tuple[people.Floats, people.Floats]] = {}
    for path in sorted(cache.glob(f"{kind}*.npz")):
        clip = load(path)
        found, reason = usable(clip)
        reasons[reason] += 1
        examples += found
        if found and clip.name.startswith(ANCHORS):
            faces[clip.name] = people.likeness(clip)
    return tell_speakers(examples, faces), reasons


def measured(cache: Path, kinds: Sequence[str]) -> list[Example]:
    """Return the runs of the clips that measure, whose names begin with one of *kinds*.

    Nothing is left out but runs too short to be measured: turned heads count.
    """
    examples: list[Example] = []
    for kind in kinds:
        for clip in map(load, sorted(cache.glob(f"{kind}__*.npz"))):
            runs = unbroken(clip.landmarks) if len(clip.states) else iter(())
            for run in (r for r in runs if r.stop - r.start >= LEAST_FRAMES):
                mouth = shape.mouth_shapes(smooth(clip.landmarks[run]))
                examples.append(example_of(clip, run, mouth))
    return examples


def heard_again(examples: Sequence[Example], cache: Path) -> list[Example]:
    """Return the examples with what else was heard of their clips (see `augment` and `amid`)."""
    found = []
    for example in examples:
        with np.load(cache / f"{example.name}.npz") as data:
            for index, speed in enumerate(data["speeds"].tolist()):
                faster = {"times": example.times / speed, "offset": example.offset / speed}
                found.append(replace(example, states=data[f"states{index}"], **faster))
    return found


def weights(examples: Sequence[Example]) -> Floats:
    """Return how much a second of each example (n,) counts, 1 in the mean over all seconds.

    A speaker counts as the square root of what there is of them: more speech of one teaches less
    than another speaker.
    """
    said: dict[str, float] = {}
    for example in examples:
        said[example.speaker] = said.get(example.speaker, 0.0) + example.seconds
    out = np.array([said[e.speaker] ** -0.5 for e in examples])
    seconds = np.array([e.seconds for e in examples])
    scaled: Floats = (out * seconds.sum() / (out * seconds).sum()).astype(np.float32)
    return scaled


def tell_speakers(
    examples: list[Example], faces: dict[str, tuple[people.Floats, people.Floats]]
) -> list[Example]:
    """Name the speakers of the clips whose faces are given, and hold some of them back."""
    if not faces:
        return examples
    speakers, branches = people.tell_apart(list(faces.values()), (people.SPEAKERS, people.BRANCHES))
    held = people.hold_back(branches)
    who = {
        name: (f"anchor_{speaker:02}", int(branch) in held)
        for name, speaker, branch in zip(faces, speakers, branches, strict=True)
    }
    return [
        replace(e, speaker=who[e.name][0], held=who[e.name][1]) if e.name in who else e
        for e in examples
    ]


def usable(clip: Clip) -> tuple[list[Example], str]:
    """Return the runs of a clip that can be learnt from, and ``used`` or why there is none."""
    if clip.name in LEFT_OUT:
        return [], "of a person in the measuring clips"
    if not len(clip.states):
        return [], "no sound"
    runs = [r for r in unbroken(clip.landmarks) if r.stop - r.start >= LEAST_FRAMES]
    if not runs:
        return [], "face lost or cut"
    examples, reason = [], "face turned away"
    for run in runs:
        landmarks = smooth(clip.landmarks[run])
        if np.median(np.abs(shape.align(landmarks).angles()[:, 0])) > MOST_YAW:
            continue
        mouth = shape.mouth_shapes(landmarks)
        if np.abs(mouth - mouth.mean(0)).max() > LARGEST_SHAPE:
            reason = "mouth out of reason"
            continue
        examples.append(example_of(clip, run, mouth))
    return examples, "used" if examples else reason


def example_of(clip: Clip, run: slice, mouth: Floats) -> Example:
    """Return one run of a clip, its mouth (T, 61, 3) in canonical coordinates."""
    return Example(
        name=clip.name,
        times=middles(clip.times)[run],
        mouth=mouth,
        states=clip.states,
        speaker=speaker_of(clip.name),
        held=clip.name.startswith(HELD),
    )


def middles(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the middle of the time that each frame is shown, of the times (T,) it appears."""
    return times + (np.median(np.diff(times)) / 2 if len(times) > 1 else 0.0)


def unbroken(landmarks: Floats) -> Iterator[slice]:
    """Yield the runs of frames that show one face moving steadily, of landmarks (T, 478, 3)."""
    eyes = landmarks[:, [shape.EYE_RIGHT, shape.EYE_LEFT], :2]
    size = np.linalg.norm(eyes[:, 1] - eyes[:, 0], axis=-1)
    size = np.maximum(size, np.ptp(landmarks[:, :468, 1], axis=1) / 2)  # faces in profile
    centre = landmarks[:, shape.RIGID, :2].mean(1)
    step = np.linalg.norm(np.diff(centre, axis=0), axis=-1) / size[1:]
    grow = np.abs(np.log(size[1:] / size[:-1]))
    with np.errstate(invalid="ignore"):
        broken = ~((step < LARGEST_JUMP) & (grow < np.log(LARGEST_RESIZE)))
    seen = np.isfinite(size)
    start: int | None = None
    for i in range(len(size)):
        if start is not None and (not seen[i] or broken[i - 1]):
            yield slice(start, i)
            start = None
        if start is None and seen[i]:
            start = i
    if start is not None:
        yield slice(start, len(size))


def speaker_of(name: str) -> str:
    """Return who speaks as far as the name of a clip tells."""
    kind, _, file = name.rpartition("__")
    return kind if kind.endswith("grid_s1") else file.rsplit(".", 1)[0]
