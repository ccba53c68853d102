"""Commands that need no service: sync, probe, demo, sample, engines, doctor."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lipwright.cli.common import (
    json_option,
    parse_with,
    print_json,
    quiet_option,
    sync_options,
    to_plain,
)
from lipwright.cli.console import cancel_on_signal, show_progress
from lipwright.options import DEFAULT_ENGINE, SyncOptions
from lipwright.runtime.device import Device

if TYPE_CHECKING:
    from lipwright.media.probe import MediaInfo
    from lipwright.pipeline.result import SyncResult


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise ValueError(f"cannot read size {text!r}: write WIDTHxHEIGHT, as 1280x720")
    return int(width), int(height)


def _rate(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError) as cause:
        raise ValueError(f"cannot read rate {text!r}: write 25 or 30000/1001") from cause
    if rate <= 0:
        raise ValueError(f"rate {text} must be positive")
    return rate


@click.command()
@click.argument("video")
@click.argument("audio")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="File to write: .mp4, .mov or .mkv. An existing one is replaced when the new one is "
    "complete.",
)
@sync_options(remote=False)
@click.option("--engine", default=DEFAULT_ENGINE, show_default=True, help="Engine that paints.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Maximum threads per native library. 1 disables stage overlap. Default: "
    "LIPWRIGHT_THREADS, or one per core.",
)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes that paint and encode a segment each. Useful from about four cores on.",
)
@click.option(
    "--device",
    type=click.Choice([device.value for device in Device]),
    help="Use an NVIDIA GPU for decoding, speech encoding and super-resolution (cuda), use one if "
    "there is one (auto), or use none (cpu). Default: LIPWRIGHT_DEVICE, or cpu.",
)
@quiet_option
@json_option
def sync(
    video: str,
    audio: str,
    output: Path,
    engine: str,
    threads: int | None,
    processes: int,
    device: str | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Re-animate the mouth in VIDEO to the speech in AUDIO.

    VIDEO may be a still picture (JPEG, PNG, WebP, BMP, TIFF, JPEG 2000): the result then lasts as
    long as AUDIO, at 25 frames per second, in any mode. AUDIO is an audio file, or a video whose
    audio is used. Both may be an https URL or a pipe, and one of them - for the standard input.
    """
    from lipwright.pipeline.pipeline import sync as run

    with cancel_on_signal() as cancel, show_progress(quiet=quiet or as_json) as on_progress:
        result = run(
            video,
            audio,
            output,
            options=SyncOptions(**options),
            engine=engine,
            threads=threads,
            processes=processes,
            device=device,
            on_progress=on_progress,
            cancel=cancel,
        )
    if as_json:
        print_json(to_plain(result))
    else:
        _print_result(result)


def _print_result(result: SyncResult) -> None:
    for warning in result.warnings:
        click.echo(f"warning: {warning}", err=True)
    seconds = float(result.duration)
    click.echo(
        f"{result.path}: {result.frames} frames at {_rate_text(result.rate)} fps, {seconds:.2f} s, "
        f"{result.mode}, {result.face_frames} frames with the face, style {result.style}"
    )


@click.command()
@click.argument("file")
@json_option
def probe(file: str, as_json: bool) -> None:
    """Show the streams of FILE: size, exact frame rate, rotation, colour, audio.

    FILE may be an https URL, a pipe, or - for the standard input.
    """
    from lipwright.media.probe import probe as run
    from lipwright.pipeline.inputs import local_inputs

    with local_inputs(file) as (path,):
        info = run(path)
    if as_json:
        print_json({**to_plain(info), "path": file})
    else:
        _print_media(info, file)


