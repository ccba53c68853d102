from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.errors import InvalidOptions
from lipwright.options import SpeakerPick, SyncMode, SyncOptions


def test_modes_are_those_of_the_contract():
    assert [mode.value for mode in SyncMode] == ["cut_off", "loop", "bounce", "silence", "remap"]


def test_a_mode_is_found_by_its_name():
    assert SyncMode.parse("bounce") is SyncMode.BOUNCE


def test_an_unknown_mode_names_the_known_ones():
    with pytest.raises(InvalidOptions, match=r"'stretch'.*cut_off, loop, bounce, silence, remap"):
        SyncMode.parse("stretch")


def test_options_take_a_mode_by_name():
    assert SyncOptions(mode="loop").mode is SyncMode.LOOP  # type: ignore[arg-type]
    with pytest.raises(InvalidOptions):
        SyncOptions(mode="stretch")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad",
    [
        {"intensity": -0.1},
        {"intensity": 1.6},
        {"intensity": float("nan")},
        {"crf": 0},
        {"crf": 52},
        {"encoder": "libx266"},
        {"max_pixels": 0},
        {"max_seconds": 0},
    ],
)
def test_options_out_of_range_are_refused_by_name(bad):
    with pytest.raises(InvalidOptions, match=next(iter(bad))):
        SyncOptions(**bad)


def test_options_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SyncOptions().crf = 3  # type: ignore[misc]


def test_a_speaker_is_written_as_a_point_and_a_time():
    assert SpeakerPick.parse("640,300@2.5") == SpeakerPick(x=640, y=300, seconds=2.5)
    assert SpeakerPick.parse("640,300") == SpeakerPick(x=640, y=300, seconds=0)


def test_a_speaker_may_be_written_as_a_box():
    assert SpeakerPick.parse("600,200,680,400@2.5") == SpeakerPick(x=640, y=300, seconds=2.5)


@pytest.mark.parametrize(
    "text", ["", "640", "640,300,1", "a,b", "1,2@x", "-1,2", "nan,1", "1,inf", "1,2,3,4,5"]
)
def test_a_speaker_written_otherwise_is_refused(text):
    with pytest.raises(InvalidOptions, match=r"speaker"):
        SpeakerPick.parse(text)


numbers = st.floats(0, 1e5, allow_nan=False)


@given(numbers, numbers, numbers)
def test_a_speaker_survives_writing_and_reading(x, y, seconds):
    assert SpeakerPick.parse(f"{x!r},{y!r}@{seconds!r}") == SpeakerPick(x=x, y=y, seconds=seconds)
