from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.errors import PublishFailed
from lipwright.storage.publish import Signer
from lipwright.storage.secret import keep_secret

NAME = "jobs/3f2a/video.mp4"
SIGNER = Signer(b"s" * 32)
QUERY = SIGNER.sign(NAME, 1000)


def test_a_signed_name_opens_until_it_expires():
    assert SIGNER.verify(NAME, QUERY, now=0)
    assert SIGNER.verify(NAME, QUERY, now=999.9)
    assert not SIGNER.verify(NAME, QUERY, now=1000)
    assert not SIGNER.verify(NAME, QUERY, now=10**9)


def test_a_signature_opens_one_name_only():
    for other in ("jobs/3f2b/video.mp4", "jobs/3f2a/video.mp4x", "jobs/3f2a", "", NAME + "\n"):
        assert not SIGNER.verify(other, QUERY, now=0)


def test_another_installation_signs_otherwise():
    assert not Signer(b"t" * 32).verify(NAME, QUERY, now=0)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "expires=1000",
        "signature=" + QUERY.partition("signature=")[2],
        QUERY.replace("expires=1000", "expires=9999"),
        QUERY.replace("expires=1000", "expires=01000"),
        QUERY.replace("expires=1000", "expires=+1000"),
        QUERY.replace("expires=1000", "expires=1e3"),
        QUERY.replace("expires=1000", "expires=-1"),
        QUERY.replace("expires=1000", "expires=" + "9" * 5000),
        QUERY + "&expires=9999",
        "expires=9999&" + QUERY,
        QUERY + "=",
        QUERY + "\n",
        QUERY[:-1],
        QUERY.swapcase(),
        QUERY.replace("signature", "Signature"),
        "expires=1000&signature=" + "ä" * 43,
    ],
)
def test_a_query_that_was_changed_opens_nothing(query):
    assert not SIGNER.verify(NAME, query, now=0)


@given(st.text(), st.text())
def test_no_made_up_query_opens_anything(name, query):
    assert not SIGNER.verify(name, query, now=0)


def test_the_boundary_of_name_and_time_cannot_be_moved():
    assert SIGNER.sign("1\na", 1) != SIGNER.sign("a", 11)
    assert not SIGNER.verify("000\n" + NAME, QUERY.replace("1000", "1"), now=0)


def test_the_secret_of_an_installation_is_made_once_for_its_owner_only(tmp_path: Path):
    query = Signer.of(tmp_path / "data").sign(NAME, 1000)
    assert Signer.of(tmp_path / "data").verify(NAME, query, now=0)
    assert not Signer.of(tmp_path / "other").verify(NAME, query, now=0)
    secret = tmp_path / "data" / "secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert len(secret.read_bytes()) == 32
    assert os.listdir(tmp_path / "data") == ["secret"]


def test_all_who_start_at_once_have_the_same_secret(tmp_path: Path):
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: keep_secret(tmp_path / "secret"), range(32)))
    assert len(made) == 1
    assert os.listdir(tmp_path) == ["secret"]


def test_a_secret_that_was_cut_short_is_told_and_not_used(tmp_path: Path):
    (tmp_path / "secret").write_bytes(b"short")
    with pytest.raises(PublishFailed, match="backup"):
        Signer.of(tmp_path)


def test_a_place_where_no_secret_can_be_kept_is_told(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(PublishFailed, match="permissions"):
        Signer.of(tmp_path / "file")
