from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lipwright.errors import EngineNotFound, InvalidOptions
from lipwright.jobs.model import Failure, State, Upload
from lipwright.options import SpeakerPick, SyncOptions
from lipwright.server.errors import InvalidBody
from lipwright.server.models import Catalogue
from lipwright.server.runcomfy import wire as runcomfy
from lipwright.server.sync_v2 import wire as sync_v2
from wire_jobs import (
    ALL,
    BODY,
    CATALOGUE,
    CONTRACT,
    DONE,
    FAILED,
    LINKS,
    NOON,
    QUEUED,
    RUNNING,
    SPEC,
    V2,
    A,
    V,
    spec,
)


def locations(error: InvalidBody) -> set[tuple]:
    return {field_error.loc for field_error in error.field_errors}


# -- models ---------------------------------------------------------------------------------------


def test_the_contract_and_every_engine_have_a_model_id():
    assert [model.id for model in CATALOGUE.models] == [
        "sync/sync/lipsync/v2/pro",
        "lipwright/exemplar",
        "lipwright/passthrough",
    ]
    assert CONTRACT.engine == "exemplar"


@pytest.mark.parametrize("name", ["lipsync-2", "lipsync-2-pro", "exemplar", "lipwright/exemplar"])
def test_sync_v2_names_lead_to_the_exemplar_engine(name):
    assert CATALOGUE.find_sync_v2(name).engine == "exemplar"


@pytest.mark.parametrize(
    "name", ["", "sync/sync/lipsync/v2", "exemplar", "../exemplar", "x" * 9999]
)
def test_the_error_for_an_unknown_model_lists_the_known_ones(name):
    with pytest.raises(EngineNotFound, match="lipwright/passthrough") as caught:
        CATALOGUE.find(name)
    assert len(str(caught.value)) < 400


def test_without_the_default_engine_only_installed_ones_are_offered():
    ours = Catalogue.from_engines([spec("other")])
    assert [m.id for m in ours.models] == [m.id for m in ours.sync_v2] == ["lipwright/other"]


# -- runcomfy, in ---------------------------------------------------------------------------------


def test_a_plain_body_is_parsed():
    submission = runcomfy.parse_submission(CONTRACT, BODY)
    assert (submission.video.url, submission.audio.url) == (V, A)
    assert (submission.engine, submission.options) == ("exemplar", SyncOptions())
    assert submission.input == {**BODY, "sync_mode": "cut_off"}
    assert submission.webhook is None


@pytest.mark.parametrize("mode", ["cut_off", "loop", "bounce", "silence", "remap"])
def test_every_sync_mode_of_the_contract_is_accepted(mode):
    assert runcomfy.parse_submission(CONTRACT, {**BODY, "sync_mode": mode}).options == SyncOptions(
        mode=mode
    )


