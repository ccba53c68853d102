"""Make the weight ``mouth_pattern``: the fine pattern of a lower face, averaged over many people.

    python scripts/make_mouth_pattern.py FOLDER [--clips 80]

FOLDER holds clips of talking faces. The result is only their mean, 32 x 32 cells. Afterwards run
``python scripts/update_manifest.py mouth_pattern``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from lipwright.face.appearance_model import cell_features
from lipwright.face.landmarker import FaceLandmarker
from lipwright.face.lower_face_raster import raster_layout
from lipwright.face.track import Tracker
from lipwright.media.decode.video import read_video
from lipwright.media.probe import probe
from lipwright.weights.manifest import MANIFEST
from lipwright.weights.store import FILES

FRAMES = 8  # of each clip
CLIPS = 80  # used at most, spread over the folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of clips")
    parser.add_argument("--clips", type=int, default=CLIPS, help=f"about so many; default: {CLIPS}")
    arguments = parser.parse_args()
    clips, landmarker = sorted(arguments.folder.glob("*.mp4")), FaceLandmarker()
    patterns = []
    for path in clips[:: max(1, len(clips) // arguments.clips)]:
        tracker = Tracker(landmarker)
        for frame in read_video(probe(path), stop=FRAMES):
            tracker.feed(frame.picture)
        for track in tracker.tracks()[:1]:
            pattern = cell_features(np.asarray(track.rasters)[track.seen])[..., 3].mean(0)
            patterns.append(pattern / pattern[raster_layout().searched].std())
    mean = np.mean(patterns, 0).astype(np.float32)
    out = FILES / MANIFEST["mouth_pattern"].file
    np.savez_compressed(out, pattern=mean)
    print(f"{out}: mean of {len(patterns)} clips")


if __name__ == "__main__":
    main()
