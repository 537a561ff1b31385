"""Deletes: one column is enough, nobody else is erased, and what only seems deleted is looked at again."""

from __future__ import annotations

import pytest

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.operators.spread import SpreadDeleteCustomersOperator

from .calls import writes


@pytest.mark.parametrize("column", ["id", "email"])
def test_one_column_is_enough_for_a_delete(spread, run, column):
    customer = spread.add_customer("a@example.fr")
    row = {column: getattr(customer, column), "name": "whatever"}
    assert run(SpreadDeleteCustomersOperator, [row]) == ["deleted"]
    assert not spread.customers
    assert run(SpreadDeleteCustomersOperator, [row], dry_run=True) == ["skipped: not in SPREAD"]


def test_nobody_else_is_erased(crm_sandbox, spread, run):
    spread.add_customer("a@example.fr")
    spread.add_customer("b@example.fr")
    rows = [
        {"id": "123456", "email": "b@example.fr"},
        {"id": "99", "email": "b@example.fr"},
        {"id": "x", "email": "b@example.fr"},
        {"id": "1" * 30, "email": None},
    ]
    assert run(SpreadDeleteCustomersOperator, rows) == [
        "rejected: the customer of this id has another e-mail",
        "rejected: no customer has this id, and another one has the e-mail",
        *["rejected: id: an id of SPREAD is a number such as 123456"] * 2,
    ]
    assert writes(crm_sandbox) == []


def test_a_delete_that_the_crm_refuses_or_only_claims(crm_sandbox, spread, run):
    spread.add_customer("a@example.fr")
    rows = [{"email": "a@example.fr"}]
    fault = crm_sandbox.fault("answer_before", method="DELETE", status=400, body='{"error": "locked"}')
    assert run(SpreadDeleteCustomersOperator, rows) == ["rejected: locked"]
    crm_sandbox.clear()
    fault = crm_sandbox.fault("answer_before", method="DELETE", body='{"response": "Customer deleted."}')
    (ending,) = run(SpreadDeleteCustomersOperator, rows)
    assert ending.startswith("rejected")
    assert 2 <= fault.fired <= 3
    assert len(spread.customers) == 1


def test_a_look_up_that_lags_behind_a_delete(crm_sandbox, spread, run, monkeypatch):
    customer = spread.add_customer("a@example.fr")
    shown = {"id": customer.id, "email": customer.email}
    monkeypatch.setattr(SpreadHook, "find_customer", lambda self, **_: shown)
    assert run(SpreadDeleteCustomersOperator, [{"email": "a@example.fr"}]) == ["deleted"]
    assert not spread.customers


@pytest.mark.parametrize(
    "parameters",
    [
        {"email_field": "mail", "customer_id_field": "number"},
        {"require_confirmation_count": 2},
        {"min_rows": "2"},
    ],
)
def test_bad_input_of_a_delete_is_told_before_anything_is_deleted(crm_sandbox, spread, parameters):
    spread.add_customer("a@example.fr")
    with pytest.raises(CrmInputError):
        SpreadDeleteCustomersOperator(task_id="t", source=[{"email": "a@example.fr"}], **parameters).execute(
            {}
        )
    assert len(spread.customers) == 1
    assert len(crm_sandbox.calls) == 0 or len(parameters) == 1
