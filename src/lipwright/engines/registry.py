"""Find installed engines through the entry-point group ``lipwright.engines``."""

from __future__ import annotations

from importlib.metadata import entry_points

from lipwright.engines.base import EngineSpec
from lipwright.errors import EngineError, EngineNotFound

GROUP = "lipwright.engines"


def list_engines() -> tuple[EngineSpec, ...]:
    """Return the specs of all installed engines, sorted by name.

    Raises:
        EngineError: a plug-in cannot be imported or is not an :class:`EngineSpec`.
    """
    return tuple(_load(p.name) for p in sorted(entry_points(group=GROUP), key=lambda p: p.name))


def find_engine(name: str) -> EngineSpec:
    """Return the engine called *name*.

    Raises:
        EngineNotFound: no engine of that name is installed.
        EngineError: the engine is installed but cannot be imported.
    """
    return _load(name)


def _load(name: str) -> EngineSpec:
    matches = sorted(entry_points(group=GROUP, name=name), key=lambda p: p.value)
    if not matches:
        known = ", ".join(sorted({p.name for p in entry_points(group=GROUP)})) or "none"
        raise EngineNotFound(f"no engine {name!r} is installed: use one of {known}")
    try:
        spec = matches[0].load()
    except Exception as error:
        raise EngineError(
            f"engine {name!r} ({matches[0].value}) cannot be loaded: {error}"
        ) from error
    if not isinstance(spec, EngineSpec):
        raise EngineError(f"engine {name!r}: {matches[0].value} is not an EngineSpec")
    return spec
