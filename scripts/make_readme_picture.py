"""Make docs/images/before_after.png: the demo's contact sheet, small, for the README."""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np

from lipwright.cli import demo
from lipwright.media.contact_sheet import write_png

PICTURE = Path(__file__).parents[1] / "docs/images/before_after.png"
CELL = 112  # pixels of one face

if __name__ == "__main__":
    demo.CELL = CELL
    with tempfile.TemporaryDirectory() as folder:
        made = demo.run_demo(folder)
        rgb = np.asarray(cv2.cvtColor(cv2.imread(str(made.before_after)), cv2.COLOR_BGR2RGB))
    PICTURE.parent.mkdir(exist_ok=True)
    write_png(PICTURE, rgb.astype(np.uint8))
