"""Which model ids there are, and which engine carries each out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lipwright.engines.base import EngineSpec
from lipwright.errors import EngineNotFound
from lipwright.server.errors import shown

PREFIX = "lipwright/"  # lipwright/<engine>: every installed engine
CONTRACT = "sync/sync/lipsync/v2/pro"  # the model id of RunComfy that this service stands in for
SYNC_V2_NAMES = ("lipsync-2", "lipsync-2-pro")  # of sync.so
BEST = "exemplar"  # carries out the ids of others
CATEGORIES = ("lip-sync", "video-to-video")
KIND = "lipsync"


@dataclass(frozen=True, kw_only=True)
class Model:
    """Something that a job can name."""

    id: str
    engine: str
    name: str  #: for people
    summary: str  #: one line


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """The models of this deployment."""

    models: tuple[Model, ...]  #: as RunComfy names them
    sync_v2: tuple[Model, ...]  #: as sync.so names them

    @classmethod
    def of(cls, engines: Iterable[EngineSpec]) -> Catalogue:
        """Return what the installed *engines* can carry out."""
        specs = {spec.name: spec for spec in engines}
        own = [_own(spec) for spec in specs.values()]
        if BEST not in specs:
            return cls(models=tuple(own), sync_v2=tuple(own))
        best = specs[BEST].summary
        contract = Model(id=CONTRACT, engine=BEST, name="Lipsync v2 pro", summary=best)
        names = [Model(id=n, engine=BEST, name=n, summary=best) for n in SYNC_V2_NAMES]
        return cls(models=(contract, *own), sync_v2=(*names, *own))

    def find(self, model_id: str) -> Model:
        """Return the model of that id.

        Raises:
            EngineNotFound: there is none.
        """
        return _find(model_id, self.models)

    def find_sync_v2(self, name: str) -> Model:
        """Return the model of that name; ours may leave out ``lipwright/``.

        Raises:
            EngineNotFound: there is none.
        """
        full = f"{PREFIX}{name}"
        own = any(model.id == full for model in self.sync_v2)
        return _find(full if own else name, self.sync_v2)


def _own(spec: EngineSpec) -> Model:
    return Model(id=f"{PREFIX}{spec.name}", engine=spec.name, name=spec.name, summary=spec.summary)


def _find(model_id: str, models: Sequence[Model]) -> Model:
    for model in models:
        if model.id == model_id:
            return model
    known = ", ".join(model.id for model in models)
    raise EngineNotFound(f"there is no model {shown(repr(model_id))}: use one of {known}")
