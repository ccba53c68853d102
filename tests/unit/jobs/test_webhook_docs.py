"""The recipe of docs/howto/webhooks.md verifies what the service signs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lipwright.jobs.webhooks import standard_headers, webhook_secret

PAGE = Path(__file__).parents[3] / "docs/howto/webhooks.md"
BODY = b'{"status": "succeeded"}'


@pytest.fixture
def verify() -> Callable[..., bool]:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.M)
    names: dict[str, Callable[..., bool]] = {}
    exec(compile(code, str(PAGE), "exec"), names)
    return names["verify"]


def test_the_recipe_accepts_only_valid_signatures(verify: Callable[..., bool], tmp_path: Path):
    secret, now = webhook_secret(tmp_path), int(time.time())
    headers = standard_headers(secret, "msg_1", now, BODY)
    assert verify(headers, BODY, secret)
    assert not verify(headers, BODY + b" ", secret)
    assert not verify(headers, BODY, webhook_secret(tmp_path / "other"))
    assert not verify({**headers, "webhook-id": "msg_2"}, BODY, secret)
    assert not verify(standard_headers(secret, "msg_1", now - 3600, BODY), BODY, secret)
