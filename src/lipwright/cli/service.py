"""Commands about a service on this machine: serve, keys, config."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lipwright.cli.shared import json_option, plain, print_json
from lipwright.errors import ExtraMissing, InvalidOptions
from lipwright.runtime.device import select_device

if TYPE_CHECKING:
    from lipwright.jobs.model import Key, Keys
    from lipwright.settings import Settings

FIRST_KEY = "first"  # name of the key that the first start makes

_config_option = click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    help="File of settings. Default: LIPWRIGHT_CONFIG, or lipwright.toml here if there is one.",
)
_data_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Folder of database, uploads and results. Default: as 'lipwright config' shows.",
)


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say where the settings are."""
    return _config_option(_data_option(command))


@contextmanager
def server_extra() -> Iterator[None]:
    """Say how to install what the service stands on, where that is missing.

    Raises:
        ExtraMissing: a package cannot be imported.
    """
    try:
        yield
    except ModuleNotFoundError as cause:
        if (cause.name or "").split(".")[0] == "lipwright":
            raise  # a defect of ours
        raise ExtraMissing(
            f"the service needs the package {cause.name!r}, which is not installed: "
            'pip install "lipwright[server]", or ".[server]" in a checkout'
        ) from cause


@click.command(short_help="Run the service: HTTP API, job queue and workers.")
@click.option("--host", metavar="ADDRESS", help="Address to listen on. Default: 127.0.0.1.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port; 0 takes a free one. Default: 8800."
)
@click.option("--slots", type=click.IntRange(min=1), help="Jobs that run at once. Default: 1.")
@settings_options
@json_option
def serve(file: Path | None, as_json: bool, **arguments: Any) -> None:
    """Run the service: HTTP API, job queue and workers, nothing else needed.

    The first start prints an API key, alone on a line of stdout. Ctrl-C or SIGTERM lets running
    jobs finish, a second one sends them back to the queue. With --json one object with url and
    api_key (null if there are keys already) is printed when the service answers.
    """
    with server_extra():
        from lipwright.jobs.services import open_services
        from lipwright.server.serve import serve as run
        from lipwright.settings import Settings

    settings = Settings.load(file, **arguments)
    select_device(settings.device)  # now, or each job would fail without it
    _warn_of_unknown_variables()
    with closing(open_services(settings)) as services:
        first = is_first_start(services.keys, settings)

        def on_ready(url: str) -> None:
            # Only now: a start that fails must not have made a key that nobody has seen.
            secret = services.keys.create(FIRST_KEY)[1] if first else None
            if as_json:
                print_json({"url": url, "api_key": secret})
            elif secret:
                _hand_over(secret)
            sys.stdout.flush()
            click.echo(f"lipwright serves {url} (data in {settings.data_dir})", err=True)

        run(services, settings, on_ready)


def is_first_start(keys: Keys, settings: Settings) -> bool:
    """Whether there is no API key yet, so that the service makes one.

    Raises:
        InvalidOptions: there is none, and others than this machine could connect.
    """
    from lipwright.client.address import is_loopback

    if any(key.active for key in keys.list()):
        return False
    if not is_loopback(settings.host):
        raise InvalidOptions(
            f"there is no API key, and {settings.host} can be reached from other machines: make "
            "one first with 'lipwright keys create NAME'"
        )
    return True


def _hand_over(secret: str) -> None:
    """Print the secret of a new key alone on a line of stdout, and beside it what it is."""
    click.echo("a new API key, shown this once; clients take it from LIPWRIGHT_API_KEY:", err=True)
    click.echo(secret)


def _warn_of_unknown_variables() -> None:
    from lipwright.settings import unknown_variables

    for name in unknown_variables():
        click.echo(f"warning: {name} is no setting and is ignored", err=True)


