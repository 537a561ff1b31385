"""What a call is given in another shape than it takes: said in our words, before anything is sent."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.sandbox.server import Sandbox
from airflow_provider_crm.schemas.spread.read import CUSTOMER_FILTERS, query_of

NO_LISTS = [None, "a@x.fr", {"email": "a@x.fr"}, ["a@x.fr"], [None], [["email", "a@x.fr"]]]
NO_SUBSCRIBERS = [
    {1: "a@x.fr"},
    {"email": "a@x.fr"},
    {"fields": None},
    {"fields": ["a@x.fr"]},
    {"fields": {"email": "a@x.fr"}},
    {"id": "a", "fields": {1: "a@x.fr"}},
]


@pytest.mark.parametrize("given", [*NO_LISTS, *([one] for one in NO_SUBSCRIBERS)], ids=repr)
@pytest.mark.parametrize("method", ["create_subscribers", "update_subscribers"])
def test_what_are_no_subscribers(crm_sandbox: Sandbox, method: str, given: Any) -> None:
    said = r"`subscribers` is a list of dicts|A subscriber is \{\"fields\": \{1: "
    with pytest.raises(CrmInputError, match=said) as caught:
        getattr(MindbazHook(), method)(given)
    assert "a@x.fr" not in str(caught.value)
    assert not crm_sandbox.calls.count()


def test_an_update_needs_to_know_whose_fields_these_are(crm_sandbox: Sandbox) -> None:
    with pytest.raises(CrmInputError, match="by their `id`"):
        MindbazHook().update_subscribers([{"id": 1, "fields": {}}, {"fields": {1: "a@x.fr"}}])
    assert not crm_sandbox.calls.count()
    number = crm_sandbox.mindbaz.insert({1: "a@x.fr"})
    MindbazHook().update_subscribers([{"fields": {0: number, 14: "Zoé"}}])
    assert crm_sandbox.mindbaz.by_email("a@x.fr")[14] == "Zoé"


@pytest.mark.parametrize(
    ("values", "more"),
    [
        ("a@x.fr", {}),
        (None, {}),
        ([None], {}),
        ([float("nan")], {"by": "IdClient"}),
        (["a@x.fr"], {"by": "name"}),
        (["a@x.fr"], {"email_encoding": "MD4"}),
        (["a@x.fr"], {"field_ids": ["email"]}),
    ],
    ids=repr,
)
def test_what_cannot_be_looked_up(crm_sandbox: Sandbox, values: Any, more: dict[str, Any]) -> None:
    with pytest.raises(CrmInputError) as caught:
        MindbazHook().get_subscribers(values, **more)
    assert "a@x.fr" not in str(caught.value)
    assert not crm_sandbox.calls.count()


@pytest.mark.parametrize(
    "key", [123, 123.0, "123.0", Decimal("123.000000000"), b"123", "\u200b123"], ids=repr
)
def test_a_client_is_found_however_the_id_is_written(crm_sandbox: Sandbox, key: Any) -> None:
    crm_sandbox.mindbaz.insert({1: "a@x.fr", 43: "123"})
    (found,) = MindbazHook().get_subscribers([key], by="idclient", field_ids=[1.0, "43"])  # type: ignore[arg-type]
    assert found["fields"][1] == "a@x.fr"


@pytest.mark.parametrize("given", [one for one in NO_LISTS if one is not None], ids=repr)
def test_what_are_no_customers(crm_sandbox: Sandbox, given: Any) -> None:
    with pytest.raises(CrmInputError, match="`customers` is a list of dicts"):
        ExpertSenderHook().upsert_customers(given)
    assert not crm_sandbox.calls.count()


@pytest.mark.parametrize(
    "given", [None, "a@x.fr", ["a@x.fr"], [{"email": "a@x.fr"}], {1: "a@x.fr"}], ids=repr
)
def test_what_is_no_customer(crm_sandbox: Sandbox, given: Any) -> None:
    hook = SpreadHook()
    for call in (hook.create_customer, lambda customer: hook.update_customer("1", customer)):
        with pytest.raises(CrmInputError, match="customer") as caught:
            call(given)
        assert "a@x.fr" not in str(caught.value)
    assert not crm_sandbox.calls.count()


@pytest.mark.parametrize("name", ["case_insensitive", "show_custom_fields"])
def test_a_text_is_no_yes_or_no_for_a_filter(crm_sandbox: Sandbox, name: str) -> None:
    assert [text for _, text in query_of({name: "False"}, CUSTOMER_FILTERS)] == ["0"]
    with pytest.raises(CrmInputError, match=f"`{name}` is True or False"):
        next(SpreadHook().iter_customers(**{name: "non"}), None)  # type: ignore[arg-type]
    assert not crm_sandbox.calls.count()
