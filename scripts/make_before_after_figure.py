"""Make docs/images/before_after.png: the demo's contact sheet, small, for the README."""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np

from lipwright.cli import demo
from lipwright.cli.contact_sheet import write_png

FIGURE = Path(__file__).parents[1] / "docs/images/before_after.png"
CELL_PIXELS = 112  # of one face


def main() -> None:
    demo.CELL = CELL_PIXELS
    with tempfile.TemporaryDirectory() as folder:
        result = demo.run_demo(folder)
        rgb = np.asarray(cv2.cvtColor(cv2.imread(str(result.before_after)), cv2.COLOR_BGR2RGB))
    write_png(FIGURE, rgb.astype(np.uint8))


if __name__ == "__main__":
    main()
