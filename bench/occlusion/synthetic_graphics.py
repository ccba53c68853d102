"""Draws graphics that stand on the screen in front of a face: captions, logos, watermarks, boxes.

Each kind is drawn with an exact matte. Its place is fixed on the screen, near where the mouth of
the clip is on average.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.media.picture import Picture
from lipwright.types import Floats

MASK_ALPHA = 0.5  # from which a pixel belongs to an opaque graphic
WHITE, BLACK, YELLOW = (255, 255, 255), (0, 0, 0), (250, 210, 30)
RED, BLUE, GREEN = (205, 30, 40), (20, 60, 160), (40, 190, 90)
LINES = ("SHE SAID IT WOULD", "and then he left", "NOBODY KNEW WHY", "until the morning")

Colour = tuple[int, int, int]


class Canvas:
    """A layer to draw on, in pixels of the frame."""

    def __init__(self, width: int, height: int) -> None:
        self.rgb = np.zeros((height, width, 3), np.float32)
        self.alpha = np.zeros((height, width), np.float32)

    def lay(self, mask: Floats, colour: Colour, alpha: float = 1.0) -> None:
        """Lay a colour over the canvas through a mask (H, W) 0 to 1."""
        own = mask * np.float32(alpha)
        whole = own + self.alpha * (1 - own)
        share = np.divide(own, whole, out=np.zeros_like(own), where=whole > 0)[..., None]
        self.rgb += (np.array(colour, np.float32) - self.rgb) * share
        self.alpha = whole

    def stamp(self, draw: Callable[[NDArray[np.uint8]], object]) -> Floats:
        """Return the mask (H, W) 0 to 1 of a shape."""
        mask = np.zeros(self.alpha.shape, np.uint8)
        draw(mask)
        return np.asarray(mask / 255, np.float32)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where graphics are drawn."""

    width: int  #: of the frame, pixels
    height: int
    x: float  #: of the mouth's mean position, pixels
    y: float
    unit: float  #: inter-ocular distance, pixels
    rate: float  #: frames per second


def text(
    canvas: Canvas,
    line: str,
    place: Place,
    down: float,
    *,
    colour: Colour = WHITE,
    size: float = 0.26,
    across: float = 0.0,
    outline: float = 0.0,
    shadow: bool = False,
    alpha: float = 1.0,
    font: int = cv2.FONT_HERSHEY_DUPLEX,
) -> tuple[int, int, int, int]:
    """Write a line of text, centred on the mouth; return its box x0, y0, x1, y1.

    Args:
        canvas: to write on.
        line: of text.
        place: see :class:`Place`.
        down: of its middle, below the mouth, inter-ocular distances.
        colour: of the letters.
        size: height of capitals, inter-ocular distances.
        across: of its middle, to the right of the mouth, inter-ocular distances.
        outline: width of a black outline, share of the height.
        shadow: whether it casts a black shadow.
        alpha: of the whole.
        font: of OpenCV.
    """
    scale = size * place.unit / 22
    thick = max(1, round(size * place.unit / 8))
    (width, height), _ = cv2.getTextSize(line, font, scale, thick)
    x = round(place.x + across * place.unit - width / 2)
    y = round(place.y + down * place.unit + height / 2)

    def write(dx: int, dy: int, thickness: int) -> Floats:
        return canvas.stamp(
            lambda mask: cv2.putText(
                mask, line, (x + dx, y + dy), font, scale, 255, thickness, cv2.LINE_AA
            )
        )

    if shadow:
        offset = max(1, round(size * place.unit / 10))
        canvas.lay(write(offset, offset, thick), BLACK, 0.8 * alpha)
    if outline:
        side = 2 * max(1, round(outline * size * place.unit)) + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        canvas.lay(cv2.dilate(write(0, 0, thick), disc), BLACK)
    canvas.lay(write(0, 0, thick), colour, alpha)
    return x, y - height, x + width, y


def box(
    canvas: Canvas, place: Place, span: tuple[float, float, float, float], colour: Colour, a: float
) -> None:
    """Fill a box x0, y0, x1, y1, in inter-ocular distances from the mouth."""
    corners = [
        (round(place.x + x * place.unit), round(place.y + y * place.unit))
        for x, y in (span[:2], span[2:])
    ]
    canvas.lay(canvas.stamp(lambda m: cv2.rectangle(m, corners[0], corners[1], 255, -1)), colour, a)


def _outlined(canvas: Canvas, place: Place, k: int) -> None:
    text(canvas, "caption style words", place, 0.45, outline=0.14, size=0.2)


def _plain(canvas: Canvas, place: Place, k: int) -> None:
    text(canvas, "PLAIN WHITE TEXT", place, 0.3, size=0.22)


def _black(canvas: Canvas, place: Place, k: int) -> None:
    text(canvas, "black letters here", place, 0.4, colour=BLACK, size=0.2)


def _shadowed(canvas: Canvas, place: Place, k: int) -> None:
    text(canvas, "Yellow with a shadow", place, 0.5, colour=YELLOW, shadow=True, size=0.2)


def _boxed(canvas: Canvas, place: Place, k: int) -> None:
    box(canvas, place, (-2.2, 0.28, 2.2, 0.66), BLACK, 1)
    text(canvas, "IN AN OPAQUE BOX OF ITS OWN", place, 0.47, size=0.17)


def _half_boxed(canvas: Canvas, place: Place, k: int) -> None:
    box(canvas, place, (-1.6, 0.05, 1.6, 0.5), BLACK, 0.5)
    text(canvas, "IN A TRANSLUCENT BOX", place, 0.28, size=0.19)


