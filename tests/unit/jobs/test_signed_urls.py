from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.errors import PublishFailed
from lipwright.storage.secrets import load_or_create_secret
from lipwright.storage.signed_urls import Signer

NAME = "jobs/3f2a/video.mp4"
SIGNER = Signer(b"s" * 32)
QUERY = SIGNER.sign(NAME, 1000)


def test_a_signature_is_valid_until_it_expires():
    assert SIGNER.verify(NAME, QUERY, now=0)
    assert SIGNER.verify(NAME, QUERY, now=999.9)
    assert not SIGNER.verify(NAME, QUERY, now=1000)
    assert not SIGNER.verify(NAME, QUERY, now=10**9)


def test_a_signature_is_valid_for_one_name_only():
    for other in ("jobs/3f2b/video.mp4", "jobs/3f2a/video.mp4x", "jobs/3f2a", "", NAME + "\n"):
        assert not SIGNER.verify(other, QUERY, now=0)


def test_a_signature_of_another_secret_is_invalid():
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
def test_a_modified_query_is_invalid(query):
    assert not SIGNER.verify(NAME, query, now=0)


@given(st.text(), st.text())
def test_a_random_query_is_invalid(name, query):
    assert not SIGNER.verify(name, query, now=0)


def test_name_and_time_cannot_be_shifted_into_each_other():
    assert SIGNER.sign("1\na", 1) != SIGNER.sign("a", 11)
    assert not SIGNER.verify("000\n" + NAME, QUERY.replace("1000", "1"), now=0)


def test_the_secret_is_created_once_and_readable_by_its_owner_only(tmp_path: Path):
    query = Signer.from_data_dir(tmp_path / "data").sign(NAME, 1000)
    assert Signer.from_data_dir(tmp_path / "data").verify(NAME, query, now=0)
    assert not Signer.from_data_dir(tmp_path / "other").verify(NAME, query, now=0)
    secret = tmp_path / "data" / "secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert len(secret.read_bytes()) == 32
    assert os.listdir(tmp_path / "data") == ["secret"]


def test_concurrent_callers_get_the_same_secret(tmp_path: Path):
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: load_or_create_secret(tmp_path / "secret"), range(32)))
    assert len(made) == 1
    assert os.listdir(tmp_path) == ["secret"]


def test_a_truncated_secret_is_refused(tmp_path: Path):
    (tmp_path / "secret").write_bytes(b"short")
    with pytest.raises(PublishFailed, match="backup"):
        Signer.from_data_dir(tmp_path)


def test_a_secret_that_cannot_be_created_is_reported(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(PublishFailed, match="permissions"):
        Signer.from_data_dir(tmp_path / "file")
