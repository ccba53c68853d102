"""Make mouth_pattern.npz: the fine pattern of a lower face, mean over many people.

    python scripts/mouth_pattern.py FOLDER [LIMIT]

FOLDER holds clips of talking faces. Only the mean of all is kept, 32 x 32 cells. Then run
``python scripts/update_manifest.py mouth_pattern``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from lipwright.face import occlusion
from lipwright.face.landmarker import FaceLandmarker
from lipwright.face.track import Tracker
from lipwright.media.decode.video import read_video
from lipwright.media.probe import probe
from lipwright.weights.manifest import MANIFEST
from lipwright.weights.store import FILES

FRAMES = 8  # of each clip


def main(folder: Path, limit: int) -> None:
    clips, landmarker, patterns = sorted(folder.glob("*.mp4")), FaceLandmarker(), []
    for path in clips[:: max(1, len(clips) // limit)]:
        tracker = Tracker(landmarker)
        for frame in read_video(probe(path), stop=FRAMES):
            tracker.feed(frame.picture)
        for track in tracker.tracks()[:1]:
            fine = occlusion._values(track.rasters[track.seen])[..., 3].mean(0)
            patterns.append(fine / fine[occlusion.layout().judged].std())
    mean = np.mean(patterns, 0).astype(np.float32)
    out = FILES / MANIFEST["mouth_pattern"].file
    np.savez_compressed(out, pattern=mean)
    print(f"{out}: mean of {len(patterns)} clips")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 80)
