from __future__ import annotations

import argparse

import pytest
from bench.service import CALLS, Found, Spread, report

WORDS = argparse.Namespace(rows=[0, 1000], seconds=2.0, calls=10, jobs=3)


def test_a_spread_is_median_and_99th_percentile_in_milliseconds():
    spread = Spread.of([i / 1000 for i in range(100, 0, -1)])
    assert (spread.p50, spread.p99) == pytest.approx((51, 100))
    assert str(Spread.of([0.0025])) == "2.5 / 2.5"


def test_the_page_has_a_column_for_each_number_of_rows_and_a_row_for_each_call():
    spread = Spread(p50=1.0, p99=2.0)
    found = [
        Found(
            rows=rows,
            submits_per_second=600.0,
            storm=spread,
            lost=0,
            calls=dict.fromkeys(CALLS, spread),
            pick_up=spread,
            idle_cpu=0.02,
        )
        for rows in WORDS.rows
    ]
    page = report(found, WORDS)
    assert "python -m bench.service --rows 0 1000 --seconds 2 --calls 10 --jobs 3" in page
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert table[0] == "|  | 0 rows | 1 000 rows | aim |"
    assert len({line.count("|") for line in table}) == 1
    assert len(table) == 2 + 5 + len(CALLS)
    assert "| submits/s, all connections | 600 | 600 | ≥ 500 |" in table
