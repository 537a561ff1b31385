"""Which records the filters of a SPREAD list let through. Knows the filters' names, and no page and no answer.

A list is kept until something changes, so that reading all its pages costs one search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from airflow_provider_crm.sandbox.spread.consents import ConsentEvent
from airflow_provider_crm.sandbox.spread.customers import Customer, Customers
from airflow_provider_crm.sandbox.spread.dates import Clock
from airflow_provider_crm.sandbox.spread.loyalty import Loyalty, LoyaltyLine
from airflow_provider_crm.sandbox.spread.pages import PageError
from airflow_provider_crm.sandbox.spread.switches import SpreadSwitches
from airflow_provider_crm.sandbox.wire import Call

Row = TypeVar("Row")
Test = Callable[[Any], bool]

# The names of the filters differ from those of the fields.
CUSTOMER_TEXTS = {
    "email": "email",
    "lastName": "last_name",
    "firstName": "first_name",
    "zipcode": "zip",
    "city": "city",
    "country": "country",
    "phoneNumber": "phone",
    "mobilePhoneNumber": "mobile",
    "externalId": "external_id",
}
# createBefore is how the vendor writes it.
CREATED = (("createdAfter", True), ("createBefore", False))
MODIFIED = (("modifiedAfter", True), ("modifiedBefore", False))
NOT_FILTERS = ("startAt", "maxResults", "maxResult")


class Search:
    """Applies the filters of a call.

    :param switches: bounds and case.
    :param clock: how dates are read and written.
    """

    def __init__(self, switches: SpreadSwitches, clock: Clock) -> None:
        self._switches = switches
        self._clock = clock
        self._kept: dict[tuple[Any, ...], tuple[Any, list[Any]]] = {}

    def once(self, call: Call, version: Any, search: Callable[[], list[Row]]) -> list[Row]:
        """Return the list of a call, from the last search when nothing changed since.

        :param version: whatever changes with the records.
        """
        filters = tuple((name, value) for name, value in call.parameters.items() if name not in NOT_FILTERS)
        key = (call.resource, *filters)
        state = (version, *vars(self._switches).values())
        kept = self._kept.get(key)
        if kept is None or kept[0] != state:
            if len(self._kept) > 8:
                self._kept.clear()
            kept = self._kept[key] = (state, search())
        return kept[1]

    def customers(self, call: Call, customers: Customers) -> list[Customer]:
        """Return the customers a call asks for, in the order of the list."""
        given = call.parameters
        rows: Iterable[Customer] = customers.values()
        # Look-ups by a key go through an index: they are the most frequent call.
        if email := given.get("email"):
            rows = customers.sharing(email)
        elif ids := given.get("ids"):
            rows = [
                customers[one] for one in dict.fromkeys(ids.replace(" ", "").split(",")) if one in customers
            ]
        elif (external_id := given.get("externalId")) and given.get("caseInsensitive") != "1":
            rows = customers.by_external_id(external_id)
        tests = self._customer_texts(call)
        tests += self._dates(call, CREATED, lambda row: row.created_at, self._clock.with_offset)
        tests += self._dates(call, MODIFIED, lambda row: row.updated_at, self._clock.with_offset)
        if ids := given.get("ids"):
            wanted = set(ids.replace(" ", "").split(","))
            tests.append(lambda row: row.id in wanted)
        return self._ordered(_filter(rows, tests), lambda row: row.updated_at)

    def events(self, call: Call, events: list[ConsentEvent], customers: Customers) -> list[ConsentEvent]:
        """Those of some answers to consents that a call asks for."""
        given = call.parameters
        tests = self._dates(call, CREATED, lambda event: event.created_at, self._clock.without_zone)
        if status := given.get("customerConsentStatus"):
            tests.append(lambda event: event.status == status)
        if source := given.get("customerConsentSource"):
            tests.append(lambda event: event.source == source)
        if self._switches.deleted_rows == "gone":
            tests.append(lambda event: event.customer_id in customers)
        return self._ordered(_filter(events, tests), lambda event: event.created_at)

    def lines(self, call: Call, loyalty: Loyalty, customers: Customers) -> list[LoyaltyLine]:
        """Return the loyalty lines a call asks for, without those that do not show yet."""
        given = call.parameters
        customer_id = given.get("customerId")
        rows = loyalty.of_customer(customer_id) if customer_id else loyalty.lines
        tests: list[Test] = [loyalty.shows]
        for period in (CREATED, MODIFIED):
            tests += self._dates(call, period, lambda line: line.cagnotte_line_date, self._clock.without_zone)
        if pot := given.get("cagnotteId"):
            tests.append(lambda line: line.cagnotte_id == pot)
        if campaign := given.get("campaignId"):
            tests.append(lambda line: line.campaign_id == campaign)
        tests += self._amounts(call)
        if self._switches.deleted_rows == "gone":
            tests.append(lambda line: line.customer_id in customers)
        return self._ordered(_filter(rows, tests), lambda line: line.cagnotte_line_date)

    def _customer_texts(self, call: Call) -> list[Test]:
        given = call.parameters
        insensitive = given.get("caseInsensitive") == "1"
        tests: list[Test] = []
        for name, attribute in CUSTOMER_TEXTS.items():
            wanted = given.get(name)
            if not wanted:
                continue
            if insensitive or (name == "email" and self._switches.email_lookup_case == "insensitive"):
                tests.append(_same_without_case(attribute, wanted))
            else:
                tests.append(_same(attribute, wanted))
        return tests

    def _dates(
        self,
        call: Call,
        period: tuple[tuple[str, bool], ...],
        date_of: Callable[[Any], str],
        write: Callable[..., str],
    ) -> list[Test]:
        # All dates of a kind are written alike, so their texts compare as the dates do.
        inclusive = self._switches.date_bounds == "inclusive"
        tests: list[Test] = []
        for name, is_start in period:
            text = call.parameters.get(name)
            if not text:
                continue
            moment = self._clock.read_filter(text)
            if moment is None:
                raise PageError(f"{name} is not a date")
            tests.append(_beyond(date_of, write(moment), is_start=is_start, inclusive=inclusive))
        return tests

    def _amounts(self, call: Call) -> list[Test]:
        strict = self._switches.amount_bounds == "strict"
        tests: list[Test] = []
        for name in ("minAmount", "maxAmount", "amount"):
            text = call.parameters.get(name)
            if not text:
                continue
            try:
                bound = Decimal(text)
            except InvalidOperation:
                raise PageError(f"{name} must be a number") from None
            tests.append(_amount_test(name, bound, strict=strict))
        return tests

    def _ordered(self, rows: list[Row], modified: Callable[[Row], str]) -> list[Row]:
        if self._switches.list_order == "newest_first":
            rows.reverse()
        elif self._switches.list_order == "least_recently_modified":
            rows.sort(key=modified)
        return rows


def _filter(rows: Iterable[Row], tests: list[Test]) -> list[Row]:
    for test in tests:
        rows = filter(test, rows)
    return list(rows)


def _same(attribute: str, wanted: str) -> Test:
    return lambda row: getattr(row, attribute) == wanted


def _same_without_case(attribute: str, wanted: str) -> Test:
    folded = wanted.casefold()
    return lambda row: (getattr(row, attribute) or "").casefold() == folded


def _beyond(date_of: Callable[[Any], str], bound: str, *, is_start: bool, inclusive: bool) -> Test:
    if is_start:
        return lambda row: date_of(row) > bound or (inclusive and date_of(row) == bound)
    return lambda row: date_of(row) < bound or (inclusive and date_of(row) == bound)


def _amount_test(name: str, bound: Decimal, *, strict: bool) -> Test:
    if name == "amount":
        return lambda line: Decimal(line.amount) == bound
    sign = 1 if name == "minAmount" else -1
    return lambda line: (
        (sign * (Decimal(line.amount) - bound) > 0) or (not strict and Decimal(line.amount) == bound)
    )
