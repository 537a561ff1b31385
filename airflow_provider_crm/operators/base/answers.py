"""The rows of a task that passes answers on: those of a window, refusals before acceptances. Knows no CRM's calls."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from airflow_provider_crm.operators.base.windows import Window
from airflow_provider_crm.rows.sources import Row

COLUMNS = ("customer_id", "consent_id", "status", "created_at")

#: Reads the answers to a consent with a status, of a window.
ReadAnswers = Callable[[str, str], Iterator[Mapping[str, Any]]]


class ConsentAnswers:
    """ConsentAnswers as a source: each reading asks for them anew, page by page.

    :param read: asks for them.
    :param consents: to which consents.
    :param statuses: which of them, in this order.
    :param window: those of its local times are rows.
    :param local_time: gives an answer's local time.
    """

    may_change = True

    def __init__(
        self,
        read: ReadAnswers,
        *,
        consents: Sequence[str],
        statuses: Sequence[str],
        window: Window,
        local_time: Callable[[Mapping[str, Any]], dt.datetime | None],
    ) -> None:
        self._read = read
        self._consents = consents
        self._statuses = statuses
        self._window = window
        self._local_time = local_time
        #: The newest local time that was read.
        self.newest: dt.datetime | None = None

    @property
    def description(self) -> str:
        what = "a consent" if len(self._consents) == 1 else f"{len(self._consents)} consents"
        bounds = zip(("from", "until"), self._window.described().values(), strict=True)
        return " ".join([f"answers to {what}", *(f"{word} {bound}" for word, bound in bounds if bound)])

    def columns(self) -> list[str] | None:
        return list(COLUMNS)

    def require(self, columns: Collection[str], optional: Collection[str] = ()) -> None:
        """All columns are there."""

    def __iter__(self) -> Iterator[Row]:
        number = 0
        for status in self._statuses:
            for consent in self._consents:
                for answer in self._read(consent, status):
                    at = self._local_time(answer)
                    if not self._window.holds(at):
                        continue
                    if at is not None and (self.newest is None or at > self.newest):
                        self.newest = at
                    number += 1
                    yield Row(
                        number,
                        {
                            "customer_id": answer.get("id"),
                            "consent_id": consent,
                            "status": status,
                            "created_at": str(at or ""),
                        },
                    )

    def fraction_read(self) -> float | None:
        return None
