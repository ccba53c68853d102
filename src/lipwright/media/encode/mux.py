"""Write a result (video, new speech, metadata) to a temporary file, then rename it."""

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

from lipwright.errors import (
    EncodeFailed,
    InvalidOptions,
    LipwrightError,
    OutputUnwritable,
    StorageFull,
    is_disk_full,
)
from lipwright.media.encode.audio import AudioTrackEncoder
from lipwright.media.encode.encoder_settings import (
    AudioEncoderSettings,
    choose_audio_encoder,
    choose_video_encoder,
    container_for,
    muxer_options,
)
from lipwright.media.encode.track_copy import CopyPlan, TrackCopier, set_language, write_chapters
from lipwright.media.encode.video import EncodeSpec, VideoTrackCopier, VideoTrackEncoder
from lipwright.media.encode.video_encoders import KEY_FRAME_SECONDS
from lipwright.media.frame_conversion import coded_size
from lipwright.media.picture import Picture
from lipwright.media.probe import MediaInfo, VideoInfo, require_audio
from lipwright.media.timeline import Timeline
from lipwright.runtime.atomic_file import link_target

# tags that the muxer sets
RESERVED_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}
MAX_PARTIAL_NAME = 200  # bytes of the name in that of the partial file; the limit is 255


def check_writable(path: str | Path) -> Path:
    """Check that a result can be written to *path*, and return it as a Path.

    Raises:
        OutputUnwritable: The folder is missing or read-only, or *path* is no file.
        InvalidOptions: The suffix is not that of a supported container.
    """
    path = Path(path)
    if str(path) in ("-", "/dev/stdout"):
        raise OutputUnwritable(
            "the result cannot go to the standard output, since it is written out of order: "
            "name a file"
        )
    container_for(path)
    target = link_target(path)
    if target.is_dir():
        raise OutputUnwritable(f"{path} is a folder: name a file in it")
    if not target.parent.is_dir():
        raise OutputUnwritable(f"{target.parent} is not a folder: create it first")
    probe_file = _partial_path(target)
    try:
        probe_file.touch(exist_ok=False)
        probe_file.unlink()
    except OSError as error:
        raise OutputUnwritable(
            f"cannot write in {target.parent} ({error.strerror}): choose another folder"
        ) from error
    return path


