"""SPREAD's lists by whole pages, read ahead: for exports, which need no dict for a row.

Knows the vendor's paths and envelopes; what becomes of a page's rows is the caller's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Protocol, Self, TypeVar

import msgspec

from airflow_provider_crm.exceptions import CrmInputError, CrmNotFoundError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.hooks.spread.wire import MAX_PAGE, listed_ids, page_sizes, refusal_in
from airflow_provider_crm.http.answers import UnreadableError, read_json
from airflow_provider_crm.http.lists import OverlappingPages, Page, Seen, in_order
from airflow_provider_crm.schemas.records import PageReader, Records
from airflow_provider_crm.schemas.spread.read import (
    ANSWER_FILTERS,
    CUSTOMER_CONSENT_FILTERS,
    CUSTOMER_FILTERS,
    LOYALTY_FILTERS,
    Row,
    is_nothing,
    query_of,
)


class JoinablePage(Page, Protocol):
    """A page that is made slice by slice."""

    def followed_by(self, others: Sequence[Self]) -> Self:
        """Give one page with the rows of all."""


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
        self._page_size = page_size
        # A page is held twice while it is made, and Python makes one at a time anyway: taking turns lets the others
        # wait as the bytes they came in.
        self._turn = threading.Lock()

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
        query = query_of(filters, CUSTOMER_FILTERS)
        sizes = page_sizes(self._page_size)

        def pages(more: Sequence[tuple[str, str]], ahead: int) -> Iterator[P]:
            return self._list(
                "/customers", [*query, *more], "maxResults", _List(reader, "customers"), prepare, ahead
            )

        if ids is None:
            return pages((), self._ahead)
        return self._customers_by_id(listed_ids(ids), query, sizes, _List(reader, "customers"), prepare)

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
        which = query_of(
            {"consent_id": consent_id, "consent_tech_name": consent_tech_name},
            {"consent_id": "consentId", "consent_tech_name": "consentTechName"},
        )
        if len(which) != 1:
            raise CrmInputError("Exactly one of `consent_id` and `consent_tech_name` is required")
        query = [*which, *query_of(filters, ANSWER_FILTERS)]
        return self._list(
            "/customers-consents", query, "maxResult", _Answers(reader, consent_id), prepare, self._ahead
        )

    def loyalty_lines(self, reader: PageReader, prepare: Prepare[P], **filters: Any) -> Iterator[P]:
        """Read the movements of the loyalty pots.

        :param filters: as for :meth:`~airflow_provider_crm.hooks.spread.SpreadHook.iter_loyalty_lines`.
        """
        query = query_of(filters, LOYALTY_FILTERS)
        return self._list("/cagnottes", query, "maxResult", _List(reader, "cagnottes"), prepare, self._ahead)

    def histories(
        self, customer_ids: Iterable[str], prepare: Callable[[str, list[Row]], P], **filters: Any
    ) -> Generator[P, None, None]:
        """Read the answers of customers, one customer's after the other's, each answer once.

        :param prepare: gets the customer's id and answers.
        :param filters: as for :meth:`~airflow_provider_crm.hooks.spread.SpreadHook.iter_customer_consents`.
        """
        query_of(filters, CUSTOMER_CONSENT_FILTERS)

        def history(customer_id: str) -> P:
            answers = self._hook.iter_customer_consents(customer_id, page_size=self._page_size, **filters)
            return prepare(customer_id, list(answers))

        seen = Seen()
        for page in in_order(self._hook.in_background, history, customer_ids, ahead=self._ahead):
            known = seen.add(page.keys)
            yield page.without(known) if known else page

    def _list(
        self,
        path: str,
        query: Sequence[tuple[str, str]],
        size_name: str,
        answer: _List,
        prepare: Prepare[P],
        ahead: int,
    ) -> Iterator[P]:
        page_sizes(self._page_size)
        read = self._reading(answer, prepare)

        def fetch(start: int, size: int) -> P:
            call = self._hook._page(path, query, start, page_sizes(size, documented=size_name))
            try:
                return self._hook.request(call, read).result()
            except CrmNotFoundError:
                # Some servers say so behind the end of a list; whether it is the end, the pages before tell.
                if start == 0:
                    raise
                return prepare(Records([], []))

        return iter(
            OverlappingPages(
                fetch, self._hook.in_background, size=self._page_size, ahead=ahead, call=f"GET {path}"
            )
        )

    def _customers_by_id(
        self,
        ids: list[str],
        query: Sequence[tuple[str, str]],
        sizes: Sequence[tuple[str, str]],
        answer: _List,
        prepare: Prepare[P],
    ) -> Generator[P, None, None]:
        """Look customers up: a group of ids is one page, however many calls it takes."""
        lookups = self._hook._lookups
        read = self._reading(answer, prepare)

        def fetch(group: Sequence[str]) -> list[P]:
            pages = self._hook._pages_by_id(group, query, sizes, read, lambda page: page.result().keys)
            return [page.result() for page in pages]

        def look_up(group: list[str]) -> list[P]:
            return lookups.read(group, fetch)

        for pages in in_order(self._hook.in_background, look_up, lookups.cut(ids), ahead=self._ahead):
            yield from pages

    def _reading(self, answer: _List, prepare: Prepare[P]) -> Callable[[bytes], Future[P]]:
        """Make what reads answers and prepares their records, slice by slice.

        What reading raises is the answer's fault, and the call is sent again for it. What preparing raises is not: it
        comes with the result.
        """

        def read(body: bytes) -> Future[P]:
            with self._turn:
                return prepared(body)

        def prepared(body: bytes) -> Future[P]:
            page: Future[P] = Future()
            slices: list[P] = []
            for records in answer.read(body):
                try:
                    slices.append(prepare(records))
                except Exception as error:
                    page.set_exception(error)
                    return page
                del records  # before the next ones come, which take their place in the processor's cache
            page.set_result(slices[0].followed_by(slices[1:]) if len(slices) > 1 else slices[0])
            return page

        return read


class _List:
    """An answer whose rows stand under a key of its root.

    :param reader: reads the rows.
    """

    def __init__(self, reader: PageReader, key: str) -> None:
        self._reader = reader
        self._key = key

    def read(self, body: bytes) -> Iterator[Records]:
        """Read an answer, slice by slice."""
        slices = self._reader.read(body)
        if slices is not None:
            return slices
        rows, about = self._rows(_raw_under(body, self._key))
        return iter((self._reader.read_rows(rows, about),))

    def _rows(self, data: msgspec.Raw) -> tuple[list[msgspec.Raw], Mapping[str, Any]]:
        return _raw_rows(data), {}


class _Answers(_List):
    """The answers to one consent, which stand in the consent.

    :param asked: the consent's id, where it was asked for by it.
    """

    def __init__(self, reader: PageReader, asked: str | None) -> None:
        super().__init__(reader, "consent")
        self._asked = asked

    def _rows(self, data: msgspec.Raw) -> tuple[list[msgspec.Raw], Mapping[str, Any]]:
        if is_nothing(msgspec.json.decode(data)):
            return [], {}
        consent = read_json(bytes(data), dict[str, msgspec.Raw])
        if "customers" not in consent:
            raise UnreadableError("JSON that lacks `customers`")
        found = {
            name: msgspec.json.decode(consent[name]) for name in ("id", "consentTechName") if name in consent
        }
        consent_id = found.get("id")
        consent_id = self._asked if consent_id is None else str(consent_id)
        rows = _raw_rows(consent["customers"])
        if rows and self._asked is not None and consent_id != self._asked:
            raise UnreadableError("the answers to another consent")
        return rows, {"consent_id": consent_id, "consent_tech_name": found.get("consentTechName")}


def _raw_under(body: bytes, key: str) -> msgspec.Raw:
    answer = read_json(body, dict[str, msgspec.Raw])
    if key in answer:
        return answer[key]
    raise refusal_in(body) or UnreadableError(f"JSON that lacks `{key}`")


def _raw_rows(data: msgspec.Raw) -> list[msgspec.Raw]:
    """Split a list of rows, which PHP prints as a map where it has gaps."""
    if is_nothing(msgspec.json.decode(data)):
        return []
    rows = read_json(bytes(data), list[msgspec.Raw] | dict[str, msgspec.Raw])  # type: ignore[arg-type]
    return list(rows.values()) if isinstance(rows, dict) else rows
