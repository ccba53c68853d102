"""Parts painted in processes of their own: the same frames, joined, and nothing left behind."""

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
from lipwright.media.decode.decoder import DecodeOptions
from lipwright.media.decode.audio import read_audio
from lipwright.media.decode.video import read_video
from lipwright.media.encode.video import EncodeSpec, segment_boundaries
from lipwright.media.probe import probe, require_video
from lipwright.options import SyncOptions
from lipwright.pipeline import parallel as parallel
from lipwright.pipeline import stages
from lipwright.pipeline.paint import render_frames, study_speaker
from lipwright.pipeline.parallel import RenderPool, SegmentTask, TaskUnpickler, pack_task
from lipwright.pipeline.pipeline import Pipeline, sync
from lipwright.pipeline.plan import RenderPlan
from lipwright.progress import CancelToken
from lipwright.runtime.device import Device

SECONDS = 4.6  # of speech: two groups of two seconds and a part of a third


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
    """What pass B works from, and the pictures that one process paints of it."""
    kept, pictures = [], []

    def spy(*args, **named):
        kept.append(args[0])
        for picture in render_frames(*args, **named):
            pictures.append(picture)
            yield picture

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "render_frames", spy)
        sync(talk, speech, folder / "whole.mp4", options=SyncOptions(mode="bounce"))
    return kept[0], pictures


def pictures_of(plan: RenderPlan, part: range) -> list:
    engine = find_engine("exemplar").open()
    speaker = study_speaker(plan, engine, DecodeOptions(1), lambda *_: None)
    return [
        *render_frames(
            plan,
            engine,
            speaker,
            plan.driving_sequence(),
            part,
            decode_options=DecodeOptions(1),
            queue_size=0,
        )
    ]


def encode_spec(plan: RenderPlan, count: int) -> EncodeSpec:
    video = require_video(plan.source)
    return EncodeSpec(like=video, rate=Fraction(25), frames=count, container="mp4")


def same(a, b) -> bool:
    return all(np.array_equal(p, q) for p, q in zip(a.planes, b.planes, strict=True))


# ------------------------------------------------------------------------------------ the frames
@pytest.mark.parametrize("part", [range(7), range(31, 60), range(90, 115)])
def test_a_part_shows_the_frames_of_the_whole(part, plan):
    work, whole = plan
    found = pictures_of(work, part)
    assert len(found) == len(part)
    assert all(same(a, b) for a, b in zip(found, whole[part.start : part.stop], strict=True))


def test_a_brief_that_was_sent_is_the_same_brief(plan):
    """Its landmarks and pictures lie in files that the other process shares."""
    work, whole = plan
    spec = encode_spec(work, len(whole))
    sent, files = pack_task(
        SegmentTask(
            plan=work,
            spec=spec,
            start=50,
            stop=60,
            out=0,
            decode_options=DecodeOptions(1, Device.AUTO),
        )
    )
    assert len(set(files)) >= 2
    assert len(sent) < 500_000
    duplicate = {number: os.dup(number) for number in set(files)}

    class There(TaskUnpickler):
        def persistent_load(self, number):
            return super().persistent_load(duplicate.pop(number, None) or os.dup(number))

    part = There(io.BytesIO(sent)).load()
    assert part.decode_options == DecodeOptions(1, Device.AUTO)
    found = pictures_of(part.plan, range(part.start, part.stop))
    assert all(same(a, b) for a, b in zip(found, whole[50:60], strict=True))


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv", "out.webm"])
def test_what_is_joined_is_as_long_and_as_good(name, talk, speech, tmp_path):
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
    apart = [
        np.abs(x.picture.planes[0].astype(int) - y.picture.planes[0]).mean()
        for x, y in zip(a, b, strict=True)
    ]
    assert max(apart) < 1.5
    assert np.array_equal(*(read_audio(probe(r.path)) for r in (one, two)))
    assert probe(two.path).video == probe(one.path).video
    with av.open(str(two.path)) as container:
        keys = [k for k, p in enumerate(container.demux(video=0)) if p.is_keyframe and p.size]
    assert len(keys) >= 2


