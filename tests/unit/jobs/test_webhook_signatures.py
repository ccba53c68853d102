from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from replicate.webhook import (
    InvalidSignatureError,
    InvalidTimestampError,
    Webhooks,
    WebhookSigningSecret,
)

from lipwright.jobs.webhooks import (
    FIRST_DELAY,
    MAX_DELAY,
    next_delay,
    standard_headers,
    sync_headers,
    webhook_secret,
)

DAY = 86_400.0
BODY = json.dumps({"status": "succeeded", "name": "täke"}, ensure_ascii=False).encode()


def test_the_signature_matches_the_published_example():
    """The example in the text of Standard Webhooks, computed anew by its reference formula."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    headers = standard_headers(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_another_library_accepts_our_signature(tmp_path: Path):
    secret = webhook_secret(tmp_path)
    headers = standard_headers(secret, "msg_1", 1_700_000_000, BODY)
    request = httpx.Request("POST", "https://example.org/hook", headers=headers, content=BODY)
    Webhooks.validate(request=request, secret=WebhookSigningSecret(key=secret))
    Webhooks.validate(headers=headers, body=BODY.decode(), secret=WebhookSigningSecret(key=secret))


@pytest.mark.parametrize(
    "change",
    [
        {"content": BODY + b" "},
        {"headers": {"webhook-id": "msg_2"}},
        {"headers": {"webhook-timestamp": "1700000001"}},
    ],
)
def test_another_library_refuses_modified_calls(tmp_path: Path, change):
    secret = webhook_secret(tmp_path)
    headers = standard_headers(secret, "msg_1", 1_700_000_000, BODY) | change.get("headers", {})
    content = change.get("content", BODY)
    request = httpx.Request("POST", "https://example.org/hook", headers=headers, content=content)
    with pytest.raises(InvalidSignatureError):
        Webhooks.validate(request=request, secret=WebhookSigningSecret(key=secret))


def test_another_library_refuses_another_secret_and_old_calls(tmp_path: Path):
    secret, other = webhook_secret(tmp_path / "a"), webhook_secret(tmp_path / "b")
    headers = standard_headers(secret, "msg_1", 1_600_000_000, BODY)
    with pytest.raises(InvalidSignatureError):
        Webhooks.validate(
            headers=headers, body=BODY.decode(), secret=WebhookSigningSecret(key=other)
        )
    with pytest.raises(InvalidTimestampError):
        Webhooks.validate(
            headers=headers,
            body=BODY.decode(),
            secret=WebhookSigningSecret(key=secret),
            tolerance=300,
        )


def test_the_sync_dialect_signs_the_time_and_the_raw_body():
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    (header,) = sync_headers(secret, 1_700_000_000, BODY).items()
    digest = hmac.new(secret.encode(), b"1700000000." + BODY, hashlib.sha256).hexdigest()
    assert header == ("Sync-Signature", f"t=1700000000,v1={digest}")


def test_the_webhook_secret_is_created_once_and_readable_by_its_owner_only(tmp_path: Path):
    secret = webhook_secret(tmp_path / "data")
    assert webhook_secret(tmp_path / "data") == secret
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    (name,) = os.listdir(tmp_path / "data")
    assert (tmp_path / "data" / name).stat().st_mode & 0o777 == 0o600


def attempts_of_a_call_that_never_succeeds(luck: float) -> list[float]:
    """The moments of all attempts, seconds after the job ended."""
    moments = [0.0]
    while (delay := next_delay(len(moments), DAY - moments[-1], luck)) is not None:
        moments.append(moments[-1] + delay)
    return moments


@pytest.mark.parametrize("luck", [0.0, 0.5, 1.0])
def test_attempts_become_rarer_and_last_a_day(luck):
    moments = attempts_of_a_call_that_never_succeeds(luck)
    pauses = [b - a for a, b in pairwise(moments)]
    assert moments[-1] == pytest.approx(DAY)
    assert 15 <= len(moments) <= 25
    assert all(b >= a for a, b in pairwise(pauses[:-1]))
    assert pauses[0] <= FIRST_DELAY
    assert max(pauses) <= MAX_DELAY


def test_no_retry_follows_after_the_give_up_time():
    assert next_delay(1, -5.0) is None
    assert next_delay(10**9, 10.0) == 10.0


def test_jitter_only_shortens_delays():
    delays = [next_delay(5, DAY, luck) for luck in (0.0, 0.5, 1.0)]
    assert delays == sorted(delays, reverse=True)
    assert delays[-1] >= delays[0] * 0.79
