"""What may be written to SPREAD: a row's values checked and put into the vendor's form, before any call.

Knows neither HTTP nor a source. Facts: the vendor's pages "Customers" and "API - Customer Consentement"
(help.spreadfamily.fr). What reading gives is in :mod:`.spread`.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar, get_args

import msgspec

from airflow_provider_crm.schemas.spread.read import (
    ConsentStatus,
    Row,
    moment_text,
    split_custom_field,
    value_text,
)
from airflow_provider_crm.values import normal_email

T = TypeVar("T")
Fact = tuple[str, str]
"""A field and what it holds, in the form that is compared."""

#: Customer fields that hold one text each, without the e-mail.
TEXTS = (
    "lastName",
    "firstName",
    "country",
    "city",
    "address",
    "address2",
    "address3",
    "zip",
    "phone",
    "mobile",
    "lang",
    "birthday",
    "gender",
    "externalId",
    "company",
    "fonction",
)
FLAGS = ("isFan", "isFollow", "isFanLinkedin", "isBuyer")
#: Every customer field that can be written.
CUSTOMER_FIELDS = ("email", *TEXTS, *FLAGS, "tags", "custom_fields")
_NESTED = ("tags", "custom_fields")
#: What a single custom field is called, followed by its id.
CUSTOM_FIELD = "custom_fields."

#: ISO 3166-1 alpha-2.
_COUNTRIES = (
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY "
    "BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK "
    "FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR "
    "IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK "
    "ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM "
    "PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF "
    "TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW"
)
COUNTRIES = frozenset(_COUNTRIES.split())

_DATE = re.compile(r"\d{4}-\d\d-\d\d(?!\d)")
_ID = re.compile(r"\d{1,20}", re.ASCII)


# Single values


def checked(field: str, check: Callable[[Any], T], value: Any) -> T:
    """Check the value of a field.

    :param check: gives the value in the vendor's form, or raises ValueError.
    :raises ValueError: names the field as well.
    """
    try:
        return check(value)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None


def is_blank(value: Any) -> bool:
    """Tell whether a value says nothing: the empty cell of a table, whatever the table makes of it."""
    return value is None or (isinstance(value, str) and not value.strip()) or value in ([], {})


def text_of(value: Any) -> str:
    """Write one value as trimmed text.

    :raises ValueError: a value that is no text, number, flag or date, or that cannot be encoded.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # what a table with gaps makes of whole numbers
    text = value_text(value).strip()
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text holds characters that cannot be sent") from None
    return text


def email_of(value: Any) -> str:
    """Write an e-mail trimmed and in lower case.

    :raises ValueError: empty, or no address.
    """
    return normal_email("" if is_blank(value) else text_of(value))


def id_of(value: Any) -> str:
    """Write one of the vendor's ids, which are numbers.

    :raises ValueError: no number.
    """
    text = "" if isinstance(value, bool) else text_of(value)
    if not _ID.fullmatch(text):
        raise ValueError("an id of SPREAD is a number such as 123456")
    return text


def _country(value: Any) -> str:
    text = text_of(value).upper()
    if text not in COUNTRIES:
        raise ValueError("allowed are the two letters of ISO 3166, such as FR or BE")
    return text


def _birthday(value: Any) -> str:
    """Write a birthday as the page says, ``YYYY-mm-dd``; tables often add a midnight."""
    if isinstance(value, dt.datetime):
        return value.date().isoformat()
    if isinstance(value, dt.date):
        return value.isoformat()
    try:
        return _moment(value).date().isoformat()
    except ValueError:
        raise ValueError("allowed is a date such as 1970-12-31") from None


def _gender(value: Any) -> str:
    text = text_of(value).lower()
    if text not in ("male", "female"):
        raise ValueError("allowed are male and female")
    return text


def _flag(value: Any) -> str:
    text = text_of(value).lower()
    flag = {"0": "0", "1": "1", "false": "0", "true": "1"}.get(text)
    if flag is None:
        raise ValueError("allowed are 0 and 1")
    return flag


