"""Uploads and downloads."""

from __future__ import annotations

import hashlib
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest

from api_parts import V2_BODY, Api, open_api
from lipwright.errors import PublishFailed

VIDEO = bytes(range(256)) * 40


def incoming(api: Api) -> list[Path]:
    return list((api.services.settings.data_dir / "incoming").iterdir())


def stored(api: Api) -> list[Path]:
    return [p for p in (api.services.settings.data_dir / "files").rglob("*") if p.is_file()]


@pytest.fixture
def url(api: Api) -> str:
    """A signed link to a result."""
    job = api.submit()
    api.succeed(job, video=VIDEO)
    return str(api("GET", f"/v1/requests/{job}/result").json()["output"]["video"])


# -- uploads --------------------------------------------------------------------------------------


def test_a_file_can_be_uploaded_as_a_form(api: Api):
    answer = api("POST", "/v1/files", files={"file": ("my clip.mp4", VIDEO, "video/mp4")})
    data = answer.json()
    assert answer.status_code == 201
    assert set(data) == {"file_id", "url", "size", "expires_at"}
    assert data["url"] == f"http://testserver/v1/files/{data['file_id']}"
    assert data["size"] == len(VIDEO)
    assert data["expires_at"].endswith("+00:00")
    upload = api.services.uploads.get(data["file_id"], api.key.id)
    assert (upload.name, upload.sha256) == ("my clip.mp4", hashlib.sha256(VIDEO).hexdigest())
    assert incoming(api) == []


@pytest.mark.parametrize("kind", ["application/octet-stream", "video/mp4", None,
                                  "application/x-www-form-urlencoded"])  # fmt: skip
def test_a_file_can_be_uploaded_as_the_raw_body(api: Api, kind):
    headers = {"Content-Type": kind} if kind else {}
    answer = api("POST", "/v1/files?filename=a.mp4", content=VIDEO, headers=headers)
    assert answer.status_code == 201
    assert api("GET", answer.json()["url"]).content == VIDEO


def test_a_file_comes_back_as_a_download_and_never_as_a_page(api: Api):
    page = ("../../evil.html", b"<script>alert(1)</script>", "text/html")
    answer = api("GET", api("POST", "/v1/files", files={"file": page}).json()["url"])
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == 'attachment; filename="evil.html"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("name", ["ä ö.mp4", "", "x" * 2000, "a\x00b", "..", "con\u202e4pm.exe"])
def test_any_file_name_is_accepted_and_sanitized(api: Api, name):
    form = (
        b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\""
        + name.encode() + b"\"\r\n\r\nabc\r\n--x--\r\n"
    )  # fmt: skip
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = api("POST", "/v1/files", content=form, headers=headers)
    assert answer.status_code == 201
    shown = api("GET", answer.json()["url"]).headers["content-disposition"]
    assert shown.isascii()
    assert shown.isprintable()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "application/octet-stream"),
        (b"x", "multipart/form-data"),
        (b"not a form", "multipart/form-data; boundary=x"),
        (b"--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nabc",
         "multipart/form-data; boundary=x"),
        (b"--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n\r\n--x--",
         "multipart/form-data; boundary=x"),
        (b"--x\r\nContent-Disposition: form-data; name=\"video\"\r\n\r\nabc\r\n--x--",
         "multipart/form-data; boundary=x"),
    ],
)  # fmt: skip
def test_a_body_without_one_complete_file_is_refused_and_leaves_nothing(api: Api, content, kind):
    answer = api("POST", "/v1/files", content=content, headers={"Content-Type": kind})
    assert answer.status_code == 422
    assert answer.json()["error_code"] == 422001
    assert incoming(api) == stored(api) == []


@pytest.mark.parametrize("form", [True, False])
@pytest.mark.parametrize("chunked", [True, False])
def test_an_upload_over_the_limit_is_413_and_leaves_nothing(tmp_path: Path, form, chunked):
    with open_api("memory", tmp_path, max_upload_bytes=1000) as api:
        request = httpx.Request(
            "POST", "http://x", **({"files": {"file": VIDEO * 10}} if form else {"content": VIDEO})
        )
        body = request.read()

        async def pieces():
            for at in range(0, len(body), 700):
                yield body[at : at + 700]

        answer = api(
            "POST",
            "/v1/files",
            content=pieces() if chunked else body,
            headers={"Content-Type": request.headers.get("content-type", "video/mp4")},
        )
        assert (answer.status_code, answer.json()["error_code"]) == (413, 413001)
        assert incoming(api) == stored(api) == []


def test_an_upload_of_exactly_the_limit_is_accepted(tmp_path: Path):
    with open_api("memory", tmp_path, max_upload_bytes=1000) as api:
        assert api("POST", "/v1/files", content=b"x" * 1000).status_code == 201
        assert api("POST", "/v1/files", files={"file": b"x" * 1000}).status_code == 201
        assert api("POST", "/v1/files", content=b"x" * 1001).status_code == 413
        assert api("POST", "/v1/files", files={"file": b"x" * 1001}).status_code == 413


