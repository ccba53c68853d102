"""A stored render plan paints the same frames, bit for bit, in parts and in other processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from face_clips import frames, write_clip, write_speech
from lipwright.engines.registry import find_engine
from lipwright.errors import InvalidOptions, MediaUnreadable, OutputUnwritable, SourceUnreachable
from lipwright.media.picture import Picture
from lipwright.media.probe import probe, require_audio
from lipwright.options import SyncMode
from lipwright.pipeline import stages
from lipwright.pipeline.plan import RenderPlan
from lipwright.pipeline.resources import Resources
from lipwright.pipeline.timing import plan_output


@pytest.fixture(scope="module")
def resources() -> Resources:
    return Resources(threads=1)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory, resources: Resources) -> RenderPlan:
    """A render plan made by the stages, without a pipeline."""
    folder = tmp_path_factory.mktemp("plan")
    source = probe(write_clip(folder / "talk.mp4", frames()))
    speech = probe(write_speech(folder / "speech.wav", 2.4))
    take = stages.track(source, resources)
    timeline = plan_output(take, require_audio(speech), SyncMode.BOUNCE)
    heard = stages.hear(speech, timeline, source, resources)
    faces = [
        stages.animate(face, take, heard, resources)
        for face in stages.select_faces(take, source, resources)
    ]
    return stages.plan(source, take, timeline, faces)


@pytest.fixture(scope="module")
def whole(plan: RenderPlan, resources: Resources) -> list[Picture]:
    return paint(plan, resources)


def paint(plan: RenderPlan, resources: Resources, part: range | None = None) -> list[Picture]:
    engine = find_engine(plan.engine).open(resources.device, resources.store)
    return [*stages.paint(plan, engine, resources, part=part)]


def assert_same(pictures: list[Picture], expected: list[Picture]) -> None:
    assert len(pictures) == len(expected)
    for picture, other in zip(pictures, expected, strict=True):
        for plane, other_plane in zip(picture.planes, other.planes, strict=True):
            assert np.array_equal(plane, other_plane)


def test_the_plan_paints_the_mouth_in_most_frames(plan, whole):
    (driving,) = plan.driving_sequences()
    assert (driving.strength > 0).mean() > 0.9
    assert len(whole) == plan.frames == 60


def test_a_loaded_plan_paints_the_same_frames_in_parts(plan, whole, resources, tmp_path):
    plan.save(tmp_path / "job.plan")
    loaded = RenderPlan.load(tmp_path / "job.plan")
    assert (loaded.engine, loaded.restore, loaded.indices) == (
        plan.engine,
        plan.restore,
        plan.indices,
    )
    parts = [range(25), range(25, 41), range(41, 60)]
    pictures = [picture for part in parts for picture in paint(loaded, resources, part)]
    assert_same(pictures, whole)


def test_a_plan_without_a_face_is_stored_too(plan, resources, tmp_path):
    empty = replace(plan, faces=())
    empty.save(tmp_path / "job.plan")
    loaded = RenderPlan.load(tmp_path / "job.plan")
    assert loaded.driving_sequences() == []
    assert_same(paint(loaded, resources, range(5)), paint(empty, resources, range(5)))


def test_another_process_paints_a_part_of_a_moved_video(plan, whole, tmp_path):
    """Only the plan and the video are given, as on another machine."""
    plan.save(tmp_path / "job.plan")
    shutil.copy(plan.source.path, tmp_path / "moved.mp4")
    program = """
import sys
import numpy as np
from lipwright.engines.registry import find_engine
from lipwright.pipeline import stages
from lipwright.pipeline.plan import RenderPlan
from lipwright.pipeline.resources import Resources

plan = RenderPlan.load("job.plan", source="moved.mp4")
resources = Resources(threads=1)
engine = find_engine(plan.engine).open()
pictures = stages.paint(plan, engine, resources, part=range(30, 34))
np.savez("part.npz", *[plane for picture in pictures for plane in picture.planes])
"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    expected = [plane for picture in whole[30:34] for plane in picture.planes]
    with np.load(tmp_path / "part.npz") as planes:
        assert len(planes.files) == len(expected)
        for name, plane in zip(planes.files, expected, strict=True):
            assert np.array_equal(planes[name], plane)


def test_another_source_video_is_refused(plan, tmp_path):
    plan.save(tmp_path / "job.plan")
    other = write_clip(tmp_path / "other.mp4", frames()[:10])
    with pytest.raises(InvalidOptions, match=r"other\.mp4 is not the video"):
        RenderPlan.load(tmp_path / "job.plan", source=other)
    with pytest.raises(SourceUnreachable, match=r"gone\.mp4"):
        RenderPlan.load(tmp_path / "job.plan", source=tmp_path / "gone.mp4")


def test_saving_to_a_missing_folder_writes_nothing(plan, tmp_path):
    with pytest.raises(OutputUnwritable, match="nowhere"):
        plan.save(tmp_path / "nowhere" / "job.plan")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("damage", ["text", "cut", "format", "array"])
def test_a_damaged_plan_is_refused(plan, tmp_path, damage):
    path = tmp_path / "job.plan"
    plan.save(path)
    if damage == "text":
        path.write_text("a plan")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    else:
        _rewrite(path, damage)
    with pytest.raises(MediaUnreadable, match=r"job\.plan is not a render plan"):
        RenderPlan.load(path)


def _rewrite(path: Path, damage: str) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    if damage == "format":
        manifest = json.loads(entries["plan.json"])
        entries["plan.json"] = json.dumps({**manifest, "format": 99}).encode()
    else:
        entries["face0.face.landmarks.npy"] = entries["face0.face.landmarks.npy"][:5000]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
