"""Segments rendered in several processes give the same frames, and no process is left behind."""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from face_clips import frames, write_clip, write_speech
from lipwright.engines.registry import find_engine
from lipwright.errors import (
    Cancelled,
    EncodeFailed,
    InvalidOptions,
    MediaUnreadable,
    SourceUnreachable,
)
from lipwright.media.decode.audio import read_audio
from lipwright.media.decode.decoder import DecodeOptions
from lipwright.media.decode.video import read_video
from lipwright.media.encode.video import EncodeSpec, segment_boundaries
from lipwright.media.probe import probe, require_video
from lipwright.options import SyncOptions
from lipwright.pipeline import parallel, stages
from lipwright.pipeline.paint import render_frames, study_speakers
from lipwright.pipeline.parallel import RenderPool, SegmentTask, TaskUnpickler, pack_task
from lipwright.pipeline.pipeline import Pipeline, sync
from lipwright.pipeline.plan import RenderPlan
from lipwright.progress import CancelToken
from lipwright.runtime.device import Device

SECONDS = 4.6  # of speech: two segments of two seconds and a part of a third


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def talk(folder: Path) -> Path:
    return write_clip(folder / "talk.mp4", frames())


@pytest.fixture(scope="module")
def speech(folder: Path) -> Path:
    return write_speech(folder / "speech.wav", SECONDS)


@pytest.fixture(scope="module")
def plan(talk: Path, speech: Path, folder: Path) -> tuple[RenderPlan, list]:
    """A render plan, and the pictures that one process paints of it."""
    plans, pictures = [], []

    def spy(*args, **kwargs):
        plans.append(args[0])
        for picture in render_frames(*args, **kwargs):
            pictures.append(picture)
            yield picture

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "render_frames", spy)
        sync(talk, speech, folder / "whole.mp4", options=SyncOptions(mode="bounce"))
    return plans[0], pictures


def paint_part(plan: RenderPlan, part: range) -> list:
    engine = find_engine("exemplar").open()
    speakers = study_speakers(plan, engine, DecodeOptions(1), lambda *_: None)
    return [
        *render_frames(
            plan,
            engine,
            speakers,
            plan.driving_sequences(),
            part,
            decode_options=DecodeOptions(1),
            queue_size=0,
        )
    ]


def encode_spec(plan: RenderPlan, count: int) -> EncodeSpec:
    video = require_video(plan.source)
    return EncodeSpec(like=video, rate=Fraction(25), frames=count, container="mp4")


def equal(a, b) -> bool:
    return all(np.array_equal(p, q) for p, q in zip(a.planes, b.planes, strict=True))


# ---------------------------------------------------------------------------------------- frames
@pytest.mark.parametrize("part", [range(7), range(31, 60), range(90, 115)])
def test_a_part_has_the_frames_of_the_whole(part, plan):
    render_plan, whole = plan
    painted = paint_part(render_plan, part)
    assert len(painted) == len(part)
    assert all(equal(a, b) for a, b in zip(painted, whole[part.start : part.stop], strict=True))


def test_a_packed_task_paints_the_same_frames(plan):
    """Its landmarks and pictures are in files that the other process shares."""
    render_plan, whole = plan
    spec = encode_spec(render_plan, len(whole))
    packed, files = pack_task(
        SegmentTask(
            plan=render_plan,
            spec=spec,
            start=50,
            stop=60,
            out=0,
            decode_options=DecodeOptions(1, Device.AUTO),
        )
    )
    assert len(set(files)) >= 2
    assert len(packed) < 500_000
    duplicate = {number: os.dup(number) for number in set(files)}

    class OtherProcess(TaskUnpickler):
        def persistent_load(self, number):
            return super().persistent_load(duplicate.pop(number, None) or os.dup(number))

    task = OtherProcess(io.BytesIO(packed)).load()
    assert task.decode_options == DecodeOptions(1, Device.AUTO)
    painted = paint_part(task.plan, range(task.start, task.stop))
    assert all(equal(a, b) for a, b in zip(painted, whole[50:60], strict=True))


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv", "out.webm"])
def test_joined_segments_match_the_video_of_one_process(name, talk, speech, tmp_path):
    options = SyncOptions(mode="bounce")
    one = sync(talk, speech, tmp_path / f"one{name}", options=options)
    two = sync(talk, speech, tmp_path / name, options=options, processes=2)
    assert (two.frames, two.duration, two.face_frames) == (
        one.frames,
        one.duration,
        one.face_frames,
    )
    a, b = ([*read_video(probe(r.path))] for r in (one, two))
    assert [f.time for f in a] == [f.time for f in b]
    differences = [
        np.abs(x.picture.planes[0].astype(int) - y.picture.planes[0]).mean()
        for x, y in zip(a, b, strict=True)
    ]
    assert max(differences) < 1.5
    assert np.array_equal(*(read_audio(probe(r.path)) for r in (one, two)))
    assert probe(two.path).video == probe(one.path).video
    with av.open(str(two.path)) as container:
        keys = [k for k, p in enumerate(container.demux(video=0)) if p.is_keyframe and p.size]
    assert len(keys) >= 2


