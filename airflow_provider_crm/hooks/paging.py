"""How a list is read page by page without trusting what the CRM says about its end. Knows no vendor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from airflow_provider_crm.exceptions import CrmUnreadableAnswerError

T = TypeVar("T")


def offset_pages(fetch: Callable[[int], Sequence[T]], *, call: str) -> Iterator[Sequence[T]]:
    """Read pages until one is empty.

    A short page is no end, since a server may cap every page; a total or a link to a next page is not trusted.

    :param fetch: the rows from a 0-based offset on.
    :param call: the call's name, for the error.
    :return: the pages, each with at least one row.
    :raises CrmUnreadableAnswerError: the server begins the page before again, so that it would never end.
    """
    start = 0
    previous: Sequence[T] = ()
    while rows := fetch(start):
        # New rows that push the others on, at the front of a list that is being read, bring back the end of the
        # previous page, but hardly its first row.
        if previous and previous[0] in rows:
            raise CrmUnreadableAnswerError(
                f"{call} gives rows from offset {start} that it gave before: it ignores the offset",
                call=call,
            )
        yield rows
        start += len(rows)
        previous = rows
