from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.errors import InvalidOptions
from lipwright.options import SpeakerPick, SyncMode, SyncOptions


def test_modes_are_the_documented_ones():
    assert [mode.value for mode in SyncMode] == ["cut_off", "loop", "bounce", "silence", "remap"]


def test_a_mode_is_parsed_from_its_name():
    assert SyncMode.parse("bounce") is SyncMode.BOUNCE


def test_an_unknown_mode_is_refused_with_the_known_ones():
    with pytest.raises(InvalidOptions, match=r"'stretch'.*cut_off, loop, bounce, silence, remap"):
        SyncMode.parse("stretch")


def test_options_accept_a_mode_by_name():
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
def test_options_out_of_range_are_named_in_the_error(bad):
    with pytest.raises(InvalidOptions, match=next(iter(bad))):
        SyncOptions(**bad)


def test_options_are_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SyncOptions().crf = 3  # type: ignore[misc]


def test_a_speaker_is_parsed_from_a_point_and_a_time():
    assert SpeakerPick.parse("640,300@2.5") == SpeakerPick(x=640, y=300, seconds=2.5)
    assert SpeakerPick.parse("640,300") == SpeakerPick(x=640, y=300, seconds=0)


def test_a_box_selects_the_speaker_at_its_centre():
    assert SpeakerPick.parse("600,200,680,400@2.5") == SpeakerPick(x=640, y=300, seconds=2.5)


@pytest.mark.parametrize(
    "text", ["", "640", "640,300,1", "a,b", "1,2@x", "-1,2", "nan,1", "1,inf", "1,2,3,4,5"]
)
def test_a_malformed_speaker_is_refused(text):
    with pytest.raises(InvalidOptions, match=r"speaker"):
        SpeakerPick.parse(text)


numbers = st.floats(0, 1e5, allow_nan=False)


@given(numbers, numbers, numbers)
def test_a_speaker_round_trips_through_text(x, y, seconds):
    assert SpeakerPick.parse(f"{x!r},{y!r}@{seconds!r}") == SpeakerPick(x=x, y=y, seconds=seconds)


def test_options_round_trip_through_json():
    options = SyncOptions(
        mode=SyncMode.LOOP, speaker=SpeakerPick(x=1, y=2, seconds=3), size="4k", crf=20
    )
    assert SyncOptions.from_json(json.loads(json.dumps(options.to_json()))) == options


def test_defaults_can_be_omitted_from_json():
    assert SyncOptions().to_json(defaults=False) == {}
    assert SyncOptions(intensity=0.5).to_json(defaults=False) == {"intensity": 0.5}
    assert SyncOptions.from_json({}) == SyncOptions()


def test_local_options_are_not_sent_to_a_service():
    local = {"encoder", "max_pixels", "max_seconds"}
    assert set(SyncOptions().to_json()) - set(SyncOptions().to_json(remote=True)) == local


@pytest.mark.parametrize(
    "values", [{"sparkle": 1}, {"crf": "fine"}, {"crf": True}, {"speaker": [1]}, {"mode": 5}]
)
def test_invalid_json_is_refused(values):
    with pytest.raises(InvalidOptions):
        SyncOptions.from_json(values)


@pytest.mark.parametrize(
    "pick",
    [SpeakerPick(x=1, y=2), SpeakerPick(x=1, y=2, seconds=0.5), SpeakerPick(x=3, y=4, frame=7)],
)
def test_a_speaker_round_trips_through_json(pick):
    assert SpeakerPick.from_json(json.loads(json.dumps(pick.to_json()))) == pick


#: Adds a field to the source of options.py and reports which interfaces offer it.
ONE_OPTION = """
import importlib.util, json, sys

spec = importlib.util.find_spec("lipwright.options")
source = open(spec.origin, encoding="utf-8").read()
field = '    sparkle: int = option(3, minimum=1, maximum=9, help="A test option.")\\n'
before, after = source.split("    crf: float | None = option(", 1)
module = importlib.util.module_from_spec(spec)
sys.modules["lipwright.options"] = module
changed = before + field + "    crf: float | None = option(" + after
exec(compile(changed, spec.origin, "exec"), vars(module))

from click.testing import CliRunner
from lipwright.cli.main import cli
from lipwright.client import calls
from lipwright.client.address import ServiceAddress
from lipwright.jobs.payload import JobPayload
from lipwright.options import SyncOptions
from lipwright.server.inputs import validate_body
from lipwright.server.runcomfy.schemas import SubmitInput
from lipwright.worker.renderer import RenderTask

offered = {}
for command in ("sync", "submit"):
    offered[command] = "--sparkle" in CliRunner().invoke(cli, [command, "--help"]).output
body = {"video_url": "https://x.example/v", "audio_url": "https://x.example/a"}
request = calls.submit(
    ServiceAddress(url="https://x.example", api_key="k"), body["video_url"], body["audio_url"],
    model_id="m", options=SyncOptions(sparkle=5), seed=None, webhook_url=None, idempotency_key="i",
).request
sent = json.loads(request.body)
offered["client"] = sent["lipwright"] == {"sparkle": 5}
parsed = validate_body(SubmitInput, sent)
options = parsed.lipwright.options(parsed.sync_mode)
offered["wire"] = options.sparkle == 5
schema = SubmitInput.model_json_schema()["$defs"]["OwnOptions"]["properties"]["sparkle"]
offered["schema"] = schema["anyOf"][0] == {"maximum": 9, "minimum": 1, "type": "integer"}
payload = JobPayload(video="v", audio="a", options=options)
stored = JobPayload.from_json(json.loads(json.dumps(payload.to_json())))
offered["ledger"] = stored.options.sparkle == 5
task = RenderTask(video="v", audio="a", output="o", poster="p", engine="e", options=options)
sent = RenderTask.from_json(json.loads(json.dumps(task.to_json())))
offered["render process"] = sent.options.sparkle == 5
print(json.dumps(offered))
"""


@pytest.mark.model
def test_an_option_is_defined_once_and_offered_everywhere():
    process = subprocess.run([sys.executable, "-c", ONE_OPTION], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    offered = json.loads(process.stdout)
    assert len(offered) == 7
    assert all(offered.values()), offered
