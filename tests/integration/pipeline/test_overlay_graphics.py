"""Graphics that stand on the screen stay as they are, and the mouth under them is painted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from face_clips import frames, write_clip, write_speech
from lipwright.engines.registry import find_engine
from lipwright.face.landmarker import FaceLandmarker
from lipwright.face.landmarks import LIPS
from lipwright.face.overlays.graphics import OverlayReader
from lipwright.face.track import Tracker
from lipwright.media.decode.video import read_video
from lipwright.media.picture import Picture
from lipwright.media.probe import probe, require_audio
from lipwright.options import SyncMode
from lipwright.pipeline import stages
from lipwright.pipeline.plan import RenderPlan
from lipwright.pipeline.resources import Resources
from lipwright.pipeline.timing import plan_output

SIDE, COUNT = 320, 36
BLOCK = 5  # pixels of a block of a letter
CHANGE = 18  # first frame of the second subtitle
TOLERANCE = 6  # levels by which a kept pixel may differ: four pixels share one chroma sample
WHITE, BLACK, RED, BLUE = (255, 255, 255), (0, 0, 0), (205, 30, 40), (20, 60, 160)

Matte = tuple[np.ndarray, np.ndarray]  #: RGB (SIDE, SIDE, 3) and opacity (SIDE, SIDE)
Draw = Callable[[int, int, int], Matte]  #: of a frame, and the place of the mouth


@pytest.fixture(scope="module")
def resources() -> Resources:
    return Resources(threads=1)


@pytest.fixture(scope="module")
def mouth() -> tuple[int, int]:
    """Where the mouth is on average, pixels."""
    tracker = Tracker(FaceLandmarker())
    for rgb in frames(COUNT, SIDE):
        tracker.feed(Picture.from_rgb(rgb))
    x, y = np.asarray(tracker.tracks()[0].landmarks)[:, LIPS, :2].mean((0, 1))
    return round(float(x)), round(float(y))


def blank() -> Matte:
    return np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros((SIDE, SIDE), np.uint8)


def letters(matte: Matte, line: str, x: int, y: int, colour: tuple[int, int, int]) -> None:
    """Write letters of 5 x 3 blocks; a block has 5 x 5 pixels."""
    random = np.random.default_rng([ord(c) for c in line])
    for k in range(len(line)):
        glyph = random.random((5, 3)) < 0.6
        glyph[:, 0] = True
        shape = glyph.repeat(BLOCK, 0).repeat(BLOCK, 1)
        part = slice(y, y + 5 * BLOCK), slice(x + 4 * BLOCK * k, x + 4 * BLOCK * k + 3 * BLOCK)
        matte[0][part][shape], matte[1][part][shape] = colour, 255


def caption(_frame: int, x: int, y: int) -> Matte:
    matte = blank()
    letters(matte, "CAPTION", x - 70, y + 12, WHITE)
    return matte


def subtitles(frame: int, x: int, y: int) -> Matte:
    matte = blank()
    letters(matte, "BEFORE" if frame < CHANGE else "AFTERW", x - 60, y + 14, WHITE)
    edge = cv2.dilate(matte[1], np.ones((3, 3), np.uint8))
    matte[1][:] = edge
    return matte


def logo(_frame: int, x: int, y: int) -> Matte:
    matte = blank()
    for image, value in zip(matte, (RED, 255), strict=True):
        cv2.circle(image, (x + 20, y + 18), 24, value, -1)
    letters(matte, "T", x + 13, y + 6, WHITE)
    return matte


def ticker(frame: int, x: int, y: int) -> Matte:
    matte = blank()
    matte[0][y + 4 : y + 48], matte[1][y + 4 : y + 48] = BLUE, 255
    letters(matte, "NEWS", max(4, x + 70 - 3 * frame), y + 14, WHITE)
    return matte


def half_box(_frame: int, x: int, y: int) -> Matte:
    matte = blank()
    matte[1][y : y + 44, 10:-10] = 128
    letters(matte, "BOX", x - 30, y + 12, WHITE)
    return matte


def make_plan(folder: Path, draw: Draw | None, place: tuple[int, int], resources: Resources):
    """Return a plan for the clip with a graphic, and the opacity (SIDE, SIDE) in each frame."""
    pictures, mattes = [], []
    for k, rgb in enumerate(frames(COUNT, SIDE)):
        colour, opacity = blank() if draw is None else draw(k, *place)
        share = opacity[..., None] / np.float32(255)
        pictures.append(np.rint(rgb + (colour - rgb.astype(np.float32)) * share).astype(np.uint8))
        mattes.append(opacity)
    source = probe(write_clip(folder / "clip.mp4", pictures))
    speech = probe(write_speech(folder / "speech.wav", COUNT / 25))
    take = stages.track(source, resources)
    timeline = plan_output(take, require_audio(speech), SyncMode.CUT_OFF)
    heard = stages.hear(speech, timeline, source, resources)
    faces = [
        stages.animate(face, take, heard, resources)
        for face in stages.select_faces(take, source, resources)
    ]
    return stages.plan(source, take, timeline, faces), mattes


def paint(plan: RenderPlan, resources: Resources, part: range | None = None) -> list[Picture]:
    engine = find_engine(plan.engine).open(resources.device, resources.store)
    return [*stages.paint(plan, engine, resources, part=part)]


def changes(plan: RenderPlan, painted: list[Picture]) -> list[np.ndarray]:
    """Return the largest difference (SIDE, SIDE) of each painted frame to its source, levels."""
    before = [f.picture.rgb().astype(int) for f in read_video(plan.source)]
    return [np.abs(a - b.rgb()).max(-1) for a, b in zip(before, painted, strict=False)]


@pytest.mark.parametrize("draw", [caption, subtitles, logo, ticker])
def test_an_opaque_graphic_stays_and_the_mouth_beside_it_moves(draw, mouth, resources, tmp_path):
    plan, mattes = make_plan(tmp_path, draw, mouth, resources)
    changed = changes(plan, paint(plan, resources))
    inside = np.concatenate([c[m > 250] for c, m in zip(changed, mattes, strict=True)])
    assert (inside > TOLERANCE).mean() < 0.01
    beside = [(c[m == 0] > TOLERANCE).sum() for c, m in zip(changed, mattes, strict=True)]
    assert np.median(beside) > 100


def test_the_mouth_moves_under_a_translucent_box_whose_edge_stays(mouth, resources, tmp_path):
    plan, mattes = make_plan(tmp_path, half_box, mouth, resources)
    painted = paint(plan, resources)
    changed = changes(plan, painted)
    letters_stay = np.concatenate([c[m > 250] for c, m in zip(changed, mattes, strict=True)])
    assert (letters_stay > TOLERANCE).mean() < 0.01
    under = [
        (c[(m > 0) & (m < 250)] > TOLERANCE).sum() for c, m in zip(changed, mattes, strict=True)
    ]
    assert np.median(under) > 30
    # The step of brightness over the upper edge stays in its rows.
    top, columns = mouth[1], slice(mouth[0] - 25, mouth[0] + 25)

    def step(picture: Picture) -> float:
        luma = picture.planes[0][:, columns].astype(float)
        return float((luma[top - 4 : top - 1] - luma[top + 2 : top + 5]).mean())

    before = [f.picture for f in read_video(plan.source)]
    assert np.mean([*map(step, painted)]) > 0.7 * np.mean([*map(step, before)])


def test_a_plain_clip_has_no_graphics(mouth, resources, tmp_path):
    plan, _ = make_plan(tmp_path, None, mouth, resources)
    assert plan.faces[0].face.overlays is None


def test_a_stored_plan_keeps_the_graphics_and_paints_parts_like_the_whole(
    mouth, resources, tmp_path
):
    plan, _ = make_plan(tmp_path, subtitles, mouth, resources)
    plan.save(tmp_path / "job.plan")
    loaded = RenderPlan.load(tmp_path / "job.plan")
    assert loaded.faces[0].face.overlays is not None
    whole = paint(plan, resources)
    part = paint(loaded, resources, range(14, 24))
    for picture, other in zip(part, whole[14:24], strict=True):
        for plane, other_plane in zip(picture.planes, other.planes, strict=True):
            assert np.array_equal(plane, other_plane)


def test_each_subtitle_is_kept_from_its_first_frame_to_its_last(mouth, resources, tmp_path):
    plan, mattes = make_plan(tmp_path, subtitles, mouth, resources)
    overlays = plan.faces[0].face.overlays
    assert overlays is not None
    reader = OverlayReader(overlays)
    pictures = [f.picture for f in read_video(plan.source)]
    y, x = mouth[1] + 16, mouth[0]
    chin = slice(y, y + 21), slice(x - 30, x + 30)
    for k in (1, CHANGE // 2, CHANGE - 1, CHANGE, CHANGE + 4, COUNT - 2):
        found = reader.matte([k], pictures[k].rgb(), pictures[k].bounds)
        assert found is not None
        assert (found.alpha[chin][mattes[k][chin] > 0] > 0.9).mean() > 0.9
