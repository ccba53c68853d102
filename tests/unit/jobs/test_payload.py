"""The payload of a job survives the ledger, also one that an earlier version has queued."""

from __future__ import annotations

import json

import pytest

from lipwright.errors import InvalidOptions
from lipwright.jobs.payload import JobPayload
from lipwright.options import SpeakerPick, SyncMode, SyncOptions

SOURCES = {"video": "https://media.example.org/v.mp4", "audio": "file:1"}


def test_a_payload_survives_json():
    options = SyncOptions(mode=SyncMode.BOUNCE, speaker=SpeakerPick(x=1, y=2, frame=3))
    payload = JobPayload(**SOURCES, options=options, seed=7)
    assert JobPayload.from_json(json.loads(json.dumps(payload.to_json()))) == payload


def test_a_payload_of_an_earlier_version_is_read():
    stored = {**SOURCES, "mode": "loop", "speaker_frame": [10.0, 20.0, 30.0]}
    options = JobPayload.from_json(stored).options
    assert options == SyncOptions(mode=SyncMode.LOOP, speaker=SpeakerPick(x=10, y=20, frame=30))
    assert JobPayload.from_json({**SOURCES, "speaker": [10, 20, 1.5]}).options == SyncOptions(
        speaker=SpeakerPick(x=10, y=20, seconds=1.5)
    )


def test_an_unknown_option_is_refused():
    with pytest.raises(InvalidOptions, match="sparkle"):
        JobPayload.from_json({**SOURCES, "sparkle": 1})
