"""Routes of the sync.so v2 API."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from lipwright.jobs.model import Job
from lipwright.server.auth import ApiKeyDep
from lipwright.server.deployment import Deployment, DeploymentDep, LinksDep
from lipwright.server.http.body import read_json_object
from lipwright.server.openapi import GENERATION_FORM, json_request_body, responses
from lipwright.server.runcomfy.routes import SubmitContextDep
from lipwright.server.submit import SubmitContext, submit
from lipwright.server.sync_v2 import schemas
from lipwright.server.sync_v2 import wire as sync_v2
from lipwright.server.sync_v2.estimate import estimate_frames
from lipwright.server.sync_v2.form import is_form, read_form

MAX_LISTED = 1000  # generations in one response: this API has no pages

router = APIRouter(tags=["sync.so v2"])
ERROR = schemas.ErrorInfoV2


@router.post(
    "/v2/generate",
    status_code=201,
    summary="Submit a generation",
    operation_id="create_generation",
    responses=responses(
        schemas.Generation, 400, 401, 408, 413, 415, 429, 503, status=201, dialect=ERROR
    ),
    openapi_extra=json_request_body(schemas.Generate, GENERATION_FORM),
)
async def create_generation(
    request: Request, deployment: DeploymentDep, context: SubmitContextDep
) -> Response:
    """Queue a generation and respond at once; it is stored durably before the response.

    A form may attach files in the fields `video` and `audio`; its fields `input` and `options` are
    JSON.
    """
    if is_form(request):
        async with read_form(request, deployment, context.key) as (body, files):
            job = await run_in_threadpool(_submit, deployment, body, replace(context, files=files))
    else:
        async with read_json_object(request, deployment) as body:
            job = await run_in_threadpool(_submit, deployment, body, context)
    return JSONResponse(sync_v2.generation(job, context.links), status_code=201)


def _submit(deployment: Deployment, body: dict[str, Any], context: SubmitContext) -> Job:
    return submit(deployment, sync_v2.parse_submission(deployment.catalogue, body), context)


@router.get(
    "/v2/generate/{id}",
    summary="Get a generation",
    operation_id="get_generation",
    responses=responses(schemas.Generation, 401, 404, 503, dialect=ERROR),
)
def get_generation(id: str, deployment: DeploymentDep, key: ApiKeyDep, links: LinksDep) -> Response:
    """Return a generation; a `COMPLETED` one has the URL of its result."""
    return JSONResponse(sync_v2.generation(deployment.services.ledger.get(id, key.id), links))


@router.get(
    "/v2/generations",
    summary="List your generations",
    operation_id="list_generations",
    responses=responses(list[schemas.Generation], 400, 401, 503, dialect=ERROR),
)
def list_generations(
    deployment: DeploymentDep,
    key: ApiKeyDep,
    links: LinksDep,
    status: Annotated[
        list[Annotated[str, Field(pattern=schemas.STATUSES)]],
        Query(description="Only these; repeated or comma-separated."),
    ] = [],  # noqa: B006  (FastAPI copies it)
    ids: Annotated[list[str], Query(description="Only these; repeated or comma-separated.")] = [],  # noqa: B006
) -> Response:
    """List the newest 1000 generations of this key, newest first."""
    jobs = deployment.services.ledger.list_jobs(
        key.id,
        limit=MAX_LISTED,
        states=sync_v2.parse_statuses(sync_v2.split_values(status)),
        ids=sync_v2.split_values(ids),
    )
    return JSONResponse([sync_v2.generation(job, links) for job in jobs])


@router.get(
    "/v2/models",
    summary="List the models",
    operation_id="list_sync_models",
    responses=responses(list[schemas.ModelInfo], 401, 503, dialect=ERROR),
)
def list_models(deployment: DeploymentDep, _key: ApiKeyDep) -> Response:
    """List the models of this deployment."""
    return JSONResponse([sync_v2.model_info(model) for model in deployment.catalogue.sync_v2])


@router.post(
    "/v2/analyze/cost",
    summary="Estimate the cost",
    operation_id="estimate_cost",
    responses=responses(
        list[schemas.CostEstimate], 400, 401, 408, 413, 415, 429, 503, dialect=ERROR
    ),
    openapi_extra=json_request_body(schemas.Generate),
)
async def estimate_cost(
    request: Request, deployment: DeploymentDep, key: ApiKeyDep, links: LinksDep
) -> Response:
    """Fetch and read both files and count the frames of the result; the cost is always 0."""
    async with read_json_object(request, deployment) as body:
        submission = await run_in_threadpool(sync_v2.parse_submission, deployment.catalogue, body)
        frames = await estimate_frames(deployment, submission, key, links)
    return JSONResponse([{"estimatedFrameCount": frames, "estimatedGenerationCost": 0.0}])
