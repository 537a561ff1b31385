"""From a row's values to the customer that ExpertSender is sent, and what is refused before that."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.schemas.expertsender.cells import identifier
from airflow_provider_crm.schemas.expertsender.consents import without_standing
from airflow_provider_crm.schemas.expertsender.write import (
    CustomerFields,
    customer_of,
    names_a_consent,
)

FIELDS = CustomerFields(
    [
        {"id": 1, "name": "Newsletter subscription", "type": "Email"},
        {"id": 2, "name": "SMS", "type": "Sms"},
        {"id": 3, "name": "sms", "type": "General"},
    ]
)


def customer(**values: Any) -> dict[str, Any]:
    return customer_of(((field(name), value) for name, value in values.items()), send_blanks=True)


def field(name: str) -> Any:
    found = FIELDS.find(name)
    assert found is not None
    return found


def consents(value: Any) -> dict[int, str]:
    data = customer(consentsData=value)["consentsData"]
    return {one["id"]: one["value"] for one in data["consents"]}


def attributes(value: Any) -> dict[str, Any]:
    return {one["name"]: one["value"] for one in customer(customAttributes=value)["customAttributes"]}


@pytest.mark.parametrize(
    ("name", "value", "sent"),
    [
        ("email", "  Zoé@Example.FR ", "zoé@example.fr"),
        ("phone", "+33 6 12\u00a034 56 78", "+33612345678"),
        ("phone", 33612345678.0, "33612345678"),
        ("crmId", 57, "57"),
        ("crmId", " C-1 ", "C-1"),
        ("firstName", "Jean-Noël", "Jean-Noël"),
        ("gender", "FEMALE", "Female"),
        ("gender", "notspecified", "NotSpecified"),
        ("dateOfBirth", "1990-05-17", "1990-05-17T00:00:00.000Z"),
        ("dateOfBirth", "1990/05/17", "1990-05-17T00:00:00.000Z"),
        ("dateOfBirth", dt.date(1990, 5, 17), "1990-05-17T00:00:00.000Z"),
        ("dateOfBirth", "2023-07-25T12:35:54.712Z", "2023-07-25T12:35:54.712Z"),
        ("dateOfBirth", "2023-07-25 12:35:54", "2023-07-25T12:35:54.000Z"),
        ("dateOfBirth", "2023-07-25T14:35:54.712+02:00", "2023-07-25T12:35:54.712Z"),
        (
            "dateOfBirth",
            dt.datetime(2023, 7, 25, 14, 35, 54, 712345, dt.timezone(dt.timedelta(hours=2))),
            "2023-07-25T12:35:54.712Z",
        ),
    ],
)
def test_values_are_written_as_the_vendor_wants_them(name: str, value: Any, sent: str) -> None:
    assert customer(**{name: value}) == {name: sent}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("email", "nobody", "email: this is not an e-mail address"),
        ("email", "a@b@c.fr", "email: this is not an e-mail address"),
        ("email", "a@" + "b" * 319, "email: the text has 321 characters, the CRM takes 320"),
        ("phone", "0" * 21, "phone: the text has 21 characters, the CRM takes 20"),
        ("phone", "inconnu", "phone: a phone number has digits"),
        (
            "customAttributes",
            {"\u200b": "x"},
            "customAttributes: an attribute's name has 1 to 256 characters",
        ),
        ("crmId", "c" * 129, "crmId: the text has 129 characters, the CRM takes 128"),
        ("crmId", "..", "crmId: it cannot stand in a path"),
        ("visitorId", "v" * 39, "visitorId: the text has 39 characters, the CRM takes 38"),
        ("firstName", "n" * 257, "firstName: the text has 257 characters, the CRM takes 256"),
        ("lastName", "\ud800", "lastName: the text holds half a character"),
        ("lastName", ["a"], "lastName: a value of type list cannot be written as text"),
        ("gender", "F", "gender: allowed are Male, Female, NotSpecified"),
        ("dateOfBirth", "17.05.1990", "dateOfBirth: a date is written YYYY-MM-DD"),
        ("dateOfBirth", 1990, "dateOfBirth: a date is written YYYY-MM-DD"),
        (
            "dateOfBirth",
            dt.datetime(1, 1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2))),
            "dateOfBirth: a date",
        ),
        ("consents.1", "maybe", "consents.1: allowed are True, False, AwaitingConfirmation"),
        ("force", "AwaitingConfirmation", "force: allowed are True, False"),
        ("confirmationMessageId", "abc", "confirmationMessageId: it is a whole number"),
        ("customAttributes", "{", "customAttributes: this is no JSON"),
        ("customAttributes", "3", "customAttributes: a list of {name, value} or a mapping"),
        ("customAttributes", [{"name": "Ville"}], "customAttributes: a list of {name, value} or a mapping"),
        ("customAttributes", {"": "x"}, "customAttributes: an attribute's name has 1 to 256 characters"),
        (
            "customAttributes",
            {"n" * 257: "x"},
            "customAttributes: an attribute's name has 1 to 256 characters",
        ),
        ("customAttributes", {"Ville": float("inf")}, "customAttributes: this is not a number"),
        ("consentsData", {"consents": [], "forced": True}, "consentsData: forced is no part of it"),
        ("consentsData", {"x": "True"}, "consentsData: a consent's id is a whole number"),
        ("consentsData", {2**31: "True"}, "consentsData: a consent's id is a whole number"),
        ("consentsData", [{"id": 1, "value": "True"}] * 2, "consentsData: consent 1 is given twice"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_the_field_and_what_is_allowed(
    name: str, value: Any, reason: str
) -> None:
    with pytest.raises(ValueError, match="^" + reason.replace("{", r"\{").replace(".", r"\.")):
        customer(**{name: value})


@pytest.mark.parametrize(
    "value",
    [
        {"Ville": "Nîmes", "Points": 3},
        [{"name": "Ville", "value": "Nîmes"}, {"name": "Points", "value": "3"}],
        '{"Ville": "Nîmes", "Points": 3}',
        '[{"name": "Ville", "value": "Nîmes"}, {"name": "Points", "value": 3}]',
    ],
)
def test_attributes_come_in_several_shapes(value: Any) -> None:
    assert attributes(value) == {"Ville": "Nîmes", "Points": "3"}


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (True, "true"),
        (3.0, "3"),
        (Decimal("12.50"), "12.50"),
        (1e-7, "0.0000001"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (dt.datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05.000Z"),
        (None, None),
        (float("nan"), None),
        ("\u200b", None),
    ],
)
def test_attribute_values_are_texts(value: Any, sent: str | None) -> None:
    assert attributes({"x": value}) == {"x": sent}


@pytest.mark.parametrize(
    "value",
    [
        {1: True, "2": "false", 3: "awaitingconfirmation"},
        '{"1": true, "2": 0, "3": "AwaitingConfirmation"}',
        [{"id": 1, "value": "yes"}, {"id": "2", "value": "no"}, {"id": 3, "value": " AwaitingConfirmation "}],
        {
            "consents": [
                {"id": 1, "value": "1"},
                {"id": 2, "value": "0"},
                {"id": 3, "value": "AWAITINGCONFIRMATION"},
            ]
        },
    ],
)
def test_consents_come_in_several_shapes(value: Any) -> None:
    assert consents(value) == {1: "True", 2: "False", 3: "AwaitingConfirmation"}


def test_columns_are_put_together() -> None:
    assert customer(
        **{
            "email": "a@x.fr",
            "customAttributes.Ville": "Nîmes",
            "customAttributes": {"VIP": False},
            "consents.newsletter SUBSCRIPTION": True,
            "consents.9": "AwaitingConfirmation",
            "force": "yes",
            "confirmationMessageId": "7",
        }
    ) == {
        "email": "a@x.fr",
        "customAttributes": [{"name": "Ville", "value": "Nîmes"}, {"name": "VIP", "value": "false"}],
        "consentsData": {
            "consents": [{"id": 1, "value": "True"}, {"id": 9, "value": "AwaitingConfirmation"}],
            "force": True,
            "confirmationMessageId": 7,
        },
    }


def test_a_column_and_a_whole_that_say_the_same_thing_are_refused() -> None:
    with pytest.raises(ValueError, match="attribute 'Ville' is given twice"):
        customer(**{"customAttributes.Ville": "Nîmes", "customAttributes": {"Ville": "Paris"}})
    with pytest.raises(ValueError, match="consent 1 is given twice"):
        customer(**{"consents.1": True, "consents": {1: False}})


def test_empty_values_are_null_where_the_vendor_has_one() -> None:
    nothing = {"firstName": None, "gender": None, "dateOfBirth": None, "phone": None}
    assert customer(**nothing, customAttributes=None, consentsData=None) == {
        **nothing,
        "customAttributes": None,
        "consentsData": None,
    }
    # A consent has no null; and options without a consent would only say which consents there are: none.
    assert customer(**{"consents.1": None, "force": True, "confirmationMessageId": None}) == {}


def test_empty_values_inside_of_a_map_are_left_out_unless_they_are_to_be_sent() -> None:
    attributes = {"Ville": "", "Points": None, "Note": "\u200b", "VIP": True}
    values = [(field("customAttributes"), attributes), (field("consents"), {1: " ", 2: float("nan")})]
    assert customer_of(values, send_blanks=False) == {"customAttributes": [{"name": "VIP", "value": "true"}]}
    assert [one["value"] for one in customer_of(values, send_blanks=True)["customAttributes"]] == [
        None,
        None,
        None,
        "true",
    ]


def test_force_is_never_set_by_itself() -> None:
    assert "force" not in customer(**{"consents.1": "AwaitingConfirmation"})["consentsData"]


def test_fields_are_found_by_their_names() -> None:
    assert FIELDS.find("Email") == field("email")
    assert FIELDS.find("CONSENTS.Newsletter subscription") == field("consents.1")
    assert FIELDS.find("customattributes.Ville") == field("customAttributes.Ville")
    assert FIELDS.find("customAttributes.ville") != field("customAttributes.Ville")
    for unknown in ("e-mail", "consents.Nope", "consents.", "customAttributes.", f"consents.{2**31}", 14):
        assert FIELDS.find(unknown) is None
    with pytest.raises(CrmInputError, match="Several consents are called 'SMS': use an id, one of 2, 3"):
        FIELDS.find("consents.SMS")
    assert names_a_consent("consents.SMS")
    assert not names_a_consent("consents.2")
    assert not names_a_consent("email")


@pytest.mark.parametrize(("value", "key"), [(12, "12"), ("12", "12"), (12.0, "12"), (0, "0")])
def test_the_crms_own_id_is_a_whole_number(value: Any, key: str) -> None:
    assert identifier("id", value) == key


@pytest.mark.parametrize("value", ["", None, "a", "-1", 1.5, True, 2**31])
def test_what_is_no_id_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="the id is a whole number"):
        identifier("id", value)


HELD = {
    "consentsData": {"consents": [{"id": 1, "value": "AwaitingConfirmation"}, {"id": 2, "value": "True"}]}
}


def left(consents: dict[int, str], *, again: bool = False, **options: Any) -> Any:
    values = [{"id": number, "value": value} for number, value in consents.items()]
    data = {"email": "a@x.fr", "consentsData": {"consents": values, **options}}
    sent = without_standing(data, HELD, again=again)
    assert data["consentsData"]["consents"] == values, "the record itself stays whole"
    return sent.get("consentsData")


def test_nobody_is_asked_again_who_was_asked_or_has_confirmed() -> None:
    waiting = "AwaitingConfirmation"
    assert left({1: waiting}) is None
    assert left({2: waiting}) is None
    assert left({1: waiting, 2: "True"}) is None
    assert left({1: waiting, 2: "False"}) == {"consents": [{"id": 2, "value": "False"}]}
    assert left({3: waiting}, force=True) == {"consents": [{"id": 3, "value": waiting}], "force": True}
    assert left({3: waiting}, force=True, confirmationMessageId=4, again=True) == {
        "consents": [{"id": 3, "value": waiting}],
        "confirmationMessageId": 4,
    }
    for nobody in (None, {}, {"consentsData": None}, {"consentsData": {"consents": None}}):
        customer = {"consentsData": {"consents": [{"id": 1, "value": waiting}]}}
        assert without_standing(customer, nobody, again=False) == customer
