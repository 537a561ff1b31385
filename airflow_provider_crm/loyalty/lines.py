"""SPREAD's loyalty lines, read so that none is overlooked: of all customers, or of some.

Knows what a line can tell; knows no ledger and no credit.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from airflow_provider_crm.exceptions import CrmRequestError, CrmUnreadableAnswerError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.hooks.spread.wire import MAX_PAGE
from airflow_provider_crm.http.lists import PagedList, RowPage
from airflow_provider_crm.loyalty.customers import each_alone

Line = Mapping[str, Any]

#: A comma before the decimals; one before three digits may stand between thousands.
_DECIMAL_COMMA = re.compile(r",(?=\d{1,2}$)", re.ASCII)


def line_id(line: Line) -> str:
    """Return a line's id; empty when it has none."""
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
    """Return whether a line can come from a credit by API: no campaign's, and no voucher's."""
    return all(line.get(name) in (None, "", "0", 0) for name in ("campaignId", "code"))


def _customer(line: Line) -> str:
    value = line.get("customerId")
    return "" if value is None else str(value)


def line_pages(
    hook: SpreadHook, *, start: int = 0, size: int = MAX_PAGE, **filters: Any
) -> Iterator[Sequence[Line]]:
    """Read the account's lines page by page, each line once, also while others are added or go away.

    :param hook: through which calls are made.
    :param start: how many lines to leave out at the beginning.
    :param size: lines a page.
    :param filters: as for :meth:`~airflow_provider_crm.hooks.spread.SpreadHook.iter_loyalty_lines`.
    """

    def fetch(begin: int, some: int) -> RowPage[Line]:
        lines = hook.loyalty_page(start + begin, some, **filters)
        return RowPage(lines, list(map(_id_of, lines)))

    def exists() -> bool:
        return start > 0 or _is_there(hook, **filters)

    return (page.rows for page in PagedList(fetch, size=size, call="GET /cagnottes", exists=exists))


def _is_there(hook: SpreadHook, *, customer_id: str | None = None, **_: Any) -> bool:
    """Return True if there is the customer whose lines are read, or, for all lines, the API itself."""
    if customer_id is not None:
        return hook.get_customer(customer_id) is not None
    return next(hook.customer_pages(page_size=1), None) is not None


def _id_of(line: Line) -> str:
    """Return a line's id, without which it cannot be told whether the line was there before.

    :raises CrmUnreadableAnswerError: it has none.
    """
    if found := line_id(line):
        return found
    raise CrmUnreadableAnswerError(
        "GET /cagnottes gives lines without `cagnotteLineId`: what became of a credit cannot be told",
        call="GET /cagnottes",
    )


class CustomerLines:
    """Reads the lines of some customers: side by side, or all lines at once where that takes fewer calls.

    :param hook: through which calls are made.
    :param pages_of_all: tells how many calls it takes to read all lines; None when that is unknown, or too many.
    """

    def __init__(self, hook: SpreadHook, pages_of_all: Callable[[], int | None]) -> None:
        self._hook = hook
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
            for page in line_pages(self._hook):
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
        for page in line_pages(self._hook, customer_id=customer):
            mine = [line for line in page if _customer(line) in (customer, "")]
            if len(mine) < len(page):
                self._heeds_filter = False
                return []
            found += mine
        if found and self._heeds_filter is None:
            self._heeds_filter = True
        return found
