"""SPREAD's API: one method a call. Knows the vendor's paths and envelope, not what a task wants with them.

Facts: the vendor's pages "Customers", "API - Customer Consentement", "Cagnotte" and "Consentement"
(help.spreadfamily.fr, "API"). Where they are silent or contradict each other, the methods say what was chosen.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, TypeVar

from airflow_provider_crm.exceptions import (
    CrmConnectionError,
    CrmInputError,
    CrmNotFoundError,
    CrmUnreadableAnswerError,
)
from airflow_provider_crm.hooks.base.hook import CrmHook, iterate
from airflow_provider_crm.hooks.base.settings import Extras
from airflow_provider_crm.hooks.spread.v1 import NAMES, Accounts
from airflow_provider_crm.hooks.spread.wire import (
    MAX_PAGE,
    SEARCH_PAGE,
    answers_reader,
    customer_of,
    listed_ids,
    or_nothing,
    page_sizes,
    read_credit,
    read_customer,
    read_customers,
    read_deleted,
    read_lines,
    read_new_consent,
    rows_inside,
    the_one,
    under,
)
from airflow_provider_crm.http.auth import BasicAuth, CrmAuth
from airflow_provider_crm.http.calls import Call, encode_json
from airflow_provider_crm.http.lists import offset_pages
from airflow_provider_crm.http.lookups import Lookups
from airflow_provider_crm.schemas.spread.cells import ConsentStatus
from airflow_provider_crm.schemas.spread.read import (
    ANSWER_FILTERS,
    CUSTOMER_CONSENT_FILTERS,
    CUSTOMER_FILTERS,
    LOYALTY_FILTERS,
    Row,
    query_of,
    record_of,
    rows_of,
)
from airflow_provider_crm.schemas.spread.write import (
    CUSTOMER_FIELDS,
    wire_consent,
    wire_credit,
    wire_customer,
)
from airflow_provider_crm.values import normal_email

T = TypeVar("T")


class SpreadExtras(Extras, kw_only=True, frozen=True):
    """What a SPREAD connection may carry besides the extras of every CRM."""

    write_api: Literal["v2", "v1"] = "v2"
    """The API version that creates and updates customers."""


class SpreadHook(CrmHook[SpreadExtras]):
    """Calls SPREAD.

    Lists are read page by page until one is empty: what the CRM says about their length and the next page is not
    reliable. Their filters are the vendor's in snake_case; dates are datetimes (one with a zone is converted to
    the vendor's local time) or text that is sent as it is; a filter that is None is not sent.

    :param spread_conn_id: connection with the public key as login and the private key as password.
    :param concurrency: calls in flight at once; the connection's extra and then 8 otherwise.
    """

    conn_name_attr = "spread_conn_id"
    default_conn_name = "spread_default"
    conn_type = "spread"
    hook_name = "SPREAD"
    default_url = "https://social-sb.com/api/v2"
    extras_type = SpreadExtras

    def __init__(self, spread_conn_id: str = default_conn_name, *, concurrency: int | None = None) -> None:
        super().__init__(spread_conn_id, concurrency=concurrency)
        self._lookups = Lookups()

    # Customers

    def get_customer(self, customer_id: str | int) -> Row | None:
        """Read one customer, with ``custom_fields`` and ``status``.

        :param customer_id: SPREAD's id.
        :return: the vendor's fields, see :func:`~airflow_provider_crm.schemas.spread.read.plain_customer`; None when
            there is no such customer.
        """
        call = Call("GET", "/customers/{id}", values={"id": customer_id})
        try:
            return self.request(call, or_nothing(lambda body: customer_of(under(body, "customer"))))
        except CrmNotFoundError:
            return None

    def find_customer(self, *, email: str | None = None, external_id: str | int | None = None) -> Row | None:
        """Find the one customer with this e-mail (in any case) or this external id.

        :return: the customer with ``custom_fields``; None when there is none.
        :raises CrmRequestError: several customers have it.
        :raises CrmUnreadableAnswerError: the CRM gives other customers than those asked for.
        """
        if (email is None) == (external_id is None):
            raise CrmInputError("Exactly one of `email` and `external_id` is required")
        if email is not None:
            asked = str(email).strip()
            filters: dict[str, Any] = {"email": asked.lower(), "case_insensitive": True}
        else:
            asked = str(external_id).strip()
            filters = {"external_id": asked}
        filters["show_custom_fields"] = True
        field = "email" if external_id is None else "externalId"
        call = self._page("/customers", query_of(filters, CUSTOMER_FILTERS), 0, page_sizes(SEARCH_PAGE))
        try:
            rows = self.request(call, or_nothing(read_customers)) or []
        except CrmNotFoundError:
            return None
        return the_one(rows, field, asked, any_case=external_id is None)

    def iter_customers(
        self, *, page_size: int = MAX_PAGE, ids: str | Iterable[str | int] | None = None, **filters: Any
    ) -> Iterator[Row]:
        """Read customers.

        :param page_size: customers a call, at most 5000.
        :param ids: any number of SPREAD ids, as a list or a text with commas; in as many calls as they need.
        :param filters: ``created_after``, ``created_before``, ``modified_after``, ``modified_before``, ``email``,
            ``last_name``, ``first_name``, ``zipcode``, ``city``, ``country`` (two letters), ``phone_number``,
            ``mobile_phone_number``, ``case_insensitive``, ``show_custom_fields``, ``external_id``.
        :return: the vendor's fields, see :func:`~airflow_provider_crm.schemas.spread.read.plain_customer`.
        :raises CrmInputError: an unknown filter, or a page size out of bounds.
        """
        query = query_of(filters, CUSTOMER_FILTERS)
        sizes = page_sizes(page_size)
        if ids is None:
            return iterate(self._pages("/customers", query, sizes, read_customers))
        return self._customers_by_id(listed_ids(ids), query, sizes)

    def customer_pages(self, *, page_size: int = MAX_PAGE, **filters: Any) -> Iterator[Sequence[Row]]:
        """Read customers page by page, as :meth:`iter_customers` does one by one."""
        return self._pages(
            "/customers", query_of(filters, CUSTOMER_FILTERS), page_sizes(page_size), read_customers
        )

    def create_customer(self, customer: Mapping[str, Any]) -> Row:
        """Create a customer. What becomes of an e-mail that exists is not documented: look first.

        :param customer: the vendor's fields, ``email`` among them; see
            :func:`~airflow_provider_crm.schemas.spread.write.wire_customer`.
        :return: the customer as the CRM holds it now.
        :raises CrmOutcomeUnknownError: it may have been created.
        """
        if accounts := self._accounts:
            return accounts.create(customer)
        return self._write_customer("POST", "/customers", {}, customer, repeatable=False)

    def update_customer(self, customer_id: str | int, customer: Mapping[str, Any]) -> Row:
        """Update the given fields of a customer; ``tags`` are added to those that are there.

        :param customer_id: SPREAD's id.
        :param customer: the fields to change, and always ``email``, the current one: the vendor requires it.
        :return: the customer as the CRM holds it now.
        """
        if accounts := self._accounts:
            return accounts.update(customer_id, customer)
        path = "/customers/{id}"
        return self._write_customer("PUT", path, {"id": customer_id}, customer, repeatable=True)

    def update_customer_email(self, old_email: str, new_email: str) -> Row:
        """Change a customer's e-mail.

        :return: the customer as the CRM holds it now.
        :raises CrmOutcomeUnknownError: it may have been changed; the old one may be unknown to the CRM by now.
        """
        emails = {"old_email": str(old_email or "").strip()}  # as the CRM writes it, in its own case
        try:
            emails["new_email"] = normal_email(new_email)
        except ValueError as error:
            raise CrmInputError(f"The new e-mail: {error}") from None
        if not emails["old_email"]:
            raise CrmInputError("Both the old and the new e-mail are required")
        body = encode_json({"customer": emails})
        call = Call("PUT", "/customers/email/update", body=body, repeatable=False)
        return self.request(call, read_customer)

    def delete_customer(self, customer_id: str | int) -> None:
        """Delete a customer.

        :param customer_id: SPREAD's id.
        :raises CrmNotFoundError: there is no such customer.
        """
        try:
            self.request(Call("DELETE", "/customers/{id}", values={"id": customer_id}), read_deleted)
        except CrmNotFoundError as error:
            if not error.after_unknown:
                raise

    # Consents

    def iter_customer_consents(
        self, customer_id: str | int, *, page_size: int = MAX_PAGE, **filters: Any
    ) -> Iterator[Row]:
        """Read the history of one customer's answers: several to one consent are possible, the latest holds.

        :param customer_id: SPREAD's id.
        :param page_size: answers a call, at most 5000.
        :param filters: ``created_after``, ``created_before``, ``consent_id``, ``consent_tech_name``,
            ``customer_consent_status`` (or ``status``), ``customer_consent_source`` (or ``source``).
        :return: ``consentId``, ``consentTechName``, ``trackId``, ``customerConsentCreatedAt`` (local time),
            ``customerConsentStatus``, ``customerConsentSource``, ``customerConsentSourceId``.
        :raises CrmInputError: an unknown filter, or a page size out of bounds.
        """
        query = query_of(filters, CUSTOMER_CONSENT_FILTERS)
        pages = self._pages(
            "/customers-consents/{id}",
            query,
            page_sizes(page_size, documented="maxResult"),
            lambda body: rows_of(rows_inside(under(body, "customer"), "consents")),
            values={"id": customer_id},
            of_something=lambda: self.get_customer(customer_id) is not None,
        )
        return iterate(pages)

    def iter_consents(
        self,
        *,
        consent_id: str | int | None = None,
        consent_tech_name: str | None = None,
        track_id: str | int | None = None,
        page_size: int = MAX_PAGE,
        **filters: Any,
    ) -> Iterator[Row]:
        """Read everyone's answers to one consent, or the one answer that a track id names.

        :param consent_id: exactly one of these three is required.
        :param consent_tech_name: the consent's technical name, which several consents may share.
        :param track_id: of one answer; the CRM takes no other filter beside it.
        :param page_size: answers a call, at most 5000.
        :param filters: ``created_after``, ``created_before``, ``customer_consent_status`` (or ``status``),
            ``customer_consent_source`` (or ``source``).
        :return: ``id`` (the customer's), ``trackId``, ``customerConsentCreatedAt`` (local time),
            ``customerConsentStatus``, ``customerConsentSource``, ``customerConsentSourceId``; and, added here
            because the CRM says them once for the whole page, ``consentId`` and ``consentTechName``.
        :raises CrmInputError: an unknown filter, or a page size out of bounds.
        """
        names = {"consent_id": "consentId", "consent_tech_name": "consentTechName", "track_id": "trackId"}
        given = {"consent_id": consent_id, "consent_tech_name": consent_tech_name, "track_id": track_id}
        which = query_of(given, names)
        if len(which) != 1:
            raise CrmInputError("Exactly one of `consent_id`, `consent_tech_name` and `track_id` is required")
        query = query_of(filters, ANSWER_FILTERS)
        sizes = page_sizes(page_size, documented="maxResult")
        if track_id is None:
            read = answers_reader(None if consent_id is None else str(consent_id).strip())
            pages = self._pages(
                "/customers-consents",
                which + query,
                sizes,
                read,
                of_something=lambda: self.has_consent(
                    consent_id=consent_id, consent_tech_name=consent_tech_name
                ),
            )
            return iterate(pages)
        if query:
            raise CrmInputError("SPREAD takes no other filter beside `track_id`")
        call = Call("GET", "/customers-consents", query=which)
        return self._rows(call, answers_reader(None))

    def create_consent(
        self,
        customer_id: str | int,
        *,
        status: ConsentStatus,
        created_at: dt.date | str,
        consent_id: str | int | None = None,
        consent_tech_name: str | None = None,
        ip: str | None = None,
        channel_id: str | int | None = None,
    ) -> Row:
        """Record a customer's answer to a consent.

        :param customer_id: SPREAD's id.
        :param status: ``accepted``, ``refused``, or ``unknown``, which the CRM takes only after another answer.
        :param created_at: when the customer answered; text is ``YYYY-MM-DD HH:MM:SS``, in local time.
        :param consent_id: this or ``consent_tech_name`` is required.
        :param consent_tech_name: the consent's technical name.
        :param ip: address that the customer answered from.
        :param channel_id: the one channel it holds for; all of the consent's otherwise.
        :return: ``{"id", "techName", "customer": {"id", "trackId", ...}}``.
        :raises CrmOutcomeUnknownError: it may have been recorded.
        """
        consent = wire_consent(
            status=status,
            created_at=created_at,
            consent_id=consent_id,
            consent_tech_name=consent_tech_name,
            ip=ip,
            channel_id=channel_id,
        )
        call = Call(
            "POST",
            "/customers-consents/{id}",
            values={"id": customer_id},
            body=encode_json({"consent": consent}),
            repeatable=False,
        )
        return self.request(call, read_new_consent)

    def get_consent(self, consent_id: str | int) -> Row | None:
        """Read the definition of a consent.

        :return: ``id``, ``consentType``, ``consentName``, ``consentTechName``, ``createdAt``, ``updatedAt``; None when
            there is no such consent.
        """
        call = Call("GET", "/consents/{id}", values={"id": consent_id})
        try:
            return self.request(call, or_nothing(lambda body: record_of(under(body, "consent"))))
        except CrmNotFoundError:
            return None

    def has_consent(
        self, *, consent_id: str | int | None = None, consent_tech_name: str | None = None
    ) -> bool:
        """Tell whether there is a consent with this id, or with this technical name."""
        if consent_id is not None:
            return self.get_consent(consent_id) is not None
        return any(one.get("consentTechName") == consent_tech_name for one in self.iter_consent_definitions())

    def iter_consent_definitions(self) -> Iterator[Row]:
        """Read the definitions of all consents, as in :meth:`get_consent`.

        Whether this list comes in pages is not documented: it ends where nothing new comes.
        """
        known: set[Any] = set()
        start = 0
        sizes = page_sizes(MAX_PAGE, documented="maxResult")
        while rows := self.request(
            self._page("/consents", [], start, sizes), lambda body: rows_of(under(body, "consents"))
        ):
            new = [row for row in rows if row.get("id") not in known]
            if not new:
                return
            yield from new
            known.update(row.get("id") for row in new)
            start += len(rows)

    # Loyalty

    def iter_loyalty_lines(self, *, page_size: int = MAX_PAGE, **filters: Any) -> Iterator[Row]:
        """Read the movements of the loyalty pots; a negative amount is spending.

        :param page_size: lines a call, at most 5000.
        :param filters: ``created_after``, ``created_before``, ``modified_after``, ``modified_before``,
            ``customer_id``, ``cagnotte_id``, ``campaign_id``, ``min_amount``, ``max_amount``, ``amount``.
        :return: ``cagnotteId``, ``cagnotteLineId``, ``customerId``, ``campaignId``, ``cagnotteLineDate``,
            ``cagnotteLineValidationDate`` (local times), ``amount`` (text), ``code``.
        :raises CrmInputError: an unknown filter, or a page size out of bounds.
        """
        query = query_of(filters, LOYALTY_FILTERS)
        sizes = page_sizes(page_size, documented="maxResult")
        return iterate(self._pages("/cagnottes", query, sizes, read_lines))

    def loyalty_page(self, start: int, size: int = MAX_PAGE, **filters: Any) -> list[Row]:
        """Read one page of the movements of the loyalty pots.

        :param start: how many lines to leave out at the beginning.
        :param size: lines at most, up to 5000.
        :param filters: as for :meth:`iter_loyalty_lines`.
        """
        sizes = page_sizes(size, documented="maxResult")
        return self.request(
            self._page("/cagnottes", query_of(filters, LOYALTY_FILTERS), start, sizes), read_lines
        )

    def credit_loyalty(
        self,
        *,
        amount: Decimal | int | str,
        email: str | None = None,
        customer_id: str | int | None = None,
        before: Callable[[], object] | None = None,
    ) -> dict[str, Row]:
        """Add points to a customer's loyalty pot.

        The CRM has no means to recognise a repeated credit, so that it is sent again only when it certainly did not
        arrive, or was refused for being one too many (429).

        :param amount: sent as it is, without rounding.
        :param email: exactly one of this and ``customer_id`` is required.
        :param customer_id: SPREAD's id.
        :param before: called each time in the very moment before the credit leaves; what it raises keeps it here.
        :return: ``{"customer": {"id", "cagnotteAmount"}, "cagnotte": the line}``, amounts as text.
        :raises CrmOutcomeUnknownError: the points may have been added; :meth:`iter_loyalty_lines` can tell.
        """
        body = encode_json(wire_credit(amount=amount, email=email, customer_id=customer_id))
        return self.request(
            Call("POST", "/cagnottes", body=body, repeatable=False, before=before), read_credit
        )

    # What the calls share

    @property
    def writable_fields(self) -> Collection[str]:
        """Give the fields of a customer that can be written through the API version that the connection names."""
        return CUSTOMER_FIELDS if self._accounts is None else tuple(NAMES)

    @property
    def _accounts(self) -> Accounts | None:
        """Give what creates and updates customers where the connection names version 1."""
        return Accounts(self) if self.settings.extras.write_api == "v1" else None

    def _write_customer(
        self,
        method: str,
        path: str,
        values: Mapping[str, object],
        customer: Mapping[str, Any],
        *,
        repeatable: bool,
    ) -> Row:
        body = encode_json({"customer": wire_customer(customer)})
        return self.request(
            Call(method, path, values=values, body=body, repeatable=repeatable), read_customer
        )

    def _customers_by_id(
        self, ids: list[str], query: list[tuple[str, str]], sizes: list[tuple[str, str]]
    ) -> Iterator[Row]:
        def fetch(group: Sequence[str]) -> list[Row]:
            pages = self._pages_by_id(
                group, query, sizes, read_customers, lambda rows: [row.get("id") for row in rows]
            )
            return list(iterate(pages))

        for group in self._lookups.cut(ids):
            yield from self._lookups.read(group, fetch)

    def _pages_by_id(
        self,
        ids: Sequence[str],
        query: Sequence[tuple[str, str]],
        sizes: Sequence[tuple[str, str]],
        read: Callable[[bytes], T],
        ids_of: Callable[[T], Sequence[Any]],
    ) -> Iterator[T]:
        """Read the customers with these ids: those that did not come are asked for again, until none of them comes.

        So no offset is needed, which customers that go away meanwhile would shift.

        :param read: gives what becomes of an answer.
        :param ids_of: gives the ids of the customers in it.
        """
        missing = dict.fromkeys(ids)
        while missing:
            page = self.request(
                self._page("/customers", [*query, ("ids", ",".join(missing))], 0, sizes), read
            )
            found = ids_of(page)
            if not found:
                return
            if not missing.keys() >= set(found):
                raise CrmUnreadableAnswerError(
                    "GET /customers gives other customers than those asked for: it ignores the filter `ids`",
                    call="GET /customers",
                )
            yield page
            for number in found:
                missing.pop(number, None)

    def _pages(
        self,
        path: str,
        query: Sequence[tuple[str, str]],
        sizes: Sequence[tuple[str, str]],
        read: Callable[[bytes], list[Row]],
        values: Mapping[str, object] | None = None,
        of_something: Callable[[], bool] = lambda: False,
    ) -> Iterator[Sequence[Row]]:
        """Read a list.

        :param of_something: tells whether what the list belongs to exists, after a 404 that leaves it open.
        """

        def page(start: int) -> list[Row]:
            return self.request(self._page(path, query, start, sizes, values), read)

        def fetch(start: int) -> list[Row]:
            try:
                return page(start)
            except CrmNotFoundError:
                # Some servers say so of a list without rows, and behind the end: the row before is the last one then.
                if of_something() if start == 0 else len(page(start - 1)) <= 1:
                    return []
                raise

        return offset_pages(fetch, call=f"GET {path}")

    def _rows(self, call: Call, read: Callable[[bytes], list[Row]]) -> Iterator[Row]:
        yield from self.request(call, read)

    @staticmethod
    def _page(
        path: str,
        query: Sequence[tuple[str, str]],
        start: int,
        sizes: Sequence[tuple[str, str]],
        values: Mapping[str, object] | None = None,
    ) -> Call:
        # Never the answer's own `nextPageUrl`: it is plain http, and may lack filters or name another resource.
        return Call("GET", path, values=values or {}, query=[*query, ("startAt", str(start)), *sizes])

    def _auth(self) -> CrmAuth:
        settings = self.settings
        if not settings.login or not settings.password:
            raise CrmConnectionError(
                f"Connection {self.conn_id!r} lacks the public key (its login) or the private key (its password)"
            )
        return BasicAuth(settings.login, settings.password)

    def _probe(self) -> str:
        self.request(self._page("/customers", [], 0, page_sizes(1)), read_customers)
        return "Connected to SPREAD"
