"""Compute the input of the occlusion network: each cell, and the face without occluders.

For every frame, the unoccluded face is a weighted mean of all frames of the take (Nadaraya and
Watson 1964). Frames of similar pose and mouth count most, and each cell counts by the probability
that nothing covers it there. A long take shows each pose again at other times, with the shadows
that belong to it. There only the nearest frames count, and none of about the same time, because
they show the same occluder.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lipwright.face.appearance_model import AppearanceModel
from lipwright.face.lower_face_raster import RASTER_SIDE, raster_layout
from lipwright.types import Bools, Floats, Ints

CHANNELS = 21  # of the network's input
FAR_WEIGHT = 0.02  # weight of a frame that is not near at all
LONG_TAKE = 250  # frames from which on a take shows each pose again; in such a take,
LONG_TAKE_FALLOFF = 4.0  # squared distances count so many times,
LONG_TAKE_FAR_WEIGHT = 0.002  # this is the weight of frames that are not near,
MIN_FRAMES_APART = 60  # and frames nearer in time than this do not count
OTHER_SHOT_DISTANCE = 3.0  # added to the squared distance of a frame of another shot
HALF_KNOWN_FRAMES = 0.5  # weight of unoccluded frames at which a cell's confidence is one half
# A cell contributes to the lighting estimate from this confidence and this probability on:
MIN_CONFIDENCE, MIN_UNOCCLUDED = 0.3, 0.5
# Deviation at which a cell is unoccluded with probability one half, and the slope of the logistic:
DEVIATION_MIDDLE, DEVIATION_SLOPE = 2.0, 3.0
# Scales of the channels, each for L, a, b:
SKIN_COLOUR = np.array([50, 10, 12], np.float32)[:, None, None]
COLOUR_SCALE = np.array([25, 12, 12], np.float32)[:, None, None]
DIFFERENCE_SCALE = np.array([10, 4, 4], np.float32)[:, None, None]
SPREAD_SCALE = np.array([5, 2, 2], np.float32)[:, None, None]
MAX_VALUE = 6.0  # of any channel, positive or negative


@dataclass(frozen=True, kw_only=True)
class CellFrames:
    """What the cells of m frames show."""

    colour: Floats  #: (m, 3, SIDE, SIDE) L 0 to 100, a and b around 0
    predictors: Floats  #: (m, k) of :func:`lipwright.face.appearance_model.predictors_of`
    visible: Bools  #: (m, SIDE, SIDE) cells that face the camera
    deviation: Floats  #: (m, SIDE, SIDE) from the appearance model, in usual deviations
    likeness_drop: Floats  #: (m,) of :meth:`AppearanceModel.likeness_drop`
    shot: Ints  #: (m,) index of each frame's shot
    index: Ints  #: (m,) of each frame in the take

    @classmethod
    def of(
        cls,
        model: AppearanceModel,
        features: Floats,
        predictors: Floats,
        visible: Bools,
        shot: Ints,
        index: Ints,
    ) -> CellFrames:
        """Compare frames with the appearance model.

        Args:
            model: of the take.
            features: (m, SIDE, SIDE, 4) of :func:`lipwright.face.appearance_model.cell_features`.
            predictors: (m, k).
            visible: (m, SIDE, SIDE).
            shot: (m,).
            index: (m,).
        """
        colour = np.ascontiguousarray(features[..., :3].transpose(0, 3, 1, 2))
        colour[:, 1:] -= 128
        return cls(
            colour=colour,
            predictors=predictors,
            visible=visible,
            deviation=model.deviation(features, predictors, visible),
            likeness_drop=model.likeness_drop(features, predictors),
            shot=shot,
            index=index,
        )

    def select(self, which: Ints) -> CellFrames:
        """Return some of the frames."""
        return CellFrames(**{name: value[which] for name, value in vars(self).items()})

    def unoccluded_by_deviation(self) -> Floats:
        """Return the probability (m, SIDE, SIDE) that nothing covers a cell, from its deviation."""
        odds = np.clip((self.deviation - DEVIATION_MIDDLE) * DEVIATION_SLOPE, -30, 30)
        probability: Floats = (1 / (1 + np.exp(odds))).astype(np.float32)
        return probability


@dataclass(frozen=True, kw_only=True)
class UnoccludedFace:
    """The face of a take without occluders, estimated from n of its frames."""

    frames: CellFrames
    unoccluded: Floats  #: (n, SIDE, SIDE) probability that nothing covers each cell, 0 to 1
    long_take: bool = False  #: whether the take shows each pose again

    def network_input(self, frames: CellFrames, unoccluded: Floats) -> Floats:
        """Return the occlusion network's input for frames: float32 (m, CHANNELS, SIDE, SIDE).

        Args:
            frames: m frames of the take.
            unoccluded: (m, SIDE, SIDE) 0 to 1, what is known so far of their cells.
        """
        mean, spread, confidence = self.estimate_colour(frames)
        light = _lighting_shift(frames, mean, confidence, unoccluded)
        out = np.zeros((len(frames.colour), CHANNELS, RASTER_SIDE, RASTER_SIDE), np.float32)
        known = confidence[:, None]
        out[:, 0:3] = (frames.colour - SKIN_COLOUR) / COLOUR_SCALE
        out[:, 3:6] = (frames.colour - light[:, :, None, None] - mean) / DIFFERENCE_SCALE * known
        out[:, 6:9] = (mean - SKIN_COLOUR) / COLOUR_SCALE * known
        out[:, 9:12] = np.log1p(spread / SPREAD_SCALE) * known
        out[:, 12] = confidence
        out[:, 13] = frames.visible
        out[:, 14:16] = np.mgrid[0:RASTER_SIDE, 0:RASTER_SIDE][::-1] / (RASTER_SIDE / 2) - 1
        yaw, pitch, opening = frames.predictors[:, [0, 1, 5]].T
        out[:, 16], out[:, 17], out[:, 18] = (x[:, None, None] for x in (opening, yaw, pitch))
        out[:, 19] = np.clip(frames.likeness_drop, -2, 3)[:, None, None]
        out[:, 20] = np.sqrt(np.maximum(frames.deviation, 0)) - 1
        return np.clip(out, -MAX_VALUE, MAX_VALUE, out=out)

    @cached_property
    def _moments(self) -> tuple[Floats, Floats, Floats]:
        """Cell weights (n, c), and colours and their squares times the weights, (n, 3, c)."""
        own = self.frames
        cells = (self.unoccluded * own.visible).reshape(len(own.colour), 1, -1)
        colour = own.colour.reshape(len(own.colour), 3, -1)
        return cells[:, 0], cells * colour, cells * colour**2

    def _frame_weights(self, frames: CellFrames) -> Floats:
        """Return the weight of each own frame for each of *frames*, (m, n)."""
        own, far_weight = self.frames, FAR_WEIGHT
        distance = ((frames.predictors[:, None] - own.predictors[None]) ** 2).sum(-1) / 2
        if self.long_take:
            distance, far_weight = LONG_TAKE_FALLOFF * distance, LONG_TAKE_FAR_WEIGHT
        distance += OTHER_SHOT_DISTANCE * (frames.shot[:, None] != own.shot[None])
        apart = np.abs(frames.index[:, None] - own.index[None])
        counts = (apart >= MIN_FRAMES_APART) | (not self.long_take)
        nearest = np.where(counts, distance, np.inf).min(1, keepdims=True)
        near = np.exp(np.minimum(nearest - distance, 0)) + far_weight
        weight: Floats = (near * counts).astype(np.float32)
        return weight

    def estimate_colour(self, frames: CellFrames) -> tuple[Floats, Floats, Floats]:
        """Estimate the colour of the face without occluders for the pose and mouth of *frames*.

        Returns:
            Mean and spread, (m, 3, SIDE, SIDE) L, a, b, and the confidence of both, (m, SIDE, SIDE)
            0 to 1.
        """
        weight = self._frame_weights(frames)
        cells, once, twice = self._moments
        total = weight @ cells
        first = np.tensordot(weight, once, 1) / (total[:, None] + np.float32(1e-3))
        second = np.tensordot(weight, twice, 1) / (total[:, None] + np.float32(1e-3))
        spread = np.sqrt(np.maximum(second - first**2, 0))
        shape = (len(frames.colour), 3, RASTER_SIDE, RASTER_SIDE)
        confidence = (total / (total + HALF_KNOWN_FRAMES)).reshape(-1, RASTER_SIDE, RASTER_SIDE)
        return first.reshape(shape), spread.reshape(shape), confidence


def _lighting_shift(
    frames: CellFrames, mean: Floats, confidence: Floats, unoccluded: Floats
) -> Floats:
    """Return the difference in lighting of frames to the unoccluded face: (m, 3) L, a, b."""
    skin = raster_layout().skin
    usable = (frames.visible & (confidence > MIN_CONFIDENCE) & (unoccluded > MIN_UNOCCLUDED))[
        :, skin
    ]
    difference = np.where(usable[:, None], (frames.colour - mean)[:, :, skin], np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # frames without a usable cell
        shift: Floats = np.nan_to_num(np.nanmedian(difference, -1)).astype(np.float32)
    return shift
