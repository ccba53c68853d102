"""Takes to learn from: a face over some frames, varied, with things that come, stay and go."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lipwright.face.raster import SIDE, Raster, layout
from lipwright.types import Bools, Floats
from training.face import things
from training.face.footage import Face
from training.face.things import FINE, SIZE, Random, Sprite

FRAMES = 32  # of a take
MIRRORED = np.array([-1, 1, -1, 1, -1, 1, 1], np.float32)  # causes of a mirrored face
MIDDLE = (SIDE - 1) / 2

_X, _Y = np.meshgrid(np.arange(SIDE, dtype=np.float32), np.arange(SIDE, dtype=np.float32))


@dataclass(frozen=True, kw_only=True)
class Varied:
    """A take of n frames, and what is in front of the face in it."""

    rasters: Raster  #: (n, SIDE, SIDE, 3)
    causes: Floats  #: (n, k)
    visible: Bools  #: (n, SIDE, SIDE)
    cover: Floats  #: (n, SIDE, SIDE) 0 to 1


@dataclass(frozen=True, kw_only=True)
class _Visit:
    """A thing on its way."""

    sprite: Sprite
    first: float  #: share of the take when it comes
    last: float  #: and when it is gone
    place: Floats  #: (2,) pixels of a sprite from the middle, where it stays
    wobble: float  #: pixels of a sprite
    angle: float  #: radians, where it comes from
    size: float
    turn: float  #: radians
    blur: float  #: pixels of a sprite

    @classmethod
    def plan(cls, random: Random, face: Floats, others: list[Floats]) -> _Visit:
        first = random.uniform(-0.3, 0.8)
        return cls(
            sprite=things.draw(random, face, others),
            first=first,
            last=first + random.uniform(0.1, 0.75),
            place=random.normal(0, 6 * FINE, 2).astype(np.float32),
            wobble=random.normal(0, 1.2 * FINE),
            angle=random.uniform(0, 2 * np.pi),
            size=random.uniform(0.5, 1.6),
            turn=random.normal(0, 0.15),
            blur=random.uniform(0, 1.2 if random.random() < 0.6 else 3.0) * FINE,
        )

    def at(self, t: float) -> tuple[Floats, Floats] | None:
        """Return cover and weighted colours at a share of the take; None while it is away."""
        if not self.first <= t <= self.last:
            return None
        near = np.clip(min((t - self.first) / 0.15, (self.last - t) / 0.15), 0, 1)
        way = np.array([np.cos(self.angle), np.sin(self.angle)]) * (1 - near) * SIZE * 0.9
        sway = self.wobble * np.array([np.sin(5 * t + self.angle), np.cos(4 * t)])
        turn = float(np.degrees(self.turn * np.sin(3 * t + self.angle)))
        matrix = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), turn, self.size)
        matrix[:, 2] += way + self.place + sway
        return things.laid(self.sprite, matrix, self.blur)


def vary(random: Random, face: Face, others: list[Floats]) -> Varied:
    """Return a take of a face.

    Args:
        random: decides all.
        face: with nothing in front.
        others: (SIDE, SIDE, 3) RGB of other people, as pieces of skin.
    """
    index = _some(random, len(face.rasters))
    rgb = _converted(face.rasters[index], cv2.COLOR_LAB2RGB).astype(np.float32)
    causes, shown = face.causes[index].copy(), face.visible[index].copy()
    if random.random() < 0.5:
        rgb, shown, causes = rgb[:, :, ::-1].copy(), shown[:, :, ::-1].copy(), causes * MIRRORED
    own = rgb[0].copy()
    rgb = _marked(random, rgb, own, others)
    if random.random() < 0.5:
        bent = np.clip(rgb / 255, 0, 1) ** random.uniform(0.5, 1.5)
        rgb = np.asarray(255 * bent, np.float32)
    tint = random.uniform(0.38, 1.25) * (1 + random.normal(0, 0.06, 3))
    rgb = rgb * tint.astype(np.float32)
    count = random.choice([0, 1, 2], p=[0.3, 0.6, 0.1])
    visits = [_Visit.plan(random, own, others) for _ in range(count)]
    rgb, cover = _played(random, rgb, causes, visits)
    rgb += random.normal(0, random.uniform(0, 3), rgb.shape)
    if visits and random.random() < 0.3:  # a mouth that is hidden is tracked wrong
        hidden = cover[:, layout().lips].mean(1) > 0.3
        causes[hidden, 5:] += random.normal(0, 0.7, 2)
    return Varied(
        rasters=_converted(np.clip(np.rint(rgb), 0, 255).astype(np.uint8), cv2.COLOR_RGB2LAB),
        causes=causes.astype(np.float32),
        visible=shown,
        cover=cover,
    )


def plain(face: Face) -> Floats:
    """Return the first frame of a face, (SIDE, SIDE, 3) RGB."""
    first: Floats = _converted(face.rasters[:1], cv2.COLOR_LAB2RGB)[0].astype(np.float32)
    return first


def _converted(rasters: Raster, code: int) -> Raster:
    flat: Raster = cv2.cvtColor(np.ascontiguousarray(rasters).reshape(-1, SIDE, 3), code)
    return flat.reshape(rasters.shape)


def _some(random: Random, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return which frames are in the take: any, or some in a row; now and then very few."""
    most = int(random.integers(2, 8)) if random.random() < 0.12 else min(FRAMES, count)
    if random.random() < 0.7:
        return np.sort(random.choice(count, most, replace=False))
    start = int(random.integers(0, count - most + 1))
    return np.arange(start, start + most)


