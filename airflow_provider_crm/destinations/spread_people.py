"""Who the rows of a source are: by id, by e-mail, or some by one and some by the other. Knows SPREAD's customers only.

Where both occur, the ids' e-mails are read beforehand, in bulk, so that one person is one person.
"""

from __future__ import annotations

from collections.abc import Iterator

from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.rows.sources import Row, Source


class People:
    """The people of one source.

    :param rows_by_id: rows that name the customer by id.
    :param rows_by_email: rows that name the customer by e-mail only.
    :param ids: ids by e-mail, of those named by id; empty when nobody is named by e-mail only.
    """

    def __init__(self, rows_by_id: int, rows_by_email: int, ids: dict[str, str]) -> None:
        #: Calls that it would take to look every row's customer up one by one.
        self.calls = rows_by_id + 2 * rows_by_email
        self._ids = ids

    @classmethod
    def of(cls, hook: SpreadHook, source: Source, *, email_column: str, id_column: str) -> People:
        """Read a source once to see how its rows name people."""
        by_id = by_email = 0
        for row in source:
            if isinstance(row, Row):
                if _text(row, id_column):
                    by_id += 1
                else:
                    by_email += 1
        ids: dict[str, str] = {}
        if by_id and by_email:
            named = dict.fromkeys(_ids(source, id_column))
            for customer in hook.iter_customers(ids=named):
                if email := str(customer.get("email") or "").strip().lower():
                    ids[email] = str(customer["id"])
        return cls(by_id, by_email, ids)

    def id_of(self, email: str) -> str | None:
        """Give the id under which other rows of the source name this e-mail's customer."""
        return self._ids.get(email)


def _ids(source: Source, id_column: str) -> Iterator[str]:
    for row in source:
        if isinstance(row, Row) and (text := _text(row, id_column)):
            yield text


def _text(row: Row, column: str) -> str:
    value = row.data.get(column)
    return "" if value is None else str(value).strip()
