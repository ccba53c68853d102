"""Commands that run and configure a service on this machine: serve, keys, config."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lipwright.cli.common import json_option, print_json, to_plain
from lipwright.errors import ExtraMissing, InvalidOptions
from lipwright.runtime.device import select_device

if TYPE_CHECKING:
    from lipwright.jobs.ledger.base import ApiKeys
    from lipwright.jobs.model import ApiKey
    from lipwright.settings import Settings

FIRST_KEY = "first"  # name of the key that the first start creates

_config_option = click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    help="Settings file. Default: LIPWRIGHT_CONFIG, or lipwright.toml in the current folder.",
)
_data_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Folder of database, uploads and results. Default: see 'lipwright config'.",
)


def settings_location_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that locate the settings to a command."""
    return _config_option(_data_option(command))


@contextmanager
def require_server_extra() -> Iterator[None]:
    """Turn a missing dependency of the service into an error that says how to install it.

    Raises:
        ExtraMissing: a package cannot be imported.
    """
    try:
        yield
    except ModuleNotFoundError as cause:
        if (cause.name or "").split(".")[0] == "lipwright":
            raise  # a bug in this package
        raise ExtraMissing(
            f"the service needs the package {cause.name!r}, which is not installed: "
            'pip install "lipwright[server]", or ".[server]" in a checkout'
        ) from cause


@click.command(short_help="Run the service: HTTP API, job queue and workers.")
@click.option("--host", metavar="ADDRESS", help="Address to listen on. Default: 127.0.0.1.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port. 0 selects a free one. Default: 8800."
)
@click.option("--slots", type=click.IntRange(min=1), help="Jobs that run in parallel. Default: 1.")
@settings_location_options
@json_option
def serve(file: Path | None, as_json: bool, **arguments: Any) -> None:
    """Run the service: HTTP API, job queue and workers in one command.

    The first start prints an API key on a line of stdout. On Ctrl-C or SIGTERM, running jobs
    finish; on a second one, they return to the queue. With --json, one object with url and api_key
    (null if there are keys already) is printed when the service is ready.
    """
    with require_server_extra():
        from lipwright.jobs.services import open_services
        from lipwright.server.serve import serve as run
        from lipwright.settings import Settings

    settings = Settings.load(file, **arguments)
    select_device(settings.device)  # fail now rather than in each job
    _warn_of_unknown_variables()
    with closing(open_services(settings)) as services:
        first = needs_first_key(services.keys, settings)

        def on_ready(url: str) -> None:
            # Only now: a failed start must not create a key that was never printed.
            secret = services.keys.create(FIRST_KEY)[1] if first else None
            if as_json:
                print_json({"url": url, "api_key": secret})
            elif secret:
                _print_secret(secret)
            sys.stdout.flush()
            click.echo(f"lipwright serves {url} (data in {settings.data_dir})", err=True)

        run(services, settings, on_ready)


def needs_first_key(keys: ApiKeys, settings: Settings) -> bool:
    """Return whether there is no API key yet, so that the service creates one.

    Raises:
        InvalidOptions: there is none, and other machines could connect.
    """
    from lipwright.client.address import is_loopback

    if any(key.active for key in keys.list()):
        return False
    if not is_loopback(settings.host):
        raise InvalidOptions(
            f"there is no API key, and other machines can reach {settings.host}: create one first "
            "with 'lipwright keys create NAME'"
        )
    return True


def _print_secret(secret: str) -> None:
    """Print the secret of a new key on a line of stdout, and an explanation on stderr."""
    click.echo("new API key, shown only once; clients read it from LIPWRIGHT_API_KEY:", err=True)
    click.echo(secret)


def _warn_of_unknown_variables() -> None:
    from lipwright.settings import unknown_variables

    for name in unknown_variables():
        click.echo(f"warning: {name} is not a setting and is ignored", err=True)


