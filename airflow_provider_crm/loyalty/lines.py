"""SPREAD's loyalty lines, read so that none is overlooked: of all customers, or of some.

Knows what a line can tell; knows no ledger and no credit.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from decimal import Decimal, InvalidOperation
from typing import Any, Self

from airflow_provider_crm.exceptions import CrmNotFoundError, CrmRequestError, CrmUnreadableAnswerError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.hooks.spread.wire import MAX_PAGE
from airflow_provider_crm.http.lists import OverlappingPages, Seen
from airflow_provider_crm.loyalty.customers import each_alone

Line = Mapping[str, Any]

#: A comma before the decimals; one before three digits may stand between thousands.
_DECIMAL_COMMA = re.compile(r",(?=\d{1,2}$)", re.ASCII)


def line_id(line: Line) -> str:
    """Give a line's id; empty when it has none."""
    value = line.get("cagnotteLineId")
    return "" if value is None else str(value)


def line_amount(line: Line) -> Decimal | None:
    """Read a line's amount; None when it is no number."""
    try:
        amount = Decimal(_DECIMAL_COMMA.sub(".", str(line.get("amount")).strip()))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None


def is_credit_line(line: Line) -> bool:
    """Tell whether a line can come from a credit by API: no campaign's, and no voucher's."""
    return all(line.get(name) in (None, "", "0", 0) for name in ("campaignId", "code"))


def _customer(line: Line) -> str:
    value = line.get("customerId")
    return "" if value is None else str(value)


class Pages:
    """Reads the account's lines page by page, each line once, also while others are added or go away.

    :param hook: through which calls are made.
    """

    def __init__(self, hook: SpreadHook) -> None:
        self._hook = hook

    def read(self, *, start: int = 0, **filters: Any) -> Iterator[list[Line]]:
        """Read a list.

        :param start: how many lines to leave out at the beginning.
        :param filters: as for :meth:`~airflow_provider_crm.hooks.spread.SpreadHook.iter_loyalty_lines`.
        """

        seen = Seen()
        largest = rows = offset = 0

        def fetch(begin: int, size: int) -> _Page:
            nonlocal largest, rows, offset
            page = _Page(_told_apart(self._lines(start + begin, size, filters)))
            rows = len(page.lines)
            largest, offset = max(largest, rows), begin + rows
            return page

        pages: Iterable[_Page] = OverlappingPages(
            fetch, _at_once, size=MAX_PAGE, ahead=1, call="GET /cagnottes"
        )
        for page in pages:
            seen.add(page.keys)
            yield page.lines
        # A page that is shorter than others is the end. One as long as they are, and known altogether, may be the work
        # of lines that were added in front: what they pushed on comes behind it.
        previous: list[str] = []
        while 0 < rows == largest:
            page = fetch(offset, MAX_PAGE)
            if page.keys and page.keys == previous:
                raise CrmUnreadableAnswerError("GET /cagnottes ignores the offset", call="GET /cagnottes")
            previous = page.keys
            known = seen.add(page.keys)
            if len(known) < rows:
                yield page.without(known).lines

    def _lines(self, place: int, size: int, filters: Mapping[str, Any]) -> list[Line]:
        try:
            return list(self._hook.loyalty_page(place, size, **filters))
        except CrmNotFoundError:
            # Some servers say so of a list without lines, and behind the end: the line before is the last one then.
            if (
                self._of_something(**filters)
                if place == 0
                else len(self._hook.loyalty_page(place - 1, size, **filters)) <= 1
            ):
                return []
            raise

    def _of_something(self, *, customer_id: str | None = None, **_: Any) -> bool:
        """Tell whether there is the customer whose lines are read, or, for all lines, the API itself."""
        if customer_id is not None:
            return self._hook.get_customer(customer_id) is not None
        return next(self._hook.customer_pages(page_size=1), None) is not None


class CustomerLines:
    """Reads the lines of some customers: side by side, or all lines at once where that takes fewer calls.

    :param hook: through which calls are made.
    :param pages_of_all: tells how many calls it takes to read all lines; None when that is unknown, or too many.
    """

    def __init__(self, hook: SpreadHook, pages_of_all: Callable[[], int | None]) -> None:
        self._hook = hook
        self._pages = Pages(hook)
        self._pages_of_all = pages_of_all
        self._heeds_filter: bool | None = None
        self._lock = threading.Lock()

    def of(self, customers: Collection[str]) -> tuple[dict[str, list[Line]], dict[str, CrmRequestError]]:
        """Read all lines of customers, and those that do not say whose they are.

        :param customers: their ids.
        :return: the lines by customer, and the errors of those whose lines SPREAD does not give.
        """
        todo = list(dict.fromkeys(customers))
        lines: dict[str, list[Line]] = {customer: [] for customer in todo}
        errors: dict[str, CrmRequestError] = {}
        pages = self._pages_of_all()
        if pages is None or 2 * len(todo) <= pages:
            todo = self._one_by_one(todo, lines, errors)
        if todo:
            wanted = set(todo)
            for page in self._pages.read():
                for line in page:
                    customer = _customer(line)
                    for one in wanted & {customer} if customer else wanted:
                        lines[one].append(line)
        return {one: some for one, some in lines.items() if one not in errors}, errors

    def _one_by_one(
        self, todo: list[str], lines: dict[str, list[Line]], errors: dict[str, CrmRequestError]
    ) -> list[str]:
        """Read customer by customer.

        :return: those that are left, since the server ignores the filter.
        """

        def read(some: list[str]) -> None:
            for customer, found in zip(some, each_alone(self._hook, self._of_one, some), strict=True):
                if isinstance(found, CrmRequestError):
                    errors[customer] = found
                else:
                    lines[customer] = found

        with self._lock:  # one alone, to see whether the server heeds the filter at all
            if self._heeds_filter is None and todo:
                read(todo[:1])
                todo = todo[1:] if self._heeds_filter is not False else todo
        if self._heeds_filter is not False:
            read(todo)
        if self._heeds_filter is not False:
            return []
        for customer in todo:
            lines[customer] = []
        return todo

    def _of_one(self, customer: str) -> list[Line]:
        found: list[Line] = []
        for page in self._pages.read(customer_id=customer):
            mine = [line for line in page if _customer(line) in (customer, "")]
            if len(mine) < len(page):
                self._heeds_filter = False
                return []
            found += mine
        if found and self._heeds_filter is None:
            self._heeds_filter = True
        return found


def _told_apart(lines: Sequence[Line]) -> Sequence[Line]:
    """Refuse lines without an id: whether one of them was there before cannot be told.

    :raises CrmUnreadableAnswerError: there is such a line.
    """
    if all(map(line_id, lines)):
        return lines
    raise CrmUnreadableAnswerError(
        "GET /cagnottes gives lines without `cagnotteLineId`: what became of a credit cannot be told",
        call="GET /cagnottes",
    )


class _Page:
    """One page, as :class:`~airflow_provider_crm.http.lists.OverlappingPages` wants it."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = list(lines)

    @property
    def keys(self) -> list[str]:
        return [line_id(line) for line in self.lines]

    def without(self, positions: Collection[int]) -> Self:
        return type(self)([line for place, line in enumerate(self.lines) if place not in positions])


def _at_once(function: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """Make a call in this thread: one of the pool's must not wait for another one of the pool."""
    future: Future[Any] = Future()
    try:
        future.set_result(function(*arguments))
    except Exception as error:
        future.set_exception(error)
    return future