def test_our_own_options_are_parsed():
    own = {
        "speaker": [640, 300],
        "allow_no_face": True,
        "intensity": 0.5,
        "crf": 18,
        "seed": 7,
        "webhook_url": V,
    }
    submission = runcomfy.parse_submission(CONTRACT, {**BODY, "lipwright": own})
    assert submission.options == SyncOptions(
        speaker=SpeakerPick(x=640, y=300), allow_no_face=True, intensity=0.5, crf=18
    )
    assert submission.seed == 7
    assert submission.webhook is not None
    assert submission.webhook.url == V


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"video_url": None}, "video_url"),
        ({"video_url": 5}, "video_url"),
        ({"video_url": ""}, "video_url"),
        ({"audio_url": [V]}, "audio_url"),
        ({"sync_mode": "Loop"}, "sync_mode"),
        ({"sync_mode": None}, "sync_mode"),
        ({"restore": True}, "restore"),
        ({"lipwright": []}, "lipwright"),
        ({"lipwright": {"size": "8k"}}, "lipwright.size"),
        ({"lipwright": {"restore": True}}, "lipwright.restore"),
        ({"lipwright": {"speaker": [1]}}, "lipwright.speaker"),
        ({"lipwright": {"speaker": [1, 2, 3, 4]}}, "lipwright.speaker"),
        ({"lipwright": {"speaker": [1, -2]}}, "lipwright.speaker.1"),
        ({"lipwright": {"speaker": "1,2"}}, "lipwright.speaker"),
        ({"lipwright": {"speaker": [True, 2]}}, "lipwright.speaker.0"),
        ({"lipwright": {"allow_no_face": 1}}, "lipwright.allow_no_face"),
        ({"lipwright": {"intensity": 1.6}}, "lipwright.intensity"),
        ({"lipwright": {"intensity": "1"}}, "lipwright.intensity"),
        ({"lipwright": {"crf": 0}}, "lipwright.crf"),
        ({"lipwright": {"crf": 10**400}}, "lipwright.crf"),
        ({"lipwright": {"seed": 2**63}}, "lipwright.seed"),
        ({"lipwright": {"seed": 1.5}}, "lipwright.seed"),
        ({"lipwright": {"webhook_url": ""}}, "lipwright.webhook_url"),
    ],
)
def test_an_invalid_field_is_named(change, field):
    with pytest.raises(InvalidBody) as caught:
        runcomfy.parse_submission(CONTRACT, {**BODY, **change})
    assert locations(caught.value) == {
        ("body", *(int(step) if step.isdecimal() else step for step in field.split(".")))
    }


def test_all_missing_fields_are_named_at_once():
    with pytest.raises(InvalidBody) as caught:
        runcomfy.parse_submission(CONTRACT, {})
    assert locations(caught.value) == {("body", "video_url"), ("body", "audio_url")}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
FIELDS = st.sampled_from(["video_url", "audio_url", "sync_mode", "lipwright", "model", "input",
                          "options", "segments", "webhookUrl", "outputFileName"])  # fmt: skip


@given(st.dictionaries(FIELDS, JSON))
def test_any_body_is_parsed_or_gives_one_clear_error(body):
    for read in (
        partial(runcomfy.parse_submission, CONTRACT),
        partial(sync_v2.parse_submission, CATALOGUE),
    ):
        try:
            result = read(body).dialect
        except (InvalidOptions, EngineNotFound) as error:
            result = str(error)
        assert 0 < len(result) < 5000


# -- runcomfy, out --------------------------------------------------------------------------------


def test_submitted_has_exactly_the_four_fields_with_absolute_urls():
    assert runcomfy.submitted("id-1", LINKS) == {
        "request_id": "id-1",
        "status_url": "https://dub.example/v1/requests/id-1/status",
        "result_url": "https://dub.example/v1/requests/id-1/result",
        "cancel_url": "https://dub.example/v1/requests/id-1/cancel",
    }


def test_status_has_a_position_only_in_the_queue():
    urls = {
        "status_url": "https://dub.example/v1/requests/id-1/status",
        "result_url": "https://dub.example/v1/requests/id-1/result",
    }
    assert runcomfy.status(QUEUED, 3, LINKS) == {
        "request_id": "id-1", "status": "in_queue", "queue_position": 3, **urls
    }  # fmt: skip
    assert runcomfy.status(RUNNING, None, LINKS) == {
        "request_id": "id-1", "status": "in_progress", **urls
    }  # fmt: skip


def test_a_failed_job_is_completed_by_status_and_failed_by_result():
    assert runcomfy.status(FAILED, None, LINKS)["status"] == "completed"
    result = runcomfy.result(FAILED, LINKS)
    assert (result["status"], result["output"]) == ("failed", None)
    assert result["error"] == {"code": "no_face_found", "message": "none"}


