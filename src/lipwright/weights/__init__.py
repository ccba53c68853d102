"""Model files: a manifest of their origins and checksums, and a store that verifies them."""

from __future__ import annotations
