"""Bar charts of what the benchmarks wrote, as SVG in the colours of the page, so that they fit light and dark."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

RESULTS = Path(__file__).parents[2] / "benchmarks/results"
#: ``<!-- chart: exports-1 | job | rows/s (median) | ms a page = 100 -->``: section, labels, values, rows that count.
CHART = re.compile(r"<!-- chart: ([\w-]+) \| ([^|]+) \| ([^|]+?)(?: \| ([^|=]+) = ([^|]+?))? -->")
BAR, LABELS, WIDTH = 24, 190, 640


def draw(found: re.Match[str]) -> str:
    """Return the chart that a page asks for."""
    section, labels, values, column, only = found.groups()
    rows = [row for row in read(section) if column is None or row[column] == only]
    title = f"{values}{f', {column} {only}' if column else ''}"
    return svg(title, [(row[labels], row[values]) for row in rows])


def read(section: str) -> list[dict[str, str]]:
    """Return the rows of a table, as texts by column.

    :param section: of a results file, such as ``exports-1``.
    """
    text = (RESULTS / f"{section.rpartition('-')[0]}.md").read_text()
    table = text.partition(f"[start:{section}]")[2].partition("<!--")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    head, _, *body = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(head, row, strict=True)) for row in body]


def svg(title: str, bars: list[tuple[str, str]]) -> str:
    """Return horizontal bars, one below the other."""
    numbers = [float(value.replace(",", "").rstrip("%")) for _, value in bars]
    most = max(numbers, default=0) or 1
    parts = [
        f'<svg class="chart" role="img" aria-label="{escape(title)}" viewBox="0 0 {WIDTH} {BAR * (len(bars) + 1)}">'
        f'<text x="{LABELS}" y="16" font-weight="bold">{escape(title)}</text>'
    ]
    for place, ((label, value), number) in enumerate(zip(bars, numbers, strict=True), 1):
        top, long = place * BAR, number / most * (WIDTH - LABELS - 90)
        kind = "ours" if label.startswith("ours") else "other"
        parts.append(
            f'<text x="{LABELS - 8}" y="{top + 16}" text-anchor="end">{escape(label)}</text>'
            f'<rect class="{kind}" x="{LABELS}" y="{top + 4}" width="{long:.0f}" height="{BAR - 8}"/>'
            f'<text x="{LABELS + long + 6:.0f}" y="{top + 16}">{escape(value)}</text>'
        )
    return "".join([*parts, "</svg>"])
