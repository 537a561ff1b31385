"""What names a person or a thing: an e-mail, an id, a phone number, a reference, each in one spelling."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

from airflow_provider_crm.values.cells import is_empty, plain, visible
from airflow_provider_crm.values.texts import comparable, text_of

#: From here on a float no longer tells neighbouring whole numbers apart.
_EXACT_FLOATS = 2**53

#: What nearly all addresses are: nothing has to be done to them.
PLAIN_ADDRESS = re.compile(r"[a-z0-9._+%-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)*")
# The specials of RFC 5322 (section 3.2.3) stand in an address only between quotes, which no CRM here documents. The
# quotes of word processors and the sign for a lost one (U+FFFD) stand in none; a spreadsheet's apostrophe, an open
# quote and the end of a sentence are no part of one either, and would name another person.
_NEVER = r"\s,;:@()<>\[\]\\\"“”„‟‘’‚‛«»‹›\ufffd"
_LABEL = rf"[^{_NEVER}.!#$%&'*+/=?^`{{|}}~]+"
_ADDRESS = re.compile(rf"(?!')[^{_NEVER}]+@{_LABEL}(?:\.{_LABEL})*")
_QUOTES = ('""', "''", "``", "“”", "„“", "‘’", "«»", "‹›", "<>")
_FORMULA = re.compile(r'="(.*)"', re.DOTALL)
#: What a data frame or a decimal column makes of a whole number: "123.0", "123.000000000", "123,0". Nobody can tell
#: what "123,000" was.
_PADDED = re.compile(r"(-?(?:0|[1-9]\d*))(?:\.|,(?!000$))0+", re.ASCII)
#: The same of a phone number, which may begin with a plus or nought.
_PADDED_PHONE = re.compile(r"(\+?\d{6,})(?:\.|,(?!000$))0+", re.ASCII)
#: What a spreadsheet shows of a long number, and what a program prints: "3.36123E+10", "3E+10", "3.36123E10".
_SHORTENED = re.compile(r"([+-]?\d)(?:[.,](\d+)e\+?|e\+)(\d{1,3})", re.ASCII | re.IGNORECASE)


def normal_email(value: Any) -> str:
    """Return an e-mail address in lower case, without blanks, invisible signs, quotes and ``mailto:`` around it.

    :raises ValueError: empty, or something that no server takes for an address.
    """
    if type(value) is str and PLAIN_ADDRESS.fullmatch(value):
        return value
    text = "" if is_empty(value) else visible(text_of(value))
    if not text:
        raise ValueError("the e-mail is empty")
    text = _without_formula(text)
    for pair in _QUOTES:
        if text[:1] + text[-1:] == pair and len(text) > 1:
            text = text[1:-1].strip()
    link = _without_scheme(text, "mailto:")
    if link != text:
        text = unquote(link.partition("?")[0])
    text = _lower(text)
    if not _ADDRESS.fullmatch(text):
        raise ValueError("this is not an e-mail address")
    return text


def compared_email(value: Any) -> str:
    """Return an address that a CRM holds as addresses are compared, one that is none included."""
    if value is None:
        return ""
    try:
        return normal_email(value)
    except ValueError:
        return _lower(str(value or "").strip())


def key_of(value: Any) -> str:
    """Return an id or another key without blanks and invisible signs; a whole number is written as one.

    :return: "" where the cell is empty.
    :raises ValueError: a flag, a list, a text of several lines, or a number that has lost digits.
    """
    return _digits_back(reference_of(value))


def reference_of(value: Any) -> str:
    """Return a key as :func:`key_of` does, but leave a text alone that may be a number with a point.

    :raises ValueError: as there.
    """
    if type(value) is str and value.isascii() and value.isprintable() and "=" not in value:
        return value.strip()
    if is_empty(value):
        return ""
    if isinstance(value, float) and abs(value) >= _EXACT_FLOATS:
        raise ValueError("a number this large has lost digits: hand it over as text")
    own = plain(value)
    if isinstance(own, bool | dt.date | dt.time):
        raise ValueError(f"a value of type {type(own).__name__} is no key")
    text = text_of(own)
    if isinstance(own, Decimal) and "." in text:
        return text.rstrip("0")
    text = comparable(_without_formula(visible(text)))
    if "\n" in text or "\r" in text:
        raise ValueError("a key holds no line end: two rows may have come into one cell")
    return text


def phone_of(value: Any) -> str:
    """Return a phone number as it is written, without what spreadsheets and links make of it.

    :return: "" where the cell is empty.
    :raises ValueError: no number, or one that has lost digits.
    """
    text = _without_scheme(reference_of(value).removeprefix("'"), "tel:")
    found = _PADDED_PHONE.fullmatch(text)
    return found[1] if found else _digits_back(text)


def is_shortened(text: str) -> bool:
    """Return True for a number as a spreadsheet shows a long one, of which digits may be gone."""
    return _SHORTENED.fullmatch(text) is not None


def _without_formula(text: str) -> str:
    """Return the text within ``="..."``, by which people keep a spreadsheet from reading a text as a number."""
    found = _FORMULA.fullmatch(text)
    return found[1].strip() if found else text


def _without_scheme(text: str, scheme: str) -> str:
    if text[: len(scheme)].lower() != scheme:
        return text
    return text[len(scheme) :].removeprefix("//").strip()


def _lower(text: str) -> str:
    if text.isascii():
        return text.lower()
    # Python lower-cases the Turkish dotted I into two signs, of which the second is a dot over nothing.
    composed = unicodedata.normalize("NFC", text).replace("\u0130", "i")
    return unicodedata.normalize("NFC", composed.lower())


def _digits_back(text: str) -> str:
    """Undo what data frames and spreadsheets do to whole numbers.

    :raises ValueError: the number cannot be told any more.
    """
    if text.isalnum():
        return text
    if found := _PADDED.fullmatch(text):
        return found[1]
    if found := _SHORTENED.fullmatch(text):
        whole, fraction, exponent = found[1], found[2] or "", int(found[3])
        if len(fraction) < exponent:
            raise ValueError("a spreadsheet has cut digits off this number: hand it over as text")
        if not fraction[exponent:].strip("0"):
            return whole + fraction[:exponent]
    return text
