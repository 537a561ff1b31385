"""One value of a customer, checked and in ExpertSender's form: the same for rows of a source and calls of the hook.

Facts: the vendor's page on customers (help.expertsender.com, "Klienci - metody API").
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from airflow_provider_crm.values import (
    is_empty,
    is_midnight,
    key_of,
    moment_of,
    normal_email,
    phone_of,
    text_of,
    whole_number,
    yes_or_no,
)

#: The one consent value that makes the CRM write to the person, at every call that carries it.
AWAITING_CONFIRMATION = "AwaitingConfirmation"
GRANTED, REFUSED = "True", "False"
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


def moment_text(value: dt.date) -> str:
    """Write a date or a moment as ``2023-07-25T12:35:54.712Z``; one without a zone is taken as UTC."""
    if not isinstance(value, dt.datetime):
        return f"{value.isoformat()}T00:00:00.000Z"
    if value.tzinfo is not None:
        value = value.astimezone(dt.UTC).replace(tzinfo=None)
    return f"{dt.datetime.isoformat(value, timespec='milliseconds')}Z"


def cell_text(value: Any) -> str | None:
    """Write a value as the text that an attribute or a name is; None stays what it is.

    :raises ValueError: no text says it.
    """
    return None if value is None else text_of(value, moment=moment_text)


def named_text(name: str, value: Any) -> str | None:
    """Write a value of a field whose length is bounded.

    :raises ValueError: it is too long, or no text says it.
    """
    text = cell_text(value)
    return None if text is None else _bounded(name, text)


def attribute_name(name: Any) -> str:
    """Check the name of a custom attribute.

    :raises ValueError: it is no text, or has no proper length.
    """
    if not isinstance(name, str):
        raise ValueError("an attribute's name is a text")
    if is_empty(name) or len(name) > LONGEST_ATTRIBUTE_NAME:
        raise ValueError(f"an attribute's name has 1 to {LONGEST_ATTRIBUTE_NAME} characters")
    text_of(name)
    return name


def identifier(name: str, value: Any) -> str:
    """Normalise a value by which a customer is known: e-mails in lower case, phones without blanks, ids trimmed.

    :param name: ``email``, ``phone``, ``crmId`` or ``visitorId``; ``id`` for the CRM's own.
    :raises ValueError: it is empty, too long, or no such value; says what is allowed.
    """
    if name == "id":
        return str(int32(value, "the id"))
    if name == "email":
        return _bounded(name, normal_email(value))
    # People write phones in groups, the vendor wants them without blanks.
    text = "".join(phone_of(value).split()) if name == "phone" else key_of(value)
    if text in ("", ".", ".."):  # dots mean other things in a path
        raise ValueError("it cannot stand in a path" if text else "it is empty")
    if name == "phone" and not any(map(str.isdigit, text)):
        raise ValueError("a phone number has digits")
    return _bounded(name, text)


def birth(value: Any) -> str:
    """Write a date of birth; a midnight, in whatever zone, is a day.

    :raises ValueError: it is no date.
    """
    try:
        moment = moment_of(value)
        return moment_text(moment.date() if is_midnight(moment) else moment)
    except (ValueError, OverflowError):
        pass
    raise ValueError("a date is written YYYY-MM-DD, YYYY-MM-DD HH:MM:SS or YYYY-MM-DDTHH:MM:SSZ")


def gender(value: Any) -> str:
    """Write a gender.

    :raises ValueError: it is none of the vendor's.
    """
    word = text_of(value).casefold()
    for one in GENDERS:
        if word == one.casefold():
            return one
    raise ValueError(f"allowed are {', '.join(GENDERS)}")


def consent_value(value: Any) -> str:
    """Write the value of a consent, which is a word: the vendor takes no JSON booleans.

    :raises ValueError: it is none of the vendor's.
    """
    if isinstance(value, str) and value.strip().casefold() == AWAITING_CONFIRMATION.casefold():
        return AWAITING_CONFIRMATION
    try:
        return GRANTED if yes_or_no(value) else REFUSED
    except ValueError:
        raise ValueError(f"allowed are {GRANTED}, {REFUSED}, {AWAITING_CONFIRMATION}") from None


def forced(value: Any) -> bool:
    """Read whether a message is to be sent whatever was sent before.

    :raises ValueError: neither yes nor no.
    """
    try:
        return yes_or_no(value)
    except ValueError:
        raise ValueError(f"allowed are {GRANTED}, {REFUSED}") from None


def int32(value: Any, what: str) -> int:
    """Read one of the vendor's numbers, which are ``int32`` and not negative.

    :raises ValueError: it is none; names it.
    """
    try:
        number = value if type(value) is int else whole_number(key_of(value))
    except ValueError:
        number = -1
    if not 0 <= number <= MAX_INT32:
        raise ValueError(f"{what} is a whole number")
    return number


def _bounded(name: str, text: str) -> str:
    if len(text) > LONGEST[name]:
        raise ValueError(f"the text has {len(text)} characters, the CRM takes {LONGEST[name]}")
    return text
