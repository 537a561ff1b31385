"""Mindbaz' records: what its answers look like, and how a source's values become a subscriber's fields.

Knows no HTTP. Facts: the vendor's page on subscribers (learn.mindbaz.com, "Gestion des abonnés") unless said.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.http.calls import encode_json
from airflow_provider_crm.schemas.records import own_columns
from airflow_provider_crm.values import (
    comparable,
    day_of,
    key_of,
    moment_of,
    plain,
    text_of,
    whole_number,
    yes_or_no,
)

#: Field ids that the vendor's page names.
ID, EMAIL, STATUS, CLIENT_ID, UNSUBSCRIBED_AT = 0, 1, 7, 43, 4
#: Date fields that hold a day: the date of birth. The vendor's page shows fields 2, 3 and 4 with their time of day.
BIRTH_DATE = 20
DAY_FIELDS = frozenset({BIRTH_DATE})
#: The code of field 7 that means subscribed; every other one is some way of not being subscribed.
SUBSCRIBED = 0
UNSUBSCRIBED = 1
#: What a call takes at most.
MAX_SUBSCRIBERS = 5000
#: The server reads and shows local times; its samples carry +02:00 in summer and +01:00 in winter.
ZONE = ZoneInfo("Europe/Paris")

Subscriber = dict[str, Any]
"""``{"id": int, "fields": {field id: value}}``."""

#: How an export calls a field whose name another one has too.
_NUMBERED = re.compile(r".* \((\d+)\)", re.ASCII)


# Without `gc`, Python does not look for reference cycles among tens of thousands of these.
class FieldData(msgspec.Struct, gc=False):
    idField: int  # noqa: N815 - the vendor's name
    value: Any = None


class SubscriberData(msgspec.Struct, gc=False, omit_defaults=True):
    """A subscriber as calls and answers have it.

    :ivar id: of an answer always a number, which is -1 where the vendor took the subscriber for none.
    """

    id: int | str | None = None
    fields: list[FieldData] | None = None

    @property
    def names_nobody(self) -> bool:
        """Whether no id says whose fields these are."""
        return self.id is None and all(field.idField != ID for field in self.fields or ())

    def value(self, field_id: int) -> Any:
        """Return what a field holds; None where it is not here."""
        for field in reversed(self.fields or ()):  # of several the last one counts, as in a map
            if field.idField == field_id:
                return field.value
        return None

    def plain(self) -> Subscriber:
        return {"id": self.id, "fields": {field.idField: field.value for field in self.fields or ()}}


# Ids may come as texts (mevdschee/php-crud-api, issue 159); `-1` must be told however it is printed.
_read_subscribers = msgspec.json.Decoder(list[SubscriberData] | None, strict=False).decode

#: An answer's data when nothing was found: not an empty list.
NOTHING = b"null"


class WrappedData(msgspec.Struct):
    """The envelope of every answer: ``success`` alone proves nothing, see :class:`SubscriberData`'s id of -1."""

    success: bool
    data: msgspec.Raw = msgspec.Raw(b"null")
    error: Any = None


def subscribers_of(data: bytes | msgspec.Raw) -> list[SubscriberData]:
    """Read the subscribers of an answer; none found is ``null``.

    :raises ValueError: another shape than documented.
    """
    subscribers = _read_subscribers(data) or []
    for one in subscribers:
        if one.id.__class__ is not int:
            number = one.value(ID) if one.id is None else one.id
            one.id = -1 if number is None else int(number)
    return subscribers


def wire_subscriber(number: int | None, fields: Mapping[int, Any]) -> SubscriberData:
    """Write a subscriber as POST and PUT want it; without an id it is to be created."""
    return SubscriberData(number, list(map(FieldData, fields.keys(), fields.values())))


