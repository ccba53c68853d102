"""Which engines are installed: the entry points of the group ``lipwright.engines``."""

from __future__ import annotations

from importlib.metadata import entry_points

from lipwright.engines.base import EngineSpec
from lipwright.errors import EngineError, EngineNotFound

GROUP = "lipwright.engines"


def list_engines() -> tuple[EngineSpec, ...]:
    """Return the facts of all engines installed, by name.

    Raises:
        EngineError: a plug-in cannot be imported or offers no :class:`EngineSpec`.
    """
    return tuple(_load(p.name) for p in sorted(entry_points(group=GROUP), key=lambda p: p.name))


def find_engine(name: str) -> EngineSpec:
    """Return the engine called *name*.

    Raises:
        EngineNotFound: none is installed under that name.
        EngineError: it is, but cannot be imported.
    """
    return _load(name)


def _load(name: str) -> EngineSpec:
    found = sorted(entry_points(group=GROUP, name=name), key=lambda p: p.value)
    if not found:
        known = ", ".join(sorted({p.name for p in entry_points(group=GROUP)})) or "none"
        raise EngineNotFound(f"no engine {name!r} is installed: use one of {known}")
    try:
        spec = found[0].load()
    except Exception as error:
        raise EngineError(
            f"engine {name!r} ({found[0].value}) cannot be loaded: {error}"
        ) from error
    if not isinstance(spec, EngineSpec):
        raise EngineError(f"engine {name!r}: {found[0].value} is no EngineSpec")
    return spec
