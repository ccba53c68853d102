"""The file format of render plans: a ZIP archive of ``plan.json`` and one ``.npy`` per array.

Arrays are copied in chunks, so that the plan of an hour needs no more memory than that of a
minute. Nothing in the file is executed: it holds JSON and numbers only.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from lipwright.engines.base import FaceTrack
from lipwright.errors import (
    InvalidOptions,
    MediaUnreadable,
    SourceUnreachable,
)
from lipwright.face.overlays.graphics import OverlayGraphics
from lipwright.media.probe import probe
from lipwright.motion.animate import MouthMotion
from lipwright.motion.basis import Basis
from lipwright.motion.speaking_style import SpeakingStyle
from lipwright.options import Restore
from lipwright.pipeline.driving import AnimatedFace
from lipwright.pipeline.timing import SourceIndices
from lipwright.runtime.atomic_file import atomic_file
from lipwright.runtime.disk_array import Array, DiskArray, VirtualArray, chunks
from lipwright.weights.store import sha256

FORMAT = 2  # raised when files of before cannot be read any more
MANIFEST = "plan.json"
MAX_MANIFEST_BYTES = 256 << 20  # ten million output frames
READ_BYTES = 1 << 20  # of an array at a time
#: The values that a plan is made of, by the name in the file.
TYPES: Mapping[str, type[Any]] = {
    kind.__name__: kind
    for kind in (AnimatedFace, FaceTrack, OverlayGraphics, MouthMotion, Basis, SpeakingStyle)
}


def save(
    path: Path,
    *,
    source: Path,
    deinterlace: bool,
    engine: str,
    restore: Restore,
    indices: SourceIndices,
    offset: Fraction,
    faces: Sequence[AnimatedFace],
) -> None:
    """Write the fields of a plan; see :meth:`lipwright.pipeline.plan.RenderPlan.save`."""
    arrays: dict[str, Array] = {}
    manifest = {
        "format": FORMAT,
        "source": {"path": str(source.resolve()), **_identify(source)},
        "deinterlace": deinterlace,
        "engine": engine,
        "restore": restore.value,
        "indices": [list(pair) for pair in indices],
        "offset": str(offset),
        "faces": [_pack(face, f"face{i}", arrays) for i, face in enumerate(faces)],
    }
    with atomic_file(path) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr(MANIFEST, json.dumps(manifest))
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                _write_array(entry, array)


def load(path: Path, source: Path | None) -> dict[str, Any]:
    """Return the fields of a plan; see :meth:`lipwright.pipeline.plan.RenderPlan.load`."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(MANIFEST).file_size > MAX_MANIFEST_BYTES:
                raise ValueError("its manifest is too large")
            manifest = json.loads(archive.read(MANIFEST))
            if manifest["format"] != FORMAT:
                raise ValueError(f"it has format {manifest['format']}, this version reads {FORMAT}")
            fields = {
                "engine": str(manifest["engine"]),
                "restore": Restore(manifest["restore"]),
                "indices": [(int(i), float(share)) for i, share in manifest["indices"]],
                "offset": Fraction(manifest["offset"]),
                "faces": tuple(_unpack(face, archive) for face in manifest["faces"]),
            }
            stated = manifest["source"]
    except OSError as cause:
        raise SourceUnreachable(f"{path}: {cause.strerror or cause}") from cause
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, EOFError) as cause:
        raise MediaUnreadable(f"{path} is not a render plan of this version: {cause}") from cause
    video = source or Path(stated["path"])
    media = probe(video)
    if _identify(video) != {name: stated.get(name) for name in ("bytes", "sha256")}:
        raise InvalidOptions(
            f"{video} is not the video that {path} was made from: give that one as source"
        )
    if manifest.get("deinterlace") and media.video is not None:
        deinterlaced = replace(media.video, interlaced=False, deinterlace=True)
        media = replace(media, video=deinterlaced)
    return {**fields, "source": media}


def _identify(path: Path) -> dict[str, Any]:
    """Return the size and SHA-256 of a file.

    Raises:
        SourceUnreachable: it cannot be opened.
    """
    try:
        return {"bytes": path.stat().st_size, "sha256": sha256(path)}
    except OSError as cause:
        raise SourceUnreachable(f"{path}: {cause.strerror or cause}") from cause


def _pack(value: Any, name: str, arrays: dict[str, Array]) -> Any:
    """Return *value* as JSON; arrays are put aside under dotted names."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        assert type(value).__name__ in TYPES
        fields = {
            field.name: _pack(getattr(value, field.name), f"{name}.{field.name}", arrays)
            for field in dataclasses.fields(value)
        }
        return {"type": type(value).__name__, "fields": fields}
    if isinstance(value, np.ndarray | VirtualArray):
        arrays[name] = value
        return {"array": name, "on_disk": isinstance(value, VirtualArray)}
    if isinstance(value, np.generic):  # a Python number would compute in another precision
        arrays[name] = np.asarray(value)
        return {"scalar": name}
    return value


def _unpack(value: Any, archive: zipfile.ZipFile) -> Any:
    if not isinstance(value, dict):
        return value
    if "scalar" in value:
        with archive.open(f"{value['scalar']}.npy") as entry:
            return _read_array(entry, on_disk=False)[()]
    if "array" in value:
        with archive.open(f"{value['array']}.npy") as entry:
            return _read_array(entry, on_disk=value["on_disk"])
    fields = {name: _unpack(item, archive) for name, item in value["fields"].items()}
    return TYPES[value["type"]](**fields)


def _write_array(entry: IO[bytes], array: Array) -> None:
    if isinstance(array, np.ndarray):
        npy.write_array(entry, array, allow_pickle=False)
        return
    header = {
        "descr": npy.dtype_to_descr(array.dtype),
        "fortran_order": False,
        "shape": array.shape,
    }
    npy.write_array_header_2_0(entry, header)
    for _, rows in chunks(array):
        entry.write(np.ascontiguousarray(rows).tobytes())


def _read_array(entry: IO[bytes], *, on_disk: bool) -> Array:
    if not on_disk:
        array: NDArray[Any] = npy.read_array(entry, allow_pickle=False)
        return array
    if npy.read_magic(entry) != (2, 0):
        raise ValueError("an array has another version")
    shape, fortran, dtype = npy.read_array_header_2_0(entry)
    if fortran or dtype.hasobject:
        raise ValueError("an array has another layout")
    rows = DiskArray(shape[1:], dtype)
    size = int(np.prod(shape[1:])) * dtype.itemsize
    for block in _blocks(entry, shape[0], size):
        rows.extend(np.frombuffer(block, dtype).reshape(-1, *shape[1:]))
    return rows


def _blocks(entry: IO[bytes], count: int, size: int) -> Iterator[bytes]:
    """Yield *count* rows of *size* bytes, many at a time."""
    step = max(1, READ_BYTES // max(size, 1))
    for start in range(0, count, step):
        wanted = min(step, count - start) * size
        block = entry.read(wanted)
        if len(block) != wanted:
            raise ValueError("an array ends early")
        yield block