def test_a_good_result_has_all_fields_and_signed_links():
    result = runcomfy.result(DONE, LINKS)
    video = result["output"]["video"]
    path, query = video.split("?")
    assert path == "https://dub.example/v1/outputs/id-1/video.mp4"
    assert LINKS.signer.verify("jobs/id-1/video.mp4", query, now=1059.0)
    assert not LINKS.signer.verify("jobs/id-1/video.mp4", query, now=1060.0)
    assert result["output"]["videos"] == [video]
    assert result["output"]["images"] == [result["output"]["image"]]
    del result["output"]
    assert result == {
        "request_id": "id-1",
        "status": "succeeded",
        "created_at": "2026-01-31T12:00:00+00:00",
        "finished_at": "2026-01-31T12:00:00+00:00",
        "error": None,
        "warnings": [],
        "model_id": "sync/sync/lipsync/v2/pro",
    }


def test_warnings_of_a_job_are_in_its_result_in_both_dialects():
    warned = replace(DONE, output={**DONE.output, "warnings": ["no speech was heard"]})
    assert runcomfy.result(warned, LINKS)["warnings"] == ["no speech was heard"]
    assert sync_v2.generation(warned, LINKS)["warnings"] == ["no speech was heard"]


@pytest.mark.parametrize("job", ALL)
def test_no_good_answer_has_an_error_code_at_the_top(job):
    """RunComfy's clients take any answer with ``error_code`` for an error, whatever its status."""
    answers = [
        runcomfy.status(job, None, LINKS), runcomfy.result(job, LINKS),
        runcomfy.cancel_outcome(job, False), runcomfy.progress(job, None),
    ]  # fmt: skip
    assert not any("error_code" in answer for answer in answers)


def test_a_retried_job_has_no_error():
    again = replace(QUEUED, failure=Failure(code="publish_failed", message="disk full"))
    assert runcomfy.result(again, LINKS)["error"] is None


def test_progress_has_the_stage_of_a_running_job():
    result = runcomfy.progress(RUNNING, None)
    assert (result["status"], result["stage"], result["done"]) == ("in_progress", "paint", 5)
    assert runcomfy.progress(QUEUED, 4)["queue_position"] == 4
    assert runcomfy.progress(DONE, None)["fraction"] == 1.0


def test_a_page_ends_with_a_cursor_only_when_more_follow():
    jobs = [replace(QUEUED, sequence=n) for n in (9, 8, 7)]
    page = runcomfy.request_list(jobs, 2, LINKS)
    assert len(page["requests"]) == 2
    assert runcomfy.parse_cursor(page["next_cursor"]) == 8
    assert runcomfy.request_list(jobs, 3, LINKS)["next_cursor"] is None
    assert runcomfy.request_list([], 3, LINKS) == {"requests": [], "next_cursor": None}


@given(st.integers(0, 2**63 - 1))
def test_a_cursor_round_trips(sequence):
    assert runcomfy.parse_cursor(runcomfy.format_cursor(sequence)) == sequence


@given(st.text(max_size=20))
def test_any_text_is_a_cursor_or_refused(text):
    blamed, sequence = {("query", "cursor")}, 0
    try:
        sequence = runcomfy.parse_cursor(text)
    except InvalidBody as error:
        blamed = locations(error)
    assert blamed == {("query", "cursor")}
    assert 0 <= sequence < 2**63


def test_an_upload_has_exactly_the_documented_fields():
    upload = Upload(
        id="file_1", key_id="k", name="n", size=5, sha256="s", created_at=NOON, expires_at=NOON
    )
    assert runcomfy.uploaded(upload, LINKS) == {
        "file_id": "file_1",
        "url": "https://dub.example/v1/files/file_1",
        "size": 5,
        "expires_at": "2026-01-31T12:00:00+00:00",
    }


def test_models_are_found_by_text_category_and_kind():
    assert runcomfy.matches(CONTRACT, "LIPSYNC", "lip-sync", "lipsync")
    assert runcomfy.matches(CONTRACT, "", "", "")
    assert not runcomfy.matches(CONTRACT, "flux", "", "")
    assert not runcomfy.matches(CONTRACT, "", "text-to-image", "")
    assert not runcomfy.matches(CONTRACT, "", "", "lora")


