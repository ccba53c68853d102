"""What every store of uploads does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from ledgers import START, WIDE, Bench, ticket
from lipwright.errors import JobNotFound, QuotaExceeded, SourceUnreachable
from lipwright.jobs.model import Failure, Space


def work(*file_ids: str) -> dict[str, str]:
    return dict(zip(("video", "audio"), (f"file:{name}" for name in file_ids), strict=False))


def test_an_upload_is_its_keys_alone(bench: Bench):
    upload = bench.upload("mine")
    assert bench.uploads.get(upload.id, "mine") == upload
    for file_id, key_id in ((upload.id, "yours"), ("nothing", "mine")):
        with pytest.raises(SourceUnreachable, match=file_id):
            bench.uploads.get(file_id, key_id)


def test_times_are_the_databases_and_the_span_the_callers(bench: Bench):
    bench.clock.advance(100)
    upload = replace(bench.upload(), id="skewed")
    skewed = replace(upload, created_at=START - timedelta(days=9), expires_at=START)
    stored = bench.uploads.add(skewed)
    assert stored.created_at == START + timedelta(seconds=100)
    assert stored.expires_at == START + timedelta(seconds=100, days=9)
    assert bench.uploads.get("skewed", "k1") == stored


def test_an_expired_upload_cannot_be_had_or_named(bench: Bench):
    upload = bench.upload(hours=1)
    bench.clock.advance(3600)
    with pytest.raises(SourceUnreachable):
        bench.uploads.get(upload.id, "k1")
    with pytest.raises(SourceUnreachable):
        bench.submit(work=work(upload.id))
    assert list(bench.uploads.expired()) == [upload]


@pytest.mark.parametrize("case", ["foreign", "absent"])
def test_a_job_cannot_name_a_file_that_its_key_has_not(bench: Bench, case):
    mine = bench.upload()
    other = bench.upload("another").id if case == "foreign" else "nothing"
    with pytest.raises(SourceUnreachable, match=other):
        bench.ledger.submit(ticket(id="refused", work=work(mine.id, other)), WIDE)
    with pytest.raises(JobNotFound):
        bench.ledger.get("refused")
    assert bench.work() == []


@pytest.mark.parametrize("end", ["succeed", "fail", "cancel", "erase"])
def test_a_job_holds_its_files_until_it_has_ended(bench: Bench, end):
    upload = bench.upload(hours=1)
    job = bench.submit(work=work(upload.id, upload.id))
    bench.clock.advance(7200)
    assert list(bench.uploads.expired()) == []
    bench.uploads.drop(upload.id)
    assert bench.uploads.get(upload.id, "k1") == upload
    if end in ("succeed", "fail"):
        claimed = bench.ledger.claim(job.id, "w")
        assert claimed is not None
        failure = None if end == "succeed" else Failure(code="bad_input", message="")
        output = {} if end == "succeed" else None
        assert bench.uploads.get(upload.id, "k1") == upload
        bench.ledger.finish(job.id, claimed.epoch, output=output, failure=failure)
    else:
        getattr(bench.ledger, end)(job.id)
    assert list(bench.uploads.expired()) == [upload]
    bench.uploads.drop(upload.id)
    assert list(bench.uploads.expired()) == []


def test_a_file_that_is_being_deleted_cannot_be_named_even_by_a_clock_put_back(bench: Bench):
    upload = bench.upload(hours=1)
    bench.clock.advance(3600)
    assert list(bench.uploads.expired()) == [upload]
    bench.clock.advance(-1)
    with pytest.raises(SourceUnreachable):
        bench.submit(work=work(upload.id))
    with pytest.raises(SourceUnreachable):
        bench.uploads.get(upload.id, "k1")


def test_expired_uploads_come_in_batches_the_oldest_first(bench: Bench):
    uploads = [bench.upload(hours=hours) for hours in (3, 1, 2)]
    bench.clock.advance(4 * 3600)
    assert list(bench.uploads.expired(limit=2)) == [uploads[1], uploads[2]]
    for upload in uploads[1:]:
        bench.uploads.drop(upload.id)
    assert list(bench.uploads.expired()) == [uploads[0]]


def test_a_wanted_upload_can_be_dropped_before_it_expires(bench: Bench):
    upload = bench.upload()
    bench.uploads.drop(upload.id)
    bench.uploads.drop(upload.id)
    with pytest.raises(SourceUnreachable):
        bench.uploads.get(upload.id, "k1")


def test_what_a_key_has_stored_is_counted_until_it_is_dropped(bench: Bench):
    assert bench.uploads.used("k1") == Space(files=0, size=0)
    first, _ = bench.upload(hours=1), bench.upload()
    bench.upload("another")
    assert bench.uploads.used("k1") == Space(files=2, size=2 * first.size)
    bench.clock.advance(7200)
    assert list(bench.uploads.expired()) == [first]
    assert bench.uploads.used("k1").files == 2
    bench.uploads.drop(first.id)
    assert bench.uploads.used("k1") == Space(files=1, size=first.size)


@pytest.mark.parametrize(("files", "sizes"), [(1, 9), (9, 1), (9, 1.999)])
def test_an_upload_over_the_quota_of_its_key_is_refused(bench: Bench, files, sizes):
    first = bench.upload()
    most = Space(files=files, size=int(sizes * first.size))
    with pytest.raises(QuotaExceeded, match="erase some"):
        bench.uploads.add(replace(first, id="more"), most)
    with pytest.raises(SourceUnreachable):
        bench.uploads.get("more", "k1")
    assert bench.uploads.add(replace(first, id="other", key_id="another"), most)
    assert bench.uploads.add(replace(first, id="fits"), Space(files=2, size=2 * first.size))
