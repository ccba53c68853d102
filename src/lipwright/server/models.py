"""The catalogue of model ids, and the engine that runs each of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lipwright.engines.base import EngineSpec
from lipwright.errors import EngineNotFound
from lipwright.options import DEFAULT_ENGINE
from lipwright.server.errors import truncate

PREFIX = "lipwright/"  # lipwright/<engine>: every installed engine
RUNCOMFY_MODEL_ID = "sync/sync/lipsync/v2/pro"  # RunComfy's model that this service replaces
SYNC_V2_NAMES = ("lipsync-2", "lipsync-2-pro")  # models of sync.so
CATEGORIES = ("lip-sync", "video-to-video")
MODEL_KIND = "lipsync"


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model that a request can name."""

    id: str
    engine: str
    name: str  #: display name
    summary: str  #: one line


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """The models of this deployment."""

    models: tuple[Model, ...]  #: by RunComfy's names
    sync_v2: tuple[Model, ...]  #: by sync.so's names

    @classmethod
    def from_engines(cls, engines: Iterable[EngineSpec]) -> Catalogue:
        """Return the models that the installed *engines* can run."""
        specs = {spec.name: spec for spec in engines}
        own = [_own_model(spec) for spec in specs.values()]
        if DEFAULT_ENGINE not in specs:
            return cls(models=tuple(own), sync_v2=tuple(own))
        summary = specs[DEFAULT_ENGINE].summary
        runcomfy_model = Model(
            id=RUNCOMFY_MODEL_ID, engine=DEFAULT_ENGINE, name="Lipsync v2 pro", summary=summary
        )
        sync_v2_models = [
            Model(id=name, engine=DEFAULT_ENGINE, name=name, summary=summary)
            for name in SYNC_V2_NAMES
        ]
        return cls(models=(runcomfy_model, *own), sync_v2=(*sync_v2_models, *own))

    def find(self, model_id: str) -> Model:
        """Return the model with that id.

        Raises:
            EngineNotFound: there is none.
        """
        return _find(model_id, self.models)

    def find_sync_v2(self, name: str) -> Model:
        """Return the model with that name; our own models are found without ``lipwright/`` too.

        Raises:
            EngineNotFound: there is none.
        """
        full = f"{PREFIX}{name}"
        own = any(model.id == full for model in self.sync_v2)
        return _find(full if own else name, self.sync_v2)


def _own_model(spec: EngineSpec) -> Model:
    return Model(id=f"{PREFIX}{spec.name}", engine=spec.name, name=spec.name, summary=spec.summary)


def _find(model_id: str, models: Sequence[Model]) -> Model:
    for model in models:
        if model.id == model_id:
            return model
    known = ", ".join(model.id for model in models)
    raise EngineNotFound(f"there is no model {truncate(repr(model_id))}: use one of {known}")
