"""An engine of your own: python examples/engine_plugin.py runs the contract test.

To use it with ``--engine grey``, install it with this entry point in your pyproject.toml:
``[project.entry-points."lipwright.engines"]`` ``grey = "engine_plugin:SPEC"``.
"""

from __future__ import annotations

import numpy as np

from lipwright.engines.base import EngineSpec, Patch
from lipwright.testing import check_engine


class GreyFace:
    """Paints the face in grey. A real engine paints the mouth shape ``driving.mouth[k]``."""

    def study(self, face, fetch_views):
        """Look at the source once; the return value is passed to ``paint`` as *speaker*."""

    def paint(self, speaker, driving, views):
        """Yield one patch per view, or None to leave the frame unchanged."""
        for view, strength in zip(views, driving.strength, strict=True):
            if view is None or strength == 0:  # no face, or the effect is off in this frame
                yield None
                continue
            grey = np.broadcast_to(view.rgb.mean(2, keepdims=True), view.rgb.shape)
            mask = np.full(view.rgb.shape[:2], strength, np.float32)  # 0 keeps the pixel
            yield Patch(rgb=grey.astype(view.rgb.dtype), mask=mask, box=view.box)

    def close(self):
        """Release resources; may be called twice."""


SPEC = EngineSpec(
    name="grey", summary="a grey face", licence="Apache-2.0", load=lambda *_: GreyFace()
)

if __name__ == "__main__":
    check_engine(SPEC)
