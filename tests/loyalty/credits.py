"""Rows that ask for points, and what SPREAD holds and was asked afterwards."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

SETTLE = 0.15
#: When customers were added.
NOW = "2026-01-05T08:30:00+0000"
LEDGER = "AIRFLOW_CONN_CRM_LEDGER_DEFAULT"


def row(key, who="zoe@example.fr", amount=5, **more):
    name = "email" if "@" in str(who) else "customer_id"
    return {"credit_key": key, name: who, "amount": amount, **more}


def amounts(spread, customer=None):
    """The lines of SPREAD, as a customer and an amount each, as often as they are there."""
    return Counter(
        (line.customer_id, Decimal(line.amount))
        for line in spread.loyalty.lines
        if customer in (None, line.customer_id)
    )


def posts(crm_sandbox):
    return sum(call.method == "POST" for call in crm_sandbox.calls)


def others(crm_sandbox):
    return sum(call.method != "POST" for call in crm_sandbox.calls)
