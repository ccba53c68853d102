"""One representative of each kind of input, run as a person would.

docs/howto/footage.md lists them; ``python -m bench.inputs`` runs all cases.
"""

from __future__ import annotations

import pytest
from bench.inputs.cases import CASES
from bench.inputs.outcome import run_case
from bench.inputs.recipes.footage import Footage
from scripts.generate_footage_docs import PAGE, render

QUICK = [case for case in CASES if case.quick]


@pytest.fixture(scope="session")
def footage(tmp_path_factory):
    return Footage(tmp_path_factory.mktemp("footage"))


@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.name)
def test_an_input_comes_out_as_documented(case, footage, tmp_path):
    verdict = run_case(case, tmp_path, footage)
    assert verdict.kind != "wrong", verdict.text


def test_every_case_has_a_name_of_its_own():
    names = [case.name for case in CASES]
    assert len({*names}) == len(names) >= 150


def test_the_page_lists_what_these_tests_prove():
    assert PAGE.read_text(encoding="utf-8") == render()
