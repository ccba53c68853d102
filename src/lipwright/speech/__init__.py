"""Speech analysis: from sound to speech states and speech activity at 50 Hz."""

from __future__ import annotations
