from __future__ import annotations

import pytest

from lipwright import errors
from lipwright.errors import (
    AccessDenied,
    EngineNotFound,
    JobNotFound,
    LimitExceeded,
    LipwrightError,
    QueueUnavailable,
    SourceUnreachable,
    TooManyRequests,
)
from lipwright.server.errors import FieldError, InvalidBody, Problem, format_location


def tree(root: type[LipwrightError] = LipwrightError) -> list[type[LipwrightError]]:
    return [root, *(found for child in root.__subclasses__() for found in tree(child))]


OURS = [kind for kind in tree() if kind.__module__ == errors.__name__]


@pytest.mark.parametrize(
    ("error", "status", "number"),
    [
        (AccessDenied(), 401, 400004),
        (EngineNotFound(), 404, 400001),
        (JobNotFound(), 404, 404001),
        (LimitExceeded(), 413, 413001),
        (SourceUnreachable(), 422, 422001),
        (InvalidBody(FieldError(loc=("body", "a"), message="wrong")), 422, 422001),
        (TooManyRequests(), 429, 429001),
        (QueueUnavailable(), 503, 503001),
        (LipwrightError(), 500, 500001),
    ],
)
def test_errors_have_the_status_and_code_of_the_contract(error, status, number):
    problem = Problem.from_error(error)
    assert (problem.status, problem.runcomfy_code) == (status, number)


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_every_error_has_the_fields_of_both_dialects(kind):
    problem = Problem.from_error(kind("what happened"))
    detail = [{"type": kind.code, "msg": "what happened"}]
    assert problem.to_runcomfy() == {
        "error_code": problem.runcomfy_code,
        "error_message": "what happened",
        "detail": detail,
    }
    data = problem.to_sync_v2()
    assert (data["error_code"], data["errorCode"]) == (kind.code, kind.code)
    assert data["error_message"] == data["message"] == "what happened"
    assert (data["statusCode"], data["detail"]) == (problem.sync_v2_status, detail)


def test_a_bad_body_names_its_fields():
    error = InvalidBody(
        FieldError(loc=("body", "input", 0, "url"), message="missing"),
        FieldError(loc=("body", "model"), message="unknown field"),
    )
    assert str(error) == "input[0].url: missing; model: unknown field"
    assert Problem.from_error(error).detail == [
        {"type": "invalid_options", "msg": "missing", "loc": ["body", "input", 0, "url"]},
        {"type": "invalid_options", "msg": "unknown field", "loc": ["body", "model"]},
    ]


def test_a_refused_source_has_code_and_status_of_its_cause():
    error = InvalidBody(
        FieldError(loc=("body", "video_url"), message="too large"), cause=LimitExceeded("too large")
    )
    problem = Problem.from_error(error)
    assert (problem.status, problem.code) == (413, "limit_exceeded")
    assert problem.message == "video_url: too large"


def test_a_bad_body_is_400_for_clients_of_sync_so():
    assert Problem.from_error(SourceUnreachable()).sync_v2_status == 400
    assert Problem.from_error(EngineNotFound()).sync_v2_status == 400
    assert Problem.from_error(JobNotFound()).sync_v2_status == 404
    assert Problem.from_error(AccessDenied()).sync_v2_status == 401


@pytest.mark.parametrize(("seconds", "header"), [(0.01, "1"), (1.0, "1"), (1.2, "2"), (59.9, "60")])
def test_retry_after_is_in_whole_seconds(seconds, header):
    problem = Problem.from_error(TooManyRequests(retry_after=seconds))
    assert problem.headers == {"Retry-After": header}


def test_transient_errors_have_retry_after():
    assert "Retry-After" in Problem.from_error(QueueUnavailable()).headers
    assert "Retry-After" not in Problem.from_error(LimitExceeded()).headers


def test_access_denied_has_www_authenticate():
    assert Problem.from_error(AccessDenied()).headers["WWW-Authenticate"].startswith("Bearer")


def test_an_http_error_has_its_phrase_as_code():
    problem = Problem.http(405, "no")
    assert (problem.code, problem.runcomfy_code) == ("method_not_allowed", 405001)


def test_locations_are_formatted_as_paths():
    assert format_location(("body", "input", 0, "url")) == "input[0].url"
    assert format_location(("query", "limit")) == "limit"
    assert format_location(("body",)) == "body"