def _changing(canvas: Canvas, place: Place, k: int) -> None:
    number = int(k / place.rate / 0.9)
    for row in range(2):
        line = LINES[(2 * number + row) % len(LINES)]
        text(canvas, line, place, 0.32 + 0.33 * row, outline=0.12, size=0.19)


def _karaoke(canvas: Canvas, place: Place, k: int) -> None:
    words = ("one", "word", "at", "a", "time")
    lit = int(k / place.rate / 0.35) % len(words)
    x = -1.05
    for i, word in enumerate(words):
        half = 0.07 * len(word) + 0.06
        colour = YELLOW if i == lit else WHITE
        text(canvas, word, place, 0.42, colour=colour, across=x + half, outline=0.12, size=0.2)
        x += 2 * half


def _ticker(canvas: Canvas, place: Place, k: int) -> None:
    box(canvas, place, (-9, 0.4, 9, 0.72), BLUE, 1)
    line = "breaking news +++ markets close higher +++ rain in the north +++ "
    across = 3.0 - 1.1 * k / place.rate
    text(canvas, line, place, 0.56, across=across, size=0.16)


def _logo(canvas: Canvas, place: Place, k: int) -> None:
    centre = round(place.x + 0.3 * place.unit), round(place.y + 0.35 * place.unit)
    radius = round(0.26 * place.unit)
    canvas.lay(canvas.stamp(lambda m: cv2.circle(m, centre, radius, 255, -1, cv2.LINE_AA)), RED)
    text(canvas, "TV", place, 0.35, across=0.3, size=0.2)


def _watermark(canvas: Canvas, place: Place, k: int) -> None:
    text(canvas, "(c) STOCK", place, 0.0, alpha=0.45, size=0.4)


def _timecode(canvas: Canvas, place: Place, k: int) -> None:
    seconds, frame = divmod(k, round(place.rate))
    box(canvas, place, (-0.95, 0.32, 0.95, 0.62), BLACK, 1)
    font = cv2.FONT_HERSHEY_PLAIN
    text(canvas, f"01:00:{seconds:02}:{frame:02}", place, 0.47, size=0.15, font=font)


def _lower_third(canvas: Canvas, place: Place, k: int) -> None:
    slide = 4.0 * max(0.0, 1 - k / place.rate / 0.5) ** 2
    box(canvas, place, (-1.7 - slide, 0.3, 1.3 - slide, 0.62), GREEN, 1)
    text(canvas, "DR. ANNA EXAMPLE", place, 0.46, across=-0.2 - slide, size=0.17)


def _sticker(canvas: Canvas, place: Place, k: int) -> None:
    x, y, unit = place.x - 0.35 * place.unit, place.y + 0.2 * place.unit, place.unit
    for dx, dy, r, colour in (
        (0, 0, 0.3, YELLOW),
        (-0.1, -0.08, 0.05, BLACK),
        (0.1, -0.08, 0.05, BLACK),
        (0, 0.13, 0.08, RED),
    ):
        centre = round(x + dx * unit), round(y + dy * unit)
        disc = canvas.stamp(partial(_disc, centre=centre, radius=round(r * unit)))
        canvas.lay(disc, colour)


def _disc(mask: NDArray[np.uint8], centre: tuple[int, int], radius: int) -> None:
    cv2.circle(mask, centre, radius, 255, -1, cv2.LINE_AA)


def _letterbox(canvas: Canvas, place: Place, k: int) -> None:
    box(canvas, place, (-20, 0.32, 20, 20), BLACK, 1)


def _border(canvas: Canvas, place: Place, k: int) -> None:
    box(canvas, place, (-1.4, 0.42, 1.4, 0.5), WHITE, 1)
    box(canvas, place, (0.55, -2, 0.63, 0.5), WHITE, 1)


def _inset(canvas: Canvas, place: Place, k: int) -> None:
    box(canvas, place, (0.05, 0.2, 2.5, 2.2), BLUE, 1)
    for step in range(6):
        edge = 0.15 + 0.3 * step
        box(canvas, place, (edge, 0.3, edge + 0.15, 2.1), (60 + 30 * step, 90, 140), 1)


KINDS: dict[str, Callable[[Canvas, Place, int], None]] = {
    "outlined": _outlined,
    "plain": _plain,
    "black": _black,
    "shadowed": _shadowed,
    "boxed": _boxed,
    "half_boxed": _half_boxed,
    "changing": _changing,
    "karaoke": _karaoke,
    "ticker": _ticker,
    "logo": _logo,
    "watermark": _watermark,
    "timecode": _timecode,
    "lower_third": _lower_third,
    "sticker": _sticker,
    "letterbox": _letterbox,
    "border": _border,
    "inset": _inset,
}


def place_of(landmarks: Floats, size: tuple[int, int], rate: float) -> Place:
    """Return where to draw on a clip: landmarks (T, 478, 3), width and height, frame rate."""
    mouth = landmarks[:, [13, 14], :2].mean((0, 1))
    unit = float(np.linalg.norm(landmarks[:, 263, :2] - landmarks[:, 33, :2], axis=-1).mean())
    return Place(
        width=size[0], height=size[1], x=float(mouth[0]), y=float(mouth[1]), unit=unit, rate=rate
    )


def draw_graphic(picture: Picture, kind: str, place: Place, k: int) -> tuple[Picture, Floats]:
    """Return frame *k* with a graphic on it, and the graphic's matte (H, W), 0 to 1."""
    canvas = Canvas(picture.width, picture.height)
    KINDS[kind](canvas, place, k)
    top = (1 << picture.depth) - 1
    rgb = np.clip(np.rint(canvas.rgb * (top / 255)), 0, top).astype(picture.planes[0].dtype)
    return picture.paste(picture.bounds, rgb, canvas.alpha), canvas.alpha
