"""Cells of every type in every kind of field, and the page that shows them."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any

import numpy as np
import pytest

from airflow_provider_crm.values import (
    comparable,
    compared_email,
    is_empty,
    key_of,
    moment_of,
    normal_email,
    number_of,
    pairs_of,
    parsed,
    phone_of,
    plain,
    reference_of,
    text_of,
    whole_number,
    yes_or_no,
)

from .cells import BEGIN, CELLS, EMPTY, END, KINDS, PAGE, REJECTED, Cell, markdown, outcome


@pytest.mark.parametrize("cell", CELLS, ids=[f"{cell.source} {cell.written}" for cell in CELLS])
def test_what_a_cell_becomes(cell: Cell) -> None:
    expected = (
        dict.fromkeys(KINDS, EMPTY)
        if isinstance(cell.becomes, str)
        else dict.fromkeys(KINDS, REJECTED) | cell.becomes
    )
    assert {kind: outcome(cell.value, kind) for kind in KINDS} == expected


def test_the_page_shows_the_table() -> None:
    shown = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert shown.strip() == markdown().strip(), "run: python -m tests.values.cells"


UNSEEN = [
    "\x1b",
    "\0",
    "\u200b",
    "\u00ad\ufeff",
    " \u2060 ",
    b"\xe2\x80\x8b",
    b" ",
    np.str_("\u200b"),
    "\u3000",
]


@pytest.mark.parametrize("value", UNSEEN, ids=ascii)
def test_signs_that_nobody_sees_are_nothing(value: Any) -> None:
    assert is_empty(value)
    assert key_of(value) == phone_of(value) == ""


@pytest.mark.parametrize("value", [b"\0", b"\0\0", b"\xff", b"\x1b", "a\u200b", 0, False, [""]], ids=ascii)
def test_what_is_something(value: Any) -> None:
    assert not is_empty(value), "a BIT(1) that is not set, among others"


class Colour(StrEnum):
    RED = "red"


class Code(IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    ("value", "own"), [(Colour.RED, "red"), (Code.ONE, 1), (bytearray(b"x"), "x"), (memoryview(b""), "")]
)
def test_values_in_another_guise(value: Any, own: Any) -> None:
    assert plain(value) == own
    assert type(plain(value)) is type(own)


@pytest.mark.parametrize(
    "value", ["0.0", "1.0", 0, 1.0, Decimal(1), "TRUE", "Vrai", "FAUX", "oui", "NON", "y", "F", " t ", b"1"]
)
def test_words_for_yes_and_no(value: Any) -> None:
    assert yes_or_no(value) is (text_of(value).lower() in ("1", "1.0", "true", "vrai", "oui", "y", "t"))


@pytest.mark.parametrize("value", ["2", 2, "o", "ja", "", "yes!", 0.5, None, ["1"], b"\x02"])
def test_neither_yes_nor_no(value: Any) -> None:
    with pytest.raises(ValueError, match=r"allowed are|cannot be written|no UTF-8"):
        yes_or_no(value)


@pytest.mark.parametrize("value", ["5,0", "1 000", "five", "", "5.5", "1e3", "٣", "_1", "9" * 401])
def test_no_whole_number(value: Any) -> None:
    with pytest.raises(ValueError, match="whole number"):
        whole_number(value)


@pytest.mark.parametrize("value", [Decimal("1E+9999"), Decimal("1E-9999"), 10**2000])
def test_a_giant_number_is_no_text(value: Any) -> None:
    with pytest.raises(ValueError, match="digits"):
        text_of(value)


@pytest.mark.parametrize(
    ("value", "number"),
    [("12.50", "12.50"), (0.1, "0.1"), (5, "5"), ("1e3", "1000"), (b"7", "7"), (" -.5 ", "-0.5")],
)
def test_numbers_are_exact(value: Any, number: str) -> None:
    assert number_of(value) == Decimal(number)


@pytest.mark.parametrize("value", ["12,50", "", True, None, "nan", float("inf"), "1e9999", "0x5"])
def test_no_number(value: Any) -> None:
    with pytest.raises(ValueError, match=r"number|digits"):
        number_of(value)


@pytest.mark.parametrize(
    "value",
    [
        1710121501000,
        "1710121501000",
        "20240101",
        "2024-W01",
        "2024-1-1",
        "infinity",
        "2024-02-30",
        "2024-01-01 25:00",
    ],
)
def test_no_moment(value: Any) -> None:
    with pytest.raises(ValueError, match="a date is written"):
        moment_of(value)


@pytest.mark.parametrize(
    "value",
    [
        "a@x.fr,b@x.fr",
        "a@x.fr\nb@y.fr",
        "a@x.fr b@y.fr",
        "a\u2028b@x.fr",
        '"a b"@x.fr',
        "@x.fr",
        "a@",
        "<a@x.fr",
        "\u200b",
        "“a@x.fr",
        "'a@x.fr",
        "a@x.fr'",
        "a\ufffd@x.fr",
        "a@x\ufffd.fr",
        "a@x.fr.",
        "a@x..fr",
        "a@x.fr/",
        "a@x.fr?subject=b",
    ],
)
def test_no_address(value: str) -> None:
    with pytest.raises(ValueError, match="e-mail"):
        normal_email(value)


def test_one_address_has_one_spelling() -> None:
    nfc, nfd = "zoé@x.fr", "zoe\u0301@x.fr"
    assert normal_email(nfc) == normal_email(nfd) == normal_email(f" \ufeffMAILTO:{nfd.upper()}") == nfc
    assert compared_email(" Odd Address ") == "odd address"
    assert "\u0307" not in normal_email("I\u0307zel@x.fr")


@pytest.mark.parametrize(
    "around", ['"{}"', "'{}'", "`{}`", "“{}”", "„{}“", "‘{}’", "«{}»", "« {} »", "‹{}›", "<{}>"]
)
def test_an_address_in_quotes(around: str) -> None:
    assert normal_email(around.format("O'Brien@x.fr")) == "o'brien@x.fr"


def test_the_address_of_a_link() -> None:
    links = ["mailto:a+b@x.fr?subject=c", "mailto:a%2Bb@x.fr", "MailTo://A+B@x.fr", "<mailto:a+b@x.fr>"]
    assert {normal_email(link) for link in links} == {"a+b@x.fr"}
    assert normal_email("a%2bb@x.fr") == "a%2bb@x.fr", "no link, and a sign that an address may have"


@pytest.mark.parametrize("sign", ["\u034f", "\u115f", "\u2800", "\u3164", "\ufe0f", "\U000e0101"], ids=ascii)
def test_signs_that_show_nothing_are_no_part_of_a_key(sign: str) -> None:
    assert normal_email(f"{sign}a{sign}@x.fr{sign}") == "a@x.fr"
    assert key_of(f"12{sign}") == "12"
    assert is_empty(sign)
    assert is_empty(f" {sign}")


def test_one_phone_number_has_one_spelling() -> None:
    spellings = [
        33612345678,
        33612345678.0,
        "33612345678.0",
        "33612345678,0",
        "33612345678,000000000",
        "3.3612345678E+10",
        "3,3612345678E+10",
        "'33612345678",
        "tel:33612345678",
        "tel://33612345678",
        '="33612345678"',
    ]
    assert {phone_of(value) for value in spellings} == {"33612345678"}
    assert phone_of("+33612345678.0") == phone_of("+3.3612345678E+10") == "+33612345678"
    assert phone_of("0612345678.0") == "0612345678"
    assert phone_of("06.12.34.56.00") == "06.12.34.56.00"


def test_one_id_has_one_spelling() -> None:
    spellings = [
        123,
        123.0,
        Decimal("123.000000000"),
        "123",
        " 123 ",
        "123.0",
        "123,0",
        "\u200b123",
        b"123",
        '="123"',
    ]
    assert {key_of(value) for value in spellings} == {"123"}
    assert key_of("007.0") == "007.0", "no number is written so"
    assert key_of("12E3") == "12E3", "many an id looks so"
    assert key_of("123,000") == "123,000", "nobody can tell"


@pytest.mark.parametrize(
    "value",
    [3.36123e16, "3.36E+10", "3,36E+10", "3E+10", "3.36E10", True, dt.date(2024, 1, 2), ["a"], b"\xff"],
)
def test_no_key(value: Any) -> None:
    with pytest.raises(ValueError, match=r"lost digits|cut digits|no key|cannot be written|no UTF-8"):
        phone_of(value)


def test_how_accents_are_encoded_and_blanks_around_make_no_difference() -> None:
    assert comparable(" Noe\u0308l  ") == comparable("No\u00ebl") == "No\u00ebl"
    assert comparable("noel") != comparable("Noel")


def test_lists_and_maps() -> None:
    assert parsed('{"a": 1.10}') == {"a": Decimal("1.10")}
    assert parsed("a|b") == "a|b"
    assert pairs_of([("a", 1)]) == pairs_of({"a": 1}) == [("a", 1)]
    assert pairs_of([["a", 1]]) is None
    assert pairs_of("a") is None
    with pytest.raises(ValueError, match="no JSON"):
        parsed("[promo]")


def test_what_holds_nothing_inside_is_not_empty() -> None:
    assert not is_empty([None])
    assert not is_empty({"a": None})
    assert not is_empty(b"\0")


@pytest.mark.parametrize("read", [key_of, reference_of, phone_of])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_key_has_one_line(read: Any, end: str) -> None:
    assert read(f" 0612345678{end}") == "0612345678"
    with pytest.raises(ValueError, match="no line end"):
        read(f"0612345678{end}0612345679")
