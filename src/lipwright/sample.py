"""A synthetic talking clip whose mouth curves are known exactly.

A public-domain portrait is animated by the renderer's own rig and warp: the lips open with the
loudness of a recording, spread with its brightness, and the head sways. Every landmark of every
frame is known, so trackers, timelines and whole jobs can be measured on any machine, offline.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from importlib.resources import files
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.errors import InvalidOptions
from lipwright.face import shape
from lipwright.face.lips import INNER_LIPS
from lipwright.media.decode.video import read_audio
from lipwright.media.encode.mux import VideoWriter
from lipwright.media.picture import Box, Picture
from lipwright.media.probe import VideoInfo, probe, require_audio
from lipwright.media.timeline import plan
from lipwright.options import SyncMode
from lipwright.progress import CancelToken, OnProgress, Progress
from lipwright.render import face_mesh as rig
from lipwright.render import warp
from lipwright.render.composite import polygon
from lipwright.types import Floats

MIN_SIDE, MAX_SIDE = 64, 4096  # pixels of the sample's width and height
SAMPLE_RATE = 16000  # Hz, of the sound the curves are made from
WIDEST_OPENING = 0.24  # inter-ocular distances, at the loudest sound
NARROWEST, WIDEST = 0.76, 1.0  # mouth width as a share of the portrait's smile
CORNER_DROP = 0.05  # inter-ocular distances that the mouth corners leave the portrait's smile by
SWAY_DEGREES, SWAY_SHIFT, SWAY_SCALE = 1.5, 0.05, 0.012  # of the head; shift in inter-ocular units
GRAIN = 1.2  # standard deviation in 8-bit units, of a good camera by day
LIP_LINE, LIP_SHADE = 0.016, 0.7  # thickness in inter-ocular distances; darkness, 0 to 1
PORTRAIT_HEIGHT = 320  # pixels of the portrait that a square frame shows

# Where in a mouth shape (61, 3) its parts are; inner lips from corner to corner.
_LOWER_INNER = np.arange(20, 31)
_UPPER_INNER = np.arange(31, 40)
_LOWER = np.concatenate([np.arange(0, 11), _LOWER_INNER])
_UPPER = np.concatenate([np.arange(11, 20), _UPPER_INNER])
_LIPS = np.arange(40)
_JAW = np.arange(40, 61)

_UPPER_EDGE = shape.MOUTH[_UPPER_INNER]  # landmarks

_DARK = np.array([44, 16, 16], np.float32)  # RGB of the mouth's depth
_TONGUE = np.array([112, 56, 54], np.float32)


@dataclass(frozen=True, kw_only=True)
class SampleTruth:
    """What is known about a synthetic clip."""

    path: Path  #: the clip
    truth_path: Path  #: the .npz file with the arrays below
    rate: Fraction  #: frames per second
    opening: Floats  #: (T,) distance of the inner lips, inter-ocular units
    width: Floats  #: (T,) distance of the mouth corners, inter-ocular units
    landmarks: Floats  #: (T, 478, 3) pixels

    @property
    def frames(self) -> int:
        """Number of frames T."""
        return len(self.opening)

    def summary(self) -> dict[str, object]:
        """Return the clip and its curves as plain values."""
        return {
            "path": str(self.path),
            "truth_path": str(self.truth_path),
            "frames": self.frames,
            "rate": f"{self.rate.numerator}/{self.rate.denominator}",
            "opening": [round(float(value), 4) for value in self.opening],
            "width": [round(float(value), 4) for value in self.width],
        }


def make_sample(
    out: str | Path,
    *,
    seconds: float | None = None,
    size: tuple[int, int] = (1280, 720),
    rate: Fraction = Fraction(25),
    seed: int = 0,
    audio: str | Path | None = None,
    on_progress: OnProgress | None = None,
    cancel: CancelToken | None = None,
) -> SampleTruth:
    """Write a talking clip with known mouth curves, and its truth beside it.

    Args:
        out: the video to write; the truth goes to ``<name>.truth.npz`` in the same folder.
        seconds: length; None is the length of the audio. Beyond the audio there is silence.
        size: width and height in pixels, 64 to 4096.
        rate: frames per second.
        seed: of head motion and grain.
        audio: speech to follow; None is the English recording that comes with Lipwright.
        on_progress: called after each frame.
        cancel: ends the work at the next frame, nothing is left behind.

    Raises:
        InvalidOptions: size, rate or length is out of range.
        SourceUnreachable, MediaUnreadable: the audio cannot be used.
        OutputUnwritable, EncodeFailed: the clip cannot be written.
        Cancelled: the end was asked for.
    """
    _check(seconds, size, rate)
    out = Path(out)
    speech = probe(audio or speech_asset("en"))
    heard = require_audio(speech).duration
    length = heard if seconds is None else Fraction(seconds).limit_denominator(1000)
    mode = SyncMode.SILENCE if length > heard else SyncMode.CUT_OFF
    timeline = plan(mode, video=length, audio=heard, rate=rate)
    times = (np.arange(timeline.frames, dtype=np.float64) + 0.5) / float(rate)
    scene = Scene(size=size)
    moves = mouth_moves(scene.mouth, *speech_curves(read_audio(speech, rate=SAMPLE_RATE), times))
    sways = head_sway(times, scene.unit, scene.centre, seed)
    shots = list(zip(moves, sways, strict=True))
    grain = np.random.default_rng(seed)
    like = _video_info(size, rate, length)
    with VideoWriter(out, like=like, timeline=timeline, audio=speech) as writer:
        for index, shot in enumerate(shots):
            if cancel is not None:
                cancel.raise_if_cancelled()
            writer.write(Picture.from_rgb(_grainy(scene.draw(*shot), grain)))
            if on_progress is not None:
                on_progress(_progress(index + 1, len(shots)))
    return _with_truth(out, rate, np.stack([scene.landmarks(*shot) for shot in shots]))


def speech_asset(language: str) -> Path:
    """Return the path of the recording in *language* that comes with Lipwright."""
    return Path(str(files("lipwright") / "assets" / f"speech_{language}.flac"))


def _check(seconds: float | None, size: tuple[int, int], rate: Fraction) -> None:
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in size):
        raise InvalidOptions(
            f"size {size[0]}x{size[1]} is out of range: use {MIN_SIDE} to {MAX_SIDE} pixels a side"
        )
    if not 1 <= rate <= 240:
        raise InvalidOptions(f"rate {rate} is out of range: use 1 to 240 frames per second")
    if seconds is not None and not 0 < seconds <= 3600:
        raise InvalidOptions(f"{seconds} seconds is out of range: use more than 0, at most 3600")


def _progress(done: int, total: int) -> Progress:
    return Progress(stage="sample", done=done, total=total, fraction=done / total)


# ---------------------------------------------------------------------------------------- motion
def speech_curves(samples: Floats, times: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Return how a mouth would open and spread to a sound.

    Args:
        samples: (n,) mono at 16 kHz, -1 to 1.
        times: (T,) seconds.

    Returns:
        Opening (T,) in inter-ocular units and width (T,) as a share of the portrait's.
    """
    hop = SAMPLE_RATE // 100
    count = max(len(samples) // hop, 1)
    sound = np.zeros(count * hop, np.float64)
    sound[: min(len(samples), len(sound))] = samples[: len(sound)]
    loud = _rms(sound, hop)
    bright = _rms(np.diff(sound, prepend=0.0), hop) / (loud + 1e-4)
    level = _smooth(loud / max(np.percentile(loud, 95), 1e-4), 4)  # 40 ms
    opening = WIDEST_OPENING * np.clip(1.15 * level - 0.1, 0, 1) ** 0.8
    tone = _smooth(np.clip(bright, 0, 1.2), 8)
    tone = np.clip(tone / max(np.percentile(tone, 90), 1e-4), 0, 1)
    share = NARROWEST + (WIDEST - NARROWEST) * tone * np.clip(3 * level, 0, 1)
    at = (np.arange(count) + 0.5) / 100
    return (
        np.interp(times, at, _smooth(opening, 3), right=0.0).astype(np.float32),
        np.interp(times, at, _smooth(share, 6), right=NARROWEST).astype(np.float32),
    )


def _rms(sound: NDArray[np.float64], hop: int) -> NDArray[np.float64]:
    root: NDArray[np.float64] = np.sqrt((sound.reshape(-1, hop) ** 2).mean(1))
    return root


def _smooth(curve: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Convolve with a Gaussian of *sigma* steps, ends repeated."""
    reach = int(3 * sigma) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.convolve(np.pad(curve, reach, mode="edge"), kernel / kernel.sum(), mode="valid")


def mouth_moves(rest: Floats, opening: Floats, width: Floats) -> Floats:
    """Return displacements (T, 61, 3) that bring a mouth to the wanted curves.

    Args:
        rest: (61, 3) canonical mouth of the portrait, lips apart.
        opening: (T,) distance of the inner lips, inter-ocular units.
        width: (T,) share of the mouth's width at rest.
    """
    x = rest[:, 0] - rest[list(shape.CORNERS), 0].mean()
    half = float(np.abs(x[_LOWER_INNER]).max())
    upper = rest[np.r_[20, _UPPER_INNER, 30]]
    lower = rest[_LOWER_INNER]
    gap = np.interp(rest[:, 0], lower[:, 0], lower[:, 1]) - np.interp(
        rest[:, 0], upper[:, 0], upper[:, 1]
    )
    now = float(shape.opening(rest[None])[0])
    profile = np.clip(1 - (x / half) ** 2, 0, 1) ** 0.7
    closing = np.minimum(opening / now, 1)[:, None] - 1  # -1 is closed
    more = np.maximum(opening - now, 0)[:, None]
    moves = np.zeros((len(opening), len(rest), 3), np.float32)
    moves[:, _LOWER, 1] = (0.7 * closing * gap + more * profile)[:, _LOWER]
    moves[:, _UPPER, 1] = (-0.3 * closing * gap)[:, _UPPER]
    hinge = np.exp(-((x[_JAW] / 0.6) ** 2))  # the jaw turns about the ears
    moves[:, _JAW, 1] = 0.85 * (0.7 * closing * gap.max() + more) * hinge
    moves[:, _LIPS, 0] = (width[:, None] - 1) * x[_LIPS]
    moves[:, _LIPS, 1] += CORNER_DROP * (x[_LIPS] / half) ** 2
    return moves


def head_sway(
    times: NDArray[np.float64], unit: float, centre: NDArray[np.float64], seed: int
) -> NDArray[np.float64]:
    """Return smooth head motion as affine matrices (T, 2, 3), each a similarity about *centre*."""
    random = np.random.default_rng([seed, 1])
    waves = [_wave(times, random) for _ in range(4)]
    angle, scale = np.radians(SWAY_DEGREES) * waves[0], 1 + SWAY_SCALE * waves[1]
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], 1)
    shift = centre + SWAY_SHIFT * unit * np.stack(waves[2:], -1) - linear @ centre
    return np.concatenate([linear, shift[..., None]], -1)


def _wave(times: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """Return a smooth random curve between -1 and 1."""
    speed, phase = random.uniform(0.1, 0.5, 3), random.uniform(0, 2 * np.pi, 3)
    return np.asarray(np.sin(2 * np.pi * np.outer(times, speed) + phase).mean(1))


# --------------------------------------------------------------------------------------- picture
@dataclass(frozen=True, kw_only=True)
class Scene:
    """The portrait, laid out on a frame, ready to be animated."""

    size: tuple[int, int]  #: width and height in pixels

    @cached_property
    def _layout(self) -> tuple[NDArray[np.uint8], Floats]:
        """The portrait (H, W, 3) uint8 RGB and its landmarks (478, 3), in frame pixels."""
        portrait, points = _portrait()
        width, height = self.size
        side = portrait.shape[1]
        scale = max(width / side, height / PORTRAIT_HEIGHT)
        left = float(np.clip(points[:, 0].mean() - width / scale / 2, 0, side - width / scale))
        shift = np.array([-left * scale + (scale - 1) / 2, (scale - 1) / 2])
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
        canvas = cv2.warpAffine(
            portrait, matrix, self.size, flags=how, borderMode=cv2.BORDER_REFLECT_101
        )
        placed = points * np.float32(scale)
        placed[:, :2] += shift.astype(np.float32)
        return np.asarray(canvas, np.uint8), placed

    @cached_property
    def _pose(self) -> shape.Pose:
        return shape.align(self._layout[1][None])

    @cached_property
    def mouth(self) -> Floats:
        """The portrait's own mouth (61, 3), canonical."""
        return np.asarray(shape.mouth_shapes(self._layout[1][None])[0], np.float32)

    @property
    def unit(self) -> float:
        """Pixels per inter-ocular distance."""
        return 1 / float(self._pose.scale[0])

    @property
    def centre(self) -> NDArray[np.float64]:
        """The point x, y that the head turns about: the chin."""
        return self._layout[1][152, :2].astype(np.float64)

    def _moved(self, move: Floats) -> Floats:
        """Return displacements (468, 3) in pixels for a mouth move (61, 3) in canonical units."""
        pixels = move @ self._pose.rotation[0].T / self._pose.scale[0]
        return np.asarray(rig.followers() @ pixels, np.float32)

    def landmarks(self, move: Floats, sway: NDArray[np.float64]) -> Floats:
        """Return the true landmarks (478, 3) in pixels of one frame."""
        points = self._layout[1].copy()
        points[: rig.FACE] += self._moved(move)
        points[:, :2] = points[:, :2] @ sway[:, :2].T + sway[:, 2]
        points[:, 2] *= np.sqrt(np.linalg.det(sway[:, :2]))
        return points

    @cached_property
    def _box(self) -> Box:
        """Where the mouth can change pixels."""
        moving = rig.ring_of(self._layout[1], self.unit)[rig.moving(), :2]
        low = np.maximum(np.floor(moving.min(0)).astype(int) - 2, 0)
        high = np.minimum(np.ceil(moving.max(0)).astype(int) + 2, self.size)
        return Box(int(low[0]), int(low[1]), int(high[0]), int(high[1]))

    def draw(self, move: Floats, sway: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Return one frame (H, W, 3) uint8 RGB."""
        canvas, points = self._layout
        box = self._box
        rest, target = rig.vertices(points, self._moved(move), self.unit)
        raster = warp.rasterise(target, rig.mesh(), box, self.unit)
        skin = warp.sample(self._toothless, warp.backward_map(raster, rest), (box.x0, box.y0))
        inside = self._inside_lips(target)
        patch = skin + inside[..., None] * (self._interior - skin)
        patch += self._lip_line(target)[..., None] * (_DARK - patch)
        still = canvas.copy()
        still[box.y0 : box.y1, box.x0 : box.x1] = np.clip(patch + 0.5, 0, 255).astype(np.uint8)
        moved = cv2.warpAffine(
            still, sway, self.size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
        )
        return np.asarray(moved, np.uint8)

    def _inside_lips(self, points: Floats) -> Floats:
        """Return a soft mask over the box, 1 between the inner lips of vertices (n, 3)."""
        mask = polygon(points[INNER_LIPS], self._box)
        return np.asarray(cv2.GaussianBlur(mask, (0, 0), max(0.012 * self.unit, 0.5)), np.float32)

    def _lip_line(self, points: Floats) -> Floats:
        """Return the shade under the upper lip, over the box: closed lips show it as a line."""
        box, line = self._box, points[_UPPER_EDGE, :2]
        shade = np.zeros((box.y1 - box.y0, box.x1 - box.x0), np.float32)
        fixed = np.round((line - [box.x0, box.y0]) * 16).astype(np.int32)
        thick = max(round(LIP_LINE * self.unit), 1)
        cv2.polylines(shade, [fixed], False, LIP_SHADE, thick, cv2.LINE_8, shift=4)
        return np.asarray(cv2.GaussianBlur(shade, (0, 0), max(0.008 * self.unit, 0.5)), np.float32)

    @cached_property
    def _toothless(self) -> Floats:
        """The portrait over the box, lips continued over the teeth: they must not show outside."""
        canvas, points = self._layout
        box = self._box
        lips = self._inside_lips(points) > 0.02  # a little beyond the line the tracker sees
        own = canvas[box.y0 : box.y1, box.x0 : box.x1]
        filled = cv2.inpaint(own, lips.astype(np.uint8), 0.03 * self.unit, cv2.INPAINT_TELEA)
        return np.asarray(filled, np.float32)

    @cached_property
    def _interior(self) -> Floats:
        """What the open mouth shows, over the box: the portrait's teeth, dark, and a tongue."""
        canvas, points = self._layout
        box = self._box
        teeth = np.clip(2 * self._inside_lips(points) - 1, 0, 1)[..., None]  # well within the lips
        y = np.arange(box.y0, box.y1, dtype=np.float32)[:, None, None]
        depth = np.clip((y - points[INNER_LIPS, 1].max()) / (0.16 * self.unit), 0, 1)
        dark = _DARK + depth * (_TONGUE - _DARK)
        own = canvas[box.y0 : box.y1, box.x0 : box.x1].astype(np.float32)
        out: Floats = (dark + teeth * (own - dark)).astype(np.float32)
        return out


def _portrait() -> tuple[NDArray[np.uint8], Floats]:
    """Return the portrait (h, w, 3) uint8 RGB and its landmarks (478, 3) in pixels."""
    folder = files("lipwright") / "assets"
    coded = np.frombuffer((folder / "portrait.png").read_bytes(), np.uint8)
    bgr = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    with np.load(BytesIO((folder / "portrait_landmarks.npz").read_bytes())) as data:
        points = np.asarray(data["landmarks"], np.float32)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8), points


def _grainy(rgb: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Add a camera's noise, the same in all channels."""
    noise = random.standard_normal(rgb.shape[:2], np.float32)[..., None]
    return np.clip(rgb + GRAIN * noise + 0.5, 0, 255).astype(np.uint8)


# ------------------------------------------------------------------------------------------ files
def _video_info(size: tuple[int, int], rate: Fraction, duration: Fraction) -> VideoInfo:
    return VideoInfo(
        width=size[0],
        height=size[1],
        rate=rate,
        variable_rate=False,
        duration=duration,
        frames=None,
        rotation=0,
        sample_aspect=Fraction(1),
        codec="h264",
        pix_fmt="yuv420p",
        bit_depth=8,
        color_range=1,  # limited
        color_primaries=1,  # BT.709, as the two below
        color_trc=1,
        colorspace=1,
    )


def _with_truth(out: Path, rate: Fraction, landmarks: Floats) -> SampleTruth:
    mouths = shape.mouth_shapes(landmarks)
    truth = SampleTruth(
        path=out,
        truth_path=out.with_suffix(".truth.npz"),
        rate=rate,
        opening=shape.opening(mouths),
        width=shape.width(mouths),
        landmarks=landmarks,
    )
    partial = out.with_name(f".{truth.truth_path.name}.partial")
    try:
        with partial.open("wb") as file:
            np.savez_compressed(
                file,
                rate=np.array([rate.numerator, rate.denominator]),
                opening=truth.opening,
                width=truth.width,
                landmarks=truth.landmarks,
            )
        os.replace(partial, truth.truth_path)
    finally:
        partial.unlink(missing_ok=True)
    return truth
