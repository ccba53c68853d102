"""Commands for the jobs of a service: submit, status, result, cancel, list, watch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lipwright.cli.common import json_option, print_json, quiet_option, sync_options, to_plain
from lipwright.cli.console import stop_on_signal
from lipwright.cli.job_progress import OnView, show_job_progress, view_of_bytes, view_of_job
from lipwright.errors import IllegalTransition
from lipwright.options import SyncOptions

if TYPE_CHECKING:
    from lipwright.client import Client, JobResult, JobStatus

_STATES = ("in_queue", "in_progress", "succeeded", "failed", "cancelled")

_url_option = click.option(
    "--url",
    metavar="URL",
    help="URL of the service; LIPWRIGHT_API_KEY holds the key. "
    "Default: LIPWRIGHT_URL, or http://127.0.0.1:8800.",
)
_output_option = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to save the video to. An existing one is replaced when the new one is complete.",
)


def _client(url: str | None) -> Client:
    from lipwright.client import Client

    return Client(url)


@click.command()
@click.argument("video")
@click.argument("audio")
@sync_options(remote=True)
@click.option("--engine", help="Engine that paints. Default: the best one of the service.")
@click.option("--seed", type=int, help="Seed for engines that draw random numbers.")
@click.option("--webhook", metavar="URL", help="URL to call when the job has ended.")
@_url_option
@quiet_option
@json_option
def submit(
    video: str,
    audio: str,
    engine: str | None,
    seed: int | None,
    webhook: str | None,
    url: str | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Submit a job to a service and print its id.

    VIDEO and AUDIO are files, which are uploaded, or https URLs, which the service fetches.
    """
    from lipwright.client.calls import DEFAULT_MODEL

    consequence = "the job may not have been submitted: see 'lipwright list'"
    with (
        stop_on_signal(consequence),
        _client(url) as client,
        show_job_progress(quiet=quiet or as_json) as show,
    ):
        job = client.submit(
            video,
            audio,
            options=SyncOptions(**options),
            model_id=f"lipwright/{engine}" if engine else DEFAULT_MODEL,
            seed=seed,
            webhook_url=webhook,
            on_bytes=_byte_progress("upload", show),
        )
    if as_json:
        print_json({"id": job.id})
        return
    click.echo(job.id)
    if not quiet:
        click.echo(f"follow it and save the video: lipwright watch {job.id}", err=True)


@click.command(short_help="Show the status of a job.")
@click.argument("id")
@_url_option
@json_option
def status(id: str, url: str | None, as_json: bool) -> None:
    """Show the status of the job ID."""
    with _client(url) as client:
        current = client.job(id).status()
    if as_json:
        print_json(to_plain(current))
    else:
        click.echo(f"{current.id}: {_line(current)}")


def _line(status: JobStatus) -> str:
    view = view_of_job(status)
    words = dict.fromkeys((status.state.value, view.label, view.text))
    return ", ".join(word for word in words if word)


@click.command(short_help="Print the URL of the result, or save it.")
@click.argument("id")
@_output_option
@_url_option
@quiet_option
@json_option
def result(id: str, output: Path | None, url: str | None, quiet: bool, as_json: bool) -> None:
    """Print the URL of the video of the job ID, or save the video; a failed job is an error."""
    with stop_on_signal(f"'lipwright result {id}' starts again"), _client(url) as client:
        ended = client.job(id).result(timeout_s=0)
        saved = output and _save(client, ended, output, quiet=quiet or as_json)
    _print_result(ended, saved, as_json)


def _save(client: Client, ended: JobResult, output: Path, *, quiet: bool) -> Path:
    with show_job_progress(quiet=quiet) as show:
        return client.download(ended, output, on_bytes=_byte_progress("download", show))


def _byte_progress(label: str, show: OnView) -> Callable[[int, int], None]:
    return lambda done, total: show(view_of_bytes(label, done, total))


def _print_result(ended: JobResult, saved: Path | None, as_json: bool) -> None:
    if as_json:
        print_json({**to_plain(ended), "path": to_plain(saved)})
    else:
        for warning in ended.warnings:
            click.echo(f"warning: {warning}", err=True)
        click.echo(saved or ended.video)


@click.command(short_help="Cancel a queued job.")
@click.argument("id")
@_url_option
@json_option
def cancel(id: str, url: str | None, as_json: bool) -> None:
    """Cancel the job ID if it is queued; a running job cannot be cancelled."""
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
    "--limit",
    type=click.IntRange(1, 100),
    default=20,
    show_default=True,
    help="Maximum number of jobs.",
)
@click.option("--cursor", metavar="CURSOR", help="Start of the page, from the previous list.")
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
        print_json(to_plain(page))
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
    """Follow the job ID to its end and save the video, to ID.mp4 unless -o names a file.

    Ctrl-C stops watching; the job continues.
    """
    quiet = quiet or as_json
    consequence = f"the job continues: 'lipwright watch {id}' follows it again"
    with stop_on_signal(consequence), _client(url) as client:
        job = client.job(id)
        with show_job_progress(quiet=quiet) as show:
            for status in job.events():
                show(view_of_job(status))
        ended = job.result()
        saved = _save(client, ended, output or Path(f"{id}.mp4"), quiet=quiet)
    _print_result(ended, saved, as_json)
