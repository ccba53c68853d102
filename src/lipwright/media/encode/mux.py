"""Write the result: pictures, the new speech, tags; beside, then renamed, or nothing at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import BinaryIO, Self, cast

import av
from av.container import OutputContainer

from lipwright.errors import EncodeFailed, InvalidOptions, LipwrightError, OutputUnwritable
from lipwright.media.encode.audio import VoiceTrack
from lipwright.media.encode.spec import (
    KEY_SECONDS,
    AudioEncoding,
    audio_encoding,
    container_for,
    muxer_options,
    video_encoding,
)
from lipwright.media.encode.video import CopiedTrack, EncodeSpec, PictureTrack
from lipwright.media.frame_conversion import coded_size
from lipwright.media.picture import Picture
from lipwright.media.probe import MediaInfo, VideoInfo, require_audio
from lipwright.media.timeline import Timeline

OWN_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}
NAME_ROOM = 200  # characters of the name kept in that of the partial file: file systems take 255


def check_writable(path: str | Path) -> Path:
    """Return *path* as a Path when a result can be written there; leaves nothing behind.

    Raises:
        OutputUnwritable: the folder is missing or closed to writing, or *path* is a folder.
        InvalidOptions: the suffix names no container.
    """
    path = Path(path)
    container_for(path)
    if path.is_dir():
        raise OutputUnwritable(f"{path} is a folder: name a file in it")
    if not path.parent.is_dir():
        raise OutputUnwritable(f"{path.parent} is no folder: create it first")
    trial = _partial(path)
    try:
        trial.touch(exist_ok=False)
        trial.unlink()
    except OSError as error:
        raise OutputUnwritable(
            f"cannot write in {path.parent} ({error.strerror}): choose another folder"
        ) from error
    return path


def check_encoder(encoder: str, like: VideoInfo, path: Path, crf: float | None = None) -> None:
    """Try out an encoder that was asked for, before any work is done.

    Raises:
        InvalidOptions: it cannot keep what the pictures are, or cannot be opened on this machine.
    """
    encoding = video_encoding(like, like.rate, KEY_SECONDS, container_for(path), crf, encoder)
    try:
        context = cast(av.VideoCodecContext, av.CodecContext.create(encoder, "w"))
        context.width, context.height = coded_size(like)
        context.pix_fmt = encoding.pix_fmt
        context.time_base, context.framerate = 1 / like.rate, like.rate
        context.options = encoding.options
        context.open()
    except (av.error.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidOptions(
            f"the encoder {encoder} cannot be opened here ({reason}): it needs its device and "
            "driver; leave the encoder out to encode on the CPU"
        ) from error


class VideoWriter:
    """Writes exactly the frames of a timeline and the new speech; a context manager.

    The file appears at *path* when the block ends well. When it does not, for whatever reason,
    nothing appears and what was there before stays.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        like: VideoInfo,
        timeline: Timeline,
        audio: MediaInfo | None,
        crf: float | None = None,
        encoder: str | None = None,
        metadata: Mapping[str, str] | None = None,
        threads: int = 0,
    ) -> None:
        """Prepare to write.

        Args:
            path: the result; its suffix names the container.
            like: the source whose size, orientation, colour and depth are kept.
            timeline: how many frames at which rate, and how long the sound.
            audio: where the new speech is; None writes no sound.
            crf: constant rate factor; None is near-transparent.
            encoder: FFmpeg's name of it; None: as the codec of *like* asks.
            metadata: tags of the container.
            threads: of the encoder; 0: as many as it likes.
        """
        self._path = Path(path)
        self._timeline = timeline
        self._audio = audio
        self._threads = threads
        #: what the pictures are like
        self.look = EncodeSpec(
            like=like,
            rate=timeline.rate,
            frames=timeline.frames,
            container=container_for(self._path),
            crf=crf,
            encoder=encoder,
        )
        self._metadata = {k: v for k, v in (metadata or {}).items() if k.lower() not in OWN_TAGS}
        self._written = 0
        self._pictures: PictureTrack | None = None
        self._voice: AudioEncoding | None = None
        self._speech: VoiceTrack | None = None

    def __enter__(self) -> Self:
        """Open the file.

        Raises:
            OutputUnwritable: it cannot be written there.
        """
        check_writable(self._path)
        if self._audio is not None:
            sound = require_audio(self._audio)
            self._voice = audio_encoding(sound, container_for(self._path))
        self._partial = _partial(self._path)
        self._container = self._open()
        return self

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures it takes, as displayed."""
        return self.look.like.width, self.look.like.height

    def write(self, picture: Picture) -> None:
        """Encode the next picture, and the sound up to its end.

        Raises:
            EncodeFailed: the encoder or the disk gave up, or all frames were written before.
        """
        if self._written >= self._timeline.frames:
            raise EncodeFailed(f"{self._path} has all its {self._timeline.frames} frames already")
        with self._failing():
            if self._pictures is None:
                self._pictures = PictureTrack(self._container, self.look, self._threads)
                self._speech = self._add_speech()
            self._container.mux(self._pictures.encode(picture))
            self._count_picture()

    def join(self, segments: Iterable[BinaryIO]) -> None:
        """Copy all pictures from segments of them, in order, instead of encoding them here.

        Raises:
            EncodeFailed: a segment cannot be read, or the disk gave up.
        """
        track: CopiedTrack | None = None
        with self._failing():
            for segment in segments:
                if track is None:
                    track = CopiedTrack(self._container, self.look, segment)
                    self._speech = self._add_speech()
                for packet in track.packets(segment, self._written):
                    self._container.mux(packet)
                    self._count_picture()

    def _count_picture(self) -> None:
        """Note that one more picture is in the file, and bring the sound up to its end."""
        self._written += 1
        if self._speech is not None:
            self._container.mux(list(self._speech.until(self._written / self._timeline.rate)))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file, or remove it when *error* is set.

        Raises:
            EncodeFailed: the encoder or the disk gave up, or frames are missing.
        """
        if error is not None:
            self._abandon()
            return
        try:
            with self._failing():
                self._finish()
        except BaseException:
            self._abandon()
            raise

    def _open(self) -> OutputContainer:
        kind = container_for(self._path)
        rate = None if self._voice is None else self._voice.sample_rate
        with self._failing():
            container = av.open(
                f"file:{self._partial.absolute()}",
                "w",
                format=kind,
                container_options=muxer_options(kind, rate, self._metadata),
            )
        container.metadata.update(self._metadata)
        return container

    def _add_speech(self) -> VoiceTrack | None:
        if self._audio is None or self._voice is None:
            return None
        total = self._timeline.audio_samples(self._voice.sample_rate)
        return VoiceTrack(self._container, self._audio, self._voice, total)

    def _finish(self) -> None:
        if self._written != self._timeline.frames:
            raise EncodeFailed(
                f"{self._path} got {self._written} of its {self._timeline.frames} frames: "
                "the source ended early; nothing was written"
            )
        if self._pictures is not None:
            self._container.mux(self._pictures.finish())
        if self._speech is not None:
            self._container.mux(list(self._speech.finish()))
        self._container.close()
        _sync(self._partial)
        os.replace(self._partial, self._path)
        _sync(self._path.parent)

    def _abandon(self) -> None:
        """Remove everything, whatever state it is in."""
        with contextlib.suppress(OSError):
            self._partial.unlink(missing_ok=True)
        if self._speech is not None:
            self._speech.close()
        with contextlib.suppress(Exception):
            self._container.close()  # its trailer goes to a file that is gone
        with contextlib.suppress(OSError):
            self._partial.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """Turn errors of FFmpeg and the disk into EncodeFailed."""
        try:
            yield
        except LipwrightError:
            raise
        except (av.error.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise EncodeFailed(
                f"{self._path} could not be written ({reason}): is the disk full? "
                "Nothing was left behind"
            ) from error


def _partial(path: Path) -> Path:
    """Return the hidden name beside *path* under which it is written."""
    return path.with_name(f".{path.name[:NAME_ROOM]}.partial-{token_hex(4)}")


def _sync(path: Path) -> None:
    """Bring a file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
