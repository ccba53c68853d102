"""Routes that upload files and download uploads and results."""

from __future__ import annotations

import secrets
import time
from itertools import chain
from pathlib import PurePosixPath

from fastapi import APIRouter, HTTPException, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, StreamingResponse

from lipwright.errors import IllegalTransition, SourceUnreachable
from lipwright.jobs.model import Job, Upload
from lipwright.jobs.sweeper import upload_blob_name
from lipwright.server.auth import ApiKeyDep
from lipwright.server.deployment import DeploymentDep, LinksDep
from lipwright.server.http.body import declared_length, stream_body
from lipwright.server.http.multipart import SingleFileReader, iter_file_chunks
from lipwright.server.http.ranges import (
    ResolvedRange,
    content_disposition,
    http_date,
    resolve_range,
)
from lipwright.server.openapi import FILE_BODY, file_responses, responses
from lipwright.server.runcomfy import schemas
from lipwright.server.runcomfy.wire import uploaded
from lipwright.server.uploads.quota import within_quota
from lipwright.server.uploads.receive import receive_file
from lipwright.server.uploads.service import UploadService
from lipwright.storage.base import Blob, Storage

MULTIPART_OVERHEAD = 65_536  # most bytes of a multipart body besides the file
#: A file that is opened as a page cannot run scripts or load anything.
SANDBOX_HEADERS = {"Content-Security-Policy": "default-src 'none'; media-src 'self'; sandbox"}

router = APIRouter(tags=["files"])


@router.post(
    "/v1/files",
    status_code=201,
    summary="Upload a file",
    operation_id="upload_file",
    responses=responses(schemas.UploadInfo, 401, 408, 413, 422, 503, status=201),
    openapi_extra={"requestBody": FILE_BODY},
)
async def upload(
    request: Request,
    deployment: DeploymentDep,
    key: ApiKeyDep,
    links: LinksDep,
    filename: str = Query("", max_length=255, description="File name, for a body without one."),
) -> Response:
    """Store a file: `multipart/form-data` with the one field `file`, or the raw bytes.

    The file is streamed to disk. Until it expires, requests with the same key may use the `url` of
    the response as `video_url` or `audio_url`.
    """
    limit = deployment.settings.max_upload_bytes
    reader = _multipart_reader(request)
    overhead = MULTIPART_OVERHEAD if reader else 0
    body = stream_body(
        request,
        limit + overhead,
        "upload",
        idle_seconds=deployment.settings.body_idle_seconds,
    )
    path = deployment.incoming / f"upload-{secrets.token_hex(16)}"
    declared = max(0, min(limit, declared_length(request)) - overhead)
    chunks = iter_file_chunks(reader, body) if reader else body
    async with within_quota(deployment, key, chunks, declared) as counted_chunks:
        received = await receive_file(counted_chunks, path, limit)
    name = reader.name if reader else filename
    put = UploadService.for_key(deployment, key).put
    try:
        stored = await run_in_threadpool(put, received.path, name=name, sha256=received.sha256)
    finally:
        path.unlink(missing_ok=True)
    return JSONResponse(uploaded(stored, links), status_code=201)


@router.get(
    "/v1/files/{file_id}",
    summary="Download an uploaded file",
    operation_id="read_file",
    response_class=Response,
    responses=file_responses(401, 404, 412, 416, 503),
)
def read_upload(
    file_id: str, request: Request, deployment: DeploymentDep, key: ApiKeyDep
) -> Response:
    """Return the bytes of an upload of this key; supports ranges and entity tags."""
    upload = _find(UploadService.for_key(deployment, key), file_id)
    filename = upload.name or f"{upload.id}.bin"
    blob_name = upload_blob_name(file_id)
    return _file_response(deployment.services.storage, blob_name, request, filename, "attachment")


