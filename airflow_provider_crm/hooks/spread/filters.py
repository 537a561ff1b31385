"""What narrows SPREAD's lists, by the names that users write, for editors and type checkers."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TypedDict

Time = dt.date | str | None
Id = str | int | None
Amount = Decimal | float | str | None


class Dates(TypedDict, total=False):
    """When a record was made."""

    created_after: Time
    created_before: Time


class Changes(Dates, total=False):
    """When a record was made, or changed."""

    modified_after: Time
    modified_before: Time


class CustomerFilters(Changes, total=False):
    """Filters of customers."""

    email: str | None
    last_name: str | None
    first_name: str | None
    zipcode: Id
    city: str | None
    country: str | None
    phone_number: Id
    mobile_phone_number: Id
    case_insensitive: bool | None
    show_custom_fields: bool | None
    external_id: Id


class AnswerFilters(Dates, total=False):
    """Filters of the answers to one consent."""

    customer_consent_status: str | None
    status: str | None
    customer_consent_source: str | None
    consent_source: str | None
    source: str | None


class CustomerConsentFilters(AnswerFilters, total=False):
    """Filters of one customer's answers."""

    consent_id: Id
    consent_tech_name: str | None


class LoyaltyFilters(Changes, total=False):
    """Filters of the movements of loyalty pots."""

    customer_id: Id
    cagnotte_id: Id
    campaign_id: Id
    min_amount: Amount
    max_amount: Amount
    amount: Amount
