"""What people see of the package on an index and in Airflow: addresses, links, and versions that agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
URLS = PYPROJECT["project"]["urls"]
REPOSITORY = f"{URLS['Source']}/blob/main/"
#: Where a picture itself is.
RAW = f"{URLS['Source'].replace('github.com', 'raw.githubusercontent.com')}/main/"


def test_airflow_and_the_index_find_the_addresses() -> None:
    assert set(URLS) == {"Documentation", "Source", "Changelog", "Issues"}
    assert all(address.startswith("https://") for address in URLS.values())
    assert URLS["Changelog"] == f"{REPOSITORY}CHANGELOG.md"
    site = re.search(r"^site_url: (.+)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert site is not None
    assert site[1] == URLS["Documentation"]
    assert URLS["Issues"] == f"{URLS['Source']}/issues"


def test_links_of_the_readme_are_absolute_on_the_shelf() -> None:
    shown = (ROOT / "README.md").read_text()
    for one in PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        shown = re.sub(one["pattern"], one["replacement"], shown)
    links = re.findall(r"\]\(([^)]+)\)", shown)
    assert len(links) > 30
    for link in links:
        assert link.startswith("https://")
        path, _, _ = link.partition("#")
        for address in (REPOSITORY, RAW):
            if path.startswith(address):
                assert (ROOT / path.removeprefix(address)).exists(), path
    assert RAW in shown


@pytest.mark.parametrize("page", ["README.md", "docs/compatibility.md"])
def test_the_versions_that_are_tried_are_those_that_are_named(page: str) -> None:
    matrix = re.findall(
        r'^ +Supported\("([\d.]+)", \(([^)]+)\)', Path(ROOT, "noxfile.py").read_text(), re.MULTILINE
    )
    assert len(matrix) >= 5
    text = (ROOT / page).read_text()
    for airflow, pythons in matrix:
        assert airflow in text
        if page.startswith("docs"):
            named = ", ".join(re.findall(r"3\.\d+", pythons))
            assert f"| {airflow} | {named} |" in text
