"""What MkDocs does to the pages besides: parameters, charts, links to the repository's files, and ``llms.txt``."""

from __future__ import annotations

import posixpath
import re
import sys
import tomllib
from html import escape, unescape
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

sys.path.insert(0, str(Path(__file__).parent))

from charts import CHART, draw
from docstrings import to_markdown
from parameters import Parameter, find, parameters

ROOT = Path(__file__).parents[2]
_URLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
REPOSITORY = f"{_URLS['Source']}/blob/main/"
#: Where a guide wants the parameters of a class.
TABLE = re.compile(r"<!-- parameters: ([\w.]+) -->")
#: Where a page wants the keys of a typed dict.
KEYS = re.compile(r"<!-- keys: ([\w.]+) -->")
#: Where a page wants the faults of the sandbox.
FAULTS = "<!-- faults -->"
LINK = re.compile(r"(?<=\]\()(?!https?://|mailto:|#)([^)#\s]+)")
#: The pages that are files of the repository, which the links in them start from.
ELSEWHERE = {"changelog.md": "CHANGELOG.md", "index.md": "README.md"}

_told: list[tuple[str, str, str]] = []


def on_page_markdown(markdown: str, page: Any, config: Any, **kwargs: Any) -> str:
    """Take in the repository's own files, and fill in the tables."""
    path = page.file.src_uri
    if path in ELSEWHERE:
        markdown = (ROOT / ELSEWHERE[path]).read_text()
    written_at = posixpath.dirname(ELSEWHERE.get(path, f"docs/{path}"))
    shown_at = posixpath.dirname(f"docs/{path}")

    def link(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(written_at, found[1]))
        if target.startswith("docs/"):
            return posixpath.relpath(target, shown_at)
        return REPOSITORY + target

    markdown = LINK.sub(link, markdown)
    markdown = CHART.sub(draw, markdown.replace(FAULTS, faults()))
    markdown = KEYS.sub(lambda found: keys(found[1]), markdown)
    return TABLE.sub(lambda found: table(found[1]), markdown)


def table(path: str) -> str:
    """Return the parameters of a class as tables: first its own, then those that it shares with others."""
    given = parameters(find(path))
    given = [one._replace(meaning=_meaning(one, given)) for one in given]
    own = [one for one in given if one.own]
    shared = [one for one in given if not one.own]
    parts = [_rows(own), "Shared with other tasks:", _rows(shared)] if own and shared else [_rows(given)]
    return "\n\n".join(parts)


def keys(path: str) -> str:
    """Return the keys of a typed dict as a table."""
    lines = ["| key | takes |", "|---|---|"]
    for name, kind in get_type_hints(find(path)).items():
        takes = ", ".join(f"`{one.__name__}`" for one in get_args(kind) if one is not NoneType)
        lines.append(f"| `{name}`{{ .name }} | {takes} |")
    return "\n".join(lines)


def faults() -> str:
    """Return the faults of the sandbox as a table, from the docstring that tells of them."""
    from airflow_provider_crm.sandbox import faults as told

    _, head, body, _ = re.split(r"^=[= ]+=$\n", told.__doc__ or "", flags=re.MULTILINE)
    starts = [head.index(name) for name in ("kind", "what", "settings")]
    cells: list[list[str]] = []
    for line in body.splitlines():
        parts = [line[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=True)]
        if parts[0]:
            cells.append(parts)
        else:  # the line before goes on
            cells[-1] = [f"{one} {more}".strip() for one, more in zip(cells[-1], parts, strict=True)]
    lines = ["| kind | what happens | settings |", "|---|---|---|"]
    lines += [f"| {' | '.join(map(to_markdown, row))} |" for row in cells]
    return "\n".join(lines)


def _meaning(one: Parameter, given: list[Parameter]) -> str:
    text = to_markdown(one.meaning).replace(" (templated)", "").replace("|", "\\|")
    note = "" if one.template or not any(other.template for other in given) else " Not a template."
    return text[:1].upper() + text[1:] + note


def _rows(given: list[Parameter]) -> str:
    lines = ["| parameter | default | meaning |", "|---|---|---|"]
    lines += [f"| `{one.name}`{{ .name }} | {one.default} | {one.meaning} |" for one in given]
    return "\n".join(lines)


def on_page_content(html: str, page: Any, config: Any, **kwargs: Any) -> str:
    """Note the page for ``llms.txt``, its title, address and first paragraph, and name its cells."""
    first = re.search(r"<p>(.*?)</p>", html, re.DOTALL)
    text = _plain(first[1]) if first else ""
    _told.append((page.title, page.canonical_url, text))
    return re.sub(r"<table>.*?</table>", _name_cells, html, flags=re.DOTALL)


def _name_cells(table: re.Match[str]) -> str:
    """Note in each cell its column: on a phone, the cells of a line stand below each other, if they are sentences."""
    heads, cells = (
        [_plain(cell) for cell in re.findall(rf"<{kind}\b[^>]*>(.*?)</{kind}>", table[0], re.DOTALL)]
        for kind in ("th", "td")
    )
    if not 3 <= len(heads) <= 5 or max(map(len, cells), default=0) < 40:
        return table[0]
    head, *lines = table[0].split("<tr")
    for number, line in enumerate(lines):
        columns = iter(heads)
        lines[number] = re.sub(
            r"<td\b", lambda _, columns=columns: f'<td data-column="{escape(next(columns, ""))}"', line
        )
    return "<tr".join([head, *lines])


def _plain(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", "", html)).split())


def on_post_build(config: Any, **kwargs: Any) -> None:
    """Write ``llms.txt``, the list of pages for programs that read."""
    lines = [f"# {config.site_name}", "", f"> {config.site_description}", "", "## Pages", ""]
    lines += [f"- [{title}]({address}): {text}" for title, address, text in _told]
    Path(config.site_dir, "llms.txt").write_text("\n".join(lines) + "\n")
    _told.clear()
