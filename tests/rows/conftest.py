"""Short ways to write a source and to read one to its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.rows.sources import Row, UnreadableRow, open_source

Write = Callable[[str, "bytes | str"], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file into the test's folder and give its path."""

    def write(name: str, content: bytes | str) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write


@dataclass
class Rows:
    """All that a source gave."""

    all: list[Row | UnreadableRow]

    @property
    def good(self) -> list[dict[str, Any]]:
        return [row.data for row in self.all if isinstance(row, Row)]

    @property
    def bad(self) -> list[UnreadableRow]:
        return [row for row in self.all if isinstance(row, UnreadableRow)]


Read = Callable[[Any], Rows]


@pytest.fixture(scope="session")
def read() -> Read:
    """Read a source to its end, and check what holds for every source."""

    def read(source: Any) -> Rows:
        opened = open_source(source)
        rows = list(opened)
        assert [row.number for row in rows] == list(range(1, len(rows) + 1))
        assert list(opened) == rows, "a second iteration starts anew"
        return Rows(rows)

    return read


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give one folder to all examples of a property."""
    return tmp_path_factory.mktemp("scratch")