# --------------------------------------------------------------------------------------- keys
@click.group(invoke_without_command=True)
@click.pass_context
def keys(context: click.Context) -> None:
    """Create, list and revoke API keys; show the webhook secret."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@contextmanager
def _open_keys(file: Path | None, data_dir: Path | None) -> Iterator[ApiKeys]:
    with require_server_extra():
        from lipwright.jobs.ledger.database import open_database
        from lipwright.jobs.ledger.keys import SqlApiKeys
        from lipwright.jobs.services import create_data_dir
        from lipwright.settings import Settings

    settings = Settings.load(file, data_dir=data_dir)
    create_data_dir(settings.data_dir)
    with closing(open_database(settings.database)) as database:
        yield SqlApiKeys(database)


@keys.command()
@click.argument("name")
@click.option(
    "--priority",
    type=click.IntRange(1, 100),
    default=10,
    show_default=True,
    help="Priority of the jobs of this key: 1 is the highest, 100 the lowest.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    help="Maximum running jobs of this key. Default: the setting concurrency_per_key.",
)
@click.option(
    "--submits-per-minute",
    type=click.IntRange(min=1),
    help="Maximum jobs submitted per minute. Default: the setting submits_per_minute.",
)
@click.option(
    "--max-queued",
    type=click.IntRange(min=1),
    help="Maximum queued jobs. Default: the setting max_queued_per_key.",
)
@settings_location_options
@json_option
def create(
    name: str, file: Path | None, data_dir: Path | None, as_json: bool, **limits: Any
) -> None:
    """Create a key called NAME and print it. It is stored hashed and cannot be shown again."""
    with _open_keys(file, data_dir) as keys:
        key, secret = keys.create(name, **limits)
    if as_json:
        print_json({**to_plain(key), "api_key": secret})
    else:
        _print_secret(secret)


@keys.command("list")
@settings_location_options
@json_option
def list_keys(file: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """List all keys, without their secrets."""
    with _open_keys(file, data_dir) as keys:
        listed = keys.list()
    if as_json:
        print_json({"keys": [to_plain(key) for key in listed]})
        return
    for key in listed:
        click.echo(_line(key))


def _line(key: ApiKey) -> str:
    limits = (
        ("concurrency", key.concurrency),
        ("submits per minute", key.submits_per_minute),
        ("max queued", key.max_queued),
    )
    words = [
        f"{key.id}  {key.name}",
        f"since {key.created_at:%Y-%m-%d}",
        f"priority {key.priority}",
        *(f"{name} {value}" for name, value in limits if value is not None),
        *([f"revoked {key.revoked_at:%Y-%m-%d}"] if key.revoked_at else []),
    ]
    return ", ".join(words)


@keys.command()
@click.argument("key")
@settings_location_options
@json_option
def revoke(key: str, file: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """Revoke the KEY of that id or name; requests with it fail from now on."""
    with _open_keys(file, data_dir) as keys:
        revoked = keys.revoke(key)
    if as_json:
        print_json(to_plain(revoked))
    else:
        click.echo(f"{revoked.id} ({revoked.name}): revoked")


@keys.command("webhook-secret", short_help="Print the secret that signs webhooks.")
@settings_location_options
@json_option
def show_webhook_secret(file: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """Print the secret that signs webhooks; receivers verify signatures with it."""
    with require_server_extra():
        from lipwright.jobs.services import create_data_dir
        from lipwright.jobs.webhooks import webhook_secret
        from lipwright.settings import Settings

    folder = Settings.load(file, data_dir=data_dir).data_dir
    create_data_dir(folder)
    secret = webhook_secret(folder)
    if as_json:
        print_json({"webhook_secret": secret})
    else:
        click.echo(secret)


# ------------------------------------------------------------------------------------- config
@click.command()
@settings_location_options
@json_option
def config(file: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """Show all settings and where each comes from; secrets are hidden.

    A setting comes from an argument, the environment (LIPWRIGHT_SLOTS), a file (lipwright.toml) or
    its default, in this order.
    """
    with require_server_extra():
        from lipwright.settings import Settings

    settings = Settings.load(file, data_dir=data_dir)
    _warn_of_unknown_variables()
    rows = list(_setting_rows(settings))
    if as_json:
        print_json({"settings": rows})
        return
    for row in rows:
        click.echo(f"{row['name']} = {row['value']}  ({row['origin']})")


def _setting_rows(settings: Settings) -> Iterator[dict[str, Any]]:
    from lipwright.settings import SECRETS

    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        hidden = name in SECRETS and value is not None
        yield {
            "name": name,
            "value": "(hidden)" if hidden else to_plain(value),
            "origin": settings.origins.get(name, "default"),
            "meaning": field.description,
        }
