from __future__ import annotations

import re
from pathlib import Path

import pytest

from lipwright import errors
from lipwright.errors import LipwrightError

REFERENCE = Path(__file__).parents[2] / "docs/reference/errors.md"


def tree(root: type[LipwrightError] = LipwrightError) -> list[type[LipwrightError]]:
    return [root, *(error for child in root.__subclasses__() for error in tree(child))]


PUBLIC_ERRORS = [error for error in tree() if error.__module__ == "lipwright.errors"]


def test_codes_are_unique_and_plain():
    codes = [error.code for error in PUBLIC_ERRORS]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


def test_every_class_defines_its_own_code():
    assert all("code" in vars(error) for error in PUBLIC_ERRORS)


@pytest.mark.parametrize("error", PUBLIC_ERRORS, ids=lambda error: error.__name__)
def test_every_class_is_documented_with_its_codes(error):
    row = (
        f"| `{error.__name__}` | `{error.code}` | {error.exit_code} | {error.http_status} "
        f"| {'yes' if error.retryable else 'no'} |"
    )
    assert row in REFERENCE.read_text(encoding="utf-8")


@pytest.mark.parametrize("error", PUBLIC_ERRORS, ids=lambda error: error.__name__)
def test_every_class_is_in_the_module_docstring(error):
    assert re.search(rf"\b{error.__name__}\b", errors.__doc__ or "")


@pytest.mark.parametrize("error", PUBLIC_ERRORS, ids=lambda error: error.__name__)
def test_the_default_message_is_the_first_line_of_the_docstring(error):
    assert str(error()) == (error.__doc__ or "").splitlines()[0]
    assert str(error("clip.mp4: broken")) == "clip.mp4: broken"


def test_exit_codes_are_the_documented_ones():
    by_code = {error.exit_code for error in PUBLIC_ERRORS}
    assert by_code == {1, 2, 3, 4, 5, 6, 7, 8, 9, 130}


def test_a_code_maps_to_its_class_and_not_to_a_subclass():
    class Derived(errors.InvalidOptions):
        """A subclass without a code of its own."""

    assert dict(errors.BY_CODE) == {error.code: error for error in PUBLIC_ERRORS}
    assert errors.BY_CODE[Derived.code] is errors.InvalidOptions
