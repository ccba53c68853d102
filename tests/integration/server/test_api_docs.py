"""The API page: Swagger UI, loaded from this service only."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest

from api_parts import Api
from lipwright.server.docs import ASSETS
from live_api import open_live

STATIC = files("lipwright.server") / "static"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--no-first-run",
    "--disable-gpu",
    "--disable-background-networking",
    "--enable-logging=stderr",
    "--virtual-time-budget=20000",
    "--dump-dom",
)


class LinkCollector(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attributes if name in ("src", "href") and value]


def test_the_page_links_to_this_service_only(api: Api):
    page = api.plain("GET", "/docs")
    assert page.headers["content-type"].startswith("text/html")
    collector = LinkCollector()
    collector.feed(page.text)
    links = [link for link in collector.links if link != "data:,"]  # an empty favicon
    assert {f"docs/{name}" for name in ASSETS} <= set(links)
    for link in links:
        assert not re.match(r"[a-z]+:|//", link)
        assert api.plain("GET", f"/{link}").status_code == 200
    assert not re.search(r"<script(?! src=)|<style| on[a-z]+=", page.text)  # nothing inline


@pytest.mark.parametrize("name", ["docs.js", "docs.css"])
def test_the_start_script_and_style_name_no_host(api: Api, name):
    text = api.plain("GET", f"/docs/{name}").text
    assert "//" not in re.sub(r"(^|\s)//.*$", "", text, flags=re.M)


def test_the_page_has_a_strict_content_security_policy(api: Api):
    header = api.plain("GET", "/docs").headers["content-security-policy"]
    policy = dict(directive.split(" ", 1) for directive in header.split("; "))
    assert policy["default-src"] == "'none'"
    for directive in ("script-src", "style-src", "connect-src"):
        assert policy[directive] == "'self'"
    assert policy["img-src"] == "'self' data:"


@pytest.mark.parametrize("name", ["docs.html", "..%2f..%2fapp.py", "README.md", "x", "%00"])
def test_only_the_files_of_the_page_are_served(api: Api, name):
    assert api.plain("GET", f"/docs/{name}").status_code == 404


def test_the_document_has_the_schemes_that_the_authorize_button_offers(api: Api):
    schemes = api.plain("GET", "/openapi.json").json()["components"]["securitySchemes"]
    assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")
    assert (schemes["apiKey"]["in"], schemes["apiKey"]["name"]) == ("header", "x-api-key")


def test_a_call_with_an_escaped_model_id_arrives(api: Api):
    """Swagger UI escapes the slashes of a path parameter."""
    answer = api("GET", "/v1/models/sync%2Fsync%2Flipsync%2Fv2%2Fpro")
    assert answer.json()["model_id"] == "sync/sync/lipsync/v2/pro"


def test_the_vendored_files_match_their_checksums():
    folder = STATIC / "swagger-ui"
    rows = re.findall(
        r"^\| `(\S+)` \| `([0-9a-f]{64})` \|$", (folder / "README.md").read_text(), re.M
    )
    assert {name for name, _ in rows} | {"README.md"} == {file.name for file in folder.iterdir()}
    for name, checksum in rows:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == checksum, name


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_shows_the_calls_and_asks_no_other_host(tmp_path: Path):
    assert CHROMIUM is not None
    net_log = tmp_path / "net.json"
    with open_live("memory", tmp_path / "data") as live:
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        browser = subprocess.run(
            [CHROMIUM, *CHROMIUM_FLAGS, profile, f"--log-net-log={net_log}", f"{live.url}/docs"],
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert 'id="operations-requests-submit_request"' in browser.stdout, browser.stderr
    assert "Authorize" in browser.stdout
    assert "CONSOLE" not in browser.stderr  # no error, nothing refused by the policy
    requested = urls_requested_by_pages(net_log)
    assert f"{live.url}/openapi.json" in requested
    assert {url for url in requested if not url.startswith(f"{live.url}/")} == set()


def urls_requested_by_pages(net_log: Path) -> set[str]:
    """Return what pages requested; the browser's own requests have no origin."""
    log = json.loads(net_log.read_text())
    start = log["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    jobs = [event.get("params", {}) for event in log["events"] if event["type"] == start]
    return {
        job["url"]
        for job in jobs
        if "url" in job
        and job.get("initiator") != "not an origin"
        and "data:" not in job["url"][:5]
    }
