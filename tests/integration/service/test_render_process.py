"""The real render process: results, errors, kills and its end with the parent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

import faulty_engines
from lipwright.errors import (
    Cancelled,
    EngineNotFound,
    InvalidOptions,
    LipwrightError,
    SourceUnreachable,
    WorkerDied,
)
from lipwright.media.decode.video import read_video
from lipwright.media.probe import probe
from lipwright.options import SyncMode, SyncOptions
from lipwright.pipeline.pipeline import Pipeline
from lipwright.progress import CancelToken, Progress
from lipwright.sample import make_sample, speech_asset
from lipwright.worker.render_process import write_poster
from lipwright.worker.render_task import RenderTask
from lipwright.worker.renderer import COMMAND, Renderer

DEADLINE = 30.0  # seconds until a test that waits has failed


@pytest.fixture(scope="module", autouse=True)
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = faulty_engines.install(tmp_path_factory.mktemp("plugins"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        yield


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    return make_sample(folder / "talk.mp4", seconds=0.32, size=(96, 96), rate=Fraction(25)).path


@pytest.fixture
def task(clip: Path, tmp_path: Path) -> RenderTask:
    return RenderTask(
        video=str(clip),
        audio=str(speech_asset("en")),
        output=str(tmp_path / "dub.mp4"),
        poster=str(tmp_path / "poster.jpg"),
        engine="passthrough",
        options=SyncOptions(mode=SyncMode.CUT_OFF),
    )


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    with Renderer(threads=1) as renderer:
        yield renderer


def test_a_task_is_rendered_with_progress_and_a_poster(renderer, task):
    reported: list[Progress] = []
    summary = renderer.render(task, on_progress=reported.append)
    assert (summary["frames"], summary["face_frames"], summary["rate"]) == (8, 8, "25/1")
    assert summary["engine"] == "passthrough"
    assert summary["weights"]
    assert [p.stage for p in reported if p.done == 0] == ["track", "hear", "study", "paint"]
    assert reported[-1].fraction == 1
    assert shown_in(Path(task.poster), Path(task.output)) == 0


def test_the_poster_shows_the_first_painted_mouth(clip, tmp_path):
    with Pipeline(engine="passthrough") as pipeline:
        result = pipeline.sync(clip, speech_asset("en"), tmp_path / "dub.mp4")
    write_poster(replace(result, first_face=5), tmp_path / "poster.jpg")
    assert shown_in(tmp_path / "poster.jpg", result.path) == 5
    write_poster(replace(result, first_face=None), tmp_path / "poster.jpg")
    assert shown_in(tmp_path / "poster.jpg", result.path) == 0


def shown_in(poster: Path, video: Path) -> int:
    """Return the index of the frame closest to the poster, which must be close."""
    picture = cv2.imread(str(poster))
    assert picture is not None
    shown = picture[:, :, ::-1].astype(int)
    frames = [frame.picture.rgb().astype(int) for frame in read_video(probe(video))]
    differences = [np.abs(shown - frame).mean() for frame in frames]
    assert min(differences) < 6  # of 255: what JPEG takes away
    return int(np.argmin(differences))


def test_consecutive_tasks_use_one_process(renderer, task):
    renderer.render(task)
    before = renderer.pid
    renderer.render(replace(task, engine="exemplar"))
    assert renderer.pid == before is not None


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"video": "/nowhere.mp4"}, SourceUnreachable),
        ({"engine": "nosuch"}, EngineNotFound),
        ({"options": SyncOptions(encoder="h264_nvenc")}, InvalidOptions),
    ],
)
def test_an_error_keeps_its_type_and_the_child_survives(renderer, task, change, error):
    renderer.warm_up()
    before = renderer.pid
    with pytest.raises(error):
        renderer.render(replace(task, **change))
    assert renderer.pid == before is not None
    assert not Path(task.output).exists()


def test_output_printed_by_a_library_is_not_a_message(task, capfd):
    with Renderer(threads=1) as renderer:
        assert renderer.render(replace(task, engine="printer"))["frames"] == 8
    assert "not an answer" in capfd.readouterr().err


def test_an_unexpected_error_is_one_line_and_its_traceback_is_logged(task, capfd):
    with Renderer(threads=1) as renderer:
        with pytest.raises(LipwrightError, match="unexpected ZeroDivisionError") as caught:
            renderer.render(replace(task, engine="broken"))
        assert renderer.render(task)["frames"] == 8  # by a fresh process
    assert type(caught.value) is LipwrightError
    assert "/srv" not in str(caught.value)
    log = capfd.readouterr().err
    assert "Traceback" in log
    assert "secret of /srv" in log


def test_a_dead_child_is_reported_and_replaced(renderer, task):
    with pytest.raises(WorkerDied, match="signal 9"):
        renderer.render(replace(task, engine="suicide"))
    assert renderer.render(task)["frames"] == 8


def test_a_child_can_be_killed_while_rendering(renderer, task):
    sleeping = threading.Event()

    def notice(progress: Progress) -> None:
        if progress.stage == "study":
            sleeping.set()

    def kill() -> None:
        assert sleeping.wait(DEADLINE)
        renderer.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(WorkerDied, match="signal 9"):
        renderer.render(replace(task, engine="sleeper"), on_progress=notice)
    killer.join()
    assert not Path(task.output).exists()


def test_nothing_is_rendered_after_a_cancel(renderer, task):
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        renderer.render(task, cancel=cancel)
    assert not Path(task.output).exists()


def test_a_child_exits_at_once_when_its_parent_is_gone(task):
    child = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    with child.stdout:
        sleeping_task = replace(task, engine="sleeper")
        child.stdin.write(_line(sleeping_task))
        child.stdin.flush()
        while b'"study"' not in child.stdout.readline():
            continue
        start = time.monotonic()
        child.stdin.close()
        assert child.wait(DEADLINE) == 0
        assert time.monotonic() - start < 5.0


def _line(task: RenderTask) -> bytes:
    return json.dumps(task.to_json()).encode() + b"\n"


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinity")
def test_a_child_stays_on_the_cores_of_its_slot(task):
    core = min(os.sched_getaffinity(0))
    with Renderer(threads=1, cores=[core]) as renderer:
        renderer.render(task)
        assert renderer.pid is not None
        threads = [int(name) for name in os.listdir(f"/proc/{renderer.pid}/task")]
        assert {frozenset(os.sched_getaffinity(thread)) for thread in threads} == {
            frozenset([core])
        }


def test_a_child_that_cannot_start_is_reported(task):
    with (
        Renderer(threads=1, command=[sys.executable, "-c", "raise SystemExit(3)"]) as renderer,
        pytest.raises(WorkerDied, match="status 3"),
    ):
        renderer.render(task)
