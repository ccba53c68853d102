"""The calls of sync.so's v2."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from lipwright.jobs.model import Job
from lipwright.server.auth import Caller
from lipwright.server.deployment import Deployment, LinksOf, Parts
from lipwright.server.http.body import json_object
from lipwright.server.http.form import form_object, is_form
from lipwright.server.openapi import GENERATION_FORM, answers, json_body
from lipwright.server.runcomfy.routes import CallOf
from lipwright.server.submit import Call, submit
from lipwright.server.sync_v2 import schemas
from lipwright.server.sync_v2 import wire as sync_v2
from lipwright.server.sync_v2.estimate import frames_of

MAX_LISTED = 1000  # generations in one answer: that API has no pages

router = APIRouter(tags=["sync.so v2"])
ERROR = schemas.ErrorInfoV2


@router.post(
    "/v2/generate",
    status_code=201,
    summary="Submit a generation",
    operation_id="create_generation",
    responses=answers(
        schemas.Generation, 400, 401, 408, 413, 415, 429, 503, status=201, dialect=ERROR
    ),
    openapi_extra=json_body(schemas.Generate, GENERATION_FORM),
)
async def create_generation(request: Request, parts: Parts, call: CallOf) -> Response:
    """Queue a generation and answer at once; it is safely stored by then.

    As a form it may bring its files along, in the fields `video` and `audio`; `input` and
    `options` are JSON there.
    """
    if is_form(request):
        async with form_object(request, parts, call.key) as (body, files):
            job = await run_in_threadpool(_submit, parts, body, replace(call, files=files))
    else:
        async with json_object(request, parts) as body:
            job = await run_in_threadpool(_submit, parts, body, call)
    return JSONResponse(sync_v2.generation(job, call.links), status_code=201)


def _submit(parts: Deployment, body: dict[str, Any], call: Call) -> Job:
    return submit(parts, sync_v2.wish_of(parts.catalogue, body), call)


@router.get(
    "/v2/generate/{id}",
    summary="Ask where a generation is",
    operation_id="get_generation",
    responses=answers(schemas.Generation, 401, 404, 503, dialect=ERROR),
)
def get_generation(id: str, parts: Parts, key: Caller, links: LinksOf) -> Response:
    """Return a generation; when it is `COMPLETED`, with the URL of its result."""
    return JSONResponse(sync_v2.generation(parts.services.ledger.get(id, key.id), links))


@router.get(
    "/v2/generations",
    summary="List your generations",
    operation_id="list_generations",
    responses=answers(list[schemas.Generation], 400, 401, 503, dialect=ERROR),
)
def list_generations(
    parts: Parts,
    key: Caller,
    links: LinksOf,
    status: Annotated[
        list[Annotated[str, Field(pattern=schemas.STATUS_WORDS)]],
        Query(description="Only these; repeated or separated by commas."),
    ] = [],  # noqa: B006  (FastAPI copies it)
    ids: Annotated[
        list[str], Query(description="Only these; repeated or separated by commas.")
    ] = [],  # noqa: B006
) -> Response:
    """List the newest 1000 generations of this key, newest first."""
    jobs = parts.services.ledger.page(
        key.id,
        limit=MAX_LISTED,
        states=sync_v2.states_of(sync_v2.words(status)),
        ids=sync_v2.words(ids),
    )
    return JSONResponse([sync_v2.generation(job, links) for job in jobs])


@router.get(
    "/v2/models",
    summary="List the models",
    operation_id="list_sync_models",
    responses=answers(list[schemas.ModelInfo], 401, 503, dialect=ERROR),
)
def list_models(parts: Parts, _key: Caller) -> Response:
    """List the models of this deployment."""
    return JSONResponse([sync_v2.model_info(model) for model in parts.catalogue.sync_v2])


@router.post(
    "/v2/analyze/cost",
    summary="Estimate the cost",
    operation_id="estimate_cost",
    responses=answers(list[schemas.CostEstimate], 400, 401, 408, 413, 415, 429, 503, dialect=ERROR),
    openapi_extra=json_body(schemas.Generate),
)
async def estimate_cost(request: Request, parts: Parts, key: Caller, links: LinksOf) -> Response:
    """Fetch and read both files, and tell how many frames the result would have; it costs 0."""
    async with json_object(request, parts) as body:
        wish = await run_in_threadpool(sync_v2.wish_of, parts.catalogue, body)
        frames = await frames_of(parts, wish, key, links)
    return JSONResponse([{"estimatedFrameCount": frames, "estimatedGenerationCost": 0.0}])
