"""What every store of API keys does."""

from __future__ import annotations

import base64
import re

import pytest

from ledgers import START, Bench
from lipwright.errors import InvalidOptions, KeyNotFound
from lipwright.jobs.model import Key


def test_a_key_opens_the_door_by_its_secret(bench: Bench):
    key, secret = bench.keys.create("ci", priority=3, concurrency=2, max_queued=5)
    assert key == Key(
        id=key.id, name="ci", created_at=START, priority=3, concurrency=2, max_queued=5
    )
    assert bench.keys.verify(secret) == key
    assert list(bench.keys.list()) == [key]


def test_a_secret_is_256_random_bits(bench: Bench):
    secrets = [bench.keys.create(f"key {number}")[1] for number in range(3)]
    assert len(set(secrets)) == 3
    for secret in secrets:
        assert re.fullmatch(r"lw_[A-Za-z0-9_-]{43}", secret)
        assert len(base64.urlsafe_b64decode(secret.removeprefix("lw_") + "=")) == 32


@pytest.mark.parametrize(
    "change", [str.upper, str.strip, lambda s: s[:-1], lambda s: s + " ", lambda s: "\udcff" + s]
)
def test_any_other_secret_opens_nothing(bench: Bench, change):
    key, secret = bench.keys.create("ci")
    other = change(secret)
    assert (bench.keys.verify(other) == key) == (other == secret)
    assert bench.keys.verify("") is None
    assert bench.keys.verify(key.id) is None
    assert bench.keys.verify("'; DROP TABLE lw_keys; --") is None


@pytest.mark.parametrize("handle", ["id", "name"])
def test_a_revoked_key_opens_nothing_and_stays_listed(bench: Bench, handle):
    key, secret = bench.keys.create("ci")
    bench.clock.advance(60)
    other, other_secret = bench.keys.create("people")
    revoked = bench.keys.revoke(getattr(key, handle))
    assert revoked.id == key.id
    assert not revoked.active
    assert (revoked.revoked_at - START).total_seconds() == 60
    assert bench.keys.verify(secret) is None
    assert bench.keys.verify(other_secret) == other
    assert list(bench.keys.list()) == [revoked, other]


def test_revoking_nothing_says_so(bench: Bench):
    bench.keys.create("ci")
    bench.keys.revoke("ci")
    for name in ("ci", "nobody", ""):
        with pytest.raises(KeyNotFound, match="no active API key"):
            bench.keys.revoke(name)


def test_a_name_is_taken_until_its_key_is_revoked(bench: Bench):
    bench.keys.create("ci")
    with pytest.raises(InvalidOptions, match="'ci'"):
        bench.keys.create("ci")
    bench.keys.revoke("ci")
    bench.keys.create("ci")
    assert len(bench.keys.list()) == 2


def test_an_id_beats_a_name(bench: Bench):
    key, _ = bench.keys.create("first")
    bench.keys.create(key.id)
    assert bench.keys.revoke(key.id).name == "first"
    assert bench.keys.revoke(key.id).name == key.id


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
def test_what_does_not_fit_is_refused(bench: Bench, name, numbers):
    with pytest.raises(InvalidOptions, match="does not fit"):
        bench.keys.create(name, **numbers)
    assert list(bench.keys.list()) == []
