"""SPREAD's API: one method a call. Knows the vendor's paths and envelope, not what a task wants with them.

Facts: the vendor's pages "Customers", "API - Customer Consentement", "Cagnotte" and "Consentement"
(help.spreadfamily.fr, "API"). Where they are silent or contradict each other, the methods say what was chosen.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from itertools import chain
from typing import Any, Unpack

from airflow_provider_crm.exceptions import CrmConnectionError, CrmInputError, CrmNotFoundError
from airflow_provider_crm.hooks.base.hook import CrmHook
from airflow_provider_crm.hooks.spread import lists
from airflow_provider_crm.hooks.spread.extras import SpreadExtras
from airflow_provider_crm.hooks.spread.filters import (
    AnswerFilters,
    CustomerConsentFilters,
    CustomerFilters,
    LoyaltyFilters,
)
from airflow_provider_crm.hooks.spread.lists import CONSENT_DEFINITIONS
from airflow_provider_crm.hooks.spread.reading import pages_by_id, pages_of
from airflow_provider_crm.hooks.spread.v1 import CustomerWritesV1, base_url_of_v1
from airflow_provider_crm.hooks.spread.wire import (
    MAX_PAGE,
    SEARCH_PAGE,
    customer_of,
    email_change,
    listed_ids,
    or_nothing,
    read_credit,
    read_customer,
    read_deleted,
    read_new_consent,
    the_one,
    under,
)
from airflow_provider_crm.hooks.spread.writes import CustomerWrites, CustomerWritesV2
from airflow_provider_crm.http.auth import BasicAuth, CrmAuth
from airflow_provider_crm.http.calls import Call, encode_json, gone_is_deleted
from airflow_provider_crm.http.lookups import Lookups
from airflow_provider_crm.schemas.spread.cells import ConsentStatus
from airflow_provider_crm.schemas.spread.read import Record, record_of
from airflow_provider_crm.schemas.spread.write import wire_consent, wire_credit


class SpreadHook(CrmHook[SpreadExtras]):
    """Calls SPREAD.

    Lists are read page by page, each row once, also while others come and go, see
    :class:`~airflow_provider_crm.http.lists.PagedList`: what the CRM says about their length and the next page is not
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
        self.lookups = Lookups()

    # Customers

    def get_customer(self, customer_id: str | int) -> Record | None:
        """Read one customer, with ``custom_fields`` and ``status``.

        :param customer_id: SPREAD's id.
        :return: the vendor's fields, of which ``tags`` is a list and ``custom_fields`` is
            ``{field id: "Name:Value"}``; None when there is no such customer.
        """
        call = Call("GET", "/customers/{id}", values={"id": customer_id})
        try:
            return self.request(call, or_nothing(lambda body: customer_of(under(body, "customer"))))
        except CrmNotFoundError:
            return None

    def find_customer(
        self, *, email: str | None = None, external_id: str | int | None = None
    ) -> Record | None:
        """Find the one customer with this e-mail (in any case) or this external id.

        :return: the customer with ``custom_fields``; None when there is none.
        :raises CrmRequestError: several customers have it.
        :raises CrmUnreadableAnswerError: the CRM gives other customers than those asked for.
        """
        if (email is None) == (external_id is None):
            raise CrmInputError("Exactly one of `email` and `external_id` is required")
        if email is not None:
            asked, field = str(email).strip(), "email"
            filters: dict[str, Any] = {"email": asked.lower(), "case_insensitive": True}
        else:
            asked, field = str(external_id).strip(), "externalId"
            filters = {"external_id": asked}
        found = lists.customers({**filters, "show_custom_fields": True})
        try:
            rows = self.request(found.call(0, SEARCH_PAGE), or_nothing(found.answer.rows)) or []
        except CrmNotFoundError:
            return None
        return the_one(rows, field, asked, any_case=external_id is None)

    def iter_customers(
        self,
        *,
        page_size: int = MAX_PAGE,
        ids: str | Iterable[str | int] | None = None,
        **filters: Unpack[CustomerFilters],
    ) -> Iterator[Record]:
        """Read customers.

        :param page_size: customers a call, at most 5000.
        :param ids: any number of SPREAD ids, as a list or a text with commas; in as many calls as they need.
        :param filters: :class:`~airflow_provider_crm.hooks.spread.filters.CustomerFilters`.
        :return: the vendor's fields, as :meth:`get_customer` gives them; ``custom_fields`` with the filter
            ``show_custom_fields``.
        :raises CrmInputError: an unknown filter, or a page size out of bounds.
        """
        customers = lists.customers(filters)
        if ids is None:
            return chain.from_iterable(pages_of(self.request, customers, page_size))
        pages = pages_by_id(self.request, self.lookups, customers, listed_ids(ids), page_size)
        return chain.from_iterable(pages)

    def customer_pages(self, *, page_size: int = MAX_PAGE, **filters: Any) -> Iterator[Sequence[Record]]:
        """Read customers page by page, as :meth:`iter_customers` does one by one."""
        return pages_of(self.request, lists.customers(filters), page_size)

    def create_customer(self, customer: Mapping[str, Any]) -> Record:
        """Create a customer. What becomes of an e-mail that exists is not documented: look first.

        :param customer: the vendor's fields, ``email`` among them. ``tags`` is a list, or a text ``a|b``;
            ``custom_fields`` maps field ids to bare values, several choices being a list. None is sent as ``null``.
        :return: the customer as the CRM holds it now.
        :raises CrmOutcomeUnknownError: it may have been created.
        """
        return self._writes.create(customer)

    def update_customer(self, customer_id: str | int, customer: Mapping[str, Any]) -> Record:
        """Update the given fields of a customer; ``tags`` are added to those that are there.

        :param customer_id: SPREAD's id.
        :param customer: the fields to change, and always ``email``, the current one: the vendor requires it.
        :return: the customer as the CRM holds it now.
        """
        return self._writes.update(customer_id, customer)

    def update_customer_email(self, old_email: str, new_email: str) -> Record:
        """Change a customer's e-mail.

        :return: the customer as the CRM holds it now.
        :raises CrmOutcomeUnknownError: it may have been changed; the old one may be unknown to the CRM by now.
        """
        body = encode_json({"customer": email_change(old_email, new_email)})
        call = Call("PUT", "/customers/email/update", body=body, repeatable=False)
        return self.request(call, read_customer)

    def delete_customer(self, customer_id: str | int) -> None:
        """Delete a customer.

        :param customer_id: SPREAD's id.
        :raises CrmNotFoundError: there is no such customer.
        """
        with gone_is_deleted():
            self.send_deletion(customer_id)

    def send_deletion(self, customer_id: str | int) -> None:
        """Delete a customer, and raise a 404 after a lost answer too, as ``after_unknown``."""
        self.request(Call("DELETE", "/customers/{id}", values={"id": customer_id}), read_deleted)

    # Consents

    def iter_customer_consents(
        self, customer_id: str | int, *, page_size: int = MAX_PAGE, **filters: Unpack[CustomerConsentFilters]
    ) -> Iterator[Record]:
        """Read the history of one customer's answers: several to one consent are possible, the latest holds.

        :param customer_id: SPREAD's id.
        :param page_size: answers a call, at most 5000.
        :param filters: :class:`~airflow_provider_crm.hooks.spread.filters.CustomerConsentFilters`.
        :return: ``consentId``, ``consentTechName``, ``trackId``, ``customerConsentCreatedAt`` (local time),
            ``customerConsentStatus``, ``customerConsentSource``, ``customerConsentSourceId``.
        :raises CrmInputError: an unknown filter, or a page size out of bounds.
        """
        history = lists.consent_history(customer_id, filters)

        def exists() -> bool:
            return self.get_customer(customer_id) is not None

        return chain.from_iterable(pages_of(self.request, history, page_size, exists))

    def iter_consents(
        self,
        *,
        consent_id: str | int | None = None,
        consent_tech_name: str | None = None,
        track_id: str | int | None = None,
        page_size: int = MAX_PAGE,
        **filters: Unpack[AnswerFilters],
    ) -> Iterator[Record]:
        """Read everyone's answers to one consent, or the one answer that a track id names.

        :param consent_id: exactly one of these three is required.
        :param consent_tech_name: the consent's technical name, which several consents may share.
        :param track_id: of one answer; the CRM takes no other filter beside it.
        :param page_size: answers a call, at most 5000.
        :param filters: :class:`~airflow_provider_crm.hooks.spread.filters.AnswerFilters`.
        :return: ``id`` (the customer's), ``trackId``, ``customerConsentCreatedAt`` (local time),
            ``customerConsentStatus``, ``customerConsentSource``, ``customerConsentSourceId``; and, added here
            because the CRM says them once for the whole page, ``consentId`` and ``consentTechName``.
        :raises CrmInputError: an unknown filter, or a page size out of bounds.
        """
        answers = lists.consent_answers(
            filters, consent_id=consent_id, consent_tech_name=consent_tech_name, track_id=track_id
        )
        if track_id is not None:
            return iter(self.request(Call("GET", answers.path, query=answers.query), answers.answer.rows))
        exists = partial(self.has_consent, consent_id=consent_id, consent_tech_name=consent_tech_name)
        return chain.from_iterable(pages_of(self.request, answers, page_size, exists))

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
    ) -> Record:
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
        path, body = "/customers-consents/{id}", encode_json({"consent": consent})
        call = Call("POST", path, values={"id": customer_id}, body=body, repeatable=False)
        return self.request(call, read_new_consent)

    def get_consent(self, consent_id: str | int) -> Record | None:
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
        """Return whether there is a consent with this id, or with this technical name."""
        if consent_id is not None:
            return self.get_consent(consent_id) is not None
        return any(one.get("consentTechName") == consent_tech_name for one in self.iter_consent_definitions())

    def iter_consent_definitions(self) -> Iterator[Record]:
        """Read the definitions of all consents, as in :meth:`get_consent`.

        Whether this list comes in pages is not documented: it ends where nothing new comes.
        """
        known: dict[Any, Record] = {}
        start = 0
        while rows := self.request(
            CONSENT_DEFINITIONS.call(start, MAX_PAGE), CONSENT_DEFINITIONS.answer.rows
        ):
            new = {row.get("id"): row for row in rows if row.get("id") not in known}
            if not new:
                return
            yield from new.values()
            known.update(new)
            start += len(rows)

    # Loyalty

    def iter_loyalty_lines(
        self, *, page_size: int = MAX_PAGE, **filters: Unpack[LoyaltyFilters]
    ) -> Iterator[Record]:
        """Read the movements of the loyalty pots; a negative amount is spending.

        :param page_size: lines a call, at most 5000.
        :param filters: :class:`~airflow_provider_crm.hooks.spread.filters.LoyaltyFilters`.
        :return: ``cagnotteId``, ``cagnotteLineId``, ``customerId``, ``campaignId``, ``cagnotteLineDate``,
            ``cagnotteLineValidationDate`` (local times), ``amount`` (text), ``code``.
        :raises CrmInputError: an unknown filter, or a page size out of bounds.
        """
        return chain.from_iterable(pages_of(self.request, lists.loyalty_lines(filters), page_size))

    def loyalty_page(
        self, start: int, size: int = MAX_PAGE, **filters: Unpack[LoyaltyFilters]
    ) -> list[Record]:
        """Read one page of the movements of the loyalty pots.

        :param start: how many lines to leave out at the beginning.
        :param size: lines at most, up to 5000.
        :param filters: as for :meth:`iter_loyalty_lines`.
        """
        lines = lists.loyalty_lines(filters)
        return self.request(lines.call(start, size), lines.answer.rows)

    def credit_loyalty(
        self,
        *,
        amount: Decimal | int | str,
        email: str | None = None,
        customer_id: str | int | None = None,
        before: Callable[[], object] | None = None,
    ) -> dict[str, Record]:
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
        call = Call("POST", "/cagnottes", body=body, repeatable=False, before=before)
        return self.request(call, read_credit)

    # What the calls share

    @property
    def writable_fields(self) -> Collection[str]:
        """The fields of a customer that can be written through the API version that the connection names."""
        return self._writes.writable_fields

    @property
    def _writes(self) -> CustomerWrites:
        """What creates and updates customers.

        :raises CrmConnectionError: the connection names version 1, and its base URL is not that of version 2.
        """
        if self.settings.extras.write_api == "v2":
            return CustomerWritesV2(self.request)
        base_url = base_url_of_v1(self.settings.base_url, self.conn_id)
        return CustomerWritesV1(self.request, base_url, lambda email: self.find_customer(email=email))

    def _auth(self) -> CrmAuth:
        settings = self.settings
        if not settings.login or not settings.password:
            raise CrmConnectionError(
                f"Connection {self.conn_id!r} lacks the public key (its login) or the private key (its password)"
            )
        return BasicAuth(settings.login, settings.password)

    def _probe(self) -> str:
        next(self.iter_customers(page_size=1), None)
        return "Connected to SPREAD"
