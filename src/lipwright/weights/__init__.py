"""Model files: what they are, where they come from, and that they are intact."""

from __future__ import annotations
