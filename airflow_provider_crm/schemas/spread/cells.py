"""One value of a SPREAD record, checked and in the vendor's form: the same for rows of a source and calls of the hook.

Facts: the vendor's pages "Customers" and "API - Customer Consentement" (help.spreadfamily.fr).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, get_args
from zoneinfo import ZoneInfo

from airflow_provider_crm import values
from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.values import (
    day_of,
    is_empty,
    key_of,
    moment_of,
    normal_email,
    pairs_of,
    parsed,
    phone_of,
    plain,
    yes_or_no,
)

T = TypeVar("T")

#: The vendor shows local times without a zone.
ZONE = ZoneInfo("Europe/Paris")

ShownStatus = Literal["accepted", "refused", "toBeConfirmed", "unknown"]
ConsentStatus = Literal["accepted", "refused", "unknown"]
"""What can be written; ``toBeConfirmed`` can only be read."""

FLAGS = ("isFan", "isFollow", "isFanLinkedin", "isBuyer")

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

_ID = re.compile(r"\d{1,20}", re.ASCII)


def checked(field: str, check: Callable[[Any], T], value: Any) -> T:
    """Check the value of a field.

    :param check: gives the value in the vendor's form, or raises ValueError.
    :raises ValueError: names the field as well.
    """
    try:
        return check(value)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None


def moment_text(value: dt.date) -> str:
    """Write a moment as ``2018-06-30 09:10:34``.

    :param value: a datetime with a zone is converted to the vendor's local time, one without is taken as it is;
        a date is its midnight.
    """
    if not isinstance(value, dt.datetime):
        return f"{value.isoformat()} 00:00:00"
    try:
        if value.tzinfo is not None:
            value = value.astimezone(ZONE).replace(tzinfo=None)
    except OverflowError:
        raise CrmInputError("this is no date of the calendar") from None
    return dt.datetime.isoformat(value, " ", "seconds")


def text_of(value: Any) -> str:
    """Write one value as trimmed text: flags as 1 and 0, moments in local time.

    :raises ValueError: a value that is no text, number, flag or date, or that cannot be encoded.
    """
    return values.text_of(value, moment=moment_text, flags=("0", "1"))


def is_id(text: str) -> bool:
    """Return whether a text can be one of the vendor's ids."""
    return bool(_ID.fullmatch(text))


def id_of(value: Any) -> str:
    """Write one of the vendor's ids, which are numbers.

    :raises ValueError: no number.
    """
    text = "" if isinstance(value, bool) else key_of(value)
    if not is_id(text):
        raise ValueError("an id of SPREAD is a number such as 123456")
    return text


# Customers


def _country(value: Any) -> str:
    text = text_of(value).upper()
    if text not in COUNTRIES:
        raise ValueError("allowed are the two letters of ISO 3166, such as FR or BE")
    return text


def _birthday(value: Any) -> str:
    """Write a birthday as the page says, ``YYYY-mm-dd``; tables often add a midnight, in some zone."""
    try:
        return day_of(value).isoformat()
    except ValueError:
        raise ValueError("allowed is a date such as 1970-12-31") from None


def _gender(value: Any) -> str:
    text = text_of(value).lower()
    if text not in ("male", "female"):
        raise ValueError("allowed are male and female")
    return text


def _flag(value: Any) -> str:
    return "1" if yes_or_no(value) else "0"


def tags_of(value: Any) -> list[str]:
    """Write tags, which may be a list, its JSON, or a text such as ``a|b``.

    :raises ValueError: none of these, or a tag that cannot be told from two.
    """
    if isinstance(value, str):
        try:
            parts = parsed(value)
        except ValueError:
            parts = value
        parts = value.split("|") if isinstance(parts, str) else parts
    else:
        parts = plain(value)
    if not isinstance(parts, (list, tuple, set, frozenset)):
        raise ValueError("allowed is a list of texts, or a text such as a|b")
    tags = [text_of(part) for part in parts]
    if any("|" in tag for tag in tags):
        raise ValueError("a tag cannot hold |")
    return [tag for tag in dict.fromkeys(tags) if not is_empty(tag)]


def custom_value(value: Any) -> str:
    """Write a custom field's value; several choices become ``a|b``.

    :param value: also as our exports have it, beside the field's name.
    :raises ValueError: no text says it.
    """
    value = plain(value)
    if isinstance(value, dict) and value.keys() == {"name", "value"}:
        value = "" if is_empty(value["value"]) else value["value"]
    if not isinstance(value, (list, tuple, set, frozenset)):
        return text_of(value)
    choices = [text_of(part) for part in value]
    if any("|" in choice for choice in choices):
        raise ValueError("a choice cannot hold |")
    return "|".join(choice for choice in choices if not is_empty(choice))


def custom_fields_of(value: Any) -> dict[str, Any]:
    """Read a mapping of custom fields, which may be JSON text.

    :raises ValueError: no mapping, or a field that is no id.
    """
    try:
        pairs = pairs_of(parsed(value))
    except ValueError:
        pairs = None
    if pairs is None:
        raise ValueError('allowed is a mapping of field id to value, also as JSON text such as {"1234": "1"}')
    return {id_of(number): part for number, part in pairs}


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "email": normal_email,
    "country": _country,
    "birthday": _birthday,
    "gender": _gender,
    "tags": tags_of,
    # None of them has a fraction, as data frames with gaps give them.
    **dict.fromkeys(("externalId", "zip"), key_of),
    **dict.fromkeys(("phone", "mobile"), phone_of),
    **dict.fromkeys(FLAGS, _flag),
}


def check_of(field: str) -> Callable[[Any], Any]:
    """Find what writes the values of a customer's field; raises ValueError for one that cannot be written."""
    return _CHECKS.get(field, text_of)


# Consents


def consent_status(value: Any) -> ConsentStatus:
    """Check the answer to a consent.

    :raises ValueError: one that cannot be written.
    """
    text = "" if is_empty(value) else text_of(value).lower()
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
        return moment_text(moment_of(value))
    except ValueError:
        raise ValueError("required is a moment such as 2018-06-30 09:10:34") from None
