"""Synthesise training takes: augmented frames of one face, with occluders that enter and leave."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lipwright.face.lower_face_raster import RASTER_SIDE, Raster, raster_layout
from lipwright.types import Bools, Floats
from training.face import occluder_sprites
from training.face.dataset import FaceClip
from training.face.occluder_sprites import PIXELS_PER_CELL, SPRITE_SIZE, Random, Sprite

MAX_FRAMES = 32  # of a take
MIRROR_SIGNS = np.array([-1, 1, -1, 1, -1, 1, 1], np.float32)  # predictors of a mirrored face
CENTRE = (RASTER_SIDE - 1) / 2

_X, _Y = np.meshgrid(
    np.arange(RASTER_SIDE, dtype=np.float32), np.arange(RASTER_SIDE, dtype=np.float32)
)


@dataclass(frozen=True, kw_only=True)
class SyntheticTake:
    """A take of n frames, and the true cover of the face in it."""

    rasters: Raster  #: (n, SIDE, SIDE, 3) L, a, b
    predictors: Floats  #: (n, k)
    visible: Bools  #: (n, SIDE, SIDE) cells that face the camera
    cover: Floats  #: (n, SIDE, SIDE) 0 (free) to 1 (covered)


@dataclass(frozen=True, kw_only=True)
class _OccluderPath:
    """An occluder and its motion through a take."""

    sprite: Sprite
    first: float  #: share of the take at which it enters
    last: float  #: share of the take at which it is gone
    target: Floats  #: (2,) where it stays, from the centre, pixels of sprites
    sway_size: float  #: pixels of sprites
    angle: float  #: radians, direction it enters from
    size: float  #: 1: as drawn
    turn: float  #: radians, amplitude of its rotation
    blur: float  #: standard deviation, pixels of sprites

    @classmethod
    def sample(cls, random: Random, face: Floats, other_faces: list[Floats]) -> _OccluderPath:
        first = random.uniform(-0.3, 0.8)
        return cls(
            sprite=occluder_sprites.draw_sprite(random, face, other_faces),
            first=first,
            last=first + random.uniform(0.1, 0.75),
            target=random.normal(0, 6 * PIXELS_PER_CELL, 2).astype(np.float32),
            sway_size=random.normal(0, 1.2 * PIXELS_PER_CELL),
            angle=random.uniform(0, 2 * np.pi),
            size=random.uniform(0.5, 1.6),
            turn=random.normal(0, 0.15),
            blur=random.uniform(0, 1.2 if random.random() < 0.6 else 3.0) * PIXELS_PER_CELL,
        )

    def at(self, t: float) -> tuple[Floats, Floats] | None:
        """Return cover and weighted colours at a share of the take; None while it is away."""
        if not self.first <= t <= self.last:
            return None
        near = np.clip(min((t - self.first) / 0.15, (self.last - t) / 0.15), 0, 1)
        approach = (
            np.array([np.cos(self.angle), np.sin(self.angle)]) * (1 - near) * SPRITE_SIZE * 0.9
        )
        sway = self.sway_size * np.array([np.sin(5 * t + self.angle), np.cos(4 * t)])
        turn = float(np.degrees(self.turn * np.sin(3 * t + self.angle)))
        matrix = cv2.getRotationMatrix2D((SPRITE_SIZE / 2, SPRITE_SIZE / 2), turn, self.size)
        matrix[:, 2] += approach + self.target + sway
        return occluder_sprites.place_sprite(self.sprite, matrix, self.blur)


def synthesise_take(random: Random, clip: FaceClip, other_faces: list[Floats]) -> SyntheticTake:
    """Return an augmented take of a face, with or without occluders.

    Args:
        random: source of all random choices.
        clip: the face, without occluders.
        other_faces: (SIDE, SIDE, 3) RGB of other people, from which skin is taken.
    """
    index = _sample_frames(random, len(clip.rasters))
    rgb = _convert_colour(clip.rasters[index], cv2.COLOR_LAB2RGB).astype(np.float32)
    predictors, visible = clip.predictors[index].copy(), clip.visible[index].copy()
    if random.random() < 0.5:
        rgb, visible = rgb[:, :, ::-1].copy(), visible[:, :, ::-1].copy()
        predictors = predictors * MIRROR_SIGNS
    own = rgb[0].copy()
    rgb = _alter_skin(random, rgb, own, other_faces)
    if random.random() < 0.5:
        corrected = np.clip(rgb / 255, 0, 1) ** random.uniform(0.5, 1.5)
        rgb = np.asarray(255 * corrected, np.float32)
    tint = random.uniform(0.38, 1.25) * (1 + random.normal(0, 0.06, 3))
    rgb = rgb * tint.astype(np.float32)
    count = random.choice([0, 1, 2], p=[0.3, 0.6, 0.1])
    paths = [_OccluderPath.sample(random, own, other_faces) for _ in range(count)]
    rgb, cover = _render_frames(random, rgb, predictors, paths)
    rgb += random.normal(0, random.uniform(0, 3), rgb.shape)
    if paths and random.random() < 0.3:  # a hidden mouth is tracked wrongly
        hidden = cover[:, raster_layout().lips].mean(1) > 0.3
        predictors[hidden, 5:] += random.normal(0, 0.7, 2)
    return SyntheticTake(
        rasters=_convert_colour(np.clip(np.rint(rgb), 0, 255).astype(np.uint8), cv2.COLOR_RGB2LAB),
        predictors=predictors.astype(np.float32),
        visible=visible,
        cover=cover,
    )


def first_frame(clip: FaceClip) -> Floats:
    """Return the first frame of a clip, (SIDE, SIDE, 3) RGB."""
    first: Floats = _convert_colour(clip.rasters[:1], cv2.COLOR_LAB2RGB)[0].astype(np.float32)
    return first


def _convert_colour(rasters: Raster, code: int) -> Raster:
    flat: Raster = cv2.cvtColor(np.ascontiguousarray(rasters).reshape(-1, RASTER_SIDE, 3), code)
    return flat.reshape(rasters.shape)


def _sample_frames(random: Random, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return indices of random or consecutive frames; in some takes very few."""
    size = int(random.integers(2, 8)) if random.random() < 0.12 else min(MAX_FRAMES, count)
    if random.random() < 0.7:
        return np.sort(random.choice(count, size, replace=False))
    start = int(random.integers(0, count - size + 1))
    return np.arange(start, start + size)


