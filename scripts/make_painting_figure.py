"""Make docs/images/painting.png: how one frame is painted, shown on the public-domain portrait."""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np

from lipwright.cli.contact_sheet import crop_square, make_sheet, write_png
from lipwright.face.canonical import (
    estimate_pose,
    interocular_distance,
    mouth_opening,
    to_canonical,
)
from lipwright.face.landmarks import MOUTH
from lipwright.media.decode.video import read_video
from lipwright.media.picture import Box, Picture
from lipwright.media.probe import probe
from lipwright.pipeline.views import crop_view
from lipwright.render.bank import Exemplar, ExemplarStore, crop_exemplar
from lipwright.render.composite import MOUTH_LOOP, mouth_mask
from lipwright.render.face_mesh import mesh_triangles, mesh_vertices, rest_vertices
from lipwright.render.paint import MouthTarget, WeightedExemplar, paint_mouth
from lipwright.render.warp import backward_map, fit_affine, rasterise, sample_bicubic
from lipwright.sample import make_sample
from lipwright.types import Floats, Rgb

FIGURE = Path(__file__).parents[1] / "docs/images/painting.png"
CELL_SIDE = 1.9  # of a cell in the frame, inter-ocular distances
CELL_PIXELS = 232
COLOUR = (40, 200, 120)  # of mesh and mask
MASK_OPACITY = 0.6
DIFFERENCE_GAIN = 4
MARGIN = 12  # pixels around the mouth that the exemplar is warped to
CENTRE = [61, 291, 152]  # landmarks around which the cells are cut: mouth corners and chin


def draw_mesh(rgb: Rgb, points: Floats) -> Rgb:
    """Return a picture with the mesh drawn over it."""
    drawn = rgb.copy()
    lines = [np.round(points[t, :2] * 16).astype(np.int32) for t in mesh_triangles()]
    cv2.polylines(drawn, lines, True, COLOUR, 1, cv2.LINE_AA, 4)
    return np.asarray(drawn, np.uint8)


def warp_exemplar(exemplar: Exemplar, landmarks: Floats, target: Floats, frame: Rgb) -> Rgb:
    """Warp an exemplar to the target mesh, and lay it over the frame without mask or relighting."""
    x0, y0 = np.floor(target[MOUTH_LOOP, :2].min(0)).astype(int) - MARGIN
    x1, y1 = np.ceil(target[MOUTH_LOOP, :2].max(0)).astype(int) + MARGIN
    box = Box(int(x0), int(y0), int(x1), int(y1))
    raster = rasterise(target, mesh_triangles(), box, interocular_distance(landmarks))
    base = fit_affine(target[MOUTH_LOOP], exemplar.vertices[MOUTH_LOOP])
    result = frame.copy()
    result[y0:y1, x0:x1] = sample_bicubic(
        exemplar.rgb, backward_map(raster, exemplar.vertices, base), exemplar.origin
    )
    return result


def main() -> None:
    """Paint the widest mouth of a sample into the frame with the most closed one."""
    with tempfile.TemporaryDirectory() as folder:
        sample = make_sample(Path(folder) / "sample.mp4", seconds=4, size=(900, 900))
        pictures: list[Picture] = [f.picture for f in read_video(probe(sample.path))]
    pose = estimate_pose(sample.landmarks)
    mouth = to_canonical(sample.landmarks[:, MOUTH], pose)
    closed, widest = int(sample.opening.argmin()), int(sample.opening.argmax())
    frame, points = pictures[closed].rgb(), sample.landmarks[closed]
    unit = interocular_distance(points)
    view, widest_view = (crop_view(pictures[i], sample.landmarks[i]) for i in (closed, widest))
    store = ExemplarStore()
    exemplar = crop_exemplar(store, widest_view.rgb, widest_view.box, sample.landmarks[widest])
    target = MouthTarget(
        pose=pose[closed : closed + 1],
        landmarks=points,
        own=mouth[closed],
        wanted=mouth[widest],
        shown=mouth[widest],
        closed_mouth=mouth[closed],
        top=255,
    )
    opening = float(mouth_opening(mouth[widest : widest + 1])[0])
    weighted = WeightedExemplar(exemplar=exemplar, share=1.0, opening=opening)
    painted, _ = paint_mouth(view.rgb, view.box, target, [weighted], 1.0)
    result = frame.copy()
    result[view.box.y0 : view.box.y1, view.box.x0 : view.box.x1] = painted
    _, vertices = mesh_vertices(points, target.displacement(), unit)
    mask = MASK_OPACITY * mouth_mask(vertices, pictures[closed].bounds, unit)[..., None]
    masked = frame * (1 - mask) + np.array(COLOUR) * mask
    difference = DIFFERENCE_GAIN * np.abs(result.astype(int) - frame)
    cells = [
        draw_mesh(frame, rest_vertices(points, unit)),
        draw_mesh(frame, vertices),
        warp_exemplar(exemplar, points, vertices, frame),
        masked.astype(np.uint8),
        result,
        np.clip(difference, 0, 255).astype(np.uint8),
    ]
    x, y = (float(v) for v in points[CENTRE, :2].mean(0))
    crops = [crop_square(c, (x, y), CELL_SIDE * unit, CELL_PIXELS) for c in cells]
    write_png(FIGURE, make_sheet([crops[:3], crops[3:]]))


if __name__ == "__main__":
    main()
