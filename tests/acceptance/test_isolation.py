"""Commands that decode run in a child process: a crash is an error, and no child lives on."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from lipwright.cli.isolation import CHILD, SWITCH, is_isolated, run_isolated
from lipwright.errors import Crashed

RUN = """
import sys
from lipwright.cli.console import Stopped
from lipwright.cli.isolation import run_isolated
try:
    sys.exit(run_isolated(["sync"], [sys.executable, "-c", sys.argv[1]]))
except Stopped as stopped:
    sys.exit(stopped.exit_code)
"""
WAITING = """
import os, time
from lipwright.cli.isolation import watch_parent
watch_parent()
print(os.getpid(), flush=True)
time.sleep(60)
"""


def child(program):
    return [sys.executable, "-c", program]


@pytest.mark.parametrize(
    ("number", "text"),
    [(signal.SIGSEGV, "native library"), (signal.SIGABRT, "native"), (signal.SIGKILL, "memory")],
)
def test_a_crash_is_one_error_and_leaves_no_output(tmp_path, number, text):
    out = tmp_path / "out-1.mp4"
    out.write_bytes(b"old")
    (tmp_path / ".out-1.mp4.partial-0123abcd").write_bytes(b"half")
    other = tmp_path / ".other.mp4.partial-0123abcd"
    other.write_bytes(b"another job")
    program = child(f"import os; os.kill(os.getpid(), {int(number)})")
    with pytest.raises(Crashed, match=f"crashed \\({number.name}\\): .*{text}"):
        run_isolated(["sync", "a", "b", "-o", str(out)], program)
    assert sorted(tmp_path.iterdir()) == sorted([out, other])


@pytest.mark.parametrize("form", [["-o", "{}"], ["-o{}"], ["-qo", "{}"], ["--output={}"]])
def test_the_output_is_found_however_the_option_is_written(tmp_path, form):
    half = tmp_path / ".out.mp4.partial-0123abcd"
    half.touch()
    written = [word.format(tmp_path / "out.mp4") for word in form]
    with pytest.raises(Crashed):
        run_isolated(["sync", *written, "a", "b"], child("import os; os.kill(os.getpid(), 11)"))
    assert not half.exists()


def test_files_in_the_current_folder_are_not_imported(tmp_path, talk):
    """The installed command; ``python -m`` does look there."""
    (tmp_path / "click.py").write_text("raise SystemExit(77)\n")
    start = "import sys; sys.path.remove(''); from lipwright.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", start, "probe", str(talk)]
    assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_start_is_one_json_object(tmp_path, talk, number):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, time\n"
        f"if {CHILD!r} in os.environ: os.kill(os.getppid(), {int(number)}); time.sleep(0.5)\n"
    )
    command = [sys.executable, "-m", "lipwright", "probe", str(talk), "--json"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (128 + number, "")
    assert json.loads(ended.stdout)["error"]["code"] == "cancelled"


def test_the_exit_code_and_the_arguments_are_those_of_the_command():
    program = child("import sys; sys.exit(int(sys.argv[2]))")
    assert run_isolated(["sync", "4"], program) == 4


def test_a_crash_is_one_json_object(tmp_path, talk, speech):
    """A real command whose decoder crashes."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys, signal\n"
        f"if {CHILD!r} in os.environ: os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    command = [sys.executable, "-m", "lipwright", "probe", str(talk), "--json"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == Crashed.exit_code
    assert json.loads(ended.stdout)["error"]["code"] == "crashed"


def test_the_child_ends_with_its_parent():
    parent = subprocess.Popen([sys.executable, "-c", RUN, WAITING], stdout=subprocess.PIPE)
    with parent.stdout:
        pid = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the child lives on")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_child_and_its_code_is_that_of_the_signal(number):
    program = """
import signal
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
"""
    program += WAITING
    parent = subprocess.Popen([sys.executable, "-c", RUN, program], stdout=subprocess.PIPE)
    with parent.stdout:
        parent.stdout.readline()
        parent.send_signal(number)
        assert parent.wait(timeout=20) == 128 + number


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["sync", "a", "b"], True),
        (["probe", "a"], True),
        (["--version"], False),
        (["serve"], False),
        ([], False),
    ],
)
def test_only_commands_that_decode_are_isolated(monkeypatch, arguments, expected):
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.delenv(CHILD, raising=False)
    assert is_isolated(arguments) == expected
    monkeypatch.setenv(SWITCH, "0")
    assert not is_isolated(arguments)


def test_what_a_crashed_command_saved_of_a_pipe_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program = """
import os
from lipwright.pipeline.inputs import local_inputs
with local_inputs("-"):
    os.kill(os.getpid(), 11)
"""
    reader, writer = os.pipe()
    os.write(writer, b"RIFF")
    os.close(writer)
    stdin = os.dup(0)
    os.dup2(reader, 0)
    try:
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        with pytest.raises(Crashed):
            run_isolated(["sync"], child(program))
    finally:
        os.dup2(stdin, 0)
        os.close(stdin)
        os.close(reader)
    assert list(tmp_path.iterdir()) == []


def test_a_child_may_write_to_a_terminal_that_stops_background_output():
    pty = pytest.importorskip("pty")
    program = child("print('written', flush=True)")
    pid, terminal = pty.fork()
    if not pid:
        subprocess.run(["stty", "tostop"], check=True)
        os.execv(sys.executable, [sys.executable, "-c", RUN, program[-1]])
    try:
        assert select.select([terminal], [], [], 20)[0], "the child is stopped"
        assert b"written" in os.read(terminal, 100)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)
