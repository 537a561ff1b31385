"""SPREAD's lists as dicts, one page after the other, for the hook's methods. For exports: :mod:`.pages`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from airflow_provider_crm.hooks.spread.lists import SpreadList
from airflow_provider_crm.hooks.spread.wire import checked_page_size
from airflow_provider_crm.hooks.spread.writes import Request
from airflow_provider_crm.http.lists import PagedList, RowPage
from airflow_provider_crm.http.lookups import Lookups
from airflow_provider_crm.schemas.spread.read import Record


def pages_of(
    request: Request, what: SpreadList, page_size: int, exists: Callable[[], bool] | None = None
) -> Iterator[Sequence[Record]]:
    """Read a list.

    :param request: makes a call.
    :param exists: tells whether what the list belongs to is there.
    """
    page_size = checked_page_size(page_size)

    def fetch(start: int, size: int) -> RowPage[Record]:
        return request(what.call(start, size), what.page)

    return (page.rows for page in PagedList(fetch, size=page_size, call=what.name, exists=exists))


def pages_by_id(
    request: Request, lookups: Lookups, customers: SpreadList, ids: Sequence[str], page_size: int
) -> Iterator[Sequence[Record]]:
    """Read the customers with these ids, in as many calls as they need."""
    page_size = checked_page_size(page_size)

    def fetch(some: Sequence[str]) -> RowPage[Record]:
        return request(customers.call_for(some, page_size), customers.page)

    groups = lookups.cut(ids, customers.call_for((), page_size))
    found = (lookups.read_pages(group, fetch, call=customers.name, by="ids") for group in groups)
    return (page.rows for page in chain.from_iterable(found))
