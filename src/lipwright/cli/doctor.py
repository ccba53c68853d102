"""Report what is installed, the origin of the model files, and what is missing."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from lipwright.engines.registry import list_engines
from lipwright.errors import EngineError, LipwrightError, WeightsMissing
from lipwright.runtime.device import Device, has_cuda
from lipwright.version import __version__
from lipwright.weights.manifest import MANIFEST, Weight
from lipwright.weights.store import WeightStore

PACKAGES = ("numpy", "opencv-python-headless", "av", "ai-edge-litert", "onnxruntime")
BUILDS = {"onnxruntime": "onnxruntime-gpu"}  # packages that replace another one
EXTRAS = {"train": "torch", "server": "fastapi", "postgres": "psycopg"}
ENCODERS = ("libx264", "libx265", "aac")  # what the writer needs from FFmpeg


@dataclass(frozen=True, kw_only=True)
class WeightReport:
    """A model file of the manifest and its state on this machine."""

    name: str
    what: str
    state: str  #: ``ok``, ``missing`` or ``corrupt``
    path: Path
    size: int  #: bytes, of the published file
    licence: str
    origin: str
    url: str
    sha256: str  #: of the published file


@dataclass(frozen=True, kw_only=True)
class InstallationReport:
    """The dependencies of Lipwright on this machine."""

    version: str
    python: str
    platform: str
    cpus: int
    packages: dict[str, str | None]  #: name -> version; None: missing
    extras: dict[str, str | None]  #: optional extra -> version of its main package
    ffmpeg: dict[str, str]  #: FFmpeg library inside av -> version
    encoders: dict[str, bool]  #: FFmpeg encoder -> present
    devices: tuple[str, ...]  #: devices that ONNX Runtime supports
    weights: tuple[WeightReport, ...]
    engines: tuple[str, ...]
    broken_engines: str | None  #: reason if the engines cannot be listed

    @property
    def problems(self) -> tuple[str, ...]:
        """What prevents a job from running, each with a fix."""
        return tuple(self._problems())

    @property
    def healthy(self) -> bool:
        """Whether a job can run."""
        return not self.problems

    def _problems(self) -> Iterator[str]:
        for name, version in self.packages.items():
            if version is None:
                yield f"the package {name} is missing: python -m pip install {name}"
        for name, present in self.encoders.items():
            if not present:
                yield f"FFmpeg has no encoder {name}: reinstall av from its wheel"
        for weight in self.weights:
            if weight.state != "ok":
                yield f"{weight.path} is {weight.state}: reinstall lipwright"
        if self.broken_engines:
            yield f"{self.broken_engines}: repair or uninstall that engine"
        elif not self.engines:
            yield "no engine is registered: reinstall lipwright"

    def lines(self) -> Iterator[str]:
        """Yield the report as text."""
        yield f"lipwright {self.version}, Python {self.python}, {self.platform}, {self.cpus} CPUs"
        yield f"engines: {', '.join(self.engines) or 'none'}"
        yield "packages: " + ", ".join(f"{k} {v or 'MISSING'}" for k, v in self.packages.items())
        yield "extras: " + ", ".join(f"{k} {v or 'not installed'}" for k, v in self.extras.items())
        yield "FFmpeg: " + ", ".join(f"{k} {v}" for k, v in self.ffmpeg.items())
        yield f"devices: {', '.join(self.devices)}"
        yield "encoders: " + ", ".join(k if v else f"{k} MISSING" for k, v in self.encoders.items())
        total = sum(weight.size for weight in self.weights)
        yield f"weights: {len(self.weights)} files, {total / 1e6:.1f} MB"
        for weight in self.weights:
            yield f"  {weight.name}: {weight.state}, {weight.size / 1e6:.2f} MB, {weight.licence}"
            yield f"    {weight.what}"
            yield f"    from {weight.origin}"
            if weight.url:
                yield f"    official: {weight.url}"
        for problem in self.problems:
            yield f"problem: {problem}"
        yield "ready: everything required is installed" if self.healthy else "not ready: see above"


def inspect_installation(store: WeightStore | None = None) -> InstallationReport:
    """Inspect this machine; every model file is read and its checksum verified."""
    store = store or WeightStore()
    engines, broken = _engines()
    return InstallationReport(
        version=__version__,
        python=platform.python_version(),
        platform=platform.platform(terse=True),
        cpus=os.cpu_count() or 1,
        packages={name: _version(name) or _version(BUILDS.get(name, name)) for name in PACKAGES},
        extras={extra: _version(name) for extra, name in EXTRAS.items()},
        ffmpeg=_ffmpeg(),
        encoders={name: _has_encoder(name) for name in ENCODERS},
        devices=_devices(),
        weights=tuple(_examine_weight(store, weight) for weight in MANIFEST.values()),
        engines=engines,
        broken_engines=broken,
    )


def _engines() -> tuple[tuple[str, ...], str | None]:
    """Return the names of the engines, or the reason why they cannot be listed."""
    try:
        return tuple(spec.name for spec in list_engines()), None
    except EngineError as error:
        return (), str(error)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _ffmpeg() -> dict[str, str]:
    try:
        from av import library_versions
    except ImportError:
        return {}
    return {name: ".".join(map(str, version)) for name, version in library_versions.items()}


def _devices() -> tuple[str, ...]:
    try:
        return (Device.CPU, Device.CUDA) if has_cuda() else (Device.CPU,)
    except ImportError:
        return ()


def _has_encoder(name: str) -> bool:
    try:
        from av import Codec

        return bool(Codec(name, "w").is_encoder)
    except (ImportError, ValueError):  # av's UnknownCodecError is a ValueError
        return False


def _examine_weight(store: WeightStore, weight: Weight) -> WeightReport:
    try:
        store.path(weight.name)
        state = "ok"
    except WeightsMissing:
        state = "missing"
    except LipwrightError:
        state = "corrupt"
    return WeightReport(
        name=weight.name,
        what=weight.description,
        state=state,
        path=store.folder / weight.file,
        size=weight.size,
        licence=weight.licence,
        origin=weight.origin,
        url=weight.url,
        sha256=weight.sha256,
    )