@pytest.mark.parametrize("change", ["ten bit", "rotation", "size"])
def test_depth_rotation_and_size_are_kept(change, speech, tmp_path):
    pictures = frames()
    if change == "ten bit":
        pictures = tuple((rgb.astype(np.uint16) << 2) for rgb in pictures)
    clip = write_clip(tmp_path / "clip.mp4", pictures, rotation=90 if change == "rotation" else 0)
    options = SyncOptions(
        mode="bounce", size="1080p" if change == "size" else None, allow_no_face=True
    )
    one = sync(clip, speech, tmp_path / "one.mp4", options=options, engine="passthrough")
    two = sync(
        clip, speech, tmp_path / "two.mp4", options=options, engine="passthrough", processes=2
    )
    assert probe(two.path).video == probe(one.path).video


def test_a_video_without_a_face_is_rendered_in_segments_too(speech, tmp_path):
    clip = write_clip(tmp_path / "wall.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 10)
    options = SyncOptions(mode="loop", allow_no_face=True)
    result = sync(clip, speech, tmp_path / "out.mp4", options=options, processes=2)
    assert result.face_frames == 0
    assert sum(1 for _ in read_video(probe(result.path))) == result.frames == 115


@given(st.integers(1, 5000), st.integers(1, 240), st.integers(1, 40))
def test_segments_start_at_key_frames_and_have_similar_lengths(count, key_interval, limit):
    boundaries = segment_boundaries(count, key_interval, limit)
    lengths = [b - a for a, b in pairwise(boundaries)]
    assert (boundaries[0], boundaries[-1]) == (0, count)
    assert 1 <= len(lengths) <= limit
    assert all(start % key_interval == 0 for start in boundaries[:-1])
    assert min(lengths) >= min(key_interval, count)
    assert max(lengths) - min(lengths) <= 2 * key_interval


# ------------------------------------------------------------------------------------- processes
def segment_processes() -> list[int]:
    """Return the ids of the living segment processes."""
    pids = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if b"lipwright.pipeline.segment_process" in command and state != "Z":
            pids.append(int(entry.name))
    return pids


def have_ended(pids: list[int], seconds: float = 20.0) -> bool:
    """Wait until the processes have ended; return whether they did in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not set(pids) & set(segment_processes()):
            return True
        time.sleep(0.05)
    return False


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


@needs_proc
def test_a_cancelled_job_ends_its_processes(talk, speech, tmp_path):
    cancel, started = CancelToken(), set()

    def stop(progress) -> None:
        if progress.stage == "paint":
            started.update(segment_processes())
            if len(started) == 2:
                cancel.cancel()

    with pytest.raises(Cancelled):
        sync(
            *(talk, speech, tmp_path / "out.mp4"),
            options=SyncOptions(mode="bounce"),
            processes=2,
            on_progress=stop,
            cancel=cancel,
        )
    assert len(started) == 2
    assert have_ended([*started])
    assert os.listdir(tmp_path) == []


@needs_proc
def test_segment_processes_end_with_their_parent(talk, tmp_path):
    long = write_speech(tmp_path / "long.wav", 40.0)
    arguments = [
        "sync",
        talk,
        long,
        "-o",
        tmp_path / "out.mp4",
        "--mode",
        "bounce",
        "--processes",
        "2",
    ]
    before = set(segment_processes())
    parent = subprocess.Popen([sys.executable, "-m", "lipwright", *map(str, arguments)])
    try:
        deadline = time.monotonic() + 60
        while len(started := set(segment_processes()) - before) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(started) == 2
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    assert have_ended([*started])
    assert not (tmp_path / "out.mp4").exists()


def test_an_error_of_a_segment_process_is_raised(plan, tmp_path):
    render_plan, whole = plan
    spec = encode_spec(render_plan, len(whole))
    moved = replace(render_plan, source=replace(render_plan.source, path=tmp_path / "gone.mp4"))
    with (
        RenderPool(moved, spec, [0, 50, 115], decode_options=DecodeOptions(1)) as pool,
        pytest.raises(SourceUnreachable, match=r"gone\.mp4"),
    ):
        for _ in pool.progress():
            pass


def test_a_segment_process_that_dies_raises_an_error_with_a_remedy(plan, monkeypatch):
    render_plan, whole = plan
    spec = encode_spec(render_plan, len(whole))
    monkeypatch.setattr(parallel.sys, "executable", "/bin/false")
    with (
        RenderPool(render_plan, spec, [0, 50, 115], decode_options=DecodeOptions(1)) as pool,
        pytest.raises(EncodeFailed, match="fewer processes"),
    ):
        for _ in pool.progress():
            pass


def test_errors_of_segment_processes_can_be_pickled():
    for error in (EncodeFailed("disk full"), MediaUnreadable("damaged")):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy)) == (type(error), str(error))


def test_less_than_one_process_is_refused():
    with pytest.raises(InvalidOptions, match="processes"):
        Pipeline(processes=0)
