"""Write docs/howto/footage.md: ``python -m scripts.generate_footage_docs``."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from bench.inputs.case import Case, Refused, Warned
from bench.inputs.cases import CASES

PAGE = Path(__file__).parents[1] / "docs" / "howto" / "footage.md"
NAMES = {
    "x264": "H.264",
    "x265": "HEVC",
    "vpx-vp9": "VP9",
    "prores_ks": "ProRes",
    "mpeg2video": "MPEG-2",
    "mpeg4": "MPEG-4",
}
INTRODUCTION = """\
# Which footage works

Bring the files that you have: any container, codec, size, frame rate, orientation and number of
channels that FFmpeg reads. What cannot be kept is said in a warning, and what cannot be used is
refused with one error that says what to do. Warnings are in `SyncResult.warnings`, on the command
line and in `--json`.

The tables are made by `scripts/generate_footage_docs.py` from cases that the tests run. `python
-m bench.inputs` runs these and {more} more on the spot.

Rules that hold everywhere:

- The result has the size, the frame rate, the orientation, the colour tags and the bit depth of
  the video. H.264 becomes H.264, HEVC becomes HEVC, ProRes and FFV1 stay what they are; other
  codecs become H.264 (VP9 in .webm). Chroma and alpha are kept where the container and the codec
  can hold them.
- Times are those that players show. A recording that begins late (in a video, or by the edit list
  of an MP4) begins with silence. A picture that begins after its sound begins as late in the
  result, and the new speech starts at 0.
- Further audio tracks, subtitles and chapters of the video are kept where the result follows its
  time: in the modes `cut_off` and `silence`, and in the others as long as the video plays once,
  forward and at its speed.
- A file may also be an https URL, a pipe, or `-`, the standard input. URLs go through the same
  checks as in the service: private hosts only where `LIPWRIGHT_FETCH_ALLOW` names them, and up to
  4 GB (`LIPWRIGHT_MAX_FETCH_BYTES`; the service has its own limit).
- A file is used up to its damage: damaged frames are shown as far as they can be decoded, damaged
  sound is silent, and a warning counts them.

"""


LIMITS = """\
## Known limits

- Graphics: the strokes of a translucent watermark over the lips stay, but spots of them may show on
  the painted mouth. A graphic that slides in may tear while it moves; letters that scroll without a
  box, and text on a still picture, are not recognised.
- People: where no voice tells who speaks, two people who look alike to the tracker and never share
  a shot are animated as one (2 of 33 pairs tried). While an upright face is tracked, one that lies
  on its side or upside down is not searched for.
- Speech: noise much louder than the voice, a very quiet recording and high singing may be taken for
  no speech; the mouth then rests, and a warning says so.
- Pictures: more than 10 bits become 10, RGB becomes YUV 4:4:4, and interlaced frames are painted as
  whole frames. HEIC and AVIF pictures, and HEVC with alpha as output, are not supported.
- Tracks: data tracks of cameras (GPMF and alike) and captions inside the video stream are not kept.
"""


def render() -> str:
    """Return the page."""
    quick = [case for case in CASES if case.quick]
    parts = [INTRODUCTION.format(more=len(CASES) - len(quick))]
    for topic, cases in groupby(quick, lambda case: case.topic):
        parts.append(f"## {topic}\n\n| you bring | what happens |\n|---|---|\n")
        rows = dict.fromkeys(_row(case) for case in cases)
        parts.append("".join(rows) + "\n")
    return "".join(parts) + LIMITS


def _row(case: Case) -> str:
    happens = case.happens or "dubbed"
    if isinstance(case.expect, Warned):
        texts = ", ".join(f"“…{text}…”" for text in case.expect.texts)
        happens += f" ({texts})" if texts else ""
    elif isinstance(case.expect, Refused):
        happens = f"{happens}: `{case.expect.code}`, exit code {case.expect.exit_code}"
    return f"| {_plain(case.brings)} | {happens} |\n"


def _plain(text: str) -> str:
    """Return a text with the names that people use in place of FFmpeg's."""
    for name, usual in NAMES.items():
        text = text.replace(name, usual)
    return text


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
