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
from lipwright.server.errors import Fault, InvalidBody, Problem, where


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
        (InvalidBody(Fault(loc=("body", "a"), message="wrong")), 422, 422001),
        (TooManyRequests(), 429, 429001),
        (QueueUnavailable(), 503, 503001),
        (LipwrightError(), 500, 500001),
    ],
)
def test_errors_have_the_status_and_number_of_the_contract(error, status, number):
    problem = Problem.of(error)
    assert (problem.status, problem.number) == (status, number)


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_every_error_has_the_fields_of_both_dialects(kind):
    problem = Problem.of(kind("what happened"))
    detail = [{"type": kind.code, "msg": "what happened"}]
    assert problem.runcomfy() == {
        "error_code": problem.number,
        "error_message": "what happened",
        "detail": detail,
    }
    told = problem.sync_v2()
    assert (told["error_code"], told["errorCode"]) == (kind.code, kind.code)
    assert told["error_message"] == told["message"] == "what happened"
    assert (told["statusCode"], told["detail"]) == (problem.sync_v2_status, detail)


def test_a_bad_body_names_its_fields():
    error = InvalidBody(
        Fault(loc=("body", "input", 0, "url"), message="missing"),
        Fault(loc=("body", "model"), message="unknown field"),
    )
    assert str(error) == "input[0].url: missing; model: unknown field"
    assert Problem.of(error).detail == [
        {"type": "invalid_options", "msg": "missing", "loc": ["body", "input", 0, "url"]},
        {"type": "invalid_options", "msg": "unknown field", "loc": ["body", "model"]},
    ]


def test_a_refused_source_keeps_code_and_status_of_the_reason():
    error = InvalidBody(
        Fault(loc=("body", "video_url"), message="too large"), reason=LimitExceeded("too large")
    )
    problem = Problem.of(error)
    assert (problem.status, problem.code) == (413, "limit_exceeded")
    assert problem.message == "video_url: too large"


def test_a_bad_body_is_400_for_clients_of_sync_so():
    assert Problem.of(SourceUnreachable()).sync_v2_status == 400
    assert Problem.of(EngineNotFound()).sync_v2_status == 400
    assert Problem.of(JobNotFound()).sync_v2_status == 404
    assert Problem.of(AccessDenied()).sync_v2_status == 401


@pytest.mark.parametrize(("seconds", "header"), [(0.01, "1"), (1.0, "1"), (1.2, "2"), (59.9, "60")])
def test_a_refused_rate_says_when_to_come_back_in_whole_seconds(seconds, header):
    problem = Problem.of(TooManyRequests(retry_after=seconds))
    assert problem.headers == {"Retry-After": header}


def test_what_passes_by_itself_says_when_to_come_back():
    assert "Retry-After" in Problem.of(QueueUnavailable()).headers
    assert "Retry-After" not in Problem.of(LimitExceeded()).headers


def test_a_missing_key_says_how_to_send_one():
    assert Problem.of(AccessDenied()).headers["WWW-Authenticate"].startswith("Bearer")


def test_a_problem_of_http_has_its_name_as_code():
    problem = Problem.http(405, "no")
    assert (problem.code, problem.number) == ("method_not_allowed", 405001)


def test_places_are_written_as_people_do():
    assert where(("body", "input", 0, "url")) == "input[0].url"
    assert where(("query", "limit")) == "limit"
    assert where(("body",)) == "body"