@router.delete(
    "/v1/files/{file_id}",
    summary="Erase an uploaded file",
    operation_id="erase_file",
    responses=responses(schemas.FileErased, 401, 404, 409, 503),
)
def erase_upload(file_id: str, deployment: DeploymentDep, key: ApiKeyDep) -> Response:
    """Erase an upload now, unless an unfinished request reads it."""
    uploads = UploadService.for_key(deployment, key)
    _find(uploads, file_id)
    if not uploads.remove(file_id):
        raise IllegalTransition("an unfinished request reads this file: erase it afterwards")
    return JSONResponse({"file_id": file_id, "erased": True})


def read_output(
    request_id: str, name: str, request: Request, deployment: DeploymentDep
) -> Response:
    """Return a result. The URL is signed and needs no key; supports ranges and entity tags."""
    blob_name = f"jobs/{request_id}/{name}"
    if not deployment.services.signer.verify(blob_name, request.url.query, time.time()):
        raise HTTPException(
            403, "the link has expired or was altered: get the result again for a new link"
        )
    job = deployment.services.ledger.get(request_id)
    if blob_name not in (job.output.get("video"), job.output.get("image")):
        raise HTTPException(404, "the result has no such file")
    filename = _output_filename(job, name)
    return _file_response(deployment.services.storage, blob_name, request, filename, "inline")


for method in ("GET", "HEAD"):  # separately, as each needs its own operation id
    router.add_api_route(
        "/v1/outputs/{request_id}/{name}",
        read_output,
        methods=[method],
        summary="Download a result" if method == "GET" else "Get the headers of a result",
        operation_id="read_output" if method == "GET" else "head_output",
        response_class=Response,
        responses=file_responses(403, 404, 412, 416, 503),
    )


def _multipart_reader(request: Request) -> SingleFileReader | None:
    content_type = request.headers.get("content-type", "")
    is_multipart = content_type.lower().startswith("multipart/")
    return SingleFileReader(content_type) if is_multipart else None


def _find(uploads: UploadService, file_id: str) -> Upload:
    try:
        return uploads.find(file_id)
    except SourceUnreachable as cause:
        raise HTTPException(404, "there is no such file, or it has expired") from cause


def _output_filename(job: Job, name: str) -> str:
    """Return the file name under which a browser saves a result."""
    stem = job.spec.input.get("outputFileName") or job.id
    return f"{stem}{PurePosixPath(name).suffix}"


def _file_response(
    storage: Storage, blob_name: str, request: Request, filename: str, disposition: str
) -> Response:
    blob = storage.stat(blob_name)
    if blob is None:
        raise HTTPException(404, "the file no longer exists")
    resolved = resolve_range(blob, request.headers)
    headers = _file_headers(blob, filename, disposition)
    if resolved.status == 304:
        return Response(status_code=304, headers=headers)
    if resolved.status == 412:
        raise HTTPException(412, "the file is not the version in If-Match")
    if resolved.status == 416:
        message = f"no such range: the file has {blob.size} bytes"
        raise HTTPException(416, message, {"Content-Range": f"bytes */{blob.size}"})
    if resolved.status == 206:
        headers["Content-Range"] = f"bytes {resolved.start}-{resolved.stop - 1}/{blob.size}"
    headers["Content-Length"] = str(resolved.stop - resolved.start)
    return _body_response(storage, blob, resolved, headers, request.method)


def _file_headers(blob: Blob, filename: str, disposition: str) -> dict[str, str]:
    return {
        "ETag": f'"{blob.etag}"',
        "Last-Modified": http_date(blob.modified_at),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": content_disposition(disposition, filename),
        **SANDBOX_HEADERS,
    }


def _body_response(
    storage: Storage, blob: Blob, resolved: ResolvedRange, headers: dict[str, str], method: str
) -> Response:
    status, media_type = resolved.status, blob.content_type
    if method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=media_type)
    chunks = storage.read(blob.name, resolved.start, resolved.stop)
    try:
        first = next(chunks, b"")  # opens the file before the status is sent
    except FileNotFoundError as cause:
        raise HTTPException(404, "the file no longer exists") from cause
    body = chain((first,), chunks)
    return StreamingResponse(body, status_code=status, headers=headers, media_type=media_type)