def _print_media(info: MediaInfo, name: str) -> None:
    click.echo(f"{name}: {info.container}")
    if video := info.video:
        varies = ", variable" if video.variable_rate else ""
        depth = f"{video.bit_depth} bit"
        click.echo(
            f"video: {video.codec} {video.width}x{video.height}, {_rate_text(video.rate)} fps"
            f"{varies}, {float(video.duration):.3f} s, {video.pix_fmt} {depth}, "
            f"rotation {video.rotation}, sample aspect {video.sample_aspect}"
        )
    if audio := info.audio:
        click.echo(
            f"audio: {audio.codec} {audio.sample_rate} Hz, {audio.layout}, "
            f"{float(audio.duration):.3f} s"
        )
    used = {part.stream for part in (info.video, info.audio) if part is not None}
    for track in info.tracks:
        if track.index not in used:
            words = (track.codec, track.language, track.title, "default" if track.default else "")
            facts = ", ".join(word for word in words if word)
            click.echo(f"track {track.index}: {track.kind}{f' {facts}' if facts else ''}")
    for chapter in info.chapters:
        title = chapter.metadata.get("title", "")
        click.echo(f"chapter: {float(chapter.start):.3f} to {float(chapter.end):.3f} s {title}")
    if info.timecode:
        click.echo(f"timecode: {info.timecode}")


def _rate_text(rate: Fraction) -> str:
    return f"{float(rate):.5g}" if rate.denominator != 1 else str(rate)


@click.command(short_help="Make a talking clip and dub it, offline.")
@click.argument("folder", type=click.Path(path_type=Path), default=Path("lipwright-demo"))
@quiet_option
@json_option
def demo(folder: Path, quiet: bool, as_json: bool) -> None:
    """Make a talking clip and dub it with speech in another language, offline.

    The files are written to FOLDER, by default lipwright-demo.
    """
    from lipwright.cli.demo import run_demo

    with cancel_on_signal() as cancel, show_progress(quiet=quiet or as_json) as on_progress:
        files = run_demo(folder, on_progress=on_progress, cancel=cancel)
    if as_json:
        print_json(to_plain(files))
        return
    for path, description in files.contents():
        click.echo(f"{path}: {description}")


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 3600),
    help="Length of the clip. Default: that of the audio.",
)
@click.option(
    "--size",
    metavar="WxH",
    default="1280x720",
    show_default=True,
    callback=parse_with(_size),
    help="Size of the picture.",
)
@click.option(
    "--rate",
    metavar="FPS",
    default="25",
    show_default=True,
    callback=parse_with(_rate),
    help="Frames per second, exact: 25 or 30000/1001.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random motion.")
@click.option(
    "--audio",
    type=click.Path(path_type=Path),
    help="Speech that the mouth follows. Default: a recording included in Lipwright.",
)
@quiet_option
@json_option
def sample(out: Path, quiet: bool, as_json: bool, **options: Any) -> None:
    """Make a synthetic talking clip OUT with known mouth curves.

    A public-domain portrait is animated; OUT.truth.npz beside it holds the curves and landmarks.
    """
    from lipwright.sample import make_sample

    with cancel_on_signal() as cancel, show_progress(quiet=quiet or as_json) as on_progress:
        truth = make_sample(out, on_progress=on_progress, cancel=cancel, **options)
    if as_json:
        print_json(truth.summary())
    else:
        click.echo(f"{truth.path}: {truth.frames} frames at {_rate_text(truth.rate)} fps")
        click.echo(f"{truth.truth_path}: mouth opening, width and landmarks of each frame")


@click.command()
@json_option
def engines(as_json: bool) -> None:
    """List the installed engines."""
    from lipwright.engines.registry import list_engines

    specs = list_engines()
    if as_json:
        print_json({"engines": [to_plain(spec) for spec in specs]})
        return
    for spec in specs:
        click.echo(f"{spec.name}: {spec.summary} ({spec.licence}; {', '.join(spec.devices)})")


@click.command(short_help="Report what is installed and what is missing.")
@json_option
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Report what is installed, the origin of the model files, and what is missing."""
    from lipwright.cli.doctor import inspect_installation

    report = inspect_installation()
    if as_json:
        print_json(to_plain(report))
    else:
        for line in report.lines():
            click.echo(line)
    if not report.healthy:
        context.exit(5)