def checked_subscriber(subscriber: Mapping[str, Any]) -> SubscriberData:
    """Write a subscriber of whoever uses the hook, as :func:`wire_subscriber` does.

    :raises CrmInputError: another shape than subscribers have.
    """
    try:
        fields = {int(field): value for field, value in subscriber["fields"].items()}
        number = subscriber.get("id")
        return wire_subscriber(None if number is None else int(number), fields)
    except (AttributeError, KeyError, TypeError, ValueError):
        pass  # their words may quote the value
    raise CrmInputError(
        'A subscriber is {"fields": {1: "zoe@example.fr", 14: "Zoé"}}, ids of fields to values, and has its "id" '
        "besides where it exists"
    )


class FieldType(msgspec.Struct, frozen=True):
    """One field of a site, and how values are written into it."""

    id: int
    name: str
    type: int = 0
    length: int = 0
    choices: tuple[tuple[int, str], ...] = ()
    label: str = ""

    def convert(self, value: Any) -> Any:
        """Turn a source's value into the one the vendor documents for this type of field.

        :raises ValueError: it cannot stand in this field; the message says what can.
        """
        return self.converter()(value)

    def converter(self) -> Callable[[Any], Any]:
        """Return :meth:`convert` for many values: what depends on the field is decided once."""
        if self.type == TEXT and not self.length:
            return text_of
        return partial(_CONVERTERS.get(self.type, _as_is), self)


TEXT, INTEGER, DATE, LIST, BOOLEAN = 1, 2, 3, 4, 5

#: Types of the system fields, for a key that may not read the list of fields.
SYSTEM_FIELDS = {
    field.id: field
    for field in (
        FieldType(EMAIL, "Email", TEXT),
        FieldType(2, "First subscription date", DATE),
        FieldType(3, "Last subscription date", DATE),
        FieldType(UNSUBSCRIBED_AT, "Unsubscription date", DATE),
        FieldType(STATUS, "Status", LIST),
        FieldType(BIRTH_DATE, "Birth date", DATE),
        FieldType(CLIENT_ID, "IdClient", TEXT),
    )
}


def field_type(data: Mapping[str, Any]) -> FieldType:
    """Read one item of the site's list of fields (learn.mindbaz.com, "Gestion des champs")."""
    return FieldType(
        id=int(data["id"]),
        name=str(data.get("name") or ""),
        type=_int(data.get("fieldType")),
        length=_int(data.get("length")),
        choices=tuple(
            (int(choice["key"]), str(choice.get("value") or ""))
            for choice in data.get("list") or ()
            if isinstance(choice, Mapping) and str(choice.get("key", "")).lstrip("-").isdecimal()
        ),
        label=str(data.get("description") or ""),
    )


class Fields:
    """The fields of a site, found by id or by name.

    :param known: the site's fields; empty where they could not be read.
    """

    def __init__(self, known: Iterable[FieldType]) -> None:
        self._by_id = {field.id: field for field in known}
        self._complete = bool(self._by_id)
        self._ids_by_name = {"email": EMAIL, "idclient": CLIENT_ID}
        for field in self._by_id.values():
            if field.label:
                self._ids_by_name.setdefault(field.label.casefold(), field.id)
        # Of two fields of one name the first has it, and the other its number besides, as in an export.
        fields = reversed(self._by_id.values())
        self._ids_by_name |= {field.name.casefold(): field.id for field in fields if field.name}

    def find(self, name: str | int) -> FieldType | None:
        """Find a field to write by its id (``14``, ``"14"``, ``"fld14"``), name or label, in any case.

        :raises CrmInputError: the field is the subscriber's id, which Mindbaz gives.
        """
        text = str(name).strip().casefold()
        digits = text.removeprefix("fld")
        number = int(digits) if digits.isdecimal() else self._ids_by_name.get(text)
        if number is None and (numbered := _NUMBERED.fullmatch(text)):
            number = int(numbered[1])
        if number is None:
            return None
        if number == ID:
            raise CrmInputError("Field 0, the subscriber's id, is given by Mindbaz and cannot be written")
        field = self._by_id.get(number) or SYSTEM_FIELDS.get(number)
        if field is None and not self._complete:
            return FieldType(number, f"field {number}")
        return field

    def names(self) -> list[str]:
        """Return the names to choose from, for an error message."""
        return sorted(field.name for field in self._by_id.values() if field.name)

    def passed_over(self, columns: Collection[str]) -> Collection[str]:
        """Return the columns that are no fields of the site, where a source with these columns is an export of it."""
        own = own_columns(columns, ("id",), "extra")
        return [column for column in own if self._ids_by_name.get(column, ID) == ID]