def test_a_model_has_its_schema_only_on_request():
    assert "input_schema" not in runcomfy.model_card(CONTRACT, False)
    schema = runcomfy.model_card(CONTRACT, True)["input_schema"]
    assert schema["required"] == ["video_url", "audio_url"]
    assert schema["properties"]["sync_mode"]["default"] == "cut_off"
    assert schema["properties"]["sync_mode"]["enum"] == [
        "cut_off", "loop", "bounce", "silence", "remap"
    ]  # fmt: skip


# -- sync.so v2, in -------------------------------------------------------------------------------


def test_a_plain_generation_is_parsed_with_the_mode_bounce():
    submission = sync_v2.parse_submission(CATALOGUE, V2)
    assert (submission.video.url, submission.audio.url) == (V, A)
    assert submission.options == SyncOptions(mode="bounce")
    assert submission.input == V2


def test_the_inputs_may_come_in_any_order():
    submission = sync_v2.parse_submission(CATALOGUE, {**V2, "input": V2["input"][::-1]})
    assert (submission.video.loc, submission.audio.loc) == (
        ("body", "input", 1, "url"),
        ("body", "input", 0, "url"),
    )


def test_nulls_are_ignored():
    body = {**V2, "options": {"sync_mode": None, "temperature": None}, "segments": None}
    assert sync_v2.parse_submission(CATALOGUE, body).options == SyncOptions(mode="bounce")


@pytest.mark.parametrize(
    ("detection", "place"),
    [
        ({"auto_detect": True}, None),
        ({"coordinates": [10, 20]}, SpeakerPick(x=10, y=20, frame=0)),
        (
            {"auto_detect": False, "coordinates": [10, 20], "frame_number": 30},
            SpeakerPick(x=10, y=20, frame=30),
        ),
        ({"bounding_boxes": [None, [0, 0, 10, 20], None]}, SpeakerPick(x=5, y=10, frame=1)),
        ({"bounding_boxes": [None]}, None),
    ],
)
def test_the_speaker_is_selected_by_frame(detection, place):
    body = {**V2, "options": {"active_speaker_detection": detection}}
    assert sync_v2.parse_submission(CATALOGUE, body).options.speaker == place


@pytest.mark.parametrize(
    ("boxes", "brief"),
    [
        ([None, [0, 0, 10, 20]] + [[1, 1, 2, 2]] * 5000,
         {"auto_detect": False, "coordinates": [5.0, 10.0], "frame_number": 1}),
        ([None] * 5000, {"auto_detect": False}),
    ],
)  # fmt: skip
def test_boxes_for_every_frame_are_stored_as_one_position(boxes, brief):
    options = {"active_speaker_detection": {"auto_detect": False, "bounding_boxes": boxes}}
    submission = sync_v2.parse_submission(
        CATALOGUE, {**V2, "options": {**options, "sync_mode": "loop"}}
    )
    assert submission.input == {
        **V2, "options": {"sync_mode": "loop", "active_speaker_detection": brief}
    }  # fmt: skip


def test_a_still_picture_may_replace_the_video():
    items = [V2["input"][1], {"type": "image", "url": V}]
    submission = sync_v2.parse_submission(CATALOGUE, {**V2, "input": items})
    assert submission.video.url == V
    assert submission.video.loc == ("body", "input", 1, "url")


