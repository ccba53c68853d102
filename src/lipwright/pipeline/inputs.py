"""Inputs that are no local files: URLs, pipes and the standard input, saved to temporary files."""

from __future__ import annotations

import inspect
import os
import re
import select
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from lipwright import environment
from lipwright.errors import (
    InvalidOptions,
    LimitExceeded,
    LipwrightError,
    MediaUnreadable,
    SourceUnreachable,
    StorageFull,
    is_disk_full,
)
from lipwright.progress import CancelToken

if TYPE_CHECKING:
    from lipwright.net.fetch import FetchRules

STDIN = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
MAX_FETCH_BYTES = 4_000_000_000  # of a download
FETCH_SECONDS = 3600.0  # for a download
MAX_PIPE_BYTES = 32 << 30  # of one input
CHUNK = 1 << 20  # bytes
POLL_SECONDS = 0.25  # longest wait between two checks of the cancel token
OPERATOR_WORDS = {
    "ask the operator to add it to fetch_allow": "add it to LIPWRIGHT_FETCH_ALLOW",
    "ask the operator to raise max_fetch_bytes": "raise LIPWRIGHT_MAX_FETCH_BYTES",
}
Params = ParamSpec("Params")
Result = TypeVar("Result")
_URL = re.compile(r"(https?|ftp|file):/+", re.IGNORECASE)


def with_local_inputs(run: Callable[Params, Result]) -> Callable[Params, Result]:
    """Decorate a function that takes *video*, *audio* and *cancel*: see `local_inputs`."""
    signature = inspect.signature(run)

    @wraps(run)
    def wrapper(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        call = signature.bind(*args, **kwargs)
        given = call.arguments
        with local_inputs(given["video"], given["audio"], cancel=given.get("cancel")) as paths:
            given["video"], given["audio"] = paths
            return run(*call.args, **call.kwargs)

    return wrapper


def fetch_rules() -> FetchRules:
    """Return the rules of downloads on this machine: those of the service, but larger files.

    Raises:
        InvalidOptions: ``LIPWRIGHT_FETCH_ALLOW`` or ``LIPWRIGHT_MAX_FETCH_BYTES`` is not valid.
    """
    from lipwright.net.address import AllowList  # loaded for a URL only: it takes 0.1 s
    from lipwright.net.fetch import FetchRules

    return FetchRules(
        allow_list=AllowList.parse(environment.fetch_allow()),
        max_bytes=environment.max_fetch_bytes() or MAX_FETCH_BYTES,
        total_seconds=FETCH_SECONDS,
    )


@contextmanager
def local_inputs(
    *sources: str | Path, cancel: CancelToken | None = None
) -> Iterator[tuple[Path, ...]]:
    """Yield a local file for each source; those that were saved are removed at the end.

    A source is a path, the URL of a file, or ``-`` for the standard input. A URL is fetched under
    the rules of the service: ``LIPWRIGHT_FETCH_ALLOW`` names private hosts that are allowed,
    ``LIPWRIGHT_MAX_FETCH_BYTES`` the largest size.

    Raises:
        InvalidOptions: the standard input is named twice, or a URL cannot be used.
        SourceUnreachable: a URL cannot be fetched, or a pipe cannot be read.
        MediaUnreadable: a URL leads to something other than media, or a pipe is empty.
        LimitExceeded: a source is too large.
        StorageFull: the disk is full.
        Cancelled: *cancel* was set.
    """
    names = [str(source) for source in sources]
    if sum(name in STDIN for name in names) > 1:
        raise InvalidOptions("only one input can be the standard input: give the other as a file")
    if "-" in names and os.isatty(0):
        raise SourceUnreachable("the standard input is a terminal: redirect a file to it")
    if not any(_is_url(name) or _is_pipe(name) for name in names):
        yield tuple(map(Path, sources))
        return
    with tempfile.TemporaryDirectory(prefix=_folder_prefix(os.getpid())) as folder:
        paths = [_save(name, Path(folder) / str(k), cancel) for k, name in enumerate(names)]
        try:
            yield tuple(paths)
        except LipwrightError as error:
            error.args = (_rename(str(error), paths, names), *error.args[1:])
            raise


def remove_saved_inputs(pid: int) -> None:
    """Remove what a process that crashed has saved."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_folder_prefix(pid)}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _folder_prefix(pid: int) -> str:
    return f"lipwright-inputs-{pid}-"


def _save(name: str, folder: Path, cancel: CancelToken | None) -> Path:
    """Return the path of a source, saved to a file in *folder* if it is no local file."""
    if _is_url(name):
        from lipwright.net.fetch import fetch

        folder.mkdir()
        scheme, _, rest = name.partition(":")
        url = f"{scheme}://{rest.lstrip('/')}"  # a Path has only one of the slashes
        try:
            return fetch(url, folder, fetch_rules(), cancel=cancel)
        except LipwrightError as error:
            error.args = (_to_own_words(str(error)), *error.args[1:])
            raise
    if _is_pipe(name):
        folder.mkdir()
        return _spool(name, folder / "input", cancel)
    return Path(name)


def _spool(name: str, path: Path, cancel: CancelToken | None) -> Path:
    """Copy a pipe to a file."""
    size = 0
    try:
        source = os.dup(0) if name == "-" else os.open(name, os.O_RDONLY | os.O_NONBLOCK)
        with open(source, "rb", buffering=0) as pipe, path.open("xb") as file:
            while chunk := _read(pipe, cancel):
                size += len(chunk)
                if size > MAX_PIPE_BYTES:
                    raise LimitExceeded(
                        f"{name} sends more than {MAX_PIPE_BYTES >> 30} GB: save it to a file first"
                    )
                file.write(chunk)
    except OSError as error:
        if isinstance(error, LipwrightError):
            raise
        if is_disk_full(error):
            raise StorageFull(
                f"{name} does not fit in {path.parent.parent.parent}: free space, or set TMPDIR to "
                "a folder on a larger disk"
            ) from error
        raise SourceUnreachable(f"{name} cannot be read: {error.strerror}") from error
    if not size:
        raise MediaUnreadable(f"{name} sends nothing: check the program that writes to it")
    return path


def _read(pipe: FileIO, cancel: CancelToken | None) -> bytes:
    """Return the next bytes, empty at the end; waiting for them ends when *cancel* is set."""
    ready = select.poll()
    ready.register(pipe, select.POLLIN)
    while not ready.poll(POLL_SECONDS * 1000):
        if cancel is not None:
            cancel.raise_if_cancelled()
    if cancel is not None:
        cancel.raise_if_cancelled()
    return pipe.read(CHUNK) or b""


def _to_own_words(message: str) -> str:
    """Return a message of the service for somebody who has no operator to ask."""
    for theirs, own in OPERATOR_WORDS.items():
        message = message.replace(theirs, own)
    return message


def _is_url(name: str) -> bool:
    match = _URL.match(name)
    return match is not None and not Path(name).exists()


def _is_pipe(name: str) -> bool:
    if name == "-":
        return True
    try:
        mode = os.stat(name).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode)


def _rename(message: str, paths: list[Path], names: list[str]) -> str:
    """Return a message with the names that the caller gave."""
    for path, name in zip(paths, names, strict=True):
        message = message.replace(str(path), name)
    return message
