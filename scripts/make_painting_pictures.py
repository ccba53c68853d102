"""Make docs/images/painting.png: how one frame is painted, shown on the public-domain portrait."""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.shape import MOUTH, align, interocular, opening, to_canonical
from lipwright.media.contact_sheet import sheet, square, write_png
from lipwright.media.decode.video import read_video
from lipwright.media.picture import Box, Picture
from lipwright.media.probe import probe
from lipwright.pipeline.staging import view_of
from lipwright.render.bank import Exemplar, cut
from lipwright.render.composite import LOOP, mouth_mask
from lipwright.render.face_mesh import mesh, ring_of, vertices
from lipwright.render.paint import Brush, Stroke, paint_mouth
from lipwright.render.warp import affine_between, backward_map, rasterise, sample
from lipwright.sample import make_sample
from lipwright.types import Rgb

PICTURE = Path(__file__).parents[1] / "docs/images/painting.png"
SIDE = 1.9  # of a cell in the frame, inter-ocular distances
CELL = 232  # pixels
INK = (40, 200, 120)


def grid(rgb: Rgb, points: NDArray[np.float32]) -> Rgb:
    """Draw the mesh over a picture."""
    drawn = rgb.copy()
    lines = [np.round(points[t, :2] * 16).astype(np.int32) for t in mesh()]
    cv2.polylines(drawn, lines, True, INK, 1, cv2.LINE_AA, 4)
    return np.asarray(drawn, np.uint8)


def in_place(
    exemplar: Exemplar, rest: NDArray[np.float32], target: NDArray[np.float32], frame: Rgb
) -> Rgb:
    """Warp an exemplar to the wanted mouth and lay it over the frame without mask or light."""
    x0, y0 = np.floor(target[LOOP, :2].min(0)).astype(int) - 12
    x1, y1 = np.ceil(target[LOOP, :2].max(0)).astype(int) + 12
    box = Box(int(x0), int(y0), int(x1), int(y1))
    raster = rasterise(target, mesh(), box, interocular(rest))
    base = affine_between(target[LOOP], exemplar.vertices[LOOP])
    laid = frame.copy()
    laid[y0:y1, x0:x1] = sample(
        exemplar.rgb, backward_map(raster, exemplar.vertices, base), exemplar.origin
    )
    return laid


def main() -> None:
    """Paint the widest mouth of a sample into the frame that shows the most closed one."""
    with tempfile.TemporaryDirectory() as folder:
        truth = make_sample(Path(folder) / "sample.mp4", seconds=4, size=(900, 900))
        pictures: list[Picture] = [f.picture for f in read_video(probe(truth.path))]
    pose = align(truth.landmarks)
    mouth = to_canonical(truth.landmarks[:, MOUTH], pose)
    now, then = int(truth.opening.argmin()), int(truth.opening.argmax())
    frame, points = pictures[now].rgb(), truth.landmarks[now]
    unit = interocular(points)
    view, other = (view_of(pictures[i], truth.landmarks[i]) for i in (now, then))
    exemplar = cut(other.rgb, other.box, truth.landmarks[then])
    brush = Brush(
        pose=pose[now : now + 1],
        landmarks=points,
        own=mouth[now],
        wanted=mouth[then],
        calm=mouth[now],
        top=255,
    )
    stroke = Stroke(exemplar=exemplar, share=1.0, opening=float(opening(mouth[then : then + 1])[0]))
    painted, _ = paint_mouth(view.rgb, view.box, brush, [stroke], 1.0)
    result = frame.copy()
    result[view.box.y0 : view.box.y1, view.box.x0 : view.box.x1] = painted
    _, target = vertices(points, brush.moved(), unit)
    whole = pictures[now].whole
    mask = mouth_mask(target, whole, unit)[..., None]
    shown = frame * (1 - 0.6 * mask) + np.array(INK) * 0.6 * mask
    difference = np.clip(4 * np.abs(result.astype(int) - frame), 0, 255).astype(np.uint8)
    cells = [
        grid(frame, ring_of(points, unit)),
        grid(frame, target),
        in_place(exemplar, points, target, frame),
        shown.astype(np.uint8),
        result,
        difference,
    ]
    centre = points[[61, 291, 152], :2].mean(0)
    row = [square(c, (float(centre[0]), float(centre[1])), SIDE * unit, CELL) for c in cells]
    write_png(PICTURE, sheet([row[:3], row[3:]]))


if __name__ == "__main__":
    main()
