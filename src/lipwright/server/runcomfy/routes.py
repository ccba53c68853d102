"""Routes of RunComfy's Model API and our extensions to it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, StreamingResponse

from lipwright.jobs.model import ApiKey, Job, State
from lipwright.server.auth import ApiKeyDep, authenticate
from lipwright.server.deployment import Deployment, DeploymentDep, LinksDep, build_links
from lipwright.server.http.body import read_json_object
from lipwright.server.http.events import (
    CONTENT_TYPE,
    EventStreamResponse,
    Snapshot,
    parse_last_event_id,
    stream_events,
)
from lipwright.server.inputs import check_idempotency_key, parse_traceparent
from lipwright.server.models import CATEGORIES, Model
from lipwright.server.openapi import json_request_body, responses
from lipwright.server.runcomfy import schemas
from lipwright.server.runcomfy import wire as runcomfy
from lipwright.server.submit import SubmitContext, erase, submit

MAX_PAGE = 100  # requests in one response

requests = APIRouter(tags=["requests"])
models = APIRouter(tags=["models"])

ListedStatus = Literal["in_queue", "in_progress", "completed", "succeeded", "failed", "cancelled"]


async def get_submit_context(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="The same key with the same body returns the first response again.",
        ),
    ] = None,
    trace: Annotated[
        str | None,
        Header(alias="traceparent", description="W3C trace context, stored with the request."),
    ] = None,
) -> SubmitContext:
    """Return the caller and the headers of a submit call."""
    return SubmitContext(
        key=await authenticate(request),
        links=build_links(request),
        http_request_id=request.state.http_request_id,
        idempotency_key=check_idempotency_key(idempotency_key),
        trace=parse_traceparent(trace),
    )


SubmitContextDep = Annotated[SubmitContext, Depends(get_submit_context)]


@models.get(
    "/v1/models",
    summary="List the models",
    operation_id="list_models",
    responses=responses(schemas.ModelList, 401, 422, 503),
)
def list_models(
    deployment: DeploymentDep,
    _key: ApiKeyDep,
    search: str = Query("", max_length=255, description="Text in id, name or description."),
    category: str = Query("", max_length=255),
    kind: str = Query("", max_length=255),
    include_schema: bool = False,
    limit: int = Query(100, ge=1, le=1000),
    offset: int = Query(0, ge=0, le=1_000_000),
) -> Response:
    """List the models that a request can name."""
    matching = [
        model
        for model in deployment.catalogue.models
        if runcomfy.matches(model, search, category, kind)
    ]
    page = matching[offset : offset + limit]
    cards = [runcomfy.model_card(model, include_schema) for model in page]
    return JSONResponse({"models": cards, "total": len(matching)})


@models.get(
    "/v1/models/categories",
    summary="List the categories",
    operation_id="list_categories",
    responses=responses(schemas.Categories, 401, 503),
)
def list_categories(_key: ApiKeyDep) -> Response:
    """List the categories of the models."""
    return JSONResponse({"categories": list(CATEGORIES)})


@models.get(
    "/v1/models/{model_id:path}",
    summary="Describe a model",
    operation_id="get_model",
    responses=responses(schemas.ModelDetail, 401, 404, 503),
)
def get_model(model_id: str, deployment: DeploymentDep, _key: ApiKeyDep) -> Response:
    """Return a model with the schemas of its input and output."""
    return JSONResponse(runcomfy.model_card(deployment.catalogue.find(model_id), True))


@requests.post(
    "/v1/models/{model_id:path}",
    summary="Submit a request",
    operation_id="submit_request",
    responses=responses(schemas.Submitted, 401, 404, 408, 413, 415, 422, 429, 503),
    openapi_extra=json_request_body(schemas.SubmitInput),
)
async def submit_request(
    model_id: str, request: Request, deployment: DeploymentDep, context: SubmitContextDep
) -> Response:
    """Queue a request and respond at once; the request is stored durably before the response."""
    model = deployment.catalogue.find(model_id)
    async with read_json_object(request, deployment) as body:
        job = await run_in_threadpool(_submit, deployment, model, body, context)
    return JSONResponse(runcomfy.submitted(job.id, context.links))


def _submit(
    deployment: Deployment, model: Model, body: dict[str, Any], context: SubmitContext
) -> Job:
    return submit(deployment, runcomfy.parse_submission(model, body), context)


@requests.get(
    "/v1/requests",
    summary="List your requests",
    operation_id="list_requests",
    responses=responses(schemas.RequestList, 401, 422, 503),
)
def list_requests(
    deployment: DeploymentDep,
    key: ApiKeyDep,
    links: LinksDep,
    limit: int = Query(20, ge=1, le=MAX_PAGE),
    cursor: str | None = Query(
        None, pattern=runcomfy.CURSOR, description="`next_cursor` of a response."
    ),
    status: ListedStatus | None = None,
) -> Response:
    """List the requests of this key, newest first."""
    jobs = deployment.services.ledger.list_jobs(
        key.id,
        limit=limit + 1,
        before=None if cursor is None else runcomfy.parse_cursor(cursor),
        states=runcomfy.STATES[status] if status else (),
    )
    return JSONResponse(runcomfy.request_list(jobs, limit, links))


@requests.get(
    "/v1/requests/{request_id}/status",
    summary="Get the status of a request",
    operation_id="get_status",
    responses=responses(schemas.Status, 401, 404, 503),
)
def get_status(
    request_id: str, deployment: DeploymentDep, key: ApiKeyDep, links: LinksDep
) -> Response:
    """Return the status of a request. A failed one is `completed`; its result has the error."""
    job, position = _get_job_and_position(deployment, request_id, key)
    return JSONResponse(runcomfy.status(job, position, links))


def _get_job_and_position(
    deployment: Deployment, job_id: str, key: ApiKey
) -> tuple[Job, int | None]:
    """Return a job and its queue position, None unless it is queued.

    Raises:
        JobNotFound: there is no such job.
    """
    ledger = deployment.services.ledger
    job = ledger.get(job_id, key.id)
    return job, ledger.position(job) if job.state is State.IN_QUEUE else None


@requests.get(
    "/v1/requests/{request_id}/result",
    summary="Get the result of a request",
    operation_id="get_result",
    responses=responses(schemas.Result, 401, 404, 503),
)
def get_result(
    request_id: str, deployment: DeploymentDep, key: ApiKeyDep, links: LinksDep
) -> Response:
    """Return the result of a request; only its status while it has not ended."""
    job = deployment.services.ledger.get(request_id, key.id)
    return JSONResponse(runcomfy.result(job, links))


@requests.post(
    "/v1/requests/{request_id}/cancel",
    summary="Cancel a queued request",
    operation_id="cancel_request",
    responses=responses(schemas.Cancelled, 401, 404, 503),
)
def cancel_request(request_id: str, deployment: DeploymentDep, key: ApiKeyDep) -> Response:
    """Cancel a request if it is queued; `outcome` says whether it was cancelled."""
    job, cancelled = deployment.services.ledger.cancel(request_id, key.id)
    return JSONResponse(runcomfy.cancel_outcome(job, cancelled))


@requests.delete(
    "/v1/requests/{request_id}",
    summary="Erase a request",
    operation_id="erase_request",
    responses=responses(schemas.Erased, 401, 404, 409, 503),
)
def erase_request(request_id: str, deployment: DeploymentDep, key: ApiKeyDep) -> Response:
    """Erase a request, its results, and the uploads that only it reads, unless it is running."""
    erase(deployment, request_id, key)
    return JSONResponse({"request_id": request_id, "erased": True})


@requests.get(
    "/v1/requests/{request_id}/webhooks",
    summary="List the webhook deliveries of a request",
    operation_id="list_webhooks",
    responses=responses(schemas.WebhookList, 401, 404, 503),
)
def list_webhooks(request_id: str, deployment: DeploymentDep, key: ApiKeyDep) -> Response:
    """Return the webhook deliveries of an ended request; a `dead` one is not tried again."""
    services = deployment.services
    job = services.ledger.get(request_id, key.id)
    return JSONResponse(runcomfy.webhook_list(services.deliveries.list_for_job(job.id)))


@requests.get(
    "/v1/requests/{request_id}/events",
    summary="Follow a request",
    operation_id="follow_request",
    response_class=StreamingResponse,
    responses={
        **responses(schemas.Health, 401, 404, 429, 503),
        200: {
            "description": "Server-sent events until the request has ended.",
            "content": {CONTENT_TYPE: {"schema": {"type": "string"}}},
        },
    },
)
async def follow_request(
    request_id: str,
    deployment: DeploymentDep,
    key: ApiKeyDep,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> Response:
    """Stream the state, queue position, stage and progress of a request as they change."""

    def poll() -> Snapshot:
        job, position = _get_job_and_position(deployment, request_id, key)
        return runcomfy.snapshot(job, position)

    await run_in_threadpool(poll)  # responds with 404 to a wrong id
    last_id = parse_last_event_id(last_event_id)
    events = stream_events(poll, deployment.closing.is_set, last_id=last_id)
    return EventStreamResponse(deployment, key, events)