def _alter_skin(random: Random, rgb: Floats, own: Floats, other_faces: list[Floats]) -> Floats:
    """Return frames with a beard or marks that are part of the face."""
    for _ in range(random.choice([0, 1, 2], p=[0.65, 0.2, 0.15])):
        if random.random() < 0.4:
            rgb = _add_beard(random, rgb)
            continue
        shift = random.normal(SPRITE_SIZE * 0.31, SPRITE_SIZE * 0.23, 2)
        matrix = np.array([[0.4, 0, shift[0]], [0, 0.4, shift[1]]])
        sprite = occluder_sprites.draw_sprite(random, own, other_faces)
        cover, colour = occluder_sprites.place_sprite(sprite, matrix, random.uniform(0, 4))
        share = random.uniform(0.1, 0.5)
        rgb = rgb * (1 - share * cover[..., None]) + share * colour
    return rgb


def _add_beard(random: Random, rgb: Floats) -> Floats:
    top, side = random.uniform(14, 22), random.uniform(9, 16)
    share = np.clip((_Y - top) / 3, 0, 1) * np.clip((side - abs(_X - CENTRE)) / 2, 0, 1)
    wide, tall = random.uniform(4, 7), random.uniform(2.5, 4)
    mouth = ((_X - CENTRE) / wide) ** 2 + ((_Y - CENTRE - random.uniform(-2, 2)) / tall) ** 2 < 1
    share = share * ~mouth * random.uniform(0.2, 0.9)
    share = share * (
        random.uniform(0.5, 1, (RASTER_SIDE, RASTER_SIDE)) if random.random() < 0.7 else 1
    )
    hair = np.array([50, 38, 30]) * random.uniform(0.4, 2.5)
    return np.asarray(rgb * (1 - share[..., None]) + hair * share[..., None], np.float32)


def _random_displacement(random: Random, cells: float) -> Floats:
    """Return a smooth random displacement (SIDE, SIDE, 2) of about *cells* cells."""
    count = int(random.integers(3, 7))
    rough = random.normal(0, 1, (count, count, 2)).astype(np.float32)
    return np.asarray(
        cv2.resize(rough, (RASTER_SIDE, RASTER_SIDE), interpolation=cv2.INTER_CUBIC) * cells
    )


