"""How a source stands in a task's parameter: paths and queries are templates, rows are not.

Airflow renders every text in a list given to a templated field, keeps what came out for its web interface, and sets
what it has rendered on the very object that the DAG file holds.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from typing import Any


class Rows:
    """Rows as a task was given them. Nothing that Airflow renders, and shown by their number."""

    def __init__(self, items: Collection[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)

    def __repr__(self) -> str:
        return f"{len(self.items):,} {'row' if len(self.items) == 1 else 'rows'}"

    def __eq__(self, other: object) -> bool:
        return self.items == (other.items if isinstance(other, Rows) else other)

    __hash__ = None  # type: ignore[assignment]


class SourceField:
    """A parameter of an operator that holds a source, as a class attribute beside the name in ``template_fields``.

    What it is set to, when the task is made or rendered, becomes :class:`Rows` where it is a list; a query, or
    what else has templates of its own, is handed out as a copy, so that each run renders those of the DAG file.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, task: Any, owner: type | None = None) -> Any:
        if task is None:
            return self
        try:
            source = task.__dict__[self._name]
        except KeyError:
            raise AttributeError(self._name) from None
        return copy.copy(source) if hasattr(source, "template_fields") else source

    def __set__(self, task: Any, source: Any) -> None:
        given = isinstance(source, (list, tuple, dict, set, frozenset))
        task.__dict__[self._name] = Rows(source) if given else source
