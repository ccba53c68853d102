"""Files over HTTP: uploads in, uploads and results out."""

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
from lipwright.server.auth import Caller
from lipwright.server.deployment import LinksOf, Parts
from lipwright.server.http.body import pieces, stated_length
from lipwright.server.http.multipart import FilePart, file_in
from lipwright.server.http.ranges import Part, disposition, http_date, part_of
from lipwright.server.openapi import FILE_BODY, answers, file_answers
from lipwright.server.runcomfy import schemas
from lipwright.server.runcomfy.wire import uploaded
from lipwright.server.uploads.quota import within_quota
from lipwright.server.uploads.receive import receive
from lipwright.server.uploads.service import Shelf, blob_name
from lipwright.storage.base import Blob, Storage

MULTIPART_SLACK = 65_536  # bytes of a multipart body around the file
#: A file that a browser opens as a page can do nothing.
SAFE = {"Content-Security-Policy": "default-src 'none'; media-src 'self'; sandbox"}

router = APIRouter(tags=["files"])


@router.post(
    "/v1/files",
    status_code=201,
    summary="Upload a file",
    operation_id="upload_file",
    responses=answers(schemas.UploadInfo, 401, 408, 413, 422, 503, status=201),
    openapi_extra={"requestBody": FILE_BODY},
)
async def upload(
    request: Request,
    parts: Parts,
    key: Caller,
    links: LinksOf,
    filename: str = Query("", max_length=255, description="Its name, where the body has none."),
) -> Response:
    """Store a file: `multipart/form-data` with the one field `file`, or the bare bytes.

    It is streamed to disk. Until it expires the `url` of the answer may be sent as `video_url`
    or `audio_url`, with the same key only.
    """
    limit = parts.settings.max_upload_bytes
    part = _file_part(request)
    body = pieces(
        request,
        limit + MULTIPART_SLACK if part else limit,
        "upload",
        idle_seconds=parts.settings.body_idle_seconds,
    )
    path = parts.incoming / f"upload-{secrets.token_hex(16)}"
    stated = max(0, min(limit, stated_length(request)) - (MULTIPART_SLACK if part else 0))
    bare = file_in(part, body) if part else body
    async with within_quota(parts, key, bare, stated) as counted:
        received = await receive(counted, path, limit)
    name = part.name if part else filename
    try:
        stored = await run_in_threadpool(
            Shelf.of(parts, key).put, received.path, name=name, sha256=received.sha256
        )
    finally:
        path.unlink(missing_ok=True)
    return JSONResponse(uploaded(stored, links), status_code=201)


@router.get(
    "/v1/files/{file_id}",
    summary="Read an uploaded file back",
    operation_id="read_file",
    response_class=Response,
    responses=file_answers(401, 404, 412, 416, 503),
)
def read_upload(file_id: str, request: Request, parts: Parts, key: Caller) -> Response:
    """Return the bytes of an upload of this key; ranges and entity tags work."""
    stored = _find(Shelf.of(parts, key), file_id)
    name = stored.name or f"{stored.id}.bin"
    return _file(parts.services.storage, blob_name(file_id), request, name, "attachment")


@router.delete(
    "/v1/files/{file_id}",
    summary="Erase an uploaded file",
    operation_id="erase_file",
    responses=answers(schemas.FileErased, 401, 404, 409, 503),
)
def erase_upload(file_id: str, parts: Parts, key: Caller) -> Response:
    """Erase an upload now; not while an unfinished request reads it."""
    shelf = Shelf.of(parts, key)
    _find(shelf, file_id)
    if not shelf.remove(file_id):
        raise IllegalTransition("an unfinished request reads this file: erase it afterwards")
    return JSONResponse({"file_id": file_id, "erased": True})


def read_output(request_id: str, name: str, request: Request, parts: Parts) -> Response:
    """Return a result; the URL is signed, so no key is needed. Ranges and entity tags work."""
    blob = f"jobs/{request_id}/{name}"
    if not parts.services.signer.verify(blob, request.url.query, time.time()):
        raise HTTPException(
            403, "the link has expired or was altered: ask for the result again, it has a new one"
        )
    job = parts.services.ledger.get(request_id)
    if blob not in (job.output.get("video"), job.output.get("image")):
        raise HTTPException(404, "the result has no such file")
    return _file(parts.services.storage, blob, request, _download_name(job, name), "inline")


for method in ("GET", "HEAD"):  # one at a time: each needs an operation id of its own
    router.add_api_route(
        "/v1/outputs/{request_id}/{name}",
        read_output,
        methods=[method],
        summary="Download a result" if method == "GET" else "Ask about a result",
        operation_id="read_output" if method == "GET" else "head_output",
        response_class=Response,
        responses=file_answers(403, 404, 412, 416, 503),
    )


def _file_part(request: Request) -> FilePart | None:
    kind = request.headers.get("content-type", "")
    return FilePart(kind) if kind.lower().startswith("multipart/") else None


def _find(shelf: Shelf, file_id: str) -> Upload:
    try:
        return shelf.find(file_id)
    except SourceUnreachable as cause:
        raise HTTPException(404, "there is no such file, or it has expired") from cause


def _download_name(job: Job, name: str) -> str:
    """Return what the file is called on the disk of whoever saves it."""
    base = job.ticket.input.get("outputFileName") or job.id
    return f"{base}{PurePosixPath(name).suffix}"


def _file(storage: Storage, name: str, request: Request, shown: str, place: str) -> Response:
    blob = storage.stat(name)
    if blob is None:
        raise HTTPException(404, "the file is not there any more")
    part = part_of(blob, request.headers)
    headers = _headers(blob, shown, place)
    if part.status == 304:
        return Response(status_code=304, headers=headers)
    if part.status == 412:
        raise HTTPException(412, "the file is another version than If-Match names")
    if part.status == 416:
        message = f"no such range: the file has {blob.size} bytes"
        raise HTTPException(416, message, {"Content-Range": f"bytes */{blob.size}"})
    if part.status == 206:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{blob.size}"
    headers["Content-Length"] = str(part.stop - part.start)
    return _body(storage, blob, part, headers, request.method)


def _headers(blob: Blob, shown: str, place: str) -> dict[str, str]:
    return {
        "ETag": f'"{blob.etag}"',
        "Last-Modified": http_date(blob.modified_at),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": disposition(place, shown),
        **SAFE,
    }


def _body(
    storage: Storage, blob: Blob, part: Part, headers: dict[str, str], method: str
) -> Response:
    kind = blob.content_type
    if method == "HEAD":
        return Response(status_code=part.status, headers=headers, media_type=kind)
    pieces_of = storage.read(blob.name, part.start, part.stop)
    try:
        first = next(pieces_of, b"")  # opens the file, while there still can be another answer
    except FileNotFoundError as cause:
        raise HTTPException(404, "the file is not there any more") from cause
    body = chain((first,), pieces_of)
    return StreamingResponse(body, status_code=part.status, headers=headers, media_type=kind)
