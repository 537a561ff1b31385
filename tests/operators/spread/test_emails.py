"""Changes of e-mail addresses: chains of them, and why one is not made."""

from __future__ import annotations

import pytest

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.operators.spread import SpreadUpdateEmailsOperator

from .calls import writes


@pytest.mark.slow
def test_a_chain_of_addresses_is_walked_in_order(crm_sandbox, spread, run):
    customer = spread.add_customer("a0@example.fr")
    crm_sandbox.fault("latency", ms=20, probability=0.5, seed=1)
    rows = [{"von": f"a{n}@example.fr", "nach": f"A{n + 1}@example.fr"} for n in range(8)]
    names = {"old_field": "von", "new_field": "nach"}
    assert run(SpreadUpdateEmailsOperator, rows, **names) == ["updated"] * 8
    assert customer.email == "a8@example.fr"


def test_the_last_of_several_changes_of_one_address_counts(spread, run):
    customer = spread.add_customer("a@example.fr")
    rows = [{"old_email": "a@example.fr", "new_email": f"{name}@example.fr"} for name in "bc"]
    assert run(SpreadUpdateEmailsOperator, rows) == ["skipped: row 2 is about the same person", "updated"]
    assert customer.email == "c@example.fr"


def test_why_an_address_is_not_changed(crm_sandbox, spread, run):
    spread.add_customer("a@example.fr")
    spread.add_customer("b@example.fr")
    rows = [
        {"old_email": "a@example.fr", "new_email": "b@example.fr"},
        {"old_email": "x@example.fr", "new_email": "y@example.fr"},
        {"old_email": "b@example.fr", "new_email": "b"},
        {"old_email": "b@example.fr", "new_email": "b@b.b,"},
    ]
    assert run(SpreadUpdateEmailsOperator, rows) == [
        "rejected: another customer has the new e-mail",
        "rejected: no customer has the old e-mail or the new one",
        "rejected: new_email: this is not an e-mail address",
        "rejected: new_email: this is not an e-mail address",
    ]
    assert writes(crm_sandbox) == []
    crm_sandbox.fault("answer_before", method="PUT", status=400, body='{"error": "not now"}')
    rows = [{"old_email": "a@example.fr", "new_email": "c@example.fr"}]
    assert run(SpreadUpdateEmailsOperator, rows) == ["rejected: not now"]


@pytest.mark.parametrize("parameters", [{"old_field": "x"}, {"new_field": "x"}, {"new_field": "old_email"}])
def test_bad_columns_of_a_change_are_told_before_any_call(crm_sandbox, parameters):
    source = [{"old_email": "a@example.fr", "new_email": "b@example.fr"}]
    with pytest.raises(CrmInputError):
        SpreadUpdateEmailsOperator(task_id="t", source=source, **parameters).execute({})
    assert len(crm_sandbox.calls) == 0
