"""Runs a program in a network of its own that leads nowhere, and records name look-ups (Linux).

As a program: ``python closed_network.py REPORT COMMAND…`` inside new network and mount namespaces.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

UNSHARE = ("unshare", "--map-root-user", "--net", "--mount", "--propagation", "private")
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1


@dataclass(frozen=True)
class ClosedRun:
    """How a program ended in a closed network."""

    status: int
    error: str
    lookups: list[str]  #: names asked of the name server


@cache
def closed_network_available() -> bool:
    """Return whether this user may make namespaces here."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0


def run_closed(command: Sequence[str], environment: Mapping[str, str], report: Path) -> ClosedRun:
    """Run a command without a network; *report* is a path for its outcome."""
    inner = [sys.executable, __file__, str(report), *command]
    subprocess.run([*UNSHARE, *inner], env=dict(environment), check=True, timeout=300)
    return ClosedRun(**json.loads(report.read_text()))


def _main(report: str, *command: str) -> None:
    resolver = Path(report).with_suffix(".conf")
    server = _name_server(resolver)
    names: list[str] = []
    threading.Thread(target=_record, args=(server, names), daemon=True).start()
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    outcome = {"status": ended.returncode, "error": ended.stderr, "lookups": names}
    Path(report).write_text(json.dumps(outcome))


def _name_server(resolver: Path) -> socket.socket:
    """Open the only name server of this namespace."""
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    subprocess.run(["mount", "--bind", str(resolver), "/etc/resolv.conf"], check=True)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    fcntl.ioctl(server, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP))
    server.bind(("127.0.0.1", 53))
    return server


def _record(server: socket.socket, names: list[str]) -> None:
    """Record the name in each query, and refuse it."""
    while True:
        query, address = server.recvfrom(4096)
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii", "replace"))
            at += 1 + query[at]
        names.append(".".join(labels))
        server.sendto(query[:2] + b"\x81\x85" + query[4:], address)  # REFUSED


if __name__ == "__main__":
    _main(*sys.argv[1:])
