"""What goes wrong with one credit is that credit's alone: it is rejected with its reason, and what follows goes on."""

from __future__ import annotations

from decimal import Decimal

import pytest

from airflow_provider_crm.exceptions import CrmRequestError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.loyalty import baselines
from airflow_provider_crm.sandbox.spread.customers import Changes

from .credits import NOW, amounts, row


@pytest.fixture
def twins(spread):
    """Two customers who share an e-mail."""
    for _ in range(2):
        spread.customers.add("twin@example.fr", Changes({}, [], {}), NOW)


def good(customer, number=3):
    return [row(f"good-{n}", customer, n + 1) for n in range(number)]


@pytest.mark.slow
@pytest.mark.parametrize("most_pages", [0, 400])
def test_customers_who_share_an_address(
    spread, add, ends, ledger, twins, crm_sandbox, monkeypatch, most_pages
):
    """Two rows of one amount for them, and answers that are lost."""
    zoe = add("zoe@example.fr")
    monkeypatch.setattr(baselines, "MOST_PAGES", most_pages)
    crm_sandbox.fault("drop_before", method="POST", path="/cagnottes", times=2)
    source = [row("a", "twin@example.fr"), row("b", "twin@example.fr"), *good(zoe)]
    for ending in ("created", "unchanged: credited before"):
        found = ends(source)
        assert all(
            (end.startswith("rejected: ") and "twin" in end) or "customers" in end for end in found[:2]
        ), found
        assert found[2:] == [ending] * 3
    assert amounts(spread) == {(zoe, Decimal(n + 1)): 1 for n in range(3)}
    assert all(not one.owner for one in ledger().values())


@pytest.mark.slow
@pytest.mark.parametrize("most_pages", [0, 400])
def test_lines_of_a_customer_whom_the_crm_does_not_know(
    spread, add, ends, ledger, crm_sandbox, monkeypatch, most_pages
):
    zoe = add("zoe@example.fr")
    spread.loyalty.add(zoe, Decimal(9), "2026-01-01 00:00:00")
    monkeypatch.setattr(baselines, "MOST_PAGES", most_pages)
    crm_sandbox.switch("spread", empty_lines="404")
    crm_sandbox.fault("drop_before", method="POST", path="/cagnottes", times=2)
    source = [row("a", "999999"), row("b", "999999"), *good(zoe)]
    for ending in ("created", "unchanged: credited before"):
        found = ends(source)
        assert all(end.startswith("rejected: ") for end in found[:2]), found
        assert found[2:] == [ending] * 3
    assert amounts(spread).total() == 4
    assert all(not one.owner for one in ledger().values())


def test_a_customer_without_lines_where_an_empty_list_is_not_found(spread, add, credit, crm_sandbox):
    zoe = add("zoe@example.fr")
    crm_sandbox.switch("spread", empty_lines="404")
    crm_sandbox.fault("drop_after", method="POST", path="/cagnottes", times=1)
    crm_sandbox.fault("drop_before", method="POST", path="/cagnottes", after=1, times=1)
    assert credit([row("a"), row("b", amount=6)])["credited"] == 2
    assert amounts(spread) == {(zoe, Decimal(5)): 1, (zoe, Decimal(6)): 1}


def test_a_look_up_that_is_refused_for_one_id(spread, add, ends, monkeypatch):
    """The e-mails of ids are read many at a time."""
    zoe = add("zoe@example.fr")

    def refusing(look_up, named):
        def look(hook, *arguments, **more):
            if "999999" in named(*arguments, **more):
                raise CrmRequestError("GET /customers was answered 400", reason="no such id", status=400)
            return look_up(hook, *arguments, **more)

        return look

    monkeypatch.setattr(
        SpreadHook, "iter_customers", refusing(SpreadHook.iter_customers, lambda ids=(), **_: ids)
    )
    monkeypatch.setattr(SpreadHook, "get_customer", refusing(SpreadHook.get_customer, lambda one: [one]))
    assert ends([row("a", "999999"), *good(zoe)]) == ["rejected: no such id", *["created"] * 3]
