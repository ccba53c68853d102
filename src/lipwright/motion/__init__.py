"""Motion: turns speech into mouth shapes, in the speaker's own style.

:mod:`~lipwright.motion.animate` is the stage; the other modules are its steps.
"""

from __future__ import annotations
