"""ExpertSender CDP's customers as typed records: the columns of their exports, and how answers become them.

Knows no HTTP and no file. Facts: the vendor's page "Klienci - metody API" (help.expertsender.com).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_crm.schemas.envelopes import RowsUnder
from airflow_provider_crm.schemas.mending import check_decimal
from airflow_provider_crm.schemas.records import Column, RecordReader, RecordType

_COLUMNS = (
    Column("email", "text", "e-mail"),
    Column("phone", "text", "phone"),
    Column("crmId", "text", "your own id of the customer"),
    Column("firstName", "text", "first name"),
    Column("lastName", "text", "last name"),
    Column("dateOfBirth", "moment", "date of birth, with the time of day that the CRM gives it"),
    Column("gender", "text", "Male, Female or NotSpecified"),
    Column("rfmSegment", "text", "segment by recency, frequency and value of the orders"),
    Column("totalSpent", "decimal", "value of all orders"),
    Column("totalOrders", "integer", "number of orders"),
    Column("totalOrderReturns", "integer", "number of returned orders"),
    Column("avgOrder", "decimal", "mean value of an order"),
    Column("avgPricePoint", "decimal", "mean price of a product"),
    Column("lastOrder", "moment", "when the last order was"),
    Column("avgTimeBetweenOrdersInDays", "decimal", "mean days between two orders"),
    Column("currencySymbol", "text", "currency of the amounts"),
    Column("customAttributes", "map", "custom attributes: name to value"),
)


_AMOUNTS = tuple(column.name for column in _COLUMNS if column.kind == "decimal")


_CONSENTS = Column("consentsData", "map", "consents: id to True, False or AwaitingConfirmation")


def customer_type(by: str, consents: Sequence[Mapping[str, Any]] | None) -> RecordType:
    """Return the columns of an export of ExpertSender's customers.

    :param by: what customers are looked up by; the CRM's own id, which it does not show, is a column then.
    :param consents: the account's consents, each of which is to be a column; None for one column of all of them.
    """
    asked = (
        [Column("id", "text", "ExpertSender's id of the customer, as it was asked for")] if by == "id" else []
    )
    if consents is None:
        return RecordType("customers", (*asked, *_COLUMNS, _CONSENTS), key="email")
    flat = [
        Column(_consent_column(one["id"]), "text", f"True, False or AwaitingConfirmation: {one.get('name')}")
        for one in consents
    ]
    return RecordType("customers", (*asked, *_COLUMNS, *flat), key="email")


def customer_reader(record_type: RecordType) -> RecordReader:
    """Read customers as :meth:`~airflow_provider_crm.hooks.expertsender.ExpertSenderHook.get_customer` gives them."""
    return RecordReader(record_type, RowsUnder("customers"), _check_amounts, _in(dt.UTC))


def customer_row(customer: Mapping[str, Any], *, flat: bool) -> dict[str, Any]:
    """Turn a customer's lists of attributes and consents into maps, or consents into columns.

    :param flat: each consent becomes a column.
    """
    row = {
        name: value for name, value in customer.items() if name not in ("customAttributes", "consentsData")
    }
    attributes = customer.get("customAttributes") or ()
    row["customAttributes"] = {str(one["name"]): _word(one.get("value")) for one in attributes}
    consents = (customer.get("consentsData") or {}).get("consents") or ()
    given = {str(one["id"]): _word(one.get("value")) for one in consents}
    if flat:
        return row | {_consent_column(number): value for number, value in given.items()}
    return row | {"consentsData": given}


def _consent_column(number: Any) -> str:
    return f"consent_{number}"


def _word(value: Any) -> str | None:
    return value if value is None else str(value)


def _check_amounts(rows: Sequence[Any]) -> None:
    for row in rows:
        for name in _AMOUNTS:
            if (amount := getattr(row, name)) is not None:
                check_decimal(amount)


def _in(zone: dt.tzinfo) -> Any:
    return lambda moment: moment if moment.tzinfo else moment.replace(tzinfo=zone)
