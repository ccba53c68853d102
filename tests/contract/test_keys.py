"""The contract of API keys, for every implementation."""

from __future__ import annotations

import base64
import re

import pytest

from ledgers import START, LedgerHarness
from lipwright.errors import InvalidOptions, KeyNotFound
from lipwright.jobs.model import ApiKey


def test_a_key_is_verified_by_its_secret(harness: LedgerHarness):
    key, secret = harness.keys.create("ci", priority=3, concurrency=2, max_queued=5)
    assert key == ApiKey(
        id=key.id, name="ci", created_at=START, priority=3, concurrency=2, max_queued=5
    )
    assert harness.keys.verify(secret) == key
    assert list(harness.keys.list()) == [key]


def test_a_secret_is_256_random_bits(harness: LedgerHarness):
    secrets = [harness.keys.create(f"key {number}")[1] for number in range(3)]
    assert len(set(secrets)) == 3
    for secret in secrets:
        assert re.fullmatch(r"lw_[A-Za-z0-9_-]{43}", secret)
        assert len(base64.urlsafe_b64decode(secret.removeprefix("lw_") + "=")) == 32


@pytest.mark.parametrize(
    "change", [str.upper, str.strip, lambda s: s[:-1], lambda s: s + " ", lambda s: "\udcff" + s]
)
def test_any_other_secret_is_refused(harness: LedgerHarness, change):
    key, secret = harness.keys.create("ci")
    other = change(secret)
    assert (harness.keys.verify(other) == key) == (other == secret)
    assert harness.keys.verify("") is None
    assert harness.keys.verify(key.id) is None
    assert harness.keys.verify("'; DROP TABLE lw_keys; --") is None


@pytest.mark.parametrize("handle", ["id", "name"])
def test_a_revoked_key_is_refused_and_stays_listed(harness: LedgerHarness, handle):
    key, secret = harness.keys.create("ci")
    harness.clock.advance(60)
    other, other_secret = harness.keys.create("people")
    revoked = harness.keys.revoke(getattr(key, handle))
    assert revoked.id == key.id
    assert not revoked.active
    assert (revoked.revoked_at - START).total_seconds() == 60
    assert harness.keys.verify(secret) is None
    assert harness.keys.verify(other_secret) == other
    assert list(harness.keys.list()) == [revoked, other]


def test_revoking_an_unknown_key_raises(harness: LedgerHarness):
    harness.keys.create("ci")
    harness.keys.revoke("ci")
    for name in ("ci", "nobody", ""):
        with pytest.raises(KeyNotFound, match="no active API key"):
            harness.keys.revoke(name)


def test_a_name_is_taken_until_its_key_is_revoked(harness: LedgerHarness):
    harness.keys.create("ci")
    with pytest.raises(InvalidOptions, match="'ci'"):
        harness.keys.create("ci")
    harness.keys.revoke("ci")
    harness.keys.create("ci")
    assert len(harness.keys.list()) == 2


def test_an_id_takes_precedence_over_a_name(harness: LedgerHarness):
    key, _ = harness.keys.create("first")
    harness.keys.create(key.id)
    assert harness.keys.revoke(key.id).name == "first"
    assert harness.keys.revoke(key.id).name == key.id


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("", {}),
        (" ci", {}),
        ("a\nb", {}),
        ("x" * 65, {}),
        ("ci", {"priority": 0}),
        ("ci", {"priority": 101}),
        ("ci", {"concurrency": 0}),
        ("ci", {"submits_per_minute": -1}),
        ("ci", {"max_queued": 0}),
    ],
)
def test_invalid_names_and_limits_are_refused(harness: LedgerHarness, name, numbers):
    with pytest.raises(InvalidOptions, match=r"is (not valid|out of range)"):
        harness.keys.create(name, **numbers)
    assert list(harness.keys.list()) == []