# --------------------------------------------------------------------------------------- keys
@click.group(invoke_without_command=True)
@click.pass_context
def keys(context: click.Context) -> None:
    """Create, list and revoke API keys; show the secret of webhooks."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@contextmanager
def _open_keys(file: Path | None, data_dir: Path | None) -> Iterator[Keys]:
    with server_extra():
        from lipwright.jobs.ledger.database import open_database
        from lipwright.jobs.ledger.keys import SqlKeys
        from lipwright.jobs.services import make_data_dir
        from lipwright.settings import Settings

    settings = Settings.load(file, data_dir=data_dir)
    make_data_dir(settings.data_dir)
    with closing(open_database(settings.database)) as database:
        yield SqlKeys(database)


@keys.command()
@click.argument("name")
@click.option(
    "--priority",
    type=click.IntRange(1, 100),
    default=10,
    show_default=True,
    help="Whose jobs go first: 1 before all others, 100 after them.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    help="Most jobs of this key that run at once. Default: the setting concurrency_per_key.",
)
@click.option(
    "--submits-per-minute",
    type=click.IntRange(min=1),
    help="Most jobs handed in a minute. Default: the setting of that name.",
)
@click.option(
    "--max-queued",
    type=click.IntRange(min=1),
    help="Most jobs that wait. Default: the setting max_queued_per_key.",
)
@settings_options
@json_option
def create(
    name: str, file: Path | None, data_dir: Path | None, as_json: bool, **limits: Any
) -> None:
    """Make a key called NAME and print it; it is stored hashed and cannot be shown again."""
    with _open_keys(file, data_dir) as keys:
        key, secret = keys.create(name, **limits)
    if as_json:
        print_json({**plain(key), "api_key": secret})
    else:
        _hand_over(secret)


@keys.command("list")
@settings_options
@json_option
def list_keys(file: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """List all keys, without their secrets."""
    with _open_keys(file, data_dir) as keys:
        found = keys.list()
    if as_json:
        print_json({"keys": [plain(key) for key in found]})
        return
    for key in found:
        click.echo(_line(key))


def _line(key: Key) -> str:
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
@settings_options
@json_option
def revoke(key: str, file: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """Revoke the KEY of that id or name; calls with it fail from now on."""
    with _open_keys(file, data_dir) as keys:
        gone = keys.revoke(key)
    if as_json:
        print_json(plain(gone))
    else:
        click.echo(f"{gone.id} ({gone.name}): revoked")


@keys.command("webhook-secret", short_help="Print the secret that signs webhooks.")
@settings_options
@json_option
def show_webhook_secret(file: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """Print the secret that signs webhooks, for those who verify them."""
    with server_extra():
        from lipwright.jobs.services import make_data_dir
        from lipwright.jobs.webhooks import webhook_secret
        from lipwright.settings import Settings

    folder = Settings.load(file, data_dir=data_dir).data_dir
    make_data_dir(folder)
    secret = webhook_secret(folder)
    if as_json:
        print_json({"webhook_secret": secret})
    else:
        click.echo(secret)


# ------------------------------------------------------------------------------------- config
@click.command()
@settings_options
@json_option
def config(file: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """Show all settings and where each comes from; secrets are hidden.

    A setting comes from an argument, the environment (LIPWRIGHT_SLOTS), a file (lipwright.toml) or
    its default, in this order.
    """
    with server_extra():
        from lipwright.settings import Settings

    settings = Settings.load(file, data_dir=data_dir)
    _warn_of_unknown_variables()
    rows = list(_shown(settings))
    if as_json:
        print_json({"settings": rows})
        return
    for row in rows:
        click.echo(f"{row['name']} = {row['value']}  ({row['origin']})")


def _shown(settings: Settings) -> Iterator[dict[str, Any]]:
    from lipwright.settings import SECRETS

    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        hidden = name in SECRETS and value is not None
        yield {
            "name": name,
            "value": "(hidden)" if hidden else plain(value),
            "origin": settings.origins.get(name, "default"),
            "meaning": field.description,
        }
