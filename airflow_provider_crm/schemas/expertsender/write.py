"""ExpertSender CDP's records: how a source's values are written into a customer.

Knows no HTTP. Facts: the vendor's page on customers (help.expertsender.com, "Klienci - metody API").
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

import msgspec

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.values import normal_email

Mode = Literal["Add", "Update", "AddOrUpdate"]
MatchBy = Literal["Email", "PhoneNumber", "CrmId", "GUID", "VisitorId"]
By = Literal["id", "email", "phone", "crmId"]

#: The one consent value that makes the CRM write to the person, at every call that carries it.
AWAITING_CONFIRMATION = "AwaitingConfirmation"
GRANTED, REFUSED = "True", "False"

#: The field of a customer that each way of matching looks at. The vendor names none for a GUID: the visitor id is the
#: one that can hold it.
KEY_FIELDS: Mapping[str, str] = {
    "Email": "email",
    "PhoneNumber": "phone",
    "CrmId": "crmId",
    "GUID": "visitorId",
    "VisitorId": "visitorId",
}
GENDERS = ("Male", "Female", "NotSpecified")
#: The longest texts; those of visitor id and names are on the English page (help.expertsender.com,
#: "Customers - API methods").
LONGEST: Mapping[str, int] = {
    "email": 320,
    "phone": 20,
    "crmId": 128,
    "visitorId": 38,
    "firstName": 256,
    "lastName": 256,
}
LONGEST_ATTRIBUTE_NAME = 256
MAX_INT32 = 2**31 - 1

#: Fields that are text on the wire although sources often hold numbers.
_TEXTS = ("email", "phone", "crmId", "visitorId", "firstName", "lastName")


def wire_customer(customer: Mapping[str, Any]) -> dict[str, Any]:
    """Write a customer as the vendor wants it: texts as texts, dates with their time, consent values as words.

    :param customer: the vendor's field names; ``customAttributes`` as ``[{"name", "value"}]``, ``consentsData`` as
        ``{"consents": [{"id", "value"}], ...}``. Fields that are None are sent as ``null``.
    :raises CrmInputError: a value that JSON cannot express.
    """
    wire = dict(customer)
    for name in _TEXTS:
        if name in wire:
            wire[name] = _text(wire[name])
    if isinstance(birth := wire.get("dateOfBirth"), dt.date):
        wire["dateOfBirth"] = moment_text(birth)
    try:
        if attributes := wire.get("customAttributes"):
            wire["customAttributes"] = [_attribute(attribute) for attribute in attributes]
        if (data := wire.get("consentsData")) and data.get("consents"):
            wire["consentsData"] = {**data, "consents": [_consent(consent) for consent in data["consents"]]}
    except (AttributeError, TypeError):
        pass
    else:
        return wire
    raise CrmInputError("`customAttributes` or `consentsData` has another shape than ExpertSender documents")


def moment_text(value: dt.date) -> str:
    """Write a date or a moment as ``2023-07-25T12:35:54.712Z``; one without a zone is taken as UTC."""
    if not isinstance(value, dt.datetime):
        return f"{value.isoformat()}T00:00:00.000Z"
    if value.tzinfo is not None:
        value = value.astimezone(dt.UTC).replace(tzinfo=None)
    return f"{dt.datetime.isoformat(value, timespec='milliseconds')}Z"


def _attribute(attribute: Mapping[str, Any]) -> dict[str, Any]:
    return {**attribute, "value": _text(attribute.get("value"))}


def _consent(consent: Mapping[str, Any]) -> dict[str, Any]:
    value = consent.get("value")
    if isinstance(value, bool):
        value = str(value)  # the words "True" and "False": the vendor takes no JSON booleans
    elif isinstance(value, str) and value.strip().casefold() == AWAITING_CONFIRMATION.casefold():
        value = AWAITING_CONFIRMATION
    return {**consent, "value": value}


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dt.datetime):
        return moment_text(value)
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, (float, Decimal)) and not math.isfinite(value):
        raise CrmInputError("A value is not a number (NaN or infinite)")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # how many sources hand out whole numbers
    if isinstance(value, (float, Decimal)):
        return format(Decimal(str(value)), "f")
    if isinstance(value, int):
        return str(value)
    raise CrmInputError(f"A value of type {type(value).__name__} cannot be written as text")


# From a row to a customer


class Draft:
    """A customer while the fields of a row are written into it, one after the other."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.attributes: dict[str, str | None] = {}
        self.consents: dict[int, str] = {}
        self.options: dict[str, Any] = {}

    def add_attribute(self, name: str, value: Any) -> None:
        """Take note of a custom attribute.

        :raises ValueError: it is there already, its name has no proper length, or its value cannot be text.
        """
        if not 1 <= len(_sendable(name)) <= LONGEST_ATTRIBUTE_NAME:
            raise ValueError(f"an attribute's name has 1 to {LONGEST_ATTRIBUTE_NAME} characters")
        if name in self.attributes:
            raise ValueError(f"attribute {name!r} is given twice")
        text = _text(value)
        self.attributes[name] = None if text is None else _sendable(text)

    def add_consent(self, number: Any, value: Any) -> None:
        """Take note of a consent; one without a value says nothing.

        :raises ValueError: it is there already, or id or value are none.
        """
        consent_id = _int32(number, "a consent's id")
        if value is None:
            return
        if consent_id in self.consents:
            raise ValueError(f"consent {consent_id} is given twice")
        self.consents[consent_id] = _consent_value(value)

    def customer(self) -> dict[str, Any]:
        """Give the customer as the vendor wants it, without what the row does not mention."""
        customer = dict(self.values)
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
    """

    name: str
    write: Callable[[Draft, Any], None] = field(compare=False, repr=False)


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
            return _FIELDS.get(text.casefold())
        if prefix.casefold() == "consents" and rest:
            return self._find_consent(rest)
        if prefix.casefold() == "customattributes" and 1 <= len(rest) <= LONGEST_ATTRIBUTE_NAME:
            return CustomerField(
                f"customAttributes.{rest}", lambda draft, value: draft.add_attribute(rest, value)
            )
        return None

    def names(self) -> list[str]:
        """Give the names to choose from, for an error message."""
        return [
            *(one.name for one in _FIELDS.values()),
            "customAttributes.<name>",
            *(f"consents.{name}" for name in self._consent_names or ["<id>"]),
        ]

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
    """Tell whether a field's name can only be found with the account's list of consents."""
    prefix, dot, rest = str(name).strip().partition(".")
    return bool(dot) and prefix.casefold() == "consents" and not rest.strip().isdecimal()


def customer_of(values: Iterable[tuple[CustomerField, Any]]) -> dict[str, Any]:
    """Write a row's values into a customer.

    :param values: each field with its value; None is sent as ``null``, where the vendor's page has a value at all.
    :return: the customer, ready to be sent.
    :raises ValueError: a value cannot be sent; names the field and says what is allowed.
    """
    draft = Draft()
    for one, value in values:
        try:
            one.write(draft, value)
        except ValueError as error:
            raise ValueError(f"{one.name}: {error}") from None
    return draft.customer()


def identifier(name: str, value: Any) -> str:
    """Normalise a value by which a customer is known: e-mails in lower case, phones without blanks, ids trimmed.

    :param name: ``email``, ``phone``, ``crmId`` or ``visitorId``; ``id`` for the CRM's own.
    :raises ValueError: it is empty, too long, or no such value; says what is allowed.
    """
    if name == "id":
        return str(_int32(value, "the id"))
    text = _text(value) or ""
    if name == "email":
        text = normal_email(text)
    elif name == "phone":
        text = "".join(text.split())  # people write it in groups, the vendor wants it without blanks
    text = text.strip()
    if text in ("", ".", ".."):  # dots mean other things in a path
        raise ValueError("it cannot stand in a path" if text else "it is empty")
    return _bounded(name, text)


def _text_field(name: str) -> CustomerField:
    def write(draft: Draft, value: Any) -> None:
        text = _text(value)
        draft.values[name] = None if text is None else _bounded(name, text)

    return CustomerField(name, write)


def _identifier_field(name: str) -> CustomerField:
    def write(draft: Draft, value: Any) -> None:
        draft.values[name] = None if value is None else identifier(name, value)

    return CustomerField(name, write)


def _write_birth(draft: Draft, value: Any) -> None:
    draft.values["dateOfBirth"] = None if value is None else _moment(value)


def _write_gender(draft: Draft, value: Any) -> None:
    if value is None:
        draft.values["gender"] = None
        return
    for gender in GENDERS:
        if str(value).strip().casefold() == gender.casefold():
            draft.values["gender"] = gender
            return
    raise ValueError(f"allowed are {', '.join(GENDERS)}")


def _write_attributes(draft: Draft, value: Any) -> None:
    if value is None:
        draft.values["customAttributes"] = None
        return
    for name, one in _pairs(_parsed(value), "name"):
        if not isinstance(name, str):
            raise ValueError("an attribute's name is a text")
        draft.add_attribute(name, one)


def _write_consents(draft: Draft, value: Any) -> None:
    if value is None:
        draft.values["consentsData"] = None
        return
    parsed = _parsed(value)
    if isinstance(parsed, Mapping) and not parsed.keys().isdisjoint(("consents", *_OPTIONS)):
        if unknown := sorted(map(str, parsed.keys() - {"consents", *_OPTIONS})):
            raise ValueError(f"{', '.join(unknown)} is no part of it")
        for name, write in _OPTIONS.items():
            write(draft, parsed.get(name))
        parsed = parsed.get("consents") or ()
    for number, one in _pairs(parsed, "id"):
        draft.add_consent(number, one)


def _write_force(draft: Draft, value: Any) -> None:
    if value is not None:
        draft.options["force"] = _consent_value(value, (GRANTED, REFUSED)) == GRANTED


def _write_message(draft: Draft, value: Any) -> None:
    if value is not None:
        draft.options["confirmationMessageId"] = _int32(value, "it")


_OPTIONS: Mapping[str, Callable[[Draft, Any], None]] = {
    "force": _write_force,
    "confirmationMessageId": _write_message,
}

_FIELDS: Mapping[str, CustomerField] = {
    one.name.casefold(): one
    for one in (
        *(_identifier_field(name) for name in ("email", "phone", "crmId", "visitorId")),
        *(_text_field(name) for name in ("firstName", "lastName")),
        CustomerField("dateOfBirth", _write_birth),
        CustomerField("gender", _write_gender),
        CustomerField("customAttributes", _write_attributes),
        CustomerField("consentsData", _write_consents),
        CustomerField("consents", _write_consents),
        *(CustomerField(name, write) for name, write in _OPTIONS.items()),
    )
}

_CONSENT_WORDS = {
    **dict.fromkeys(("true", "1", "1.0", "yes"), GRANTED),
    **dict.fromkeys(("false", "0", "0.0", "no"), REFUSED),
    AWAITING_CONFIRMATION.casefold(): AWAITING_CONFIRMATION,
}


def _consent_value(value: Any, allowed: tuple[str, ...] = (GRANTED, REFUSED, AWAITING_CONFIRMATION)) -> str:
    found = _CONSENT_WORDS.get(str(value).strip().casefold())
    if found not in allowed:
        raise ValueError(f"allowed are {', '.join(allowed)}")
    return found


def _pairs(value: Any, key: str) -> Iterable[tuple[Any, Any]]:
    """Read ``{key: value}`` or the vendor's list of ``{"<key>": ..., "value": ...}``."""
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, list | tuple) and all(
        isinstance(one, Mapping) and one.keys() == {key, "value"} for one in value
    ):
        return [(one[key], one["value"]) for one in value]
    raise ValueError(
        f"a list of {{{key}, value}} or a mapping of {key} to value is expected, or its JSON text"
    )


def _parsed(value: Any) -> Any:
    """Read the JSON text of a cell; leave alone what is no text."""
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise ValueError("this is no JSON") from None


def _moment(value: Any) -> str:
    try:
        if isinstance(value, str):
            value = dt.datetime.fromisoformat(value.strip().replace("/", "-"))
        if isinstance(value, dt.date):
            return moment_text(value)
    except (ValueError, OverflowError):
        pass
    raise ValueError("a date is written YYYY-MM-DD, YYYY-MM-DD HH:MM:SS or YYYY-MM-DDTHH:MM:SSZ")


def _int32(value: Any, what: str) -> int:
    text = _text(value) or ""
    if not text.strip().isdecimal() or int(text) > MAX_INT32 or isinstance(value, bool):
        raise ValueError(f"{what} is a whole number")
    return int(text)


def _bounded(name: str, text: str) -> str:
    if len(text) > LONGEST[name]:
        raise ValueError(f"the text has {len(text)} characters, the CRM takes {LONGEST[name]}")
    return _sendable(text)


def _sendable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text holds half a character") from None
    return text
