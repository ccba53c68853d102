"""Render a public-domain portrait with a moving mouth, by the renderer's own mesh and warp."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from io import BytesIO

import cv2
import numpy as np

from lipwright.face import canonical
from lipwright.face.landmarks import INNER_LIPS, MOUTH
from lipwright.media.picture import Box
from lipwright.render import face_mesh, warp
from lipwright.render.composite import fill_polygon
from lipwright.sample.curves import UPPER_INNER
from lipwright.types import Doubles, Floats, Rgb

PORTRAIT_HEIGHT = 320  # pixels of the portrait that a square frame shows
LIP_LINE, LIP_SHADE = 0.016, 0.7  # thickness in inter-ocular distances; darkness, 0 to 1
LIP_LINE_BLUR = 0.008  # sigma, inter-ocular distances
INTERIOR_BLUR = 0.012  # sigma of the interior's edge, inter-ocular distances
MIN_BLUR = 0.5  # pixels: least sigma of both
INPAINT_RADIUS = 0.03  # inter-ocular distances
INPAINT_FROM = 0.02  # mask value, 0 to 1: inpaints a little beyond the line the tracker sees
TONGUE_DEPTH = 0.16  # inter-ocular distances below the portrait's lips where only tongue shows
CHIN = 152  # landmark that the head turns about

DARK = np.array([44, 16, 16], np.float32)  # RGB of the mouth's depth
TONGUE = np.array([112, 56, 54], np.float32)  # RGB
UPPER_EDGE = MOUTH[UPPER_INNER]  # landmarks of the upper lip's inner edge


@dataclass(frozen=True, kw_only=True)
class AnimatedPortrait:
    """The portrait, laid out on a frame, with a mouth and a head that move."""

    size: tuple[int, int]  #: width and height in pixels

    @cached_property
    def _layout(self) -> tuple[Rgb, Floats]:
        """The portrait (H, W, 3) uint8 RGB and its landmarks (478, 3), in frame pixels."""
        portrait, points = _load_portrait()
        width, height = self.size
        side = portrait.shape[1]
        scale = max(width / side, height / PORTRAIT_HEIGHT)
        left = float(np.clip(points[:, 0].mean() - width / scale / 2, 0, side - width / scale))
        shift = np.array([-left * scale + (scale - 1) / 2, (scale - 1) / 2])
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        interpolation = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
        canvas = cv2.warpAffine(
            portrait, matrix, self.size, flags=interpolation, borderMode=cv2.BORDER_REFLECT_101
        )
        placed = points * np.float32(scale)
        placed[:, :2] += shift.astype(np.float32)
        return np.asarray(canvas, np.uint8), placed

    @cached_property
    def _pose(self) -> canonical.Pose:
        return canonical.estimate_pose(self._layout[1][None])

    @cached_property
    def mouth(self) -> Floats:
        """The portrait's own canonical mouth shape (61, 3)."""
        return np.asarray(canonical.mouth_shapes(self._layout[1][None])[0], np.float32)

    @property
    def unit(self) -> float:
        """Pixels per inter-ocular distance."""
        return 1 / float(self._pose.scale[0])

    @property
    def centre(self) -> Doubles:
        """The point x, y that the head turns about: the chin, pixels."""
        return self._layout[1][CHIN, :2].astype(np.float64)

    def landmarks(self, move: Floats, sway: Doubles) -> Floats:
        """Return the true landmarks (478, 3) of one frame, pixels.

        Args:
            move: (61, 3) canonical displacement of the mouth.
            sway: (2, 3) matrix of the head's motion.
        """
        points = self._layout[1].copy()
        points[: face_mesh.FACE_LANDMARKS] += self._displacement(move)
        points[:, :2] = points[:, :2] @ sway[:, :2].T + sway[:, 2]
        points[:, 2] *= np.sqrt(np.linalg.det(sway[:, :2]))
        return points

    def draw(self, move: Floats, sway: Doubles) -> Rgb:
        """Return one frame (H, W, 3) uint8 RGB.

        Args:
            move: (61, 3) canonical displacement of the mouth.
            sway: (2, 3) matrix of the head's motion.
        """
        canvas, points = self._layout
        box = self._box
        rest, target = face_mesh.mesh_vertices(points, self._displacement(move), self.unit)
        raster = warp.rasterise(target, face_mesh.mesh_triangles(), box, self.unit)
        positions = warp.backward_map(raster, rest)
        skin = warp.sample_bicubic(self._skin_without_teeth, positions, (box.x0, box.y0))
        inside = self._interior_mask(target)
        patch = skin + inside[..., None] * (self._interior - skin)
        patch += self._lip_line(target)[..., None] * (DARK - patch)
        still = canvas.copy()
        still[box.y0 : box.y1, box.x0 : box.x1] = np.clip(patch + 0.5, 0, 255).astype(np.uint8)
        frame = cv2.warpAffine(
            still, sway, self.size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
        )
        return np.asarray(frame, np.uint8)

    def _displacement(self, move: Floats) -> Floats:
        """Return displacements (468, 3) in pixels for a canonical mouth displacement (61, 3)."""
        pixels = move @ self._pose.rotation[0].T / self._pose.scale[0]
        return np.asarray(face_mesh.follow_weights() @ pixels, np.float32)

    @cached_property
    def _box(self) -> Box:
        """The part of the frame whose pixels the mouth can change."""
        vertices = face_mesh.rest_vertices(self._layout[1], self.unit)
        moving = vertices[face_mesh.moving_vertices(), :2]
        low = np.maximum(np.floor(moving.min(0)).astype(int) - 2, 0)
        high = np.minimum(np.ceil(moving.max(0)).astype(int) + 2, self.size)
        return Box(int(low[0]), int(low[1]), int(high[0]), int(high[1]))

    def _interior_mask(self, points: Floats) -> Floats:
        """Return a soft mask over the box, 1 between the inner lips of vertices (n, 3)."""
        mask = fill_polygon(points[INNER_LIPS], self._box)
        sigma = max(INTERIOR_BLUR * self.unit, MIN_BLUR)
        return np.asarray(cv2.GaussianBlur(mask, (0, 0), sigma), np.float32)

    def _lip_line(self, points: Floats) -> Floats:
        """Return the shade under the upper lip, over the box: closed lips show it as a line."""
        box, line = self._box, points[UPPER_EDGE, :2]
        shade = np.zeros((box.y1 - box.y0, box.x1 - box.x0), np.float32)
        fixed = np.round((line - [box.x0, box.y0]) * 16).astype(np.int32)
        thickness = max(round(LIP_LINE * self.unit), 1)
        cv2.polylines(shade, [fixed], False, LIP_SHADE, thickness, cv2.LINE_8, shift=4)
        sigma = max(LIP_LINE_BLUR * self.unit, MIN_BLUR)
        return np.asarray(cv2.GaussianBlur(shade, (0, 0), sigma), np.float32)

    @cached_property
    def _skin_without_teeth(self) -> Floats:
        """The portrait over the box with its teeth inpainted: they must not show on the lips."""
        canvas, points = self._layout
        box = self._box
        interior = self._interior_mask(points) > INPAINT_FROM
        own = canvas[box.y0 : box.y1, box.x0 : box.x1]
        radius = INPAINT_RADIUS * self.unit
        filled = cv2.inpaint(own, interior.astype(np.uint8), radius, cv2.INPAINT_TELEA)
        return np.asarray(filled, np.float32)

    @cached_property
    def _interior(self) -> Floats:
        """The open mouth over the box: the portrait's teeth, a dark cavity and a tongue."""
        canvas, points = self._layout
        box = self._box
        teeth = np.clip(2 * self._interior_mask(points) - 1, 0, 1)[..., None]  # well inside
        y = np.arange(box.y0, box.y1, dtype=np.float32)[:, None, None]
        depth = np.clip((y - points[INNER_LIPS, 1].max()) / (TONGUE_DEPTH * self.unit), 0, 1)
        dark = DARK + depth * (TONGUE - DARK)
        own = canvas[box.y0 : box.y1, box.x0 : box.x1].astype(np.float32)
        out: Floats = (dark + teeth * (own - dark)).astype(np.float32)
        return out


def _load_portrait() -> tuple[Rgb, Floats]:
    """Return the portrait (h, w, 3) uint8 RGB and its landmarks (478, 3) in pixels."""
    folder = files("lipwright") / "assets"
    encoded = np.frombuffer((folder / "portrait.png").read_bytes(), np.uint8)
    bgr = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    with np.load(BytesIO((folder / "portrait_landmarks.npz").read_bytes())) as data:
        points = np.asarray(data["landmarks"], np.float32)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8), points