def _marked(random: Random, rgb: Floats, own: Floats, others: list[Floats]) -> Floats:
    """Return frames with a beard or marks that are part of the face."""
    for _ in range(random.choice([0, 1, 2], p=[0.65, 0.2, 0.15])):
        if random.random() < 0.4:
            rgb = _bearded(random, rgb)
            continue
        away = random.normal(SIZE * 0.31, SIZE * 0.23, 2)
        matrix = np.array([[0.4, 0, away[0]], [0, 0.4, away[1]]])
        cover, colour = things.laid(things.draw(random, own, others), matrix, random.uniform(0, 4))
        share = random.uniform(0.1, 0.5)
        rgb = rgb * (1 - share * cover[..., None]) + share * colour
    return rgb


def _bearded(random: Random, rgb: Floats) -> Floats:
    top, side = random.uniform(14, 22), random.uniform(9, 16)
    share = np.clip((_Y - top) / 3, 0, 1) * np.clip((side - abs(_X - MIDDLE)) / 2, 0, 1)
    wide, tall = random.uniform(4, 7), random.uniform(2.5, 4)
    mouth = ((_X - MIDDLE) / wide) ** 2 + ((_Y - MIDDLE - random.uniform(-2, 2)) / tall) ** 2 < 1
    share = share * ~mouth * random.uniform(0.2, 0.9)
    share = share * (random.uniform(0.5, 1, (SIDE, SIDE)) if random.random() < 0.7 else 1)
    hair = np.array([50, 38, 30]) * random.uniform(0.4, 2.5)
    return np.asarray(rgb * (1 - share[..., None]) + hair * share[..., None], np.float32)


def _field(random: Random, cells: float) -> Floats:
    """Return a smooth displacement (SIDE, SIDE, 2)."""
    count = int(random.integers(3, 7))
    rough = random.normal(0, 1, (count, count, 2)).astype(np.float32)
    return np.asarray(cv2.resize(rough, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) * cells)


def _played(
    random: Random, rgb: Floats, causes: Floats, visits: list[_Visit]
) -> tuple[Floats, Floats]:
    """Return frames (n, SIDE, SIDE, 3) with things, turns and changing light, and the cover.

    What turns of the head do is added to the *causes*.
    """
    count = len(rgb)
    cover = np.zeros(rgb.shape[:3], np.float32)
    jitter = random.uniform(0.05, 0.35)
    drift = random.uniform(0, 0.12) if random.random() < 0.8 else random.uniform(0.1, 0.3)
    phase, angle = random.uniform(0, 2 * np.pi, 5), random.uniform(0, 2 * np.pi)
    slope = ((_X - MIDDLE) * np.cos(angle) + (_Y - MIDDLE) * np.sin(angle)) / MIDDLE
    shadow = _Shadow.cast(random) if random.random() < 0.4 else None
    turn, bend, shade = _turns(random, count, causes)
    out = np.empty_like(rgb)
    for k in range(count):
        t = k / max(count - 1, 1)
        frame = rgb[k]
        for visit in visits:
            found = visit.at(t)
            if found is None:
                continue
            solid, colour = found
            if random.random() < 0.5:  # its soft shadow
                dark = cv2.GaussianBlur(solid, (0, 0), random.uniform(1, 3))
                frame = frame * (1 - 0.25 * dark[..., None])
            frame = frame * (1 - solid[..., None]) + colour
            cover[k] = np.maximum(cover[k], solid)
        hidden = cover[k][layout().judged].mean() > 0.05  # landmarks miss more then
        away = _field(random, jitter * (1 + (3 * random.random() if hidden else 0)))
        away = away + random.normal(0, jitter * 0.8, 2) + bend * turn[k]
        x, y = (_X + away[..., 0]).astype(np.float32), (_Y + away[..., 1]).astype(np.float32)
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
class _Shadow:
    """The far side of a face, or what a chin or a nose throws, moving with light and head."""

    depth: Floats  #: (3,) how much of R, G, B it takes
    angle: float
    often: float  #: edges over the face
    sharp: float
    speed: float
    phase: float

    @classmethod
    def cast(cls, random: Random) -> _Shadow:
        depth = random.uniform(0.15, 0.65) + np.sort(random.uniform(-0.06, 0.06, 3))
        return cls(
            depth=depth.astype(np.float32),
            angle=random.uniform(0, 2 * np.pi),
            often=random.uniform(0.5, 3),
            sharp=random.uniform(1, 8),
            speed=random.uniform(0, 8),
            phase=random.uniform(0, 2 * np.pi),
        )

    def at(self, t: float) -> Floats:
        """Return what is left of R, G, B (SIDE, SIDE, 3)."""
        along = ((_X - MIDDLE) * np.cos(self.angle) + (_Y - MIDDLE) * np.sin(self.angle)) / MIDDLE
        wave = np.sin(along * self.often + self.speed * t + self.phase)
        dark = 1 / (1 + np.exp(-self.sharp * wave))
        return np.asarray(1 - dark[..., None] * self.depth, np.float32)


def _turns(random: Random, count: int, causes: Floats) -> tuple[Floats, Floats, float]:
    """Return turns of the head (n,), what one bends (SIDE, SIDE, 2), and its shade."""
    if random.random() > 0.35:
        return np.zeros(count, np.float32), np.zeros((SIDE, SIDE, 2), np.float32), 0.0
    way = np.sin(np.linspace(0, random.uniform(1, 9), count) + random.uniform(0, 2 * np.pi))
    turn = (random.uniform(0.3, 2.2) * way).astype(np.float32)
    causes[:, int(random.integers(0, 2))] += turn
    return turn, _field(random, random.uniform(0.2, 0.9)), random.uniform(0, 0.12)