def check_encoder(encoder: str, like: VideoInfo, path: Path, crf: float | None = None) -> None:
    """Open the requested encoder once, to fail before any work is done.

    Raises:
        InvalidOptions: The encoder does not support the size or depth of the video, or cannot be
            opened on this machine.
    """
    settings = choose_video_encoder(
        like, like.rate, KEY_FRAME_SECONDS, container_for(path), crf, encoder
    )
    try:
        context = cast(av.VideoCodecContext, av.CodecContext.create(encoder, "w"))
        context.width, context.height = coded_size(like)
        context.pix_fmt = settings.pix_fmt
        context.time_base, context.framerate = 1 / like.rate, like.rate
        context.options = settings.options
        context.open()
    except (av.error.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidOptions(
            f"the encoder {encoder} cannot be opened here ({reason}): it needs its device and "
            "driver; omit the encoder to encode on the CPU"
        ) from error


class VideoWriter:
    """Context manager that writes exactly the frames of a timeline and the new speech.

    The file appears at *path* when the block ends without an error. Otherwise nothing is written,
    and an existing file at *path* is kept.
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
        copies: CopyPlan | None = None,
        threads: int = 0,
    ) -> None:
        """Prepare to write.

        Args:
            path: Output file; the suffix selects the container.
            like: Source whose size, orientation, colour and depth are kept.
            timeline: Frame count, frame rate and duration.
            audio: File with the new speech; None writes no audio.
            crf: Constant rate factor; None is near-transparent.
            encoder: FFmpeg's name of the encoder; None: chosen by the codec of *like*.
            metadata: Tags of the container.
            copies: What else is kept of the source.
            threads: Threads of the encoder; 0: the encoder decides.
        """
        self._path = Path(path)
        self._timeline = timeline
        self._audio = audio
        self._threads = threads
        #: format of the video
        self.spec = EncodeSpec(
            like=like,
            rate=timeline.rate,
            frames=timeline.frames,
            container=container_for(self._path),
            crf=crf,
            encoder=encoder,
            first=round(timeline.offset * timeline.rate),
        )
        self._metadata = writable_tags(metadata or {})
        if copies is not None and copies.timecode:
            self._metadata.pop("timecode", None)  # it is that of the video track
        self._copies = copies
        self._copier: TrackCopier | None = None
        self._written = 0
        self._video_track: VideoTrackEncoder | None = None
        self._audio_settings: AudioEncoderSettings | None = None
        self._audio_track: AudioTrackEncoder | None = None

    def __enter__(self) -> Self:
        """Open the file.

        Raises:
            OutputUnwritable: The file cannot be written.
        """
        check_writable(self._path)
        if self._audio is not None:
            audio = require_audio(self._audio)
            self._audio_settings = choose_audio_encoder(audio, container_for(self._path))
        self._target = link_target(self._path)
        self._partial = _partial_path(self._target)
        self._container = self._open()
        return self

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames to write, as displayed."""
        return self.spec.like.width, self.spec.like.height

    def write(self, picture: Picture) -> None:
        """Encode the next picture, and the audio up to its end.

        Raises:
            EncodeFailed: The encoder or the disk failed, or all frames are already written.
        """
        if self._written >= self._timeline.frames:
            raise EncodeFailed(f"{self._path} has all its {self._timeline.frames} frames already")
        with self._translate_errors():
            if self._video_track is None:
                self._video_track = VideoTrackEncoder(
                    self._container, self.spec, self._threads, self.spec.first
                )
                self._add_other_tracks()
            self._container.mux(self._video_track.encode(picture))
            self._advance()

    def concatenate(self, segments: Iterable[BinaryIO]) -> None:
        """Copy all frames from encoded segments, in order, instead of encoding them with `write`.

        Raises:
            EncodeFailed: A segment cannot be read, or the disk failed.
        """
        track: VideoTrackCopier | None = None
        with self._translate_errors():
            for segment in segments:
                if track is None:
                    track = VideoTrackCopier(self._container, self.spec, segment)
                    self._add_other_tracks()
                for packet in track.packets(segment, self.spec.first + self._written):
                    self._container.mux(packet)
                    self._advance()

    def _advance(self) -> None:
        """Count one written frame; encode the audio and copy the other tracks up to its end."""
        self._written += 1
        end = self._timeline.offset + self._written / self._timeline.rate
        if self._audio_track is not None:
            self._container.mux(list(self._audio_track.encode_until(end)))
        if self._copier is not None:
            self._container.mux(list(self._copier.packets_until(end)))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file, or remove it if *error* is set.

        Raises:
            EncodeFailed: The encoder or the disk failed, or frames are missing.
        """
        if error is not None:
            self._discard()
            return
        try:
            with self._translate_errors():
                self._finish()
        except BaseException:
            self._discard()
            raise

    def _open(self) -> OutputContainer:
        kind = container_for(self._path)
        rate = None if self._audio_settings is None else self._audio_settings.sample_rate
        with self._translate_errors():
            container = av.open(
                f"file:{self._partial.absolute()}",
                "w",
                format=kind,
                container_options=muxer_options(kind, rate, self._metadata),
            )
        container.metadata.update(self._metadata)
        return container

    def _add_other_tracks(self) -> None:
        """Add the streams after that of the video, and the tags of all."""
        self._audio_track = self._add_audio_track()
        copies = self._copies
        if copies is None:
            return
        streams = self._container.streams
        if copies.timecode:
            streams.video[0].metadata["timecode"] = copies.timecode
        if self._audio_track is not None and copies.language:
            set_language(streams.audio[0], copies.language)
        write_chapters(self._container, copies.chapters)
        if copies.tracks:
            if self._audio_track is not None:
                streams.audio[0].disposition = av.stream.Disposition.default
            self._copier = TrackCopier(self._container, copies)

    def _add_audio_track(self) -> AudioTrackEncoder | None:
        if self._audio is None or self._audio_settings is None:
            return None
        total = self._timeline.audio_samples(self._audio_settings.sample_rate)
        return AudioTrackEncoder(self._container, self._audio, self._audio_settings, total)

    def _finish(self) -> None:
        if self._written != self._timeline.frames:
            raise EncodeFailed(
                f"{self._path} got {self._written} of its {self._timeline.frames} frames: "
                "the source ended early; nothing was written"
            )
        if self._video_track is not None:
            self._container.mux(self._video_track.finish())
        if self._audio_track is not None:
            self._container.mux(list(self._audio_track.finish()))
        if self._copier is not None:
            self._container.mux(list(self._copier.finish()))
        self._container.close()
        _fsync(self._partial)
        os.replace(self._partial, self._target)
        _fsync(self._target.parent)

    def _discard(self) -> None:
        """Close and remove the partial file, in whatever state it is."""
        with contextlib.suppress(OSError):
            self._partial.unlink(missing_ok=True)
        if self._audio_track is not None:
            self._audio_track.close()
        if self._copier is not None:
            self._copier.close()
        with contextlib.suppress(Exception):
            self._container.close()  # writes its trailer to the deleted file
        with contextlib.suppress(OSError):
            self._partial.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Raise errors of FFmpeg and the disk as `EncodeFailed` or `StorageFull`."""
        try:
            yield
        except LipwrightError:
            raise
        except (av.error.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            if isinstance(error, OSError) and is_disk_full(error):
                raise StorageFull(
                    f"{self._path} could not be written ({reason}): free space on its disk; no "
                    "partial file remains"
                ) from error
            raise EncodeFailed(
                f"{self._path} could not be written ({reason}); no partial file remains"
            ) from error


def writable_tags(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the tags without those that the muxer sets."""
    return {key: value for key, value in metadata.items() if key.lower() not in RESERVED_TAGS}


def partial_outputs(path: Path) -> list[Path]:
    """Return the temporary files of unfinished outputs at *path*, whoever writes them."""
    target = link_target(path)
    name = _partial_path(target).name.rpartition("-")[0]
    with contextlib.suppress(OSError):
        return [item for item in target.parent.iterdir() if item.name.startswith(f"{name}-")]
    return []


def _partial_path(path: Path) -> Path:
    """Return the hidden temporary name of *path*, in the same folder."""
    name = os.fsdecode(os.fsencode(path.name)[:MAX_PARTIAL_NAME])
    return path.with_name(f".{name}.partial-{token_hex(4)}")


def _fsync(path: Path) -> None:
    """Flush a file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
