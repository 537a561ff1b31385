"""Texts of rows of which one object is enough. Knows no source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

#: Texts that are kept.
MOST_SHARED = 1000
#: Which columns repeat themselves is seen at the first of so many calls.
LOOK_EVERY = 20

_TEXTS = frozenset((str, type(None)))


class SharedCells:
    """Keeps texts once that come again, as cities and first names do: half of what rows take in memory."""

    def __init__(self) -> None:
        #: Each under itself, so that a look for an equal one gives the one that is kept.
        self.kept: dict[Any, Any] = {}
        self._repeating: frozenset[int] = frozenset()
        self._calls = 0

    def columns(self, columns: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
        """Return the cells of rows by column; in one whose cells are mostly different, to look takes long in vain."""
        if len(self.kept) > MOST_SHARED:
            self.kept.clear()
        columns = list(columns)
        if self._calls % LOOK_EVERY == 0:
            self._repeating = frozenset(at for at, cells in enumerate(columns) if _repeats(cells))
        self._calls += 1
        keep = self.kept.setdefault
        for at in self._repeating:
            if _are_texts(columns[at]):
                columns[at] = list(map(keep, columns[at], columns[at]))
        return columns


def _repeats(cells: Sequence[Any]) -> bool:
    return _are_texts(cells) and 2 * len({*cells}) <= len(cells)


def _are_texts(cells: Sequence[Any]) -> bool:
    """Return False where one may be another type's: 1 and 1.0 are one key."""
    return _TEXTS.issuperset(map(type, cells))
