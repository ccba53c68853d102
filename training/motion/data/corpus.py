"""Select the usable clips as examples, label their speakers, and hold some speakers out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lipwright.face import canonical
from lipwright.face.landmarks import EYE_LEFT, EYE_RIGHT, RIGID
from lipwright.face.smoothing import smooth_landmarks
from lipwright.types import Doubles, Floats
from training.motion.data.features import Clip, load_clip
from training.motion.data.speakers import (
    BRANCHES,
    SPEAKERS,
    choose_held_out,
    cluster_faces,
    face_descriptor,
)

TRAIN_PREFIX = "train__"  # of the names of clips; no other clip is ever trained on
#: Clips of people who are also in the test clips.
EXCLUDED = frozenset({"train__misc__3_hq.mp4", "train__misc__WDA_AlexandriaOcasioCortez_000.mp4"})
ANCHORS_PREFIX = "train__arabic_anchors__"
HELD_OUT_SET = "train__grid_s1__"  # another language and studio, for validation only

MIN_FRAMES = 12  # of a run
MAX_YAW = 40.0  # degrees, median over a run
MAX_JUMP = 0.25  # inter-ocular distances from frame to frame; more is a cut
MAX_RESIZE = 1.15  # of the face from frame to frame; more is a cut
MAX_SHAPE = 0.5  # canonical units from the mean of the run; more means that tracking failed


@dataclass(frozen=True, kw_only=True)
class Example:
    """A continuous run of frames that show one mouth, with the sound of its clip."""

    name: str  #: of the clip
    times: Doubles  #: (T,) seconds, the middle of the time that each frame is shown
    mouth: Floats  #: (T, 61, 3) canonical mouth shapes
    states: NDArray[np.float16]  #: (S, 1024) speech states of the whole clip
    speaker: str  #: label of the speaker; equal labels mean the same person
    held_out: bool = False  #: for validation only
    offset: float = 0.0  #: seconds by which the sound that belongs to a frame comes after it

    @property
    def rate(self) -> float:
        """Frames per second."""
        return (len(self.times) - 1) / float(self.times[-1] - self.times[0])

    @property
    def seconds(self) -> float:
        """Length of the run."""
        return len(self.times) / self.rate


def load_examples(cache: Path, kind: str = TRAIN_PREFIX) -> tuple[list[Example], Counter[str]]:
    """Return the examples of the clips in a cache, and the number of clips by reason.

    The reason is ``used``, or why a clip has no example.
    """
    examples: list[Example] = []
    reasons: Counter[str] = Counter()
    faces: dict[str, tuple[Doubles, Doubles]] = {}
    for path in sorted(cache.glob(f"{kind}*.npz")):
        clip = load_clip(path)
        found, reason = usable_examples(clip)
        reasons[reason] += 1
        examples += found
        if found and clip.name.startswith(ANCHORS_PREFIX):
            faces[clip.name] = face_descriptor(clip)
    return label_speakers(examples, faces), reasons


def load_test_examples(cache: Path, kinds: Sequence[str]) -> list[Example]:
    """Return the runs of the test clips, whose names begin with one of *kinds*.

    Only runs too short to measure are left out; turned heads stay.
    """
    examples: list[Example] = []
    for kind in kinds:
        for clip in map(load_clip, sorted(cache.glob(f"{kind}__*.npz"))):
            runs = continuous_runs(clip.landmarks) if len(clip.states) else iter(())
            for run in (r for r in runs if r.stop - r.start >= MIN_FRAMES):
                mouth = canonical.mouth_shapes(smooth_landmarks(clip.landmarks[run]))
                examples.append(make_example(clip, run, mouth))
    return examples


def load_variants(examples: Sequence[Example], cache: Path) -> list[Example]:
    """Return the examples with the other sounds of their clips (see `augment` and `mixing`)."""
    found = []
    for example in examples:
        with np.load(cache / f"{example.name}.npz") as data:
            for index, speed in enumerate(data["speeds"].tolist()):
                rescaled = {"times": example.times / speed, "offset": example.offset / speed}
                found.append(replace(example, states=data[f"states{index}"], **rescaled))
    return found


def speaker_weights(examples: Sequence[Example]) -> Floats:
    """Return the weight of a second of each example (n,); the mean over all seconds is 1.

    A speaker has the weight of the square root of their total length, because more speech of one
    speaker improves training less than another speaker does.
    """
    total: dict[str, float] = {}
    for example in examples:
        total[example.speaker] = total.get(example.speaker, 0.0) + example.seconds
    out = np.array([total[e.speaker] ** -0.5 for e in examples])
    seconds = np.array([e.seconds for e in examples])
    scaled: Floats = (out * seconds.sum() / (out * seconds).sum()).astype(np.float32)
    return scaled


def label_speakers(
    examples: list[Example], faces: dict[str, tuple[Doubles, Doubles]]
) -> list[Example]:
    """Label the speakers of the clips whose faces are given, and hold some of them out."""
    if not faces:
        return examples
    labels, branches = cluster_faces(list(faces.values()), (SPEAKERS, BRANCHES))
    held_out = choose_held_out(branches)
    found = {
        name: (f"anchor_{label:02}", int(branch) in held_out)
        for name, label, branch in zip(faces, labels, branches, strict=True)
    }
    return [
        replace(e, speaker=found[e.name][0], held_out=found[e.name][1]) if e.name in found else e
        for e in examples
    ]


def usable_examples(clip: Clip) -> tuple[list[Example], str]:
    """Return the runs of a clip that are fit for training, and ``used`` or why there is none."""
    if clip.name in EXCLUDED:
        return [], "same person as in the test clips"
    if not len(clip.states):
        return [], "no sound"
    runs = [r for r in continuous_runs(clip.landmarks) if r.stop - r.start >= MIN_FRAMES]
    if not runs:
        return [], "face lost or cut"
    examples, reason = [], "face turned away"
    for run in runs:
        landmarks = smooth_landmarks(clip.landmarks[run])
        if np.median(np.abs(canonical.estimate_pose(landmarks).angles()[:, 0])) > MAX_YAW:
            continue
        mouth = canonical.mouth_shapes(landmarks)
        if np.abs(mouth - mouth.mean(0)).max() > MAX_SHAPE:
            reason = "implausible mouth"
            continue
        examples.append(make_example(clip, run, mouth))
    return examples, "used" if examples else reason


def make_example(clip: Clip, run: slice, mouth: Floats) -> Example:
    """Return one run of a clip as an example; its mouth is (T, 61, 3) in canonical coordinates."""
    return Example(
        name=clip.name,
        times=frame_midpoints(clip.times)[run],
        mouth=mouth,
        states=clip.states,
        speaker=speaker_name(clip.name),
        held_out=clip.name.startswith(HELD_OUT_SET),
    )


def frame_midpoints(times: Doubles) -> Doubles:
    """Return the middle of the time that each frame is shown; *times* (T,) are when it appears."""
    return times + (np.median(np.diff(times)) / 2 if len(times) > 1 else 0.0)


def continuous_runs(landmarks: Floats) -> Iterator[slice]:
    """Yield the runs of frames in which landmarks (T, 478, 3) show one face without a cut."""
    eyes = landmarks[:, [EYE_RIGHT, EYE_LEFT], :2]
    size = np.linalg.norm(eyes[:, 1] - eyes[:, 0], axis=-1)
    size = np.maximum(size, np.ptp(landmarks[:, :468, 1], axis=1) / 2)  # faces in profile
    centre = landmarks[:, RIGID, :2].mean(1)
    step = np.linalg.norm(np.diff(centre, axis=0), axis=-1) / size[1:]
    grow = np.abs(np.log(size[1:] / size[:-1]))
    with np.errstate(invalid="ignore"):
        broken = ~((step < MAX_JUMP) & (grow < np.log(MAX_RESIZE)))
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


def speaker_name(name: str) -> str:
    """Return the label of the speaker, as far as the name of a clip tells."""
    kind, _, file = name.rpartition("__")
    return kind if kind.endswith("grid_s1") else file.rsplit(".", 1)[0]
