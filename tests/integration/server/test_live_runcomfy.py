"""RunComfy's published curl examples, unchanged."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from live_api import Live, open_live

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

HOST = "https://model-api.runcomfy.net"
SUBMIT = """\
curl --request POST \\
  --url https://model-api.runcomfy.net/v1/models/sync/sync/lipsync/v2/pro \\
  --header "Content-Type: application/json" \\
  --header "Authorization: Bearer <token>" \\
  --data '{
    "video_url": "https://playgrounds-storage-public.runcomfy.net/videos/talk.mp4",
    "audio_url": "https://playgrounds-storage-public.runcomfy.net/comfyui-defaults/00000000-0000-0000-0000-000000001278/input/Runcomfy_example_1278_1.mp3"
  }'
"""
STATUS = """\
curl --request GET \\
  --url https://model-api.runcomfy.net/v1/requests/{request_id}/status \\
  --header "Authorization: Bearer <token>"
"""
RESULT = """\
curl --request GET \\
  --url https://model-api.runcomfy.net/v1/requests/{request_id}/result \\
  --header "Authorization: Bearer <token>"
"""
CANCEL = """\
curl --request POST \\
  --url https://model-api.runcomfy.net/v1/requests/{request_id}/cancel \\
  --header "Authorization: Bearer <token>"
"""


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    with open_live("sqlite", tmp_path) as live:
        yield live


def shell(live: Live, command: str, request_id: str = "") -> Any:
    """Run a published command; only host, token and id are filled in."""
    filled = command.replace(HOST, live.url).replace("{request_id}", request_id)
    filled = filled.replace("<token>", live.api.secret).replace("curl ", "curl --silent ", 1)
    done = subprocess.run(["sh", "-c", filled], capture_output=True, check=True, timeout=60)
    return json.loads(done.stdout)


def test_a_request_from_submit_to_download(live: Live, tmp_path: Path):
    data = shell(live, SUBMIT)
    job = data["request_id"]
    assert data["status_url"] == f"{live.url}/v1/requests/{job}/status"
    assert set(data) == {"request_id", "status_url", "result_url", "cancel_url"}
    status = shell(live, STATUS, job)
    assert (status["status"], status["queue_position"]) == ("in_queue", 0)
    assert shell(live, RESULT, job)["status"] == "in_queue"
    live.api.succeed(job, video=b"the dub")
    assert shell(live, STATUS, job)["status"] == "completed"
    result = shell(live, RESULT, job)
    assert result["status"] == "succeeded"
    out = tmp_path / "dub.mp4"
    download = ["curl", "--silent", "--fail", "--output", str(out), result["output"]["video"]]
    subprocess.run(download, check=True, timeout=60)
    assert out.read_bytes() == b"the dub"


def test_a_queued_request_is_cancelled(live: Live):
    job = shell(live, SUBMIT)["request_id"]
    assert shell(live, CANCEL, job) == {
        "request_id": job, "status": "cancelled", "outcome": "cancelled"
    }  # fmt: skip
    assert shell(live, STATUS, job)["status"] == "cancelled"


def test_a_running_request_is_not_cancelled(live: Live):
    job = shell(live, SUBMIT)["request_id"]
    live.api.run(job)
    assert shell(live, CANCEL, job)["outcome"] == "not_cancellable"


def test_a_wrong_token_is_refused_in_the_published_format(live: Live):
    data = shell(live, SUBMIT.replace("<token>", "wrong"))
    assert data["error_code"] == 400004
    assert "API key" in data["error_message"]


def test_an_interrupted_download_is_resumed(live: Live, tmp_path: Path):
    job = shell(live, SUBMIT)["request_id"]
    video = bytes(range(256)) * 1000
    live.api.succeed(job, video=video)
    url = shell(live, RESULT, job)["output"]["video"]
    out = tmp_path / "dub.mp4"
    out.write_bytes(video[:1234])
    resume = ["curl", "--silent", "--fail", "--continue-at", "-", "--output", str(out), url]
    subprocess.run(resume, check=True, timeout=60)
    assert out.read_bytes() == video


def test_a_file_is_uploaded_with_curl(live: Live, tmp_path: Path):
    clip = tmp_path / "talk.mp4"
    clip.write_bytes(b"v" * 3_000_000)
    head = ["curl", "--silent", "--header", f"Authorization: Bearer {live.api.secret}"]
    for how in (["--form", f"file=@{clip}"], ["--data-binary", f"@{clip}"]):
        command = [*head, *how, f"{live.url}/v1/files"]
        done = subprocess.run(command, capture_output=True, check=True, timeout=60)
        data = json.loads(done.stdout)
        assert data["size"] == 3_000_000
        job = live.api.submit(video_url=data["url"])
        assert live.api.services.ledger.get(job).spec.payload["video"] == f"file:{data['file_id']}"
