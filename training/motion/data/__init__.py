"""Training data: extract, augment and select clips, and draw batches from them."""

from __future__ import annotations
