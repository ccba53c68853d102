"""The contract of uploads, for every implementation."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from ledgers import START, WIDE, LedgerHarness, make_spec
from lipwright.errors import JobNotFound, QuotaExceeded, SourceUnreachable
from lipwright.jobs.model import Failure, UploadUsage


def payload(*file_ids: str) -> dict[str, str]:
    return dict(zip(("video", "audio"), (f"file:{name}" for name in file_ids), strict=False))


def test_an_upload_belongs_to_one_key(harness: LedgerHarness):
    upload = harness.upload("mine")
    assert harness.uploads.get(upload.id, "mine") == upload
    for file_id, key_id in ((upload.id, "yours"), ("nothing", "mine")):
        with pytest.raises(SourceUnreachable, match=file_id):
            harness.uploads.get(file_id, key_id)


def test_times_follow_the_database_clock_and_keep_the_lifetime(harness: LedgerHarness):
    harness.clock.advance(100)
    upload = replace(harness.upload(), id="skewed")
    skewed = replace(upload, created_at=START - timedelta(days=9), expires_at=START)
    stored = harness.uploads.add(skewed)
    assert stored.created_at == START + timedelta(seconds=100)
    assert stored.expires_at == START + timedelta(seconds=100, days=9)
    assert harness.uploads.get("skewed", "k1") == stored


def test_an_expired_upload_cannot_be_read_or_used_in_a_job(harness: LedgerHarness):
    upload = harness.upload(hours=1)
    harness.clock.advance(3600)
    with pytest.raises(SourceUnreachable):
        harness.uploads.get(upload.id, "k1")
    with pytest.raises(SourceUnreachable):
        harness.submit(payload=payload(upload.id))
    assert list(harness.uploads.claim_expired()) == [upload]


@pytest.mark.parametrize("case", ["foreign", "absent"])
def test_a_job_cannot_use_an_upload_its_key_does_not_have(harness: LedgerHarness, case):
    mine = harness.upload()
    other = harness.upload("another").id if case == "foreign" else "nothing"
    with pytest.raises(SourceUnreachable, match=other):
        harness.ledger.submit(make_spec(id="refused", payload=payload(mine.id, other)), WIDE)
    with pytest.raises(JobNotFound):
        harness.ledger.get("refused")
    assert harness.enqueued() == []


@pytest.mark.parametrize("end", ["succeed", "fail", "cancel", "erase"])
def test_an_upload_stays_until_its_job_has_ended(harness: LedgerHarness, end):
    upload = harness.upload(hours=1)
    job = harness.submit(payload=payload(upload.id, upload.id))
    harness.clock.advance(7200)
    assert list(harness.uploads.claim_expired()) == []
    harness.uploads.delete(upload.id)
    assert harness.uploads.get(upload.id, "k1") == upload
    if end in ("succeed", "fail"):
        claimed = harness.ledger.claim(job.id, "w")
        assert claimed is not None
        failure = None if end == "succeed" else Failure(code="bad_input", message="")
        output = {} if end == "succeed" else None
        assert harness.uploads.get(upload.id, "k1") == upload
        harness.ledger.finish(job.id, claimed.epoch, output=output, failure=failure)
    else:
        getattr(harness.ledger, end)(job.id)
    assert list(harness.uploads.claim_expired()) == [upload]
    harness.uploads.delete(upload.id)
    assert list(harness.uploads.claim_expired()) == []


def test_an_upload_being_deleted_stays_unusable_if_the_clock_goes_back(
    harness: LedgerHarness,
):
    upload = harness.upload(hours=1)
    harness.clock.advance(3600)
    assert list(harness.uploads.claim_expired()) == [upload]
    harness.clock.advance(-1)
    with pytest.raises(SourceUnreachable):
        harness.submit(payload=payload(upload.id))
    with pytest.raises(SourceUnreachable):
        harness.uploads.get(upload.id, "k1")


def test_expired_uploads_are_claimed_in_batches_oldest_first(harness: LedgerHarness):
    uploads = [harness.upload(hours=hours) for hours in (3, 1, 2)]
    harness.clock.advance(4 * 3600)
    assert list(harness.uploads.claim_expired(limit=2)) == [uploads[1], uploads[2]]
    for upload in uploads[1:]:
        harness.uploads.delete(upload.id)
    assert list(harness.uploads.claim_expired()) == [uploads[0]]


def test_an_upload_can_be_deleted_before_it_expires(harness: LedgerHarness):
    upload = harness.upload()
    harness.uploads.delete(upload.id)
    harness.uploads.delete(upload.id)
    with pytest.raises(SourceUnreachable):
        harness.uploads.get(upload.id, "k1")


def test_usage_counts_uploads_until_they_are_deleted(harness: LedgerHarness):
    assert harness.uploads.usage("k1") == UploadUsage(files=0, size=0)
    first, _ = harness.upload(hours=1), harness.upload()
    harness.upload("another")
    assert harness.uploads.usage("k1") == UploadUsage(files=2, size=2 * first.size)
    harness.clock.advance(7200)
    assert list(harness.uploads.claim_expired()) == [first]
    assert harness.uploads.usage("k1").files == 2
    harness.uploads.delete(first.id)
    assert harness.uploads.usage("k1") == UploadUsage(files=1, size=first.size)


@pytest.mark.parametrize(("files", "sizes"), [(1, 9), (9, 1), (9, 1.999)])
def test_an_upload_over_the_quota_of_its_key_is_refused(harness: LedgerHarness, files, sizes):
    first = harness.upload()
    quota = UploadUsage(files=files, size=int(sizes * first.size))
    with pytest.raises(QuotaExceeded, match="erase some"):
        harness.uploads.add(replace(first, id="more"), quota)
    with pytest.raises(SourceUnreachable):
        harness.uploads.get("more", "k1")
    assert harness.uploads.add(replace(first, id="other", key_id="another"), quota)
    assert harness.uploads.add(replace(first, id="fits"), UploadUsage(files=2, size=2 * first.size))