def date_text(value: Any) -> str:
    """Write a moment as the vendor's sample does: local time, to the minute.

    :param value: a datetime or date, or text such as ``2023-01-04 17:39:00``; one with a zone is converted.
    :raises ValueError: no date.
    """
    moment = moment_of(value)
    try:
        if moment.tzinfo is not None:
            moment = moment.astimezone(ZONE).replace(tzinfo=None)
    except OverflowError:
        raise ValueError("this is no date of the calendar") from None
    return moment.isoformat(" ", "minutes").replace("-", "/")


def with_date(sent: dict[int, Any], row: Mapping[int, Any]) -> dict[int, Any]:
    """Add the date of unsubscription where somebody is unsubscribed, as the vendor asks, unless the row has one.

    :param sent: what is about to be sent of the row's fields.
    """
    if sent.get(STATUS) != UNSUBSCRIBED or row.get(UNSUBSCRIBED_AT) is not None:
        return sent
    return {**sent, UNSUBSCRIBED_AT: date_text(dt.datetime.now(ZONE))}


def _int(value: Any) -> int:
    try:
        return whole_number(value or 0)
    except ValueError:
        return 0


def _text(field: FieldType, value: Any) -> str:
    text = text_of(value)
    if field.length and len(text) > field.length:
        raise ValueError(f"the text has {len(text)} characters, the field takes {field.length}")
    return text


def _integer(field: FieldType, value: Any) -> int:
    number: int = _sendable(whole_number(value))
    return number


def _choice(field: FieldType, value: Any) -> int:
    text = key_of(text_of(value))
    keys = {str(key) for key, _ in field.choices}
    if text.removeprefix("-").isdecimal() and (not keys or text in keys):
        number: int = _sendable(int(text))
        return number
    for key, label in field.choices:
        if text and comparable(label).casefold() == comparable(text).casefold():
            return key
    allowed = ", ".join(f"{key} ({label})" for key, label in field.choices) or "a number"
    raise ValueError(f"allowed are {allowed}")


def _boolean(field: FieldType, value: Any) -> int:
    return int(yes_or_no(value))


def _date(field: FieldType, value: Any) -> str:
    return date_text(day_of(value) if field.id in DAY_FIELDS else value)


def _as_is(field: FieldType, value: Any) -> Any:
    """Write a value into a field of which nothing is known but its number."""
    own = plain(value)
    if isinstance(own, dt.date):
        return date_text(own)
    if isinstance(own, float | Decimal):
        return _sendable(int(text) if (text := text_of(own)).lstrip("-").isdecimal() else own)
    return _sendable(own) if isinstance(own, int | list | dict) else text_of(own)


def _sendable(value: Any) -> Any:
    """Raise ValueError for what no call could carry, such as a number of 30 digits: one row would fail its whole batch.

    :raises ValueError: there is such a value.
    """
    try:
        encode_json(value)
    except (CrmInputError, RecursionError):
        pass  # its message may quote the value
    else:
        return value
    raise ValueError("a value cannot be written as JSON")


_CONVERTERS: Mapping[int, Callable[[FieldType, Any], Any]] = {
    TEXT: _text,
    INTEGER: _integer,
    DATE: _date,
    LIST: _choice,
    BOOLEAN: _boolean,
}
