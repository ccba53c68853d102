"""Run a case as a person would, and judge what comes out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bench.inputs.case import Case, Refused, Right, Warned
from bench.inputs.recipes.footage import Footage
from lipwright.media.decode.audio import iter_channels
from lipwright.media.decode.video import read_video
from lipwright.media.picture import Picture
from lipwright.media.probe import MediaInfo, probe, require_audio

TIMEOUT = 120.0  # seconds of one job
UNCHANGED = "no face was found: the picture is unchanged"
CUT = "s of speech are cut"  # most clips are shorter than the voice
MIN_SIMILARITY = 28.0  # dB, of the parts of a picture that nothing paints
MIN_SOUND = -50.0  # dBFS; less is silence
MIN_CHANGE = 8.0  # codes of 255, of the block of a painted frame that differs most
BLOCK = 8  # pixels


@dataclass(frozen=True)
class Verdict:
    """How a case ended."""

    name: str
    topic: str
    kind: str  #: right, warned, refused or wrong
    text: str  #: what was said, or what is wrong


class Outcome:
    """What the command line did with a case."""

    def __init__(self, case: Case, source: str, out: Path, ended: Any) -> None:
        """Take how the process ended."""
        self.case, self.out = case, out
        self._source = source
        self.status: int = ended.returncode
        self.stdout, self.stderr = (
            text.decode("utf-8", "replace") for text in (ended.stdout, ended.stderr)
        )

    @cached_property
    def answer(self) -> dict[str, Any]:
        """What ``--json`` printed: the result or the error."""
        lines = [*self.stdout.splitlines(), *self.stderr.splitlines()]
        for text in (self.stdout, *reversed(lines)):
            try:
                value = json.loads(text)
            except ValueError:
                continue
            if isinstance(value, dict):
                return value
        return {}

    @property
    def warnings(self) -> list[str]:
        """Warnings of the job, without those that the footage of this bench causes."""
        wanted = self.case.expect.texts if isinstance(self.case.expect, Warned) else ()
        causes = (CUT,) if self.case.face else (UNCHANGED, CUT)
        own = [text for text in causes if not any(text in given for given in wanted)]
        said = self.answer.get("warnings", [])
        return [text for text in said if not any(part in text for part in own)]

    @cached_property
    def source(self) -> MediaInfo:
        """The video that was brought."""
        return probe(self._source)

    @cached_property
    def result(self) -> MediaInfo:
        """The file that was written."""
        return probe(self.out)

    def pictures(self, info: MediaInfo, indices: set[int]) -> Iterator[Picture]:
        """Yield some frames of a file."""
        with read_video(info) as frames:
            for frame in frames:
                if frame.index in indices:
                    yield frame.picture

    @cached_property
    def sound(self) -> np.ndarray:
        """The sound of the result, (channels, n) at 16 kHz."""
        audio = require_audio(self.result)
        layout = "mono" if audio.channels == 1 else "stereo"
        return np.concatenate([*iter_channels(self.result, rate=16_000, layout=layout)], axis=1)


def run_case(case: Case, folder: Path, footage: Footage) -> Verdict:
    """Make the files of a case in a folder, run it, and judge it."""
    folder.mkdir(parents=True, exist_ok=True)
    video = str(case.video(folder, footage))
    audio = str(case.audio(folder, footage))
    out = folder / case.out
    command = [sys.executable, "-m", "lipwright", "sync", video, audio, "-o", str(out), "--json"]
    command += [option.replace("FOLDER", str(folder)) for option in case.options]
    if not case.face and "--allow-no-face" not in case.options:
        command.append("--allow-no-face")
    if case.stdin:
        command[4] = "-"
    environment = {**os.environ, "LIPWRIGHT_THREADS": "1"}
    given = Path(video).read_bytes() if case.stdin else b""
    try:
        ended = subprocess.run(
            command,
            input=given,
            capture_output=True,
            timeout=TIMEOUT,
            env=environment,
            cwd=folder,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Verdict(case.name, case.topic, "wrong", f"it ran for more than {TIMEOUT:.0f} s")
    if Path(video).is_fifo():
        video = str(next((folder / "inner").iterdir()))
    return judge(Outcome(case, video, out, ended))


def judge(outcome: Outcome) -> Verdict:
    """Compare what came out with what was expected."""
    case = outcome.case
    kind, problem = _judge_words(outcome)
    if not problem and kind != "refused":
        problem = next(filter(None, (check(outcome) for check in (check_result, *case.checks))), "")
    if problem:
        return Verdict(case.name, case.topic, "wrong", problem)
    said = outcome.answer.get("message", "") or "; ".join(outcome.warnings)
    return Verdict(case.name, case.topic, kind, said)


def _judge_words(outcome: Outcome) -> tuple[str, str]:
    """Return the kind of outcome, and what is wrong about what was said."""
    case, answer = outcome.case, outcome.answer
    error = answer.get("error", {}) if isinstance(answer.get("error"), dict) else answer
    message = str(error.get("message", outcome.stderr.strip()[-300:]))
    if outcome.status not in range(8) or "Traceback" in outcome.stderr:
        return "wrong", f"exit {outcome.status}: {outcome.stderr.strip()[-300:]}"
    if isinstance(case.expect, Refused):
        if outcome.status == 0:
            return "wrong", f"it was not refused; warnings: {outcome.warnings}"
        expected, got = (
            (case.expect.code, case.expect.exit_code),
            (error.get("code"), outcome.status),
        )
        if expected != got:
            return "wrong", f"{got} instead of {expected}: {message}"
        if case.expect.text not in message:
            return "wrong", f"the message does not say {case.expect.text!r}: {message}"
        if outcome.out.exists() and not outcome.out.is_symlink():
            return "wrong", "a refused job left an output"
        outcome.answer["message"] = message
        return "refused", ""
    if outcome.status != 0:
        return "wrong", f"exit {outcome.status}: {message}"
    if isinstance(case.expect, Warned):
        missing = [t for t in case.expect.texts if not any(t in w for w in outcome.warnings)]
        extra = [w for w in outcome.warnings if not any(t in w for t in case.expect.texts)]
        if missing or extra:
            return "wrong", f"no warning says {missing}; unexpected: {extra}"
        return "warned", ""
    assert isinstance(case.expect, Right)
    return "right", f"unexpected warnings: {outcome.warnings}" if outcome.warnings else ""


def check_result(outcome: Outcome) -> str:
    """Check what holds for every result: frames, rate, size, picture, sound, painted mouths."""
    case, answer, result = outcome.case, outcome.answer, outcome.result
    video, source = result.video, outcome.source.video
    if video is None or source is None:
        return "the result has no picture"
    frames = sum(1 for _ in read_video(result))
    if frames != answer["frames"]:
        return f"{frames} frames were written, the result says {answer['frames']}"
    if "--size" not in case.options and (video.width, video.height) != (
        source.width,
        source.height,
    ):
        return f"its size is {video.width} x {video.height}, not {source.width} x {source.height}"
    if not source.still and not source.variable_rate and video.rate != source.rate:
        return f"its rate is {video.rate}, not {source.rate}"
    if case.face and answer["face_frames"] < case.animated * frames:
        return f"{answer['face_frames']} of {frames} frames were animated"
    sound, stated = float(require_audio(result).duration), answer_seconds(answer)
    if abs(sound - stated) > 0.05:
        return f"its sound lasts {sound:.2f} s, the result {stated:.2f}"
    power = np.square(outcome.sound, dtype=np.float64).mean(1).max()
    level = 10 * np.log10(power + 1e-12)
    if not case.silent and level < MIN_SOUND:
        return f"its sound has {level:.0f} dB: it is silent"
    return _compare_pictures(outcome, frames)


def answer_seconds(answer: dict[str, Any]) -> float:
    """Return the duration that a result states."""
    value = answer["duration"]
    if isinstance(value, str) and "/" in value:
        top, bottom = value.split("/")
        return float(top) / float(bottom)
    return float(value)


def _compare_pictures(outcome: Outcome, frames: int) -> str:
    """Compare some frames with the source: only the mouth, if any, is painted."""
    case, before, after = outcome.case, outcome.source.video, outcome.result.video
    assert before is not None
    assert after is not None
    resized = "--size" in case.options or any("--mode" in option for option in case.options)
    if resized or before.alpha != after.alpha:
        return ""
    wanted = {0} if before.variable_rate or before.still else {0, frames // 4, frames // 2}
    shown = [*outcome.pictures(outcome.source, wanted)]
    written = [*outcome.pictures(outcome.result, wanted)]
    if len(shown) != len(written):
        return f"{len(written)} of {len(shown)} frames can be read"
    differences = [_difference(a, b) for a, b in zip(shown, written, strict=True)]
    for difference in differences:
        kept = difference[: max(2, len(difference) // (3 if case.face else 1))]
        error = np.square(kept / 255).mean()
        if error > 10 ** (-MIN_SIMILARITY / 10):
            return f"its picture differs: {-10 * np.log10(error + 1e-12):.1f} dB"
    change = max(_largest_block(difference) for difference in differences)
    if case.face and change < MIN_CHANGE:
        return f"no mouth moves: the frames differ by {change:.1f} codes"
    return ""


def _difference(before: Picture, after: Picture) -> np.ndarray:
    """Return the absolute difference of two pictures, (h, w, 3) of 0 to 255."""
    a, b = (
        p.rgb().astype(np.float64) * 255 / (255 if p.depth == 8 else 1023) for p in (before, after)
    )
    return np.abs(a - b)


def _largest_block(difference: np.ndarray) -> float:
    """Return the largest mean difference of a block."""
    height, width = (side // BLOCK * BLOCK for side in difference.shape[:2])
    grey = difference[:height, :width].mean(2)
    blocks = grey.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return float(blocks.mean((1, 3)).max())
