"""All cases, by topic."""

from __future__ import annotations

from bench.inputs.case import Case
from bench.inputs.cases import files, formats, people, pictures, sounds, tracks

CASES: tuple[Case, ...] = (
    *formats.CASES,
    *pictures.CASES,
    *people.CASES,
    *sounds.CASES,
    *tracks.CASES,
    *files.CASES,
)
