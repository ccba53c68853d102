"""The calls of RunComfy's Model API, and ours beside them: translate, ask the ledger, translate."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, StreamingResponse

from lipwright.jobs.model import Job
from lipwright.server.auth import Caller, caller
from lipwright.server.deployment import Deployment, LinksOf, Parts, links_of
from lipwright.server.http import events
from lipwright.server.http.body import json_object
from lipwright.server.inputs import idempotency_key, traceparent
from lipwright.server.models import CATEGORIES, Model
from lipwright.server.openapi import answers, json_body
from lipwright.server.runcomfy import schemas
from lipwright.server.runcomfy import wire as runcomfy
from lipwright.server.submit import Call, erase, submit

MAX_PAGE = 100  # requests in one answer

requests = APIRouter(tags=["requests"])
models = APIRouter(tags=["models"])

ListedStatus = Literal["in_queue", "in_progress", "completed", "succeeded", "failed", "cancelled"]


async def call_of(
    request: Request,
    retry: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="The same key with the same body gets the first answer again.",
        ),
    ] = None,
    trace: Annotated[
        str | None,
        Header(alias="traceparent", description="W3C trace context, kept with the request."),
    ] = None,
) -> Call:
    """Return who submits, and what came in headers."""
    return Call(
        key=await caller(request),
        links=links_of(request),
        idempotency_key=idempotency_key(retry),
        trace=traceparent(trace),
    )


CallOf = Annotated[Call, Depends(call_of)]


@models.get(
    "/v1/models",
    summary="List the models",
    operation_id="list_models",
    responses=answers(schemas.ModelList, 401, 422, 503),
)
def list_models(
    parts: Parts,
    _key: Caller,
    search: str = Query("", max_length=255, description="Text in id, name or description."),
    category: str = Query("", max_length=255),
    kind: str = Query("", max_length=255),
    include_schema: bool = False,
    limit: int = Query(100, ge=1, le=1000),
    offset: int = Query(0, ge=0, le=1_000_000),
) -> Response:
    """List what a request may name."""
    fitting = [m for m in parts.catalogue.models if runcomfy.matches(m, search, category, kind)]
    page = fitting[offset : offset + limit]
    cards = [runcomfy.model_card(model, include_schema) for model in page]
    return JSONResponse({"models": cards, "total": len(fitting)})


@models.get(
    "/v1/models/categories",
    summary="List the categories",
    operation_id="list_categories",
    responses=answers(schemas.Categories, 401, 503),
)
def list_categories(_key: Caller) -> Response:
    """List the categories that models have."""
    return JSONResponse({"categories": list(CATEGORIES)})


@models.get(
    "/v1/models/{model_id:path}",
    summary="Describe a model",
    operation_id="get_model",
    responses=answers(schemas.ModelDetail, 401, 404, 503),
)
def get_model(model_id: str, parts: Parts, _key: Caller) -> Response:
    """Return a model with the schemas of its input and output."""
    return JSONResponse(runcomfy.model_card(parts.catalogue.find(model_id), True))


@requests.post(
    "/v1/models/{model_id:path}",
    summary="Submit a request",
    operation_id="submit_request",
    responses=answers(schemas.Submitted, 401, 404, 408, 413, 415, 422, 429, 503),
    openapi_extra=json_body(schemas.SubmitInput),
)
async def submit_request(model_id: str, request: Request, parts: Parts, call: CallOf) -> Response:
    """Queue a request and answer at once; it is safely stored by then."""
    model = parts.catalogue.find(model_id)
    async with json_object(request, parts) as body:
        job = await run_in_threadpool(_submit, parts, model, body, call)
    return JSONResponse(runcomfy.submitted(job.id, call.links))


def _submit(parts: Deployment, model: Model, body: dict[str, Any], call: Call) -> Job:
    return submit(parts, runcomfy.wish_of(model, body), call)


@requests.get(
    "/v1/requests",
    summary="List your requests",
    operation_id="list_requests",
    responses=answers(schemas.RequestList, 401, 422, 503),
)
def list_requests(
    parts: Parts,
    key: Caller,
    links: LinksOf,
    limit: int = Query(20, ge=1, le=MAX_PAGE),
    cursor: str | None = Query(
        None, pattern=runcomfy.CURSOR, description="`next_cursor` of an answer."
    ),
    status: ListedStatus | None = None,
) -> Response:
    """List the requests of this key, newest first."""
    jobs = parts.services.ledger.page(
        key.id,
        limit=limit + 1,
        before=None if cursor is None else runcomfy.sequence_of(cursor),
        states=runcomfy.STATES[status] if status else (),
    )
    return JSONResponse(runcomfy.listed(jobs, limit, links))


@requests.get(
    "/v1/requests/{request_id}/status",
    summary="Ask where a request is",
    operation_id="get_status",
    responses=answers(schemas.Status, 401, 404, 503),
)
def get_status(request_id: str, parts: Parts, key: Caller, links: LinksOf) -> Response:
    """Return where a request is; a failed one is `completed`, its result tells why."""
    job, position = events.look_at(parts, request_id, key)
    return JSONResponse(runcomfy.status(job, position, links))


@requests.get(
    "/v1/requests/{request_id}/result",
    summary="Ask what came of a request",
    operation_id="get_result",
    responses=answers(schemas.Result, 401, 404, 503),
)
def get_result(request_id: str, parts: Parts, key: Caller, links: LinksOf) -> Response:
    """Return the result; while there is none, only the status."""
    job = parts.services.ledger.get(request_id, key.id)
    return JSONResponse(runcomfy.result(job, links))


@requests.post(
    "/v1/requests/{request_id}/cancel",
    summary="Cancel a queued request",
    operation_id="cancel_request",
    responses=answers(schemas.Cancelled, 401, 404, 503),
)
def cancel_request(request_id: str, parts: Parts, key: Caller) -> Response:
    """Cancel a request if it still waits, never otherwise; `outcome` tells which."""
    job, done = parts.services.ledger.cancel(request_id, key.id)
    return JSONResponse(runcomfy.cancelled(job, done))


@requests.delete(
    "/v1/requests/{request_id}",
    summary="Erase a request",
    operation_id="erase_request",
    responses=answers(schemas.Erased, 401, 404, 409, 503),
)
def erase_request(request_id: str, parts: Parts, key: Caller) -> Response:
    """Erase a request with its results, and the uploads that only it reads; not while it runs."""
    erase(parts, request_id, key)
    return JSONResponse({"request_id": request_id, "erased": True})


@requests.get(
    "/v1/requests/{request_id}/webhooks",
    summary="Ask whether the webhook was heard",
    operation_id="list_webhooks",
    responses=answers(schemas.WebhookList, 401, 404, 503),
)
def list_webhooks(request_id: str, parts: Parts, key: Caller) -> Response:
    """Return the webhook calls of an ended request; a `dead` one was given up."""
    services = parts.services
    job = services.ledger.get(request_id, key.id)
    return JSONResponse(runcomfy.webhooks(services.deliveries.of_job(job.id)))


@requests.get(
    "/v1/requests/{request_id}/events",
    summary="Follow a request",
    operation_id="follow_request",
    response_class=StreamingResponse,
    responses={
        **answers(schemas.Health, 401, 404, 429, 503),
        200: {
            "description": "Server-sent events, until the request has ended.",
            "content": {events.CONTENT_TYPE: {"schema": {"type": "string"}}},
        },
    },
)
async def follow_request(
    request_id: str,
    parts: Parts,
    key: Caller,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> Response:
    """Stream the state, place, stage and progress of a request as they change."""

    def look() -> tuple[Job, int | None]:
        return events.look_at(parts, request_id, key)

    await run_in_threadpool(look)  # so that a wrong id gets its 404
    stream = events.stream(look, parts.closing.is_set, last_id=events.last_id_of(last_event_id))
    return events.Followed(parts, key, stream)
