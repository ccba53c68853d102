"""The OpenAPI document is complete and correct."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from pydantic import BaseModel
from schemathesis.checks import positive_data_acceptance

from api_parts import BODY, CONTRACT, V2_BODY, Api, open_api
from lipwright.errors import SourceUnreachable
from lipwright.server.runcomfy import schemas
from lipwright.server.runcomfy.schemas import SubmitInput
from lipwright.server.sync_v2 import estimate
from lipwright.server.sync_v2 import schemas as schemas_v2
from lipwright.server.sync_v2.schemas import Generate

EXAMPLES = 25  # of each operation
#: No schema can tell which models and URLs there are, so these may refuse what fits theirs.
FETCHING = ("create_generation", "estimate_cost", "submit_request")


def no_network(url: str, *_: object) -> Path:
    raise SourceUnreachable(f"{url}: there is no network in tests")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder: Path = tmp_path_factory.mktemp("service")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimate, "fetch", no_network)
        yield from _service(folder)


def _service(folder: Path) -> Iterator[Api]:
    with open_api("memory", folder, submits_per_minute=1_000_000, max_queued_per_key=10_000) as api:
        yield api


@pytest.fixture(scope="module")
def document(service: Api) -> dict:
    return service.plain("GET", "/openapi.json").json()


def calls(document: dict) -> Iterator[tuple[str, str, dict]]:
    for path, verbs in document["paths"].items():
        for verb, call in verbs.items():
            yield verb, path, call


def test_every_call_is_described(document: dict):
    ids = set()
    for verb, path, call in calls(document):
        assert call["summary"], path
        assert call["description"], path
        assert call["operationId"] not in ids
        ids.add(call["operationId"])
        assert call["tags"][0] in {tag["name"] for tag in document["tags"]}
        assert any(status.startswith("2") for status in call["responses"]), (verb, path)


def test_every_response_is_described_with_its_body(document: dict):
    for verb, path, call in calls(document):
        for status, answer in call["responses"].items():
            assert answer["description"], (verb, path, status)
            if status not in ("304",):
                assert answer["content"], (verb, path, status)
            if status in ("429",):
                assert "Retry-After" in answer["headers"], (verb, path)


def test_all_schemas_are_used_and_all_used_ones_exist(document: dict):
    text = json.dumps(document)
    schemas = set(document["components"]["schemas"])
    used = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert used == schemas


def test_the_examples_of_the_bodies_are_accepted(service: Api, document: dict):
    for path, model in ((CONTRACT, SubmitInput), ("/v2/generate", Generate)):
        for example in document["components"]["schemas"][model.__name__]["examples"]:
            model.model_validate(example)
            assert service("POST", path, json=example).status_code in (200, 201)


def test_the_main_responses_have_valid_examples(document: dict):
    models = {
        name: model
        for module in (schemas, schemas_v2)
        for name, model in vars(module).items()
        if isinstance(model, type) and issubclass(model, BaseModel)
    }
    shown = {
        name: found["examples"]
        for name, found in document["components"]["schemas"].items()
        if "examples" in found
    }
    assert set(shown) >= {
        "SubmitInput", "Submitted", "Status", "Result", "Cancelled", "UploadInfo", "ErrorInfo",
        "Generate", "Generation", "ErrorInfoV2",
    }  # fmt: skip
    for name, examples in shown.items():
        for example in examples:
            models[name].model_validate(example)
            assert set(example) <= set(models[name].model_fields)


def test_errors_match_their_documentation(service: Api, document: dict):
    """The body of an error has the fields that the document promises, and no others."""
    for path, name, body in (
        (CONTRACT, "ErrorInfo", {**BODY, "x": 1}),
        ("/v2/generate", "ErrorInfoV2", {**V2_BODY, "x": 1}),
    ):
        promised = document["components"]["schemas"][name]["properties"]
        assert set(service("POST", path, json=body).json()) == set(promised)


@pytest.fixture(scope="module")
def schema(service: Api) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_asgi("/openapi.json", service.app)


OPERATIONS = (
    "cancel_request", "create_generation", "erase_file", "erase_request", "estimate_cost",
    "follow_request", "get_generation", "get_health", "get_metrics", "get_model", "get_readiness",
    "get_result", "get_status", "head_output", "list_categories", "list_generations",
    "list_models", "list_requests", "list_sync_models", "list_webhooks", "read_file", "read_output",
    "submit_request", "upload_file",
)  # fmt: skip


def test_every_operation_is_tested_below(document: dict):
    assert sorted(call["operationId"] for _, _, call in calls(document)) == list(OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_any_request_gets_a_documented_response(
    schema: schemathesis.BaseSchema, service: Api, name: str
):
    """No 5xx, no undocumented status, type or body; bad data is refused, good data is taken."""
    headers = {"Authorization": f"Bearer {service.secret}"}
    operation = schema.find_operation_by_id(name)

    excluded = [positive_data_acceptance] if name in FETCHING else []

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def call(case: schemathesis.Case) -> None:
        case.call_and_validate(headers=headers, excluded_checks=excluded)

    call()
