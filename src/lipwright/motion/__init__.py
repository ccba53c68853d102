"""Move: speech to mouth shapes, in the speaker's own style."""

from __future__ import annotations
