"""Figures of speed and memory: each stands in a file that a benchmark wrote, and no page holds one that was typed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks/results"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: A number with a unit that only a measurement can tell.
FIGURE = re.compile(
    r"[\d.,]*\d ?(?:(?:rows|records|calls|credits|looks)(?:/s| a second)|[µu]s a|MB\b|times the loop|times as fast)"
)
#: A column of a typed table that would hold such numbers.
HEAD = re.compile(
    r"^\|.*(?:\b(?:rows|records|calls|credits|looks)/s\b|MB above|CPU s|times the loop).*\|$", re.MULTILINE
)
INCLUDED = re.compile(r'^--8<-- "benchmarks/results/([\w-]+)\.md:([\w-]+)"$', re.MULTILINE)
#: Limits that a user sets or a CRM has, and what follows from them by arithmetic.
SETTINGS = {
    "docs/howto/shards.md": {"20 calls a second"},
    "docs/sensors.md": {"160 looks a second"},
}


def _read(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_figure_was_typed(page: Path) -> None:
    name, text = str(page.relative_to(ROOT)), _read(page)
    assert set(FIGURE.findall(text)) == SETTINGS.get(name, set())
    assert not HEAD.findall(text)


def test_every_result_is_shown_and_tells_of_its_machine() -> None:
    shown = {found for page in PAGES for found in INCLUDED.findall(page.read_text())}
    written = {
        (path.stem, section)
        for path in RESULTS.glob("*.md")
        for section in re.findall(r"\[start:([\w-]+)\]", path.read_text())
    }
    assert written == shown
    assert {file for file, _ in written} == {file for file, section in shown if section == f"{file}-about"}
    for path in RESULTS.glob("*.md"):
        assert re.search(
            r"Measured by `benchmarks/\w+\.py`.*version [\d.]+: \d+ cores of .+ load of", path.read_text()
        )


def test_a_chart_shows_what_a_result_says() -> None:
    sys.path.insert(0, str(ROOT / "docs/_site"))
    from charts import CHART, draw, read

    charts = [found for page in PAGES for found in CHART.finditer(page.read_text())]
    assert charts
    for found in charts:
        section, labels, values, *_ = found.groups()
        drawn = draw(found)
        rows = [
            row for row in read(section) if f">{row[values]}</text>" in drawn and f">{row[labels]}<" in drawn
        ]
        assert len(rows) == drawn.count("<rect ") > 1
