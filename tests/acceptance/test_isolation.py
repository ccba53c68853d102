"""Commands that decode run in a child process: a crash is an error, and no child lives on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from lipwright.cli.isolation import CHILD, SWITCH, is_isolated, run_isolated
from lipwright.errors import Crashed

RUN = "import sys; from lipwright.cli.isolation import run_isolated; "
RUN += "sys.exit(run_isolated(['sync'], [sys.executable, '-c', sys.argv[1]]))"
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
    program = "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)\n" + WAITING
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
