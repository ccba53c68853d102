"""How chroma is sampled against luma (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Chroma = Literal["4:2:0", "4:2:2", "4:4:4"]


class Subsampling(NamedTuple):
    """How many luma samples one chroma sample covers."""

    x: int  #: across: 1 or 2
    y: int  #: down: 1 or 2


SUBSAMPLING: Mapping[Chroma, Subsampling] = {
    "4:2:0": Subsampling(2, 2),
    "4:2:2": Subsampling(2, 1),
    "4:4:4": Subsampling(1, 1),
}
CHROMA_420 = SUBSAMPLING["4:2:0"]
