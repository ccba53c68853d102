"""Crop the view around a face, which an engine paints, and keep what covers the face in front."""

from __future__ import annotations

from lipwright.engines.base import FaceView, Patch
from lipwright.face.canonical import interocular_distance
from lipwright.media.picture import Box, Picture
from lipwright.render.occlusion import occluder_mask
from lipwright.types import Bools, Floats

VIEW_MARGIN = 0.6  # around the landmarks, inter-ocular distances
CACHE_MARGIN = 0.75  # the same for cached views, whose landmarks are not smoothed yet


def face_box(landmarks: Floats, margin: float = VIEW_MARGIN) -> Box:
    """Return a box around a face (478, 3), wider by a margin in inter-ocular distances.

    The box may extend beyond the frame.
    """
    room = margin * interocular_distance(landmarks)
    low, high = landmarks[:, :2].min(0) - room, landmarks[:, :2].max(0) + room
    return Box(int(low[0]), int(low[1]), int(high[0]) + 1, int(high[1]) + 1)


def crop_view(picture: Picture, landmarks: Floats, occluder: Bools | None = None) -> FaceView:
    """Crop the view around a face.

    Args:
        picture: the whole frame.
        landmarks: (478, 3) pixels.
        occluder: (32, 32) covered cells of the lower face; None: not detected.
    """
    box = picture.align(face_box(landmarks))
    hidden = None
    if occluder is not None and occluder.any():
        hidden = occluder_mask(occluder, landmarks, box)
    return FaceView(rgb=picture.rgb(box), box=box, landmarks=landmarks, occluder=hidden)


def visible_mask(patch: Patch, view: FaceView) -> Floats:
    """Return the mask (h, w) of a patch without what covers the face, for any engine."""
    return patch.mask if view.occluder is None else patch.mask * (1 - view.occluder)
