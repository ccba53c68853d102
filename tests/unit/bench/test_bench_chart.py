from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest


@pytest.mark.model
def test_chart_shows_titles_names_and_ticks_and_is_reproducible(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from bench.speed.chart import Line, Panel, draw_chart

    line = Line(name="product", points=((1.0, 2.0), (10.0, 20.0)))
    panel = Panel(
        title="wall seconds",
        x_ticks={1.0: "1 s", 10.0: "10 s"},
        y_ticks={1.0: "one", 100.0: "hundred"},
        lines=(line,),
    )
    first, second = tmp_path / "first.svg", tmp_path / "second.svg"
    draw_chart([panel, panel], first)
    draw_chart([panel, panel], second)
    assert first.read_bytes() == second.read_bytes()
    texts = [e.text for e in ElementTree.parse(first).iter() if e.tag.endswith("}text")]
    for text in ("wall seconds", "product", "1 s", "10 s", "one", "hundred"):
        assert texts.count(text) == 2


pytestmark = pytest.mark.model  # slow