@pytest.mark.parametrize("change", ["deep", "turned", "large"])
def test_depth_rotation_and_size_are_kept(change, speech, tmp_path):
    pictures = frames()
    if change == "deep":
        pictures = tuple((rgb.astype(np.uint16) << 2) for rgb in pictures)
    clip = write_clip(tmp_path / "clip.mp4", pictures, rotation=90 if change == "turned" else 0)
    options = SyncOptions(
        mode="bounce", size="1080p" if change == "large" else None, allow_no_face=True
    )
    one = sync(clip, speech, tmp_path / "one.mp4", options=options, engine="passthrough")
    two = sync(
        clip, speech, tmp_path / "two.mp4", options=options, engine="passthrough", processes=2
    )
    assert probe(two.path).video == probe(one.path).video


def test_no_face_is_no_hindrance(speech, tmp_path):
    clip = write_clip(tmp_path / "nobody.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 10)
    options = SyncOptions(mode="loop", allow_no_face=True)
    done = sync(clip, speech, tmp_path / "out.mp4", options=options, processes=2)
    assert done.face_frames == 0
    assert sum(1 for _ in read_video(probe(done.path))) == done.frames == 115


@given(st.integers(1, 5000), st.integers(1, 240), st.integers(1, 40))
def test_parts_are_whole_groups_and_of_one_length(count, key, most):
    cuts = segment_boundaries(count, key, most)
    lengths = [b - a for a, b in pairwise(cuts)]
    assert (cuts[0], cuts[-1]) == (0, count)
    assert 1 <= len(lengths) <= most
    assert all(start % key == 0 for start in cuts[:-1])
    assert min(lengths) >= min(key, count)
    assert max(lengths) - min(lengths) <= 2 * key


# ------------------------------------------------------------------------------------- the end
def children() -> list[int]:
    """Processes that paint parts and were started from here."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes()
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if b"lipwright.pipeline.segment_process" in words and state != "Z":
            found.append(int(entry.name))
    return found


def gone(numbers: list[int], seconds: float = 20.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not set(numbers) & set(children()):
            return True
        time.sleep(0.05)
    return False


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")


@needs_proc
def test_a_cancelled_job_ends_its_processes(talk, speech, tmp_path):
    cancel, seen = CancelToken(), set()

    def stop(progress) -> None:
        if progress.stage == "paint":
            seen.update(children())
            if len(seen) == 2:
                cancel.cancel()

    with pytest.raises(Cancelled):
        sync(
            *(talk, speech, tmp_path / "out.mp4"),
            options=SyncOptions(mode="bounce"),
            processes=2,
            on_progress=stop,
            cancel=cancel,
        )
    assert len(seen) == 2
    assert gone([*seen])
    assert os.listdir(tmp_path) == []


@needs_proc
def test_processes_end_with_the_one_that_started_them(talk, tmp_path):
    long = write_speech(tmp_path / "long.wav", 40.0)
    words = ["sync", talk, long, "-o", tmp_path / "out.mp4", "--mode", "bounce", "--processes", "2"]
    before = set(children())
    parent = subprocess.Popen([sys.executable, "-m", "lipwright", *map(str, words)])
    try:
        until = time.monotonic() + 60
        while len(started := set(children()) - before) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        assert len(started) == 2
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    assert gone([*started])
    assert not (tmp_path / "out.mp4").exists()


def test_what_a_process_raises_is_raised(plan, tmp_path):
    work, whole = plan
    spec = encode_spec(work, len(whole))
    lost = replace(work, source=replace(work.source, path=tmp_path / "gone.mp4"))
    with (
        RenderPool(lost, spec, [0, 50, 115], decode_options=DecodeOptions(1)) as pool,
        pytest.raises(SourceUnreachable, match=r"gone\.mp4"),
    ):
        for _ in pool.progress():
            pass


def test_a_process_that_dies_is_told_as_such(plan, monkeypatch):
    work, whole = plan
    spec = encode_spec(work, len(whole))
    monkeypatch.setattr(parallel.sys, "executable", "/bin/false")
    with (
        RenderPool(work, spec, [0, 50, 115], decode_options=DecodeOptions(1)) as pool,
        pytest.raises(EncodeFailed, match="fewer processes"),
    ):
        for _ in pool.progress():
            pass


def test_every_error_that_a_process_may_send_arrives(plan):
    for error in (EncodeFailed("no room"), MediaUnreadable("damaged")):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))


def test_a_number_of_processes_is_at_least_one():
    with pytest.raises(InvalidOptions, match="processes"):
        Pipeline(processes=0)