def test_validation_stops_at_the_first_of_thousands_of_errors():
    for boxes in ([["a"]] * 5000, [["a"] * 5000], [[1] * 5000]):
        options = {"active_speaker_detection": {"bounding_boxes": boxes}}
        with pytest.raises(InvalidBody) as caught:
            sync_v2.parse_submission(CATALOGUE, {**V2, "options": options})
        cause = caught.value.__context__
        assert isinstance(cause, ValidationError)
        assert cause.error_count() == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"input": V2["input"][:1]}, "input"),
        ({"input": [V2["input"][0]] * 2}, "one item of type video or image"),
        ({"input": [*V2["input"], V2["input"][1]]}, "input"),
        ({"input": [V2["input"][0], {"type": "text", "provider": {}}]}, "text to speech"),
        ({"input": [{"type": "image", "url": V}, V2["input"][0]]}, "one of type audio"),
        ({"input": [{"type": "video", "assetId": "x"}, V2["input"][1]]}, "media library"),
        ({"input": [{**V2["input"][0], "segments_secs": [[0, 1]]}, V2["input"][1]]}, "segments"),
        ({"segments": [{"startTime": 0, "endTime": 1}]}, "segments are not supported"),
        ({"dubbing": {"targetLang": "de"}}, "dubbing"),
        ({"options": {"temperature": 0.9}}, "temperature is not supported"),
        ({"options": {"model_mode": "head"}}, "options.model_mode: unknown field"),
        ({"options": {"prompt": "happy"}}, "options.prompt: unknown field"),
        ({"options": {"sync_mode": "stretch"}}, "options.sync_mode"),
        ({"outputFileName": "../x"}, "outputFileName"),
        ({"outputFileName": "a\n"}, "outputFileName"),
        ({"webhookUrl": ""}, "webhookUrl"),
        ({"options": {"active_speaker_detection": {"frame_number": 1}}}, "needs coordinates"),
        (
            {"options": {"active_speaker_detection": {"bounding_boxes": [[1, 2]]}}},
            "a bounding box is",
        ),
        (
            {"options": {"active_speaker_detection": {"auto_detect": True, "coordinates": [1, 2]}}},
            "auto_detect or a position",
        ),
    ],
)
def test_what_is_not_supported_is_refused_not_ignored(change, reason):
    with pytest.raises(InvalidBody, match=reason):
        sync_v2.parse_submission(CATALOGUE, {**V2, **change})


def test_the_error_for_an_unknown_sync_v2_model_lists_the_known_ones():
    with pytest.raises(EngineNotFound, match="lipsync-2-pro"):
        sync_v2.parse_submission(CATALOGUE, {**V2, "model": "react-1"})


# -- sync.so v2, out ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "status"),
    list(zip(ALL, ["PENDING", "PROCESSING", "COMPLETED", "FAILED", "REJECTED"], strict=True)),
)
def test_every_state_has_a_status(job, status):
    assert sync_v2.generation(job, LINKS)["status"] == status


def test_a_good_generation_has_url_and_duration():
    ticket = replace(SPEC, dialect="sync_v2", model_id="lipsync-2", input=V2)
    made = sync_v2.generation(replace(DONE, spec=ticket), LINKS)
    assert made["outputUrl"].startswith("https://dub.example/v1/outputs/id-1/video.mp4?")
    assert made["outputDuration"] == 2.5
    assert (made["model"], made["input"]) == ("lipsync-2", V2["input"])
    assert made["createdAt"] == "2026-01-31T12:00:00+00:00"


def test_a_failed_generation_has_both_spellings_of_its_code():
    made = sync_v2.generation(FAILED, LINKS)
    assert (made["error"], made["error_code"], made["errorCode"]) == (
        "none", "no_face_found", "no_face_found"
    )  # fmt: skip


def test_a_job_of_the_other_dialect_is_a_generation_too():
    assert sync_v2.generation(QUEUED, LINKS)["input"] == V2["input"]


def test_statuses_may_be_repeated_or_comma_separated():
    assert sync_v2.split_values(["a,b", " c ", "", "a"]) == ["a", "b", "c"]
    assert sync_v2.parse_statuses(["PENDING", "FAILED"]) == [State.IN_QUEUE, State.FAILED]
    with pytest.raises(InvalidBody, match="PROCESSING"):
        sync_v2.parse_statuses(["pending"])
    with pytest.raises(InvalidBody, match="at most 2"):
        sync_v2.split_values(["a,b,c"], limit=2)
