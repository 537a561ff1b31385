"""Links between pages, and to files of the repository, lead somewhere, and lists hold together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, page_name

LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_each_relative_link_is_to_a_file(page: Path) -> None:
    text = FENCED.sub("", page.read_text())
    targets = [link.partition("#")[0] for link in LINK.findall(text) if not re.match(r"[a-z]+:|#", link)]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_what_belongs_to_an_item_of_a_list_is_in_it(page: Path) -> None:
    """MkDocs wants four spaces there: with three it ends the list, and the items after it are one paragraph."""
    assert re.findall(r"\n\n {1,3}\S.*", page.read_text()) == []