def _tags(value: Any) -> list[str]:
    parts = value.split("|") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple, set, frozenset)):
        raise ValueError("allowed is a list of texts, or a text such as a|b")
    tags = [text_of(part) for part in parts]
    if any("|" in tag for tag in tags):
        raise ValueError("a tag cannot hold |")
    return [tag for tag in dict.fromkeys(tags) if tag]


def _custom_value(value: Any) -> str:
    """Write a custom field's value; several choices become ``a|b``."""
    if not isinstance(value, (list, tuple, set, frozenset)):
        return text_of(value)
    choices = [text_of(part) for part in value]
    if any("|" in choice for choice in choices):
        raise ValueError("a choice cannot hold |")
    return "|".join(choices)


def _custom_fields(value: Any) -> dict[str, Any]:
    """Read a mapping of custom fields, which may be JSON text."""
    try:
        fields = msgspec.json.decode(value) if isinstance(value, str) else value
    except msgspec.DecodeError:
        fields = None
    if not isinstance(fields, Mapping):
        raise ValueError('allowed is a mapping of field id to value, also as JSON text such as {"1234": "1"}')
    return {id_of(number): part for number, part in fields.items()}


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "email": email_of,
    "country": _country,
    "birthday": _birthday,
    "gender": _gender,
    "tags": _tags,
    **dict.fromkeys(FLAGS, _flag),
}


# Customers


def customer_field(name: str | int, writable: Collection[str] = CUSTOMER_FIELDS) -> str | None:
    """Find a field that can be written by the name a user writes: the vendor's, or ``custom_fields.1234``.

    :return: None when there is none.
    """
    text = str(name)
    if text in writable:
        return text
    number = text.removeprefix(CUSTOM_FIELD)
    return text if number != text and "custom_fields" in writable and _ID.fullmatch(number) else None


def customer_values(fields: Iterable[tuple[str, Any]], *, send_blanks: bool) -> Row:
    """Check a row's values and put them into the vendor's form.

    :param fields: field, as :func:`customer_field` gives it, and value.
    :param send_blanks: whether a blank value becomes None, which clears; otherwise it is left out. The e-mail, without
        which nothing can be written, and tags, which can only be added, are always left out when they are blank.
    :return: texts; ``tags`` as a list, ``custom_fields`` as a map of id to text.
    :raises ValueError: names the field, and says what is allowed.
    """
    values: Row = {}
    custom: dict[str, Any] = {}
    for field, value in fields:
        if field == "custom_fields":
            # A field that has a column of its own is taken from there.
            custom = ({} if is_blank(value) else checked(field, _custom_fields, value)) | custom
        elif field.startswith(CUSTOM_FIELD):
            custom[field.removeprefix(CUSTOM_FIELD)] = value
        elif not is_blank(value):
            values[field] = checked(field, _CHECKS.get(field, text_of), value)
        elif send_blanks and field not in ("email", "tags"):
            values[field] = None
    written = {
        number: None if is_blank(value) else checked(CUSTOM_FIELD + number, _custom_value, value)
        for number, value in custom.items()
        if send_blanks or not is_blank(value)
    }
    return values | ({"custom_fields": written} if written else {})


