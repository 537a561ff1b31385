"""What may be written to SPREAD, and when a customer already is as wanted."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.schemas.spread.cells import (
    COUNTRIES,
    FLAGS,
    consent_moment,
    consent_status,
    id_of,
)
from airflow_provider_crm.schemas.spread.write import (
    CUSTOMER_FIELDS,
    TEXTS,
    CustomerFields,
    customer_values,
    differing,
    overlaid,
)
from airflow_provider_crm.values import normal_email


def values(send_blanks: bool = False, **fields: Any) -> dict[str, Any]:
    return customer_values(fields.items(), send_blanks=send_blanks)


def one(field: str, value: Any) -> Any:
    return customer_values([(field, value)], send_blanks=False)[field]


# Fields


@pytest.mark.parametrize("name", [*CUSTOMER_FIELDS, "custom_fields.1234"])
def test_fields_that_can_be_written(name):
    assert CustomerFields().find(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "id",
        "createdAt",
        "status",
        "Email",
        "",
        14,
        "custom_fields.",
        "custom_fields.x",
        "custom_fields.1.2",
        "custom_fields.²",
    ],
)
def test_fields_that_cannot_be_written(name):
    assert CustomerFields().find(name) is None


def test_fields_that_the_api_version_does_not_write():
    assert CustomerFields(("email", "custom_fields")).find("isBuyer") is None
    assert CustomerFields(("email",)).find("custom_fields.1") is None


# Values


@pytest.mark.parametrize(
    ("field", "value", "written"),
    [
        ("email", " Zoé.Noël@Example.FR ", "zoé.noël@example.fr"),
        ("lastName", " Noël ", "Noël"),
        ("zip", 1000, "1000"),
        ("zip", 75001.0, "75001"),
        ("phone", "+33 6 00", "+33 6 00"),
        ("externalId", Decimal("12.50"), "12.5"),
        ("fonction", Decimal("12.50"), "12.50"),
        ("city", dt.date(2024, 1, 2), "2024-01-02"),
        ("country", "fr", "FR"),
        ("country", " RE", "RE"),
        ("birthday", "1970-12-31", "1970-12-31"),
        ("birthday", "2024-02-29", "2024-02-29"),
        ("birthday", "1970-12-31 00:00:00", "1970-12-31"),
        ("birthday", "1970-12-31T23:00:00Z", "1970-12-31"),
        ("birthday", dt.date(1970, 12, 31), "1970-12-31"),
        ("birthday", dt.datetime(1970, 12, 31, 5), "1970-12-31"),
        ("gender", "Female", "female"),
        ("isBuyer", True, "1"),
        ("isFan", False, "0"),
        ("isFollow", "TRUE", "1"),
        ("isFollow", 1, "1"),
        ("isFanLinkedin", 0.0, "0"),
        ("isFanLinkedin", "0", "0"),
        ("isBuyer", "yes", "1"),
        ("lastName", b"x", "x"),
        ("tags", "a| b |a||", ["a", "b"]),
        ("tags", ("a", 1), ["a", "1"]),
        ("custom_fields", {1234: "1", "5": ["a", "b"]}, {"1234": "1", "5": "a|b"}),
        ("custom_fields", '{"1234": 42, "5": true}', {"1234": "42", "5": "1"}),
        ("custom_fields", {"1": dt.date(2018, 2, 13)}, {"1": "2018-02-13"}),
    ],
)
def test_values_in_the_vendors_form(field, value, written):
    assert one(field, value) == written


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("email", "zoe", "not an e-mail"),
        ("email", "Zoé <zoe@example.fr>", "not an e-mail"),
        ("email", "a@b@c", "not an e-mail"),
        ("country", "France", "two letters of ISO 3166"),
        ("country", "UK", "two letters of ISO 3166"),
        ("country", "ＦＲ", "two letters of ISO 3166"),
        ("birthday", "31/12/1970", "such as 1970-12-31"),
        ("birthday", "1970-02-30", "such as 1970-12-31"),
        ("birthday", "19701231", "such as 1970-12-31"),
        ("birthday", 19701231, "such as 1970-12-31"),
        ("birthday", "0000-00-00", "such as 1970-12-31"),
        ("gender", "f", "male and female"),
        ("isBuyer", 2, "0 and 1"),
        ("tags", {"a": 1}, "a list of texts"),
        ("tags", 5, "a list of texts"),
        ("tags", ["a|b"], "cannot hold |"),
        ("tags", [None], "cannot be written"),
        ("custom_fields", "[1]", "mapping of field id"),
        ("custom_fields", "not json", "mapping of field id"),
        ("custom_fields", {"Sport": "x"}, "number such as 123456"),
        ("lastName", ["x"], "cannot be written as text"),
        ("lastName", b"\xff", "no UTF-8"),
        ("lastName", float("inf"), "not a number"),
        ("lastName", "\ud800", "cannot be sent"),
        ("custom_fields.7", {"a": 1}, "cannot be written as text"),
        ("custom_fields.7", ["a|b"], "cannot hold |"),
    ],
)
def test_values_that_cannot_be_sent_name_the_field_and_what_is_allowed(field, value, allowed):
    with pytest.raises(ValueError, match=field.replace(".", r"\.")) as failure:
        values(**{field: value})
    assert allowed in str(failure.value)


def test_the_countries_are_those_of_the_standard():
    assert len(COUNTRIES) == 249
    assert all(len(code) == 2 and code.isupper() for code in COUNTRIES)
    assert not {"FR", "GP", "MQ", "GF", "RE", "YT", "BE", "CH", "LU", "GB", "PL"} - COUNTRIES


def test_blank_values_are_left_out():
    blanks: dict[str, Any] = dict.fromkeys(CUSTOMER_FIELDS, "  ")
    blanks |= {"tags": [], "city": None, "custom_fields": {}, "custom_fields.1": ""}
    assert values(**blanks) == {}
    assert values(custom_fields={"1": "", "2": "x"}) == {"custom_fields": {"2": "x"}}


def test_blank_values_clear_what_can_be_cleared():
    blanks: dict[str, Any] = dict.fromkeys(CUSTOMER_FIELDS)
    blanks |= {"custom_fields": {"1": None}, "custom_fields.2": ""}
    assert values(send_blanks=True, **blanks) == {
        **dict.fromkeys((*TEXTS, *FLAGS)),
        "custom_fields": {"1": None, "2": None},
    }


def test_a_custom_field_with_a_column_of_its_own_is_taken_from_there():
    for order in (1, -1):
        fields = [("custom_fields", {"1": "map", "2": "map"}), ("custom_fields.1", "own")][::order]
        assert customer_values(fields, send_blanks=False) == {"custom_fields": {"1": "own", "2": "map"}}


@pytest.mark.slow
@given(
    st.one_of(st.none(), st.text(), st.integers(), st.floats(), st.binary(), st.lists(st.text())),
    st.sampled_from(CUSTOMER_FIELDS),
)
def test_any_value_is_written_or_refused(value, field):
    try:
        written = values(**{field: value})
    except ValueError:
        return
    assert differing(written, written) == []


# Comparing

HELD = {
    "id": "1",
    "email": "Zoe@example.fr",
    "lastName": "Noël",
    "city": None,
    "company": "",
    "country": "FR",
    "birthday": "1970-12-31",
    "gender": "female",
    "zip": "01000",
    "lang": "fr",
    "isFan": "0",
    "isBuyer": "1",
    "isFollow": None,
    "tags": ["one", "two"],
    "custom_fields": {"1": "Sport:Foot", "2": "Heure:12:30", "3": "Intérêts:b|a", "4": "Note:"},
}


@pytest.mark.parametrize(
    "wanted",
    [
        {"email": "zoe@example.fr", "lastName": "Noël"},
        {"city": None, "company": None, "isFollow": "0", "isFan": None},
        {"country": "FR", "birthday": "1970-12-31", "gender": "female", "zip": "01000"},
        {"lang": "fr_FR", "isBuyer": "1"},
        {"tags": ["two"]},
        {"tags": []},
        {"custom_fields": {"1": "Foot", "2": "12:30", "3": "a|b", "4": None, "5": None}},
    ],
)
def test_what_the_crm_holds_already(wanted):
    assert differing(HELD, wanted) == []


@pytest.mark.parametrize(
    "wanted",
    [
        {"lastName": "NOËL"},
        {"zip": "1000"},
        {"city": "Nîmes"},
        {"lastName": None},
        {"lang": "en"},
        {"isBuyer": "0"},
        {"isBuyer": None},
        {"tags": ["two", "three"]},
        {"custom_fields": {"2": "30"}},
        {"custom_fields": {"3": "a"}},
        {"custom_fields": {"1": None}},
        {"custom_fields": {"9": "x"}},
    ],
)
def test_what_the_crm_does_not_hold(wanted):
    assert differing(HELD, wanted) == list(wanted)


def test_wanted_values_lie_over_those_that_are_held():
    wanted = {
        "lastName": "Martin",
        "zip": None,
        "tags": ["two", "three"],
        "custom_fields": {"1": "Judo", "9": "x"},
    }
    assert overlaid(HELD, wanted, CUSTOMER_FIELDS) == {
        "email": "Zoe@example.fr",
        "lastName": "Martin",
        "country": "FR",
        "zip": None,
        "lang": "fr",
        "birthday": "1970-12-31",
        "gender": "female",
        "isFan": "0",
        "isBuyer": "1",
        "tags": ["one", "two", "three"],
        "custom_fields": {"1": "Judo", "3": "b|a", "9": "x"},
    }


def test_only_writable_fields_are_carried_along():
    assert overlaid(HELD, {}, ("email", "lastName")) == {
        "email": "Zoe@example.fr",
        "lastName": "Noël",
    }


@pytest.mark.parametrize(
    "empty", [{}, {"tags": [], "custom_fields": {}}, {"tags": None, "custom_fields": None}]
)
def test_a_customer_of_whom_nothing_is_known(empty):
    assert overlaid(empty, {"email": "a@b.c"}, CUSTOMER_FIELDS) == {"email": "a@b.c"}
    assert differing(empty, {"tags": ["a"], "custom_fields": {"1": "x"}}) == ["tags", "custom_fields"]


# Ids, e-mails, consents


@pytest.mark.parametrize(("value", "text"), [(123456, "123456"), (" 9876 ", "9876"), (12.0, "12")])
def test_ids(value, text):
    assert id_of(value) == text


@pytest.mark.parametrize("value", ["", "12,34", "x", "-1", 1.5, True, "1" * 21, "²", None])
def test_no_ids(value):
    with pytest.raises(ValueError, match=r"a number such as|cannot be written"):
        id_of(value)


def test_emails():
    assert normal_email(" A@B.c ") == "a@b.c"
    with pytest.raises(ValueError, match="empty"):
        normal_email(None)


@pytest.mark.parametrize(
    ("value", "status"), [("accepted", "accepted"), (" Refused", "refused"), ("UNKNOWN", "unknown")]
)
def test_statuses(value, status):
    assert consent_status(value) == status


@pytest.mark.parametrize("value", ["toBeConfirmed", "", None, 1, "accept"])
def test_no_statuses(value):
    with pytest.raises(ValueError, match="allowed are accepted, refused, unknown"):
        consent_status(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("2018-06-30 09:10:34", "2018-06-30 09:10:34"),
        ("2018-06-30T09:10:34.999", "2018-06-30 09:10:34"),
        ("2018-06-30 09:10", "2018-06-30 09:10:00"),
        ("2018-06-30", "2018-06-30 00:00:00"),
        ("2018-06-30T09:10:34Z", "2018-06-30 11:10:34"),
        ("2018-04-10T14:15:48+0000", "2018-04-10 16:15:48"),
        ("2018-12-10T14:15:48+01:00", "2018-12-10 14:15:48"),
        (dt.datetime(2018, 6, 30, 9, 10, 34), "2018-06-30 09:10:34"),
        (dt.datetime(2018, 6, 30, 9, 10, 34, tzinfo=dt.UTC), "2018-06-30 11:10:34"),
        (dt.date(2018, 6, 30), "2018-06-30 00:00:00"),
    ],
)
def test_moments(value, text):
    assert consent_moment(value) == text


@pytest.mark.parametrize(
    "value",
    ["2O18-06-30 09:10:34", "30/06/2018", "20180630", 1530342634, "2018-06-31", "2018-06-30 25:00", "", None],
)
def test_no_moments(value):
    with pytest.raises(ValueError, match="such as 2018-06-30"):
        consent_moment(value)
