"""The address of the service, and that the API key does not leak."""

from __future__ import annotations

import inspect
import logging
import ssl

import pytest

from fake_service import ID, KEY, URL, Script, answer
from lipwright import AsyncClient, AsyncJobHandle, Client, JobHandle
from lipwright.client import flows
from lipwright.errors import AccessDenied, InvalidOptions


@pytest.fixture(autouse=True)
def _no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the trusted certificates takes longer than the tests."""
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", lambda *_args, **_kwargs: None)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://dub.example.org", "unencrypted"),
        ("http://10.0.0.1:8800", "unencrypted"),
        ("http://localhost.example.org", "unencrypted"),
        ("dub.example.org", "https://host"),
        ("ftp://dub.example.org", "https://host"),
        ("https://", "https://host"),
        ("https://me:secret@dub.example.org", "LIPWRIGHT_API_KEY"),
        ("https://dub.example.org/?key=1", "query"),
        ("https://dub.example.org:99999", "not a URL"),
        ("https://[::1", "not a URL"),
    ],
)
def test_a_url_that_would_leak_the_key_is_refused(url: str, says: str):
    with pytest.raises(InvalidOptions, match=says):
        Client(url, KEY)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8800/",
        "http://localhost:1",
        "http://[::1]:8800",
        "https://a.example/base/",
    ],
)
def test_loopback_and_https_are_fine(url: str):
    with Client(url, KEY) as client:
        assert repr(client) == f"Client({url.rstrip('/')!r})"


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel", '"quoted" '])
def test_a_malformed_key_is_refused_and_not_shown(key: str):
    with pytest.raises(InvalidOptions) as refused:
        Client(URL, key)
    assert key not in str(refused.value)


def test_the_environment_names_service_and_key(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("LIPWRIGHT_URL", raising=False)
    monkeypatch.delenv("LIPWRIGHT_API_KEY", raising=False)
    with pytest.raises(AccessDenied, match="LIPWRIGHT_API_KEY"):
        Client()
    monkeypatch.setenv("LIPWRIGHT_API_KEY", KEY)
    with Client() as client:
        assert repr(client) == "Client('http://127.0.0.1:8800')"
    monkeypatch.setenv("LIPWRIGHT_URL", URL)
    with Client() as client:
        assert repr(client) == f"Client({URL!r})"


@pytest.mark.parametrize("job_id", ["", "..", "a/b", "a?b", "a b", "%2e%2e", "x" * 200])
def test_an_id_that_would_change_the_path_is_refused(job_id: str):
    with Client(URL, KEY) as client, pytest.raises(InvalidOptions, match="not a job id"):
        client.job(job_id)


def test_the_key_is_in_no_repr_and_no_log(caplog: pytest.LogCaptureFixture):
    script = Script()
    script.on(
        f"GET /v1/requests/{ID}/status", answer(request_id=ID, status="in_queue", queue_position=3)
    )
    with caplog.at_level(logging.DEBUG), Client(URL, KEY, transport=script.blocking()) as client:
        job = client.job(ID)
        job.status()
        shown = [repr(client), repr(job), repr(client._service), caplog.text]
        call = flows.calls.status(client._service, ID)
        shown += [repr(call), repr(call.request)]
    assert script.seen[0].headers["Authorization"] == f"Bearer {KEY}"
    assert not any(KEY in text for text in shown)


@pytest.mark.parametrize(
    ("one", "other"), [(Client, AsyncClient), (JobHandle, AsyncJobHandle)], ids=["client", "handle"]
)
def test_both_clients_have_the_same_methods(one: type, other: type):
    def offered(kind: type) -> dict[str, list[str]]:
        calls = {name: call for name, call in vars(kind).items() if inspect.isfunction(call)}
        return {
            name: [str(p).split(":")[0] for p in inspect.signature(call).parameters.values()]
            for name, call in calls.items()
            if not name.startswith("_")
        }

    assert offered(one) == offered(other)
    assert offered(one)
