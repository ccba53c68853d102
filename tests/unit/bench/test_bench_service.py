from __future__ import annotations

import pytest
from bench.service.__main__ import report
from bench.service.load import CALLS, LoadOptions, LoadResult, Percentiles

pytestmark = pytest.mark.model  # slow

OPTIONS = LoadOptions(rows=(0, 1000), seconds=2.0, calls=10, jobs=3)


def test_percentiles_are_in_milliseconds():
    percentiles = Percentiles.of([i / 1000 for i in range(100, 0, -1)])
    assert (percentiles.p50, percentiles.p99) == pytest.approx((51, 100))
    assert str(Percentiles.of([0.0025])) == "2.5 / 2.5"


def test_report_has_a_column_per_number_of_rows_and_a_row_per_call():
    percentiles = Percentiles(p50=1.0, p99=2.0)
    results = [
        LoadResult(
            rows=rows,
            submits_per_second=600.0,
            concurrent_submits=percentiles,
            lost=0,
            calls=dict.fromkeys(CALLS, percentiles),
            pick_up=percentiles,
            idle_cpu=0.02,
        )
        for rows in OPTIONS.rows
    ]
    page = report(results, OPTIONS)
    assert "python -m bench.service --rows 0 1000 --seconds 2 --calls 10 --jobs 3" in page
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert table[0] == "|  | 0 rows | 1 000 rows | aim |"
    assert len({line.count("|") for line in table}) == 1
    assert len(table) == 2 + 5 + len(CALLS)
    assert "| submits/s, all connections | 600 | 600 | ≥ 500 |" in table
