"""Settings of a deployment: read once at startup, then passed on, immutable.

Precedence: argument, environment (``LIPWRIGHT_SLOTS``), file (``lipwright.toml``), default.
``Settings(...)`` reads neither environment nor file; :meth:`Settings.load` does. The docstring of
each field documents it: ``docs/reference/settings.md`` is generated from them.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from lipwright.errors import InvalidOptions
from lipwright.options import MAX_PIXELS, MAX_SECONDS
from lipwright.runtime.device import Device

PREFIX = "LIPWRIGHT_"
FILE = "lipwright.toml"  # in the current folder, when no other file is named
CONFIG_VARIABLE = "LIPWRIGHT_CONFIG"  # names another file
#: Variables that are no settings of the service.
OTHER_VARIABLES = frozenset(
    {
        CONFIG_VARIABLE,
        "LIPWRIGHT_URL",
        "LIPWRIGHT_API_KEY",
        "LIPWRIGHT_DEBUG",
        "LIPWRIGHT_THREADS",
    }
)
SECRETS = frozenset({"database_url"})  # never shown
MIB = 1024 * 1024
DAY = 86_400.0  # seconds

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def default_data_dir() -> Path:
    """Return the default folder of the service's files."""
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "lipwright"


class Settings(BaseSettings):
    """Settings of a deployment."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )
    groups: ClassVar[Mapping[str, str]] = {
        "data_dir": "Storage and address",
        "slots": "Workers",
        "max_queued_per_key": "Queue and keys",
        "max_json_bytes": "Limits of requests",
        "fetch_connect_seconds": "Fetching URLs",
        "retention_seconds": "Retention",
        "webhook_timeout_seconds": "Webhooks",
    }  #: first field of each group -> its heading in the documentation

    data_dir: Path = Field(default_factory=default_data_dir)
    """Folder of the database, uploads, results and secrets. Created if missing, readable by its
    owner only. Default: `lipwright` in `$XDG_DATA_HOME` or `~/.local/share`."""
    database_url: str | None = Field(default=None, repr=False)
    """SQLAlchemy URL of the database. Default: a SQLite file in `data_dir`."""
    host: str = Field(default="127.0.0.1", pattern=r"^[A-Za-z0-9.:%_-]+$")
    """Address to listen on. Addresses other than loopback require an existing API key."""
    port: int = Field(default=8800, ge=0, le=65535)
    """Port to listen on. 0 selects a free one."""
    public_url: str | None = None
    """Base URL in responses and webhooks, as clients see the service: `https://dub.example.org`.
    Default: taken from each request; in webhooks, host and port."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged."""
    log_format: Literal["text", "json"] = "text"
    """Format of the log: text, or one JSON object per line."""

    slots: Count = 1
    """Jobs that run at the same time. Each slot keeps its own models in memory."""
    threads_per_slot: Natural = 0
    """Threads of one slot. 0 divides the cores evenly among the slots."""
    device: Device = Device.CPU
    """`cuda` uses an NVIDIA GPU for decoding, speech encoding and super-resolution, `auto` uses one
    if there is one, `cpu` does not."""
    job_timeout_seconds: Seconds = 7200.0
    """Maximum run time of a job. A longer one fails with `job_timed_out`."""
    max_attempts: Natural = 3
    """Maximum number of retries of a job after crashes and temporary failures."""
    retry_seconds: Seconds = 10.0
    """Delay before the first retry. It doubles with each further one."""
    poll_seconds: Seconds = 0.1
    """Interval at which an idle slot polls the queue."""
    heartbeat_seconds: Seconds = 1.0
    """Interval at which a running job records its heartbeat and its progress."""
    lease_seconds: Seconds = 15.0
    """A running job without a heartbeat for this long is taken over by another worker."""
    drain_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 600.0
    """Time that running jobs have to finish after SIGTERM. Then they return to the queue."""

    max_queued_per_key: Count = 1000
    """Maximum queued jobs of an API key, unless the key has its own limit."""
    submits_per_minute: Count = 6000
    """Maximum jobs that an API key may submit per minute, unless the key has its own limit."""
    concurrency_per_key: Natural = 0
    """Maximum running jobs of an API key. 0 means as many as there are slots."""
    streams_per_key: Count = 100
    """Maximum open event streams of an API key."""
    max_streams: Count = 1000
    """Maximum open event streams of all keys together."""
    idempotency_seconds: Seconds = DAY
    """Time for which an `Idempotency-Key` is remembered."""

    max_json_bytes: Count = 176 * MIB
    """Maximum body of a submit call, data URIs included."""
    max_json_bytes_at_once: Count = 256 * MIB
    """Budget for bodies over 64 KiB that are in memory at the same time, of all callers together;
    they take about three times as much memory. Requests over the budget wait briefly, then receive
    429."""
    json_seconds: Seconds = 300.0
    """Maximum time to receive such a body."""
    max_data_uri_bytes: Count = 64 * MIB
    """Maximum size of a file in a `data:` URI, decoded."""
    max_upload_bytes: Count = 2048 * MIB
    """Maximum size of an upload."""
    max_uploads_bytes_per_key: Count = 20 * 1024 * MIB
    """Maximum total size of the uploads of an API key, data URIs of requests included."""
    max_uploads_per_key: Count = 100_000
    """Maximum number of uploads of an API key, data URIs of requests included."""
    body_idle_seconds: Seconds = 60.0
    """Maximum time between two chunks of a request body."""
    estimates: Count = 2
    """Cost estimates that run at the same time. Each may fetch two files."""
    estimate_seconds: Seconds = 60.0
    """Maximum time to read a file for an estimate, in a process of its own."""
    max_fetch_bytes: Count = 100_000_000
    """Maximum size of a file fetched from a URL."""
    max_seconds: Seconds = MAX_SECONDS
    """Longest video or audio accepted."""
    max_pixels: Count = MAX_PIXELS
    """Largest frame accepted, width x height."""

    fetch_connect_seconds: Seconds = 10.0
    """Maximum time to connect."""
    fetch_idle_seconds: Seconds = 20.0
    """Maximum time between two chunks of a response."""
    fetch_total_seconds: Seconds = 300.0
    """Maximum time to fetch a file."""
    fetch_max_redirects: Natural = 5
    """Maximum number of redirects."""
    fetch_allow: Annotated[tuple[str, ...], NoDecode] = ()
    """Private hosts, addresses or networks that may be fetched from, also over plain http:
    `media.lan, 10.0.0.0/8`. Comma-separated in the environment, a list in the file."""

    retention_seconds: Seconds = 7 * DAY
    """Time for which a finished job and its files are kept."""
    upload_retention_seconds: Seconds = DAY
    """Time for which an upload is kept."""
    url_seconds: Seconds = DAY
    """Time for which the URL of a result is valid. Requesting the result again renews it."""
    sweep_seconds: Seconds = 60.0
    """Interval at which expired jobs and files are removed."""

    webhook_timeout_seconds: Seconds = 15.0
    """Maximum time for a webhook request."""
    webhook_give_up_seconds: Seconds = DAY
    """Time for which a failing webhook is retried."""

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use arguments only: :meth:`load` reads the environment and the file."""
        return (init_settings,)

    @classmethod
    def load(cls, path: Path | None = None, **arguments: Any) -> Self:
        """Read the environment and the file; *arguments* that are not None take precedence.

        Args:
            path: the TOML file; None: what ``LIPWRIGHT_CONFIG`` names, or ``lipwright.toml``
                here if there is one.
            arguments: fields by name.

        Raises:
            InvalidOptions: the file cannot be read, or a setting is unknown or invalid.
        """
        file = _find(path)
        given = {name: value for name, value in arguments.items() if value is not None}
        environment = EnvSettingsSource(cls)()
        in_file = _read(file) if file else {}
        origins = {
            **dict.fromkeys(in_file, str(file)),
            **{name: f"{PREFIX}{name.upper()}" for name in environment},
            **dict.fromkeys(given, "argument"),
        }
        try:
            settings = cls(**{**in_file, **environment, **given})
        except ValidationError as cause:
            problems = "; ".join(_problems(cause, origins))
            raise InvalidOptions(f"{problems}; see 'lipwright config --help'") from cause
        settings._origins.update(origins)
        return settings

    @property
    def origins(self) -> Mapping[str, str]:
        """The origin of each field that is not a default: ``argument``, a variable or a file."""
        return dict(self._origins)

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the database, the default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir / 'lipwright.sqlite3'}"

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("fetch_allow", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return value.replace(",", " ").split() if isinstance(value, str) else value

    @field_validator("public_url")
    @classmethod
    def _base(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write scheme and host, as https://dub.example.org")
        if parts.query or parts.fragment or parts.username is not None:
            raise ValueError("write no query, no fragment and no user name")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.max_json_bytes_at_once < self.max_json_bytes:
            raise ValueError(
                f"max_json_bytes_at_once ({self.max_json_bytes_at_once}) must be at least "
                f"max_json_bytes ({self.max_json_bytes}), or the longest body is never taken"
            )
        if self.lease_seconds < 3 * self.heartbeat_seconds:
            raise ValueError(
                f"lease_seconds ({self.lease_seconds:g}) must be at least three times "
                f"heartbeat_seconds ({self.heartbeat_seconds:g}), or living jobs are taken over"
            )
        return self


def _find(path: Path | None) -> Path | None:
    """Return the settings file, None if there is none and none was requested."""
    named = path or os.environ.get(CONFIG_VARIABLE)
    if named:
        return Path(named)
    return Path(FILE) if Path(FILE).is_file() else None


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            values = tomllib.load(stream)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as cause:
        raise InvalidOptions(f"cannot read the settings in {file}: {cause}") from cause
    for name in values:
        if name not in Settings.model_fields:
            near = difflib.get_close_matches(name, Settings.model_fields, n=1)
            hint = f": did you mean {near[0]}?" if near else "; 'lipwright config' lists them"
            raise InvalidOptions(f"{file} has an unknown setting {name!r}{hint}")
    return values


def _problems(error: ValidationError, origins: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong, by setting and origin, without secret values."""
    for problem in error.errors(include_url=False, include_context=False):
        message = problem["msg"].removeprefix("Value error, ")
        name = str(problem["loc"][0]) if problem["loc"] else ""
        if not name:
            yield message
            continue
        origin = origins.get(name, "default")
        shown = "" if name in SECRETS else f" {problem.get('input')!r}"
        yield f"setting {name}{shown} ({origin}) does not fit: {message}"


def unknown_variables() -> list[str]:
    """Return the variables that look like settings and are none: misspelt, most likely."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | OTHER_VARIABLES
    return sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
