"""Why rows ended as they did: counted, without what is a person's, and few of them. Knows no CRM."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from airflow_provider_crm.exceptions import redact

#: Different reasons that are told.
MOST_REASONS = 50
#: The words for all others; there are two ends at most for which there are many.
OTHERS = "other reasons"
#: Characters of a reason.
LONGEST = 120
#: Reasons that are remembered as being nobody's.
REMEMBERED = 1000
#: Shorter values of a row name nobody, and are found in any sentence.
SHORTEST_VALUE = 3

_ANOTHER_ROW = re.compile(r"\brow \d+\b")


class Reasons:
    """Counts reasons, each with the end it led to."""

    def __init__(self) -> None:
        self._rows: Counter[tuple[str, str | None, str]] = Counter()
        self._of_nobody: set[str] = set()

    def clear(self) -> None:
        """Forget all."""
        self._rows.clear()

    def add(self, end: str, stage: str | None, reason: str, key: Any, data: Any) -> None:
        """Count a row.

        :param reason: in clear.
        :param key: what the row is about, and
        :param data: the row: what the reason says of them is not told.
        """
        if self.add_again(end, stage, reason, 1):
            return
        told = _ANOTHER_ROW.sub("another row", reason)
        if told not in self._of_nobody:
            masked = masked_reason(told, key, data)
            if masked == told and len(self._of_nobody) < REMEMBERED:
                self._of_nobody.add(told)
            told = masked
        counted = (end, stage, told)
        if counted not in self._rows and len(self._rows) >= MOST_REASONS - 2:
            counted = (end, None, OTHERS)
        self._rows[counted] += 1

    def add_again(self, end: str, stage: str | None, reason: str, rows: int) -> bool:
        """Count rows by a reason that says nothing of them.

        :return: False where that is not known of it.
        """
        counted = (end, stage, reason)
        known = counted in self._rows and reason in self._of_nobody
        if known:
            self._rows[counted] += rows
        return known

    def take_up(self, told: Iterable[Mapping[str, Any]]) -> None:
        """Go on after what an earlier try has :meth:`told`."""
        self._rows = Counter({(one["end"], one["stage"], one["reason"]): one["rows"] for one in told})

    def told(self) -> list[dict[str, Any]]:
        """Return the reasons as ``{"end", "stage", "reason", "rows"}``, the most frequent first."""
        return [
            {"end": end, "stage": stage, "reason": reason, "rows": rows}
            for (end, stage, reason), rows in self._rows.most_common()
        ]


def masked_reason(reason: str, key: Any, data: Any) -> str:
    """Return a reason without what it says of a row: the same for all rows with the same fault.

    :param key: what the row is about.
    :param data: the row.
    """
    text = redact(reason)
    lower = text.lower()
    found = {value for part in (key, data) for value in _texts(part) if value.lower() in lower}
    # The longest first, since one may be part of another.
    for value in sorted(found, key=lambda value: (-len(value), value)):
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "<value>", text, flags=re.IGNORECASE)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _texts(value: Any) -> Iterator[str]:
    """Return the values in a cell or a row as texts, but for those that are too short to name anybody."""
    if isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
    elif value is not None and len(text := " ".join(str(value).split())) >= SHORTEST_VALUE:
        yield text