def _render_frames(
    random: Random, rgb: Floats, predictors: Floats, paths: list[_OccluderPath]
) -> tuple[Floats, Floats]:
    """Return frames (n, SIDE, SIDE, 3) with occluders, turns and changing light, and the cover.

    The head turns are added to *predictors* in place.
    """
    count = len(rgb)
    cover = np.zeros(rgb.shape[:3], np.float32)
    jitter = random.uniform(0.05, 0.35)
    drift = random.uniform(0, 0.12) if random.random() < 0.8 else random.uniform(0.1, 0.3)
    phase, angle = random.uniform(0, 2 * np.pi, 5), random.uniform(0, 2 * np.pi)
    slope = ((_X - CENTRE) * np.cos(angle) + (_Y - CENTRE) * np.sin(angle)) / CENTRE
    shadow = _CastShadow.sample(random) if random.random() < 0.4 else None
    turn, bend, shade = _random_head_turns(random, count, predictors)
    out = np.empty_like(rgb)
    for k in range(count):
        t = k / max(count - 1, 1)
        frame = rgb[k]
        for path in paths:
            placed = path.at(t)
            if placed is None:
                continue
            own_cover, colour = placed
            if random.random() < 0.5:  # soft shadow of the occluder
                dark = cv2.GaussianBlur(own_cover, (0, 0), random.uniform(1, 3))
                frame = frame * (1 - 0.25 * dark[..., None])
            frame = frame * (1 - own_cover[..., None]) + colour
            cover[k] = np.maximum(cover[k], own_cover)
        hidden = cover[k][raster_layout().searched].mean() > 0.05  # adds error to the landmarks
        shift = _random_displacement(random, jitter * (1 + (3 * random.random() if hidden else 0)))
        shift = shift + random.normal(0, jitter * 0.8, 2) + bend * turn[k]
        x, y = (_X + shift[..., 0]).astype(np.float32), (_Y + shift[..., 1]).astype(np.float32)
        frame = cv2.remap(
            frame.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        cover[k] = cv2.remap(cover[k], x, y, cv2.INTER_LINEAR)
        light = 1 + drift * np.sin(4 * t + phase[0])
        light = light * (1 + (drift * np.sin(3 * t + phase[1]) + shade * turn[k]) * slope)
        frame = frame * light[..., None] * (1 + drift / 4 * np.sin(4 * t + phase[2:5]))
        if shadow:
            frame = frame * shadow.at(t + turn[k] / 4)
        out[k] = (
            cv2.GaussianBlur(frame, (0, 0), random.uniform(0.3, 1))
            if (random.random() < 0.3)
            else frame
        )
    return out, cover


@dataclass(frozen=True, kw_only=True)
class _CastShadow:
    """A shadow on the face, of its far side, chin or nose, that moves with light and head."""

    depth: Floats  #: (3,) share of R, G, B that it removes
    angle: float  #: radians
    frequency: float  #: edges over the face
    sharpness: float  #: of its edges
    speed: float  #: radians over the take
    phase: float  #: radians

    @classmethod
    def sample(cls, random: Random) -> _CastShadow:
        depth = random.uniform(0.15, 0.65) + np.sort(random.uniform(-0.06, 0.06, 3))
        return cls(
            depth=depth.astype(np.float32),
            angle=random.uniform(0, 2 * np.pi),
            frequency=random.uniform(0.5, 3),
            sharpness=random.uniform(1, 8),
            speed=random.uniform(0, 8),
            phase=random.uniform(0, 2 * np.pi),
        )

    def at(self, t: float) -> Floats:
        """Return the remaining share of R, G, B, (SIDE, SIDE, 3)."""
        along = ((_X - CENTRE) * np.cos(self.angle) + (_Y - CENTRE) * np.sin(self.angle)) / CENTRE
        wave = np.sin(along * self.frequency + self.speed * t + self.phase)
        dark = 1 / (1 + np.exp(-self.sharpness * wave))
        return np.asarray(1 - dark[..., None] * self.depth, np.float32)


def _random_head_turns(
    random: Random, count: int, predictors: Floats
) -> tuple[Floats, Floats, float]:
    """Return head turns (n,), and displacement (SIDE, SIDE, 2) and shading of one unit of turn."""
    if random.random() > 0.35:
        return np.zeros(count, np.float32), np.zeros((RASTER_SIDE, RASTER_SIDE, 2), np.float32), 0.0
    way = np.sin(np.linspace(0, random.uniform(1, 9), count) + random.uniform(0, 2 * np.pi))
    turn = (random.uniform(0.3, 2.2) * way).astype(np.float32)
    predictors[:, int(random.integers(0, 2))] += turn
    return turn, _random_displacement(random, random.uniform(0.2, 0.9)), random.uniform(0, 0.12)
