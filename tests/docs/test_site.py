"""The site: it builds without a warning, asks no other host for anything, and leaves nothing of the API out."""

from __future__ import annotations

import pkgutil
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from airflow_provider_crm.get_provider_info import get_provider_info
from airflow_provider_crm.hooks.spread import filters
from tests.helpers.public import tasks

ROOT = Path(__file__).parents[2]

pytest.importorskip("mkdocs", reason="the site is built where the dependency group `docs` is installed")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built in strict mode."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder


class Loaded(HTMLParser):
    """Collects what a browser loads of its own accord when it shows a page, and what makes the theme load more."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video", "audio", "embed"):
            self.addresses += [given.get("src") or "", *(given.get("srcset") or "").split(",")]
        if tag == "link" and given.get("rel") not in ("canonical", "prev", "next", "edit"):
            self.addresses.append(given.get("href") or "")
        # Material asks GitHub about the repository, and unpkg.com for a library, where a page has one of these.
        assert given.get("data-md-component") != "source"
        assert "mermaid" not in (given.get("class") or "").split()


@pytest.mark.slow
def test_no_other_host_is_asked_for_anything(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text())
        assert not [address for address in loaded.addresses if re.match(r"\s*(https?:)?//", address)], page
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)\"']*", sheet.read_text()), sheet
    # What the theme's scripts can load on their own: only where a page has what is looked for above.
    scripts = {
        host
        for script in site.rglob("*.js")
        for host in re.findall(r"[\"'`]https?://([\w.-]+)", script.read_text())
    }
    assert scripts <= {"api.github.com", "gitlab.com", "unpkg.com", "www.w3.org"}


@pytest.mark.slow
def test_programs_find_a_list_of_the_pages(site: Path) -> None:
    listed = re.findall(r"^- \[.+\]\((\S+)\): \S", (site / "llms.txt").read_text(), re.MULTILINE)
    home = listed[0]
    assert all((site / address.removeprefix(home) / "index.html").is_file() for address in listed)
    assert len(listed) == len(list(site.rglob("index.html")))


def _in_the_reference() -> set[str]:
    pages = (ROOT / "docs/reference").glob("*.md")
    return {
        name for page in pages for name in re.findall(r"^::: [\w.]+\.(\w+)$", page.read_text(), re.MULTILINE)
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["CustomerFilters", "AnswerFilters", "CustomerConsentFilters", "LoyaltyFilters"]
)
def test_each_filter_of_a_list_is_in_the_reference(site: Path, name: str) -> None:
    page = (site / "reference/hooks/index.html").read_text()
    _, found, table = page.partition(f'id="airflow_provider_crm.hooks.spread.filters.{name}"')
    assert found
    shown = re.findall(r'<code class="name">(\w+)</code>', table.partition("</table>")[0])
    assert shown == list(get_type_hints(getattr(filters, name)))


@pytest.mark.slow
def test_the_reference_shows_no_markup_of_docstrings(site: Path) -> None:
    pages = list(site.glob("reference/*/index.html"))
    assert len(pages) > 4
    for page in pages:
        assert (
            re.findall(r"\.\. [a-z-]+::|:(?:class|func|meth|param)[ :]|Annotated\[", page.read_text()) == []
        )


@pytest.mark.slow
def test_a_phone_finds_the_column_of_each_cell(site: Path) -> None:
    page = (site / "at-night/index.html").read_text()
    columns = ["line", "what has happened", "what to do"]
    assert re.findall(r'<td data-column="(.*?)"', page) == columns * (
        page.count("<tr>") - page.count("<thead>")
    )
    _, _, figures = (site / "benchmarks/index.html").read_text().partition('id="upserts"')
    assert "<td>" in figures
    assert "data-column" not in figures


@pytest.mark.parametrize("task", tasks("operators", "sensors"), ids=lambda task: task.__name__)
def test_each_task_is_in_the_reference(task: Any) -> None:
    assert task.__name__ in _in_the_reference()


def test_each_hook_and_trigger_is_in_the_reference() -> None:
    info = get_provider_info()
    hooks = {entry["hook-class-name"].rpartition(".")[2] for entry in info["connection-types"]}
    assert hooks <= _in_the_reference()
    assert {
        "SpreadConsentEventTrigger",
        "SpreadCustomerEventTrigger",
        "CrmReportNotifier",
    } <= _in_the_reference()


def test_the_reference_is_about_what_there_is() -> None:
    pages = (ROOT / "docs/reference").glob("*.md")
    named = [name for page in pages for name in re.findall(r"^::: ([\w.]+)$", page.read_text(), re.MULTILINE)]
    assert len(named) > 40
    for path in named:
        assert pkgutil.resolve_name(path) is not None
