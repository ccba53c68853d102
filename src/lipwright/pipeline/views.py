"""Crop the view around a face, which an engine paints, and keep what covers the face in front."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lipwright.engines.base import FaceView, Overlay, Patch
from lipwright.face.canonical import interocular_distance
from lipwright.face.overlays.graphics import ViewMatte
from lipwright.media.picture import Box, Picture
from lipwright.render.occlusion import occluder_mask
from lipwright.render.overlay import recombine, separate
from lipwright.types import Bools, DeepRgb, Floats

FindMatte = Callable[[DeepRgb, Box], ViewMatte | None]  #: from pixels and box of a view

VIEW_MARGIN = 0.6  # around the landmarks, inter-ocular distances
CACHE_MARGIN = 0.75  # the same for cached views, whose landmarks are not smoothed yet


def face_box(landmarks: Floats, margin: float = VIEW_MARGIN) -> Box:
    """Return a box around a face (478, 3), wider by a margin in inter-ocular distances.

    The box may extend beyond the frame.
    """
    room = margin * interocular_distance(landmarks)
    low, high = landmarks[:, :2].min(0) - room, landmarks[:, :2].max(0) + room
    return Box(int(low[0]), int(low[1]), int(high[0]) + 1, int(high[1]) + 1)


def crop_view(
    picture: Picture,
    landmarks: Floats,
    occluder: Bools | None = None,
    overlays: FindMatte | None = None,
) -> FaceView:
    """Crop the view around a face.

    Args:
        picture: the whole frame.
        landmarks: (478, 3) pixels.
        occluder: (32, 32) covered cells of the lower face; None: not detected.
        overlays: returns the graphics of the frame in a view; None: there are none.
    """
    box = picture.align(face_box(landmarks))
    hidden = None
    if occluder is not None and occluder.any():
        hidden = occluder_mask(occluder, landmarks, box)
    view = FaceView(rgb=picture.rgb(box), box=box, landmarks=landmarks, occluder=hidden)
    return without_graphics(view, overlays)


def without_graphics(view: FaceView, overlays: FindMatte | None) -> FaceView:
    """Take the graphics out of a view; what they cover wholly counts as occluded."""
    matte = overlays(view.rgb, view.box) if overlays else None
    if matte is None:
        return view
    separated = separate(view.rgb, matte)
    hidden = separated.opaque
    if view.occluder is not None:
        hidden = np.maximum(hidden, view.occluder)
    return replace(
        view,
        rgb=separated.face,
        occluder=hidden,
        overlay=Overlay(shown=view.rgb, separated=separated),
    )


def with_graphics(patch: Patch, view: FaceView) -> Patch:
    """Lay the graphics of a view over its patch."""
    if view.overlay is None:
        return patch
    return replace(patch, rgb=recombine(patch.rgb, view.overlay.shown, view.overlay.separated))


def visible_mask(patch: Patch, view: FaceView) -> Floats:
    """Return the mask (h, w) of a patch without what covers the face, for any engine."""
    return patch.mask if view.occluder is None else patch.mask * (1 - view.occluder)
