"""ExpertSender CDP's records: how a source's values are written into a customer.

Knows no HTTP. Facts: the vendor's page on customers (help.expertsender.com, "Klienci - metody API").
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.schemas.expertsender.cells import (
    LONGEST,
    LONGEST_ATTRIBUTE_NAME,
    MAX_INT32,
    REFUSED,
    attribute_name,
    birth,
    cell_text,
    consent_value,
    forced,
    gender,
    identifier,
    int32,
    named_text,
)
from airflow_provider_crm.schemas.records import own_columns
from airflow_provider_crm.values import are_plain_emails, clean_texts, is_empty, pairs_of, parsed

Mode = Literal["Add", "Update", "AddOrUpdate"]
MatchBy = Literal["Email", "PhoneNumber", "CrmId", "GUID", "VisitorId"]
By = Literal["id", "email", "phone", "crmId"]

#: The field of a customer that each way of matching looks at. The vendor names none for a GUID: the visitor id is the
#: one that can hold it.
KEY_FIELDS: Mapping[str, str] = {
    "Email": "email",
    "PhoneNumber": "phone",
    "CrmId": "crmId",
    "GUID": "visitorId",
    "VisitorId": "visitorId",
}
#: What the export of customers has besides.
_SHOWN = frozenset(
    (
        "rfmSegment",
        "totalSpent",
        "totalOrders",
        "totalOrderReturns",
        "avgOrder",
        "avgPricePoint",
        "lastOrder",
        "avgTimeBetweenOrdersInDays",
        "currencySymbol",
    )
)
#: What our exports call a consent that has a column of its own.
_CONSENT_COLUMN = re.compile(r"consent_(\d+)", re.ASCII | re.IGNORECASE)


class WireCustomer(dict[str, Any]):
    """A customer in the vendor's form, every value checked."""


