"""Make a synthetic talking clip whose mouth curves are known exactly.

:mod:`.curves` turns speech into mouth and head motion, :mod:`.portrait` renders a portrait that
performs it, and :mod:`.clip` writes the video and its ground truth. Every landmark of every frame
is known, so trackers, timelines and whole jobs can be measured on any machine, offline.
"""

from __future__ import annotations

from lipwright.sample.clip import SampleTruth, make_sample, speech_asset

__all__ = ["SampleTruth", "make_sample", "speech_asset"]
