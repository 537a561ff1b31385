"""SPREAD's lists by whole pages, read ahead: for exports, which need no dict for a row.

Knows which lists there are; what becomes of a page's rows is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from airflow_provider_crm.hooks.spread import lists
from airflow_provider_crm.hooks.spread.hook import SpreadHook
from airflow_provider_crm.hooks.spread.lists import ListAnswer, SpreadList
from airflow_provider_crm.hooks.spread.wire import MAX_PAGE, checked_page_size, listed_ids
from airflow_provider_crm.http.known_ids import KnownIds
from airflow_provider_crm.http.lists import PagedList, in_order
from airflow_provider_crm.http.prepared import JoinablePage, PreparedPages
from airflow_provider_crm.schemas.records import PageReader, Records
from airflow_provider_crm.schemas.spread.read import CUSTOMER_CONSENT_FILTERS, Record, query_of

P = TypeVar("P", bound=JoinablePage)
Prepare = Callable[[Records], P]
"""Turns a slice of a page's records into what waits for its turn; called in the thread that fetched the page."""


class SpreadPages:
    """Reads lists page by page, several pages ahead, each row once, in order.

    :param hook: through which calls are made.
    :param ahead: pages that are under way, or wait for their turn, at most.
    :param page_size: rows a page, at most 5000.
    """

    def __init__(self, hook: SpreadHook, *, ahead: int, page_size: int = MAX_PAGE) -> None:
        self._hook = hook
        self._ahead = ahead
        self._page_size = checked_page_size(page_size)

    def customers(
        self,
        reader: PageReader,
        prepare: Prepare[P],
        *,
        ids: str | Iterable[str | int] | None = None,
        **filters: Any,
    ) -> Iterator[P]:
        """Read customers.

        :param ids: any number of SPREAD ids.
        :param filters: as for :meth:`~airflow_provider_crm.hooks.spread.SpreadHook.iter_customers`.
        """
        customers = lists.customers(filters)
        if ids is None:
            return self._read(customers, reader, prepare)
        return self._look_up(customers, listed_ids(ids), reader, prepare)

    def consents(
        self,
        reader: PageReader,
        prepare: Prepare[P],
        *,
        consent_id: str | None = None,
        consent_tech_name: str | None = None,
        **filters: Any,
    ) -> Iterator[P]:
        """Read everyone's answers to one consent.

        :param filters: as for :meth:`~airflow_provider_crm.hooks.spread.SpreadHook.iter_consents`.
        """
        answers = lists.consent_answers(filters, consent_id=consent_id, consent_tech_name=consent_tech_name)
        return self._read(answers, reader, prepare)

    def loyalty_lines(self, reader: PageReader, prepare: Prepare[P], **filters: Any) -> Iterator[P]:
        """Read the movements of the loyalty pots.

        :param filters: as for :meth:`~airflow_provider_crm.hooks.spread.SpreadHook.iter_loyalty_lines`.
        """
        return self._read(lists.loyalty_lines(filters), reader, prepare)

    def histories(
        self, customer_ids: Iterable[str], prepare: Callable[[str, list[Record]], P], **filters: Any
    ) -> Generator[P, None, None]:
        """Read the answers of customers, one customer's after the other's, each answer once.

        :param prepare: gets the customer's id and answers.
        :param filters: as for :meth:`~airflow_provider_crm.hooks.spread.SpreadHook.iter_customer_consents`.
        """
        query_of(filters, CUSTOMER_CONSENT_FILTERS)

        def history(customer_id: str) -> P:
            answers = self._hook.iter_customer_consents(customer_id, page_size=self._page_size, **filters)
            return prepare(customer_id, list(answers))

        met = KnownIds()
        for page in in_order(self._hook.in_background, history, customer_ids, ahead=self._ahead):
            known = met.add(page.keys)
            yield page.without(known) if known else page

    def _read(self, what: SpreadList, reader: PageReader, prepare: Prepare[P]) -> Iterator[P]:
        pages = PreparedPages(partial(_slices, reader, what.answer), prepare)
        return iter(
            PagedList(
                lambda start, size: pages.fetch(partial(self._hook.request, what.call(start, size))),
                size=self._page_size,
                call=what.name,
                submit=self._hook.in_background,
                ahead=self._ahead,
            )
        )

    def _look_up(
        self, customers: SpreadList, ids: list[str], reader: PageReader, prepare: Prepare[P]
    ) -> Generator[P, None, None]:
        """Look customers up: a group of ids waits for its turn as one, however many calls it takes."""
        pages = PreparedPages(partial(_slices, reader, customers.answer), prepare)

        def fetch(some: Sequence[str]) -> P:
            return pages.fetch(partial(self._hook.request, customers.call_for(some, self._page_size)))

        def look_up(group: list[str]) -> list[P]:
            return self._hook.lookups.read_pages(group, fetch, call=customers.name, by="ids")

        groups = self._hook.lookups.cut(ids, customers.call_for((), self._page_size))
        for found in in_order(self._hook.in_background, look_up, groups, ahead=self._ahead):
            yield from found


def _slices(reader: PageReader, answer: ListAnswer, body: bytes) -> Iterator[Records]:
    """Read an answer slice by slice, or, where it has another shape than documented, row by row."""
    slices = reader.read(body)
    if slices is not None:
        return slices
    rows, said = answer.raw_rows(body)
    columns = {"consentId": "consent_id", "consentTechName": "consent_tech_name"}
    return iter((reader.read_rows(rows, {columns[name]: value for name, value in said.items()}),))
