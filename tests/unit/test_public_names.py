from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import lipwright

ROOT = Path(__file__).parents[2]


def test_public_names_are_complete_and_sorted():
    assert lipwright.__all__ == sorted(lipwright.__all__)
    assert set(lipwright.__all__) == {*lipwright._HOME, "__version__"}


@pytest.mark.parametrize("name", [n for n in lipwright.__all__ if n != "__version__"])
def test_a_public_name_is_the_object_of_its_module(name):
    assert getattr(lipwright, name) is getattr(importlib.import_module(lipwright._HOME[name]), name)


def test_public_names_are_listed_before_they_are_loaded():
    assert set(lipwright.__all__) <= set(dir(lipwright))


def test_an_unknown_name_raises_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'syncc'"):
        _ = lipwright.syncc  # type: ignore[attr-defined]


def test_every_public_name_is_in_the_reference():
    text = (ROOT / "docs/reference/python.md").read_text(encoding="utf-8")
    missing = [name for name in lipwright.__all__ if not re.search(rf"`[^`\n]*{name}\b", text)]
    assert not missing


def test_the_changelog_has_a_section_for_this_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(lipwright.__version__)}\b", text, re.MULTILINE)
