"""Commands about jobs of a service: submit, status, result, cancel, list, watch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lipwright.cli.console import interruptible
from lipwright.cli.progress import OnSight, show_sights, sight_of, sight_of_bytes
from lipwright.cli.shared import job_options, json_option, plain, print_json, quiet_option
from lipwright.errors import IllegalTransition
from lipwright.options import SyncMode, SyncOptions

if TYPE_CHECKING:
    from lipwright.client import Client, JobResult, JobStatus

_STATES = ("in_queue", "in_progress", "succeeded", "failed", "cancelled")

_url_option = click.option(
    "--url",
    metavar="URL",
    help="Where the service is; LIPWRIGHT_API_KEY holds the key. "
    "Default: LIPWRIGHT_URL, or http://127.0.0.1:8800.",
)
_output_option = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Where to save the video. An older file there is replaced when the new one is complete.",
)


def _client(url: str | None) -> Client:
    from lipwright.client import Client

    return Client(url)


@click.command()
@click.argument("video")
@click.argument("audio")
@job_options
@click.option("--engine", help="Which engine paints. Default: the best one of the service.")
@click.option("--seed", type=int, help="For engines that draw random numbers.")
@click.option("--webhook", metavar="URL", help="Is called when the job has ended.")
@_url_option
@quiet_option
@json_option
def submit(
    video: str,
    audio: str,
    mode: str,
    engine: str | None,
    seed: int | None,
    webhook: str | None,
    url: str | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Hand a job to a service and print its id.

    VIDEO and AUDIO are files, which are uploaded, or https URLs, which the service fetches.
    """
    from lipwright.client.calls import DEFAULT_MODEL

    wish = SyncOptions(mode=SyncMode.parse(mode), **options)
    unsure = "the job may not have been handed in: see 'lipwright list'"
    with (
        interruptible(unsure),
        _client(url) as client,
        show_sights(quiet=quiet or as_json) as show,
    ):
        job = client.submit(
            video,
            audio,
            options=wish,
            model_id=f"lipwright/{engine}" if engine else DEFAULT_MODEL,
            seed=seed,
            webhook_url=webhook,
            on_bytes=_shown_as("upload", show),
        )
    if as_json:
        print_json({"id": job.id})
        return
    click.echo(job.id)
    if not quiet:
        click.echo(f"'lipwright watch {job.id}' follows it and saves the video", err=True)


@click.command(short_help="Show where a job is.")
@click.argument("id")
@_url_option
@json_option
def status(id: str, url: str | None, as_json: bool) -> None:
    """Show where the job ID is."""
    with _client(url) as client:
        moment = client.job(id).status()
    if as_json:
        print_json(plain(moment))
    else:
        click.echo(f"{moment.id}: {_line(moment)}")


def _line(moment: JobStatus) -> str:
    sight = sight_of(moment)
    words = dict.fromkeys((moment.state.value, sight.label, sight.text))
    return ", ".join(word for word in words if word)


@click.command(short_help="Print where the video of a job is, or save it.")
@click.argument("id")
@_output_option
@_url_option
@quiet_option
@json_option
def result(id: str, output: Path | None, url: str | None, quiet: bool, as_json: bool) -> None:
    """Print where the video of the job ID is, or save it; a failed job is an error."""
    with interruptible(f"'lipwright result {id}' starts again"), _client(url) as client:
        ended = client.job(id).result(timeout_s=0)
        saved = output and _save(client, ended, output, quiet=quiet or as_json)
    _print_result(ended, saved, as_json)


def _save(client: Client, ended: JobResult, output: Path, *, quiet: bool) -> Path:
    with show_sights(quiet=quiet) as show:
        return client.download(ended, output, on_bytes=_shown_as("download", show))


def _shown_as(label: str, show: OnSight) -> Callable[[int, int], None]:
    return lambda done, total: show(sight_of_bytes(label, done, total))


def _print_result(ended: JobResult, saved: Path | None, as_json: bool) -> None:
    if as_json:
        print_json({**plain(ended), "path": plain(saved)})
    else:
        click.echo(saved or ended.video)


@click.command(short_help="Cancel a job that still waits.")
@click.argument("id")
@_url_option
@json_option
def cancel(id: str, url: str | None, as_json: bool) -> None:
    """Cancel the job ID if it still waits; a running job cannot be cancelled."""
    with _client(url) as client:
        job = client.job(id)
        if not job.cancel():
            state = job.status().state
            raise IllegalTransition(f"job {id} is {state}: only a queued job can be cancelled")
    if as_json:
        print_json({"id": id, "cancelled": True})
    else:
        click.echo(f"{id}: cancelled")


@click.command("list")
@click.option(
    "--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="Most jobs shown."
)
@click.option("--cursor", metavar="WORD", help="Show the next ones: what the last list ended with.")
@click.option("--state", type=click.Choice(_STATES), help="Only jobs in this state.")
@_url_option
@json_option
def list_jobs(
    limit: int, cursor: str | None, state: str | None, url: str | None, as_json: bool
) -> None:
    """List the jobs of this API key, newest first."""
    from lipwright.client import JobState

    with _client(url) as client:
        page = client.jobs(limit=limit, cursor=cursor, state=JobState(state) if state else None)
    if as_json:
        print_json(plain(page))
        return
    for job in page.jobs:
        when = job.created_at.isoformat(timespec="seconds") if job.created_at else "?"
        click.echo(f"{job.id}  {job.state:<11}  {when}  {job.model_id}")
    if page.cursor:
        click.echo(f"more: --cursor {page.cursor}", err=True)


@click.command(short_help="Follow a job to its end and save the video.")
@click.argument("id")
@_output_option
@_url_option
@quiet_option
@json_option
def watch(id: str, output: Path | None, url: str | None, quiet: bool, as_json: bool) -> None:
    """Follow the job ID to its end and save the video, as ID.mp4 here unless -o names a place.

    Ctrl-C ends the watching, not the job.
    """
    quiet = quiet or as_json
    unharmed = f"the job goes on: 'lipwright watch {id}' follows it again"
    with interruptible(unharmed), _client(url) as client:
        job = client.job(id)
        with show_sights(quiet=quiet) as show:
            for moment in job.events():
                show(sight_of(moment))
        ended = job.result()
        saved = _save(client, ended, output or Path(f"{id}.mp4"), quiet=quiet)
    _print_result(ended, saved, as_json)
