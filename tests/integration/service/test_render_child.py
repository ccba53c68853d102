"""The render process, real: it answers, it dies when it must, and it outlives nobody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
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
from lipwright.pipeline.pipeline import Pipeline
from lipwright.progress import CancelToken, Progress
from lipwright.sample import make_sample, speech_asset
from lipwright.worker.render_process import write_poster
from lipwright.worker.renderer import COMMAND, Order, Renderer

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
def order(clip: Path, tmp_path: Path) -> Order:
    return Order(
        video=str(clip),
        audio=str(speech_asset("en")),
        out=str(tmp_path / "dub.mp4"),
        poster=str(tmp_path / "poster.jpg"),
        engine="passthrough",
        options={"mode": "cut_off"},
    )


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    with Renderer(threads=1) as renderer:
        yield renderer


def test_an_order_is_rendered_with_progress_and_a_poster(renderer, order):
    told: list[Progress] = []
    facts = renderer.render(order, on_progress=told.append)
    assert (facts["frames"], facts["face_frames"], facts["rate"]) == (8, 8, "25/1")
    assert facts["engine"] == "passthrough"
    assert facts["weights"]
    assert [p.stage for p in told if p.done == 0] == ["track", "hear", "study", "paint"]
    assert told[-1].fraction == 1
    assert shown_in(Path(order.poster), Path(order.out)) == 0


def test_the_poster_shows_the_first_painted_mouth(clip, tmp_path):
    with Pipeline(engine="passthrough") as pipeline:
        result = pipeline.sync(clip, speech_asset("en"), tmp_path / "dub.mp4")
    write_poster(replace(result, first_face=5), tmp_path / "poster.jpg")
    assert shown_in(tmp_path / "poster.jpg", result.path) == 5
    write_poster(replace(result, first_face=None), tmp_path / "poster.jpg")
    assert shown_in(tmp_path / "poster.jpg", result.path) == 0


def shown_in(poster: Path, video: Path) -> int:
    """Return the index of the frame that is most like the poster, and surely like it."""
    picture = cv2.imread(str(poster))
    assert picture is not None
    shown = picture[:, :, ::-1].astype(int)
    frames = [frame.picture.rgb().astype(int) for frame in read_video(probe(video))]
    differences = [np.abs(shown - frame).mean() for frame in frames]
    assert min(differences) < 6  # of 255: what JPEG takes away
    return int(np.argmin(differences))


def test_the_models_stay_warm_in_one_process(renderer, order):
    renderer.render(order)
    before = renderer.pid
    renderer.render(replace(order, engine="exemplar"))
    assert renderer.pid == before is not None


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"video": "/nowhere.mp4"}, SourceUnreachable),
        ({"engine": "nosuch"}, EngineNotFound),
        ({"options": {"mode": "stretch"}}, InvalidOptions),
        ({"options": {"restore": True}}, InvalidOptions),
        ({"options": {"speaker": [1]}}, InvalidOptions),
        ({"options": {"speaker": [1, "x"]}}, InvalidOptions),
    ],
)
def test_an_error_comes_back_as_what_it_is_and_the_child_lives_on(renderer, order, change, error):
    renderer.warm()
    before = renderer.pid
    with pytest.raises(error):
        renderer.render(replace(order, **change))
    assert renderer.pid == before is not None
    assert not Path(order.out).exists()


def test_what_a_library_prints_is_no_answer(order, capfd):
    with Renderer(threads=1) as renderer:
        assert renderer.render(replace(order, engine="printer"))["frames"] == 8
    assert "not an answer" in capfd.readouterr().err


def test_an_unforeseen_error_is_one_clear_line_with_the_traceback_in_the_log(order, capfd):
    with Renderer(threads=1) as renderer:
        with pytest.raises(LipwrightError, match="unexpected ZeroDivisionError") as caught:
            renderer.render(replace(order, engine="broken"))
        assert renderer.render(order)["frames"] == 8  # by a fresh process
    assert type(caught.value) is LipwrightError
    assert "/srv" not in str(caught.value)
    log = capfd.readouterr().err
    assert "Traceback" in log
    assert "secret of /srv" in log


def test_a_child_that_dies_is_told_as_such_and_replaced(renderer, order):
    with pytest.raises(WorkerDied, match="signal 9"):
        renderer.render(replace(order, engine="suicide"))
    assert renderer.render(order)["frames"] == 8


def test_a_child_is_killed_in_the_middle_of_its_work(renderer, order):
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
        renderer.render(replace(order, engine="sleeper"), on_progress=notice)
    killer.join()
    assert not Path(order.out).exists()


def test_nothing_is_rendered_for_whoever_has_cancelled(renderer, order):
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        renderer.render(order, cancel=cancel)
    assert not Path(order.out).exists()


def test_a_child_ends_at_once_when_its_holder_is_gone_even_in_the_middle_of_work(order):
    child = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    with child.stdout:
        asleep = replace(order, engine="sleeper")
        child.stdin.write(_line(asleep))
        child.stdin.flush()
        while b'"study"' not in child.stdout.readline():
            continue
        began = time.monotonic()
        child.stdin.close()
        assert child.wait(DEADLINE) == 0
        assert time.monotonic() - began < 5.0


def _line(order: Order) -> bytes:
    return json.dumps(asdict(order)).encode() + b"\n"


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinity")
def test_a_child_stays_on_the_cores_of_its_slot(order):
    core = min(os.sched_getaffinity(0))
    with Renderer(threads=1, cores=[core]) as renderer:
        renderer.render(order)
        assert renderer.pid is not None
        tasks = [int(task) for task in os.listdir(f"/proc/{renderer.pid}/task")]
        assert {frozenset(os.sched_getaffinity(task)) for task in tasks} == {frozenset([core])}


def test_a_child_that_cannot_start_is_told_as_such(order):
    with (
        Renderer(threads=1, command=[sys.executable, "-c", "raise SystemExit(3)"]) as renderer,
        pytest.raises(WorkerDied, match="status 3"),
    ):
        renderer.render(order)