def differing(held: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Name the fields in which a customer is not as wanted.

    :param held: the customer as the CRM gives it, with ``custom_fields``.
    :param wanted: values as :func:`customer_values` gives them; tags that the customer has besides do not count, since
        writing only adds.
    """
    facts = facts_held(held)
    known = {field for field, _ in facts}

    def lacks(fact: Fact) -> bool:
        field, text = fact
        return fact not in facts and (text != "" or field in known)

    return [name for name, value in wanted.items() if any(map(lacks, facts_wanted({name: value})))]


def facts_wanted(wanted: Mapping[str, Any]) -> set[Fact]:
    """Take values apart into what can be compared piece by piece: each field, tag and custom field with its text."""
    facts = {(name, _comparable(name, value)) for name, value in wanted.items() if name not in _NESTED}
    facts.update(("tags", tag) for tag in wanted.get("tags") or ())
    custom = wanted.get("custom_fields") or {}
    facts.update((CUSTOM_FIELD + number, _choices(text)) for number, text in custom.items())
    return facts


def facts_held(held: Mapping[str, Any]) -> set[Fact]:
    """Take a customer apart as :func:`facts_wanted` does."""
    custom = {number: split_custom_field(text)[1] for number, text in _held_custom_fields(held).items()}
    plain = {name: held.get(name) for name in CUSTOMER_FIELDS if name not in _NESTED}
    return facts_wanted({**plain, "tags": _held_tags(held), "custom_fields": custom})


def _choices(value: str | None) -> str:
    return "|".join(sorted(part.strip() for part in (value or "").split("|")))


def _comparable(name: str, value: Any) -> str:
    text = _held_text(value)
    if name in FLAGS:
        return text or "0"
    if name == "birthday":
        return text[:10]
    if name == "lang":
        return re.split("[_-]", text.lower())[0]  # version 1 wants fr_FR, and version 2 shows fr
    return text.casefold() if name in ("email", "country", "gender") else text


def overlaid(held: Mapping[str, Any], wanted: Mapping[str, Any], writable: Collection[str]) -> Row:
    """Lay wanted values over all that the CRM holds of a customer and that can be written.

    Whether an update clears what it does not mention is not documented.
    """
    whole = {name: text for name in writable if name not in _NESTED and (text := _held_text(held.get(name)))}
    if "birthday" in whole:
        whole["birthday"] = whole["birthday"][:10]
    nested = {
        "tags": list(dict.fromkeys((*_held_tags(held), *(wanted.get("tags") or ())))),
        "custom_fields": _carried_custom_fields(held) | (wanted.get("custom_fields") or {}),
    }
    return (
        whole | dict(wanted) | {name: value for name, value in nested.items() if value and name in writable}
    )


def _held_text(value: Any) -> str:
    """Read one value; whatever is no text or number is nothing that could be written back."""
    return text_of(value) if isinstance(value, (str, int)) else ""


def _held_tags(held: Mapping[str, Any]) -> list[str]:
    return [text for tag in held.get("tags") or () if (text := _held_text(tag))]


def _held_custom_fields(held: Mapping[str, Any]) -> dict[str, str]:
    return {number: _held_text(value) for number, value in (held.get("custom_fields") or {}).items()}


def _carried_custom_fields(held: Mapping[str, Any]) -> dict[str, Any]:
    # Shown is "Name:Value", written is the value. Of a text with several colons nobody can tell where the value
    # begins; and what the page says of custom fields is that they are added.
    return {
        number: split_custom_field(text)[1]
        for number, text in _held_custom_fields(held).items()
        if text.count(":") == 1 and not text.endswith(":")
    }


# Consents


def consent_status(value: Any) -> ConsentStatus:
    """Check the answer to a consent.

    :raises ValueError: one that cannot be written.
    """
    text = "" if is_blank(value) else text_of(value).lower()
    for status in get_args(ConsentStatus):
        if text == status:
            return status  # type: ignore[no-any-return]
    raise ValueError(f"allowed are {', '.join(get_args(ConsentStatus))}")


def consent_moment(value: Any) -> str:
    """Write the moment of an answer as ``2018-06-30 09:10:34``, in the vendor's local time.

    :param value: a datetime, a date, or text in a form of ISO 8601; with a zone it is converted, a date alone is its
        midnight.
    :raises ValueError: none of these.
    """
    try:
        return moment_text(value if isinstance(value, dt.date) else _moment("" if value is None else value))
    except (ValueError, OverflowError):
        raise ValueError("required is a moment such as 2018-06-30 09:10:34") from None


def _moment(value: Any) -> dt.datetime:
    text = text_of(value)
    if not _DATE.match(text):
        raise ValueError("no date")
    return dt.datetime.fromisoformat(text)