def test_a_full_disk_is_503_and_leaves_nothing(api: Api, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise PublishFailed("no space left")

    monkeypatch.setattr(type(api.services.storage), "put", full)
    answer = api("POST", "/v1/files", content=VIDEO)
    assert (answer.status_code, answer.json()["error_code"]) == (503, 503001)
    assert "retry-after" in answer.headers
    assert incoming(api) == []


def test_another_keys_file_is_not_found(api: Api):
    url = api("POST", "/v1/files", content=VIDEO).json()["url"]
    other = api.another_key()
    assert api.plain("GET", url, headers=other).status_code == 404
    assert api.plain("DELETE", url, headers=other).status_code == 404
    assert api("GET", url).status_code == 200


def test_an_uploaded_file_can_be_erased(api: Api):
    url = api("POST", "/v1/files", content=VIDEO).json()["url"]
    assert api("DELETE", url).json()["erased"] is True
    assert api("DELETE", url).status_code == 404
    assert stored(api) == []


def test_a_file_that_a_request_still_reads_cannot_be_erased(api: Api):
    url = api("POST", "/v1/files", content=VIDEO).json()["url"]
    job = api.submit(video_url=url)
    assert api("DELETE", url).status_code == 409
    api("POST", f"/v1/requests/{job}/cancel")
    assert api("DELETE", url).status_code == 200


# -- results --------------------------------------------------------------------------------------


def test_a_result_has_the_right_headers(api: Api, url: str):
    answer = api.plain("GET", url)
    job = url.split("/")[-2]
    assert answer.content == VIDEO
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-length"] == str(len(VIDEO))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-disposition"] == f'inline; filename="{job}.mp4"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["etag"].startswith('"')
    assert parsedate_to_datetime(answer.headers["last-modified"])
    assert "set-cookie" not in answer.headers


def test_head_has_the_same_headers_without_the_body(api: Api, url: str):
    head, whole = api.plain("HEAD", url), api.plain("GET", url)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "content-type", "etag", "last-modified"):
        assert head.headers[name] == whole.headers[name]
    part = api.plain("HEAD", url, headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.headers["content-length"]) == (206, "10")


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("0-0", 0, 1), ("100-199", 100, 200), ("-5", -5, None), ("9000-", 9000, None)],
)
def test_a_range_is_206(api: Api, url: str, asked, start, stop):
    answer = api.plain("GET", url, headers={"Range": f"bytes={asked}"})
    first = start % len(VIDEO)
    assert answer.status_code == 206
    assert answer.content == VIDEO[start:stop]
    assert answer.headers["content-length"] == str(len(answer.content))
    last = first + len(answer.content) - 1
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(VIDEO)}"


def test_consecutive_ranges_form_the_file(api: Api, url: str):
    parts = [
        api.plain("GET", url, headers={"Range": f"bytes={at}-{at + 999}"}).content
        for at in range(0, len(VIDEO), 1000)
    ]
    assert b"".join(parts) == VIDEO


def test_a_range_after_the_end_is_416_with_the_size(api: Api, url: str):
    answer = api.plain("GET", url, headers={"Range": f"bytes={len(VIDEO)}-"})
    assert (answer.status_code, answer.json()["error_code"]) == (416, 416001)
    assert answer.headers["content-range"] == f"bytes */{len(VIDEO)}"


def test_a_matching_entity_tag_is_304_without_a_body(api: Api, url: str):
    etag = api.plain("GET", url).headers["etag"]
    answer = api.plain("GET", url, headers={"If-None-Match": etag})
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == etag
    assert "content-length" not in answer.headers


def test_if_range_and_if_match_follow_the_entity_tag(api: Api, url: str):
    etag = api.plain("GET", url).headers["etag"]
    same = api.plain("GET", url, headers={"Range": "bytes=0-1", "If-Range": etag})
    other = api.plain("GET", url, headers={"Range": "bytes=0-1", "If-Range": '"x"'})
    assert (same.status_code, other.status_code) == (206, 200)
    assert api.plain("GET", url, headers={"If-Match": '"x"'}).status_code == 412


@pytest.mark.parametrize(
    "change",
    [
        lambda u: u.split("?")[0],
        lambda u: f"{u}0",
        lambda u: u[:-1],
        lambda u: f"{u}&x=1",
        lambda u: u.replace("expires=1", "expires=2"),
        lambda u: u.replace("video.mp4", "image.jpg"),
        lambda u: u.replace("/v1/outputs/", "/v1/outputs/x"),
        lambda u: u.replace("video.mp4", "..%2Fvideo.mp4"),
        lambda u: u.replace("video.mp4", "%00"),
    ],
)
def test_an_altered_link_is_refused(api: Api, url: str, change):
    for method in ("GET", "HEAD"):
        answer = api.plain(method, change(url))
        assert answer.status_code in (403, 404)
    assert api.plain("GET", change(url)).json()["error_code"] in (403001, 404001)


def test_an_expired_link_is_refused(api: Api, url: str):
    name = f"jobs/{url.split('/')[-2]}/video.mp4"
    ended = api.services.signer.sign(name, int(time.time()) - 1)
    answer = api.plain("GET", f"{url.split('?')[0]}?{ended}")
    assert (answer.status_code, answer.json()["error_code"]) == (403, 403001)
    assert "get the result again" in answer.json()["error_message"]


def test_a_link_is_invalid_once_the_request_is_erased(api: Api, url: str):
    job = url.split("/")[-2]
    assert api("DELETE", f"/v1/requests/{job}").status_code == 200
    assert api.plain("GET", url).status_code == 404


def test_a_missing_file_is_404(api: Api, url: str):
    api.services.storage.delete(f"jobs/{url.split('/')[-2]}/video.mp4")
    answer = api.plain("GET", url)
    assert (answer.status_code, answer.json()["error_code"]) == (404, 404001)


def test_output_file_name_of_sync_v2_is_the_name_of_the_download(api: Api):
    job = api("POST", "/v2/generate", json={**V2_BODY, "outputFileName": "my_dub"}).json()["id"]
    api.succeed(job)
    url = api("GET", f"/v2/generate/{job}").json()["outputUrl"]
    disposition = api.plain("GET", url).headers["content-disposition"]
    assert disposition == 'inline; filename="my_dub.mp4"'
