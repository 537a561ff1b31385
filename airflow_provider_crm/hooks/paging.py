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
    :raises CrmUnreadableAnswerError: the server gives the same page again, so that it would never end.
    """
    start = 0
    previous: Sequence[T] = ()
    while rows := fetch(start):
        if len(rows) == len(previous) and rows[0] == previous[0] and rows[-1] == previous[-1]:
            raise CrmUnreadableAnswerError(
                f"{call} gives the same {len(rows)} rows from offset {start} as before: it ignores the offset",
                call=call,
            )
        yield rows
        start += len(rows)
        previous = rows
