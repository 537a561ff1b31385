"""Mindbaz' answers read, and values of a source written into fields of each type."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_crm.schemas.mindbaz.exports import subscriber_type
from airflow_provider_crm.schemas.mindbaz.write import (
    BOOLEAN,
    DATE,
    EMAIL,
    INTEGER,
    LIST,
    TEXT,
    Fields,
    FieldType,
    checked_subscriber,
    date_text,
    field_type,
    subscribers_of,
)
from airflow_provider_crm.values import normal_email

SPORT = {
    "id": "14",
    "name": "fld14",
    "fieldType": "4",
    "length": None,
    "description": "Sport",
    "list": [{"key": "1", "value": "Basket"}, {"key": 2, "value": None}, {"key": "x"}, "odd"],
}
NAME = {"id": 12, "name": "fld12", "fieldType": 1, "length": 5, "description": "Prénom"}


# Answers


@pytest.mark.parametrize(
    ("data", "subscribers"),
    [
        (None, []),
        ([], []),
        ([{"id": 7, "fields": [{"idField": 1, "value": "a"}]}], [{"id": 7, "fields": {1: "a"}}]),
        ([{"id": "7", "fields": [{"idField": "43"}]}], [{"id": 7, "fields": {43: None}}]),
        ([{"fields": [{"idField": 0, "value": "9"}]}], [{"id": 9, "fields": {0: "9"}}]),
        ([{"id": -1, "fields": None}, {}], [{"id": -1, "fields": {}}, {"id": -1, "fields": {}}]),
    ],
)
def test_subscribers_of(data: Any, subscribers: Any) -> None:
    assert [one.plain() for one in subscribers_of(json.dumps(data).encode())] == subscribers


@pytest.mark.parametrize("data", ["{}", "5", "[5]", '[{"id": []}]', '[{"fields": [{}]}]', '[{"id": 1'])
def test_subscribers_of_another_shape(data: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        subscribers_of(data.encode())


def test_checked_subscriber() -> None:
    def sent(subscriber: Any) -> Any:
        return json.loads(msgspec.json.encode(checked_subscriber(subscriber)))

    assert sent({"id": "7", "fields": {"1": "a", 2: None}}) == {
        "id": 7,
        "fields": [{"idField": 1, "value": "a"}, {"idField": 2, "value": None}],
    }
    assert sent({"fields": {}}) == {"fields": []}


# Fields


def test_fields_are_found_by_id_name_and_label() -> None:
    fields = Fields([field_type(SPORT), field_type(NAME)])
    for name in (14, "14", "fld14", " FLD14 ", "sport", "SPORT"):
        found = fields.find(name)
        assert found is not None
        assert (found.id, found.type, found.choices) == (14, LIST, ((1, "Basket"), (2, "")))
    for name in ("email", "Email", "IdClient"):
        assert fields.find(name) is not None
    for name in (99, "fld99", "unknown", ""):
        assert fields.find(name) is None
    assert fields.names() == ["fld12", "fld14"]


def test_fields_of_one_name_are_found_as_an_export_calls_them():
    twins = [FieldType(60, "points"), FieldType(61, "points")]
    _, names = subscriber_type(twins)
    assert [Fields(twins).find(name).id for name in names.values()] == [60, 61]


def test_the_columns_of_an_export_that_are_no_fields():
    assert set(Fields([]).passed_over(["id", "email"])) == {"id", "extra"}
    assert list(Fields([]).passed_over(["email", "extra"])) == []
    assert list(Fields([FieldType(62, "extra"), FieldType(0, "id")]).passed_over(["id"])) == ["id"]


def test_a_name_goes_before_a_label() -> None:
    fields = Fields([FieldType(1, "a", label="b"), FieldType(2, "b", label="a")])
    assert [field.id for name in ("a", "b") if (field := fields.find(name))] == [1, 2]


def test_without_the_sites_list_any_number_is_a_field() -> None:
    fields = Fields([])
    email, other = fields.find(EMAIL), fields.find("fld77")
    assert email is not None
    assert email.type == TEXT
    assert other is not None
    assert (other.id, other.type) == (77, 0)
    assert fields.find("sport") is None


# Values


@pytest.mark.parametrize(
    ("kind", "value", "sent"),
    [
        (TEXT, "abc", "abc"),
        (TEXT, 5, "5"),
        (INTEGER, "5", 5),
        (INTEGER, " 5 ", 5),
        (INTEGER, 5.0, 5),
        (INTEGER, Decimal(5), 5),
        (INTEGER, True, 1),
        (BOOLEAN, True, 1),
        (BOOLEAN, "non", 0),
        (BOOLEAN, 1.0, 1),
        (DATE, dt.date(2023, 1, 4), "2023/01/04 00:00"),
        (DATE, "2023-01-04 17:39:59", "2023/01/04 17:39"),
        (DATE, "2023/01/04", "2023/01/04 00:00"),
        (DATE, "2023-07-04T17:39:00Z", "2023/07/04 19:39"),
        (0, dt.datetime(2023, 1, 4, 17, 39, tzinfo=dt.UTC), "2023/01/04 18:39"),
        (0, ["as", "is"], ["as", "is"]),
    ],
)
def test_values_by_type(kind: int, value: Any, sent: Any) -> None:
    assert FieldType(14, "fld14", kind).convert(value) == sent


@pytest.mark.parametrize(
    ("field", "sent"),
    [
        (FieldType(20, "Birth date", DATE), "2026/01/05 00:00"),
        (FieldType(2, "First subscription date", DATE), "2026/01/04 16:00"),
        (FieldType(3, "Last subscription date", DATE), "2026/01/04 16:00"),
        (FieldType(4, "Unsubscription date", DATE), "2026/01/04 16:00"),
        (FieldType(44, "of one's own", DATE), "2026/01/04 16:00"),
    ],
)
def test_the_date_of_birth_is_the_only_day_that_the_vendor_tells(field: FieldType, sent: str) -> None:
    """Its type is that of moments, and the page shows the time of day of fields 2, 3 and 4."""
    midnight_in_tokyo = dt.datetime(2026, 1, 5, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert field.convert(midnight_in_tokyo) == sent
    assert field.convert("2026-01-05T00:00:00+09:00") == sent
    assert field.convert(dt.date(2026, 1, 5)) == field.convert("2026-01-05") == "2026/01/05 00:00"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (TEXT, "abcdef"),
        (TEXT, ["a"]),
        (TEXT, float("nan")),
        (INTEGER, "5.5"),
        (INTEGER, 5.5),
        (INTEGER, Decimal("5.5")),
        (INTEGER, float("nan")),
        (INTEGER, float("inf")),
        (INTEGER, "five"),
        (INTEGER, None),
        (BOOLEAN, "perhaps"),
        (DATE, "yesterday"),
        (DATE, 20230104.5),
        (DATE, ""),
        (DATE, "9999-12-31T23:30:00Z"),
    ],
)
def test_values_that_a_type_cannot_hold(kind: int, value: Any) -> None:
    with pytest.raises(ValueError, match=r"expected|allowed|written|calendar|takes"):
        FieldType(14, "fld14", kind, length=5).convert(value)


@given(st.integers())
@example(2**53 + 1)
def test_whole_numbers_arrive_as_they_are(number: int) -> None:
    field = FieldType(14, "fld14", INTEGER)
    assert field.convert(number) == number
    assert field.convert(Decimal(number)) == number
    assert field.convert(str(number)) == number


@pytest.mark.parametrize(("value", "key"), [("1", 1), (2, 2), ("basket", 1), (" BASKET ", 1)])
def test_choices(value: Any, key: int) -> None:
    assert field_type(SPORT).convert(value) == key


@pytest.mark.parametrize("value", ["3", 3, "Foot", "", "--1", "-"])
def test_no_choice(value: Any) -> None:
    with pytest.raises(ValueError, match="allowed are"):
        field_type(SPORT).convert(value)


def test_any_number_where_the_choices_are_unknown() -> None:
    assert FieldType(14, "fld14", LIST).convert("-3") == -3


@pytest.mark.parametrize(
    ("value", "email"), [(" A@B.fr ", "a@b.fr"), ("a+b@c.fr", "a+b@c.fr"), ("é@c.fr", "é@c.fr")]
)
def test_normal_email(value: str, email: str) -> None:
    assert normal_email(value) == email


@pytest.mark.parametrize(
    "value", [None, "", " ", "a", "@b.fr", "a@", "a b@c.fr", "a@b.fr,c@d.fr", "a@b;c.fr", 5]
)
def test_no_email(value: Any) -> None:
    with pytest.raises(ValueError, match="e-mail"):
        normal_email(value)


def test_dates_of_early_years_keep_four_digits() -> None:
    assert date_text(dt.date(987, 6, 5)) == "0987/06/05 00:00"
