from __future__ import annotations

import re
from pathlib import Path

import pytest

from lipwright import errors
from lipwright.errors import LipwrightError

REFERENCE = Path(__file__).parents[2] / "docs/reference/errors.md"


def tree(root: type[LipwrightError] = LipwrightError) -> list[type[LipwrightError]]:
    return [root, *(found for child in root.__subclasses__() for found in tree(child))]


OURS = [error for error in tree() if error.__module__ == "lipwright.errors"]


def test_codes_are_unique_and_plain():
    codes = [error.code for error in OURS]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


def test_every_class_defines_its_own_code():
    assert all("code" in vars(error) for error in OURS)


@pytest.mark.parametrize("error", OURS, ids=lambda error: error.__name__)
def test_every_class_is_in_the_reference_with_its_codes(error):
    row = (
        f"| `{error.__name__}` | `{error.code}` | {error.exit_code} | {error.http_status} "
        f"| {'yes' if error.retryable else 'no'} |"
    )
    assert row in REFERENCE.read_text(encoding="utf-8")


@pytest.mark.parametrize("error", OURS, ids=lambda error: error.__name__)
def test_every_class_is_in_the_tree_at_the_top_of_the_module(error):
    assert re.search(rf"\b{error.__name__}\b", errors.__doc__ or "")


@pytest.mark.parametrize("error", OURS, ids=lambda error: error.__name__)
def test_the_message_without_one_is_the_first_line_of_the_docstring(error):
    assert str(error()) == (error.__doc__ or "").splitlines()[0]
    assert str(error("clip.mp4: broken")) == "clip.mp4: broken"


def test_exit_codes_stay_clear_of_success_and_of_each_other():
    by_code = {error.exit_code for error in OURS}
    assert by_code == {1, 2, 3, 4, 5, 6, 7, 8, 130}


def test_a_code_leads_back_to_its_class_even_when_others_derive_from_it():
    class Derived(errors.InvalidOptions):
        """A fault."""

    assert dict(errors.BY_CODE) == {error.code: error for error in OURS}
    assert errors.BY_CODE[Derived.code] is errors.InvalidOptions