def wire_customer(customer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write a customer as the vendor wants it: texts as texts, dates with their time, consent values as words.

    :param customer: the vendor's field names; ``customAttributes`` as ``[{"name", "value"}]``, ``consentsData`` as
        ``{"consents": [{"id", "value"}], ...}``. Fields that are None are sent as ``null``.
    :raises CrmInputError: a value that the CRM does not take; names the field.
    """
    if type(customer) is WireCustomer:
        return customer
    wire = WireCustomer(customer)
    name = ""
    try:
        for name, write in _WRITERS.items():
            if wire.get(name) is not None:
                wire[name] = write(wire[name])
        name = "customAttributes"
        if attributes := wire.get(name):
            wire[name] = [{**one, "value": cell_text(one.get("value"))} for one in attributes]
        name = "consentsData"
        if (data := wire.get(name)) and data.get("consents"):
            wire[name] = {**data, "consents": [_consent(consent) for consent in data["consents"]]}
        return wire
    except ValueError as error:
        problem = f"{name}: {error}"
    except (AttributeError, TypeError):
        problem = f"`{name}` has another shape than ExpertSender documents"
    raise CrmInputError(problem)


def _consent(consent: Mapping[str, Any]) -> dict[str, Any]:
    value = consent.get("value")
    return {**consent, "value": None if value is None else consent_value(value)}


# From a row to a customer


class Draft:
    """A customer while the fields of a row are written into it, one after the other.

    :param send_blanks: whether a custom attribute without a value is sent, as ``null``.
    """

    def __init__(self, *, send_blanks: bool) -> None:
        self._send_blanks = send_blanks
        self.values: dict[str, Any] = {}
        self.attributes: dict[str, str | None] = {}
        self.consents: dict[int, str] = {}
        self.options: dict[str, Any] = {}

    def add_attribute(self, name: Any, value: Any) -> None:
        """Note a custom attribute; one without a value only where these are sent.

        :raises ValueError: it is there already, its name has no proper length, or its value cannot be text.
        """
        name = attribute_name(name)
        if name in self.attributes:
            raise ValueError(f"attribute {name!r} is given twice")
        if not is_empty(value):
            self.attributes[name] = cell_text(value)
        elif self._send_blanks:
            self.attributes[name] = None

    def add_consent(self, number: Any, value: Any) -> None:
        """Note a consent; one without a value says nothing.

        :raises ValueError: it is there already, or id or value are none.
        """
        consent_id = int32(number, "a consent's id")
        if is_empty(value):
            return
        if consent_id in self.consents:
            if consent_value(value) == REFUSED:
                self.consents[consent_id] = REFUSED
            raise ValueError(f"consent {consent_id} is given twice")
        self.consents[consent_id] = consent_value(value)

    def customer(self) -> WireCustomer:
        """Return the customer as the vendor wants it, without what the row does not mention."""
        customer = WireCustomer(self.values)
        if self.attributes:
            customer["customAttributes"] = [
                {"name": name, "value": value} for name, value in self.attributes.items()
            ]
        if self.consents:
            consents = [{"id": number, "value": value} for number, value in self.consents.items()]
            customer["consentsData"] = {"consents": consents, **self.options}
        return customer


@dataclass(frozen=True, slots=True)
class CustomerField:
    """Something that a row may say about a customer.

    :param name: what a user calls it; two fields of one name are the same.
    :param write: writes a value into a draft; raises ValueError, saying what is allowed.
    :param value: the vendor's field, where it fills one and nothing else.
    :param attribute: the custom attribute, where it fills one and nothing else.
    """

    name: str
    write: Callable[[Draft, Any], None] = field(compare=False, repr=False)
    value: str = field(default="", compare=False)
    attribute: str = field(default="", compare=False)


class CustomerFields:
    """What may be written into a customer, found by name.

    The vendor's own names (``email``, ``customAttributes`` ...), in any case; ``customAttributes.<name>``;
    ``consents.<id>`` or ``consents.<name>``; ``force`` and ``confirmationMessageId``.

    :param consents: the account's consents, by which their names are found; empty where they could not be read.
    """

    def __init__(self, consents: Iterable[Mapping[str, Any]] = ()) -> None:
        self._consent_ids: dict[str, list[int]] = {}
        self._consent_names: list[str] = []
        for consent in consents:
            name = str(consent.get("name") or "").strip()
            if name and isinstance(consent.get("id"), int):
                self._consent_names.append(name)
                self._consent_ids.setdefault(name.casefold(), []).append(consent["id"])

    def find(self, name: str | int) -> CustomerField | None:
        """Find a field by the name that a user writes.

        :raises CrmInputError: several consents have this name.
        """
        text = str(name).strip()
        prefix, dot, rest = text.partition(".")
        rest = rest.strip()
        if not dot:
            column = _CONSENT_COLUMN.fullmatch(text)
            return self._find_consent(column[1]) if column else _FIELDS.get(text.casefold())
        if prefix.casefold() == "consents" and rest:
            return self._find_consent(rest)
        if prefix.casefold() == "customattributes" and 1 <= len(rest) <= LONGEST_ATTRIBUTE_NAME:
            return CustomerField(
                f"customAttributes.{rest}",
                lambda draft, value: draft.add_attribute(rest, value),
                attribute="" if is_empty(rest) or not rest.isprintable() else rest,
            )
        return None

    def names(self) -> list[str]:
        """Return the names to choose from, for an error message."""
        return [
            *(one.name for one in _FIELDS.values()),
            "customAttributes.<name>",
            *(f"consents.{name}" for name in self._consent_names or ["<id>"]),
        ]

    def passed_over(self, columns: Collection[str]) -> Collection[str]:
        """Return the columns that the CRM alone writes, where a source with these columns is an export of it."""
        return own_columns(columns, _SHOWN, "id", "extra")

    def _find_consent(self, name: str) -> CustomerField | None:
        # Not every id is in the account's list: web-push consent, for one, is not.
        ids = [int(name)] if name.isdecimal() else self._consent_ids.get(name.casefold(), [])
        if len(ids) > 1:
            listed = ", ".join(map(str, ids))
            raise CrmInputError(f"Several consents are called {name!r}: use an id, one of {listed}")
        if not ids or ids[0] > MAX_INT32:
            return None
        number = ids[0]
        return CustomerField(f"consents.{number}", lambda draft, value: draft.add_consent(number, value))


def names_a_consent(name: str | int) -> bool:
    """Return whether a field's name can only be found with the account's list of consents."""
    prefix, dot, rest = str(name).strip().partition(".")
    return bool(dot) and prefix.casefold() == "consents" and not rest.strip().isdecimal()


def customer_of(values: Iterable[tuple[CustomerField, Any]], *, send_blanks: bool) -> WireCustomer:
    """Write a row's values into a customer.

    :param values: each field with its value; None is sent as ``null``, where the vendor's page has a value at all.
    :param send_blanks: whether this is so inside of a map of attributes, too; otherwise blanks there are left out.
    :return: the customer, ready to be sent.
    :raises ValueError: a value cannot be sent; names the field and says what is allowed.
    """
    draft = Draft(send_blanks=send_blanks)
    for one, value in values:
        try:
            one.write(draft, value)
        except ValueError as error:
            raise ValueError(f"{one.name}: {error}") from None
    return draft.customer()


def customers_of(
    fields: Sequence[CustomerField], columns: Sequence[Sequence[Any]]
) -> list[WireCustomer] | None:
    """Write many rows' values into customers as :func:`customer_of` does, where empty cells say nothing.

    :param columns: the cells of all rows by field.
    :return: None where a field is more than a value or an attribute.
    :raises ValueError: a value cannot be sent.
    """
    if not all(one.value or one.attribute for one in fields):
        return None
    written = [_column(one, cells) for one, cells in zip(fields, columns, strict=True)]
    names = [one.value for one in fields if one.value]
    values = [cells for one, cells in zip(fields, written, strict=True) if one.value]
    rows: Iterable[dict[str, Any]] = (
        dict(zip(names, cells, strict=True)) for cells in zip(*values, strict=True)
    )
    if any(None in cells for cells in values):
        rows = ({name: value for name, value in row.items() if value is not None} for row in rows)
    customers = list(map(WireCustomer, rows))
    attributes = [one.attribute for one in fields if one.attribute]
    if attributes:
        given = [cells for one, cells in zip(fields, written, strict=True) if one.attribute]
        for customer, texts in zip(customers, zip(*given, strict=True), strict=True):
            listed = [
                {"name": name, "value": text}
                for name, text in zip(attributes, texts, strict=True)
                if text is not None
            ]
            if listed:
                customer["customAttributes"] = listed
    return customers


def _column(one: CustomerField, cells: Sequence[Any]) -> Sequence[str | None]:
    longest = LONGEST.get(one.value, sys.maxsize)
    if one.value == "email" and are_plain_emails(cells, longest):
        return cells
    if one.attribute or one.value in ("firstName", "lastName"):
        texts = clean_texts(cells, longest)
        if texts is not None:
            return texts
    write: Callable[[Any], str | None] = _WRITERS.get(one.value, cell_text)
    return [None if is_empty(cell) else write(cell) for cell in cells]


def refusals_in(values: Iterable[tuple[CustomerField, Any]]) -> list[int]:
    """Return the ids of the consents that a row refuses, whatever else of it cannot be sent."""
    draft = Draft(send_blanks=False)
    for one, value in values:
        with suppress(ValueError):
            one.write(draft, value)
    return [number for number, value in draft.consents.items() if value == REFUSED]


def _value_field(name: str) -> CustomerField:
    writer = _WRITERS[name]

    def write(draft: Draft, value: Any) -> None:
        draft.values[name] = None if value is None else writer(value)

    return CustomerField(name, write, value=name)


def _write_attributes(draft: Draft, value: Any) -> None:
    if value is None:
        draft.values["customAttributes"] = None
        return
    for name, one in _pairs(parsed(value), "name"):
        draft.add_attribute(name, one)


def _write_consents(draft: Draft, value: Any) -> None:
    if value is None:
        draft.values["consentsData"] = None
        return
    data = parsed(value)
    if isinstance(data, Mapping) and not data.keys().isdisjoint(("consents", *_OPTIONS)):
        if unknown := sorted(map(str, data.keys() - {"consents", *_OPTIONS})):
            raise ValueError(f"{', '.join(unknown)} is no part of it")
        for name, write in _OPTIONS.items():
            write(draft, data.get(name))
        data = data.get("consents") or []
    problems = []
    for number, one in _pairs(data, "id"):
        try:
            draft.add_consent(number, one)
        except ValueError as error:
            problems.append(error)
    if problems:
        raise problems[0]


def _write_force(draft: Draft, value: Any) -> None:
    if value is not None:
        draft.options["force"] = forced(value)


def _write_message(draft: Draft, value: Any) -> None:
    if value is not None:
        draft.options["confirmationMessageId"] = int32(value, "it")


_OPTIONS: Mapping[str, Callable[[Draft, Any], None]] = {
    "force": _write_force,
    "confirmationMessageId": _write_message,
}

_WRITERS: Mapping[str, Callable[[Any], Any]] = {
    **{name: partial(identifier, name) for name in ("email", "phone", "crmId", "visitorId")},
    **{name: partial(named_text, name) for name in ("firstName", "lastName")},
    "dateOfBirth": birth,
    "gender": gender,
}

_FIELDS: Mapping[str, CustomerField] = {
    one.name.casefold(): one
    for one in (
        *map(_value_field, _WRITERS),
        CustomerField("customAttributes", _write_attributes),
        CustomerField("consentsData", _write_consents),
        CustomerField("consents", _write_consents),
        *(CustomerField(name, write) for name, write in _OPTIONS.items()),
    )
}


def _pairs(value: Any, key: str) -> Iterable[tuple[Any, Any]]:
    """Read ``{key: value}`` or the vendor's list of ``{"<key>": ..., "value": ...}``."""
    pairs = pairs_of(value)
    if pairs is not None:
        return pairs
    if isinstance(value, list | tuple) and all(
        isinstance(one, Mapping) and one.keys() == {key, "value"} for one in value
    ):
        return [(one[key], one["value"]) for one in value]
    raise ValueError(
        f"a list of {{{key}, value}} or a mapping of {key} to value is expected, or its JSON text"
    )
