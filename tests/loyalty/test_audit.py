"""The audit: each credit of the ledger has its line in SPREAD, or it is said which has not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from airflow_provider_crm.exceptions import CrmFailError, CrmInputError
from airflow_provider_crm.operators.spread.loyalty import SpreadAuditLoyaltyOperator

from .credits import SETTLE, others, posts, row


@pytest.fixture
def audit(spread, tmp_path):
    def audit(**parameters):
        report = tmp_path / "audit.jsonl"
        parameters = {"settle_seconds": SETTLE, **parameters}
        operator = SpreadAuditLoyaltyOperator(task_id="a", report_path=str(report), **parameters)
        try:
            return operator.execute({})
        except CrmFailError as error:
            return str(error), [json.loads(line) for line in report.read_text().splitlines()]

    return audit


def test_the_audit_finds_nothing_after_a_run(spread, add, credit, audit, crm_sandbox):
    zoe = add("zoe@example.fr")
    spread.loyalty.add(zoe, Decimal(9), "2030-01-01 00:00:00", campaign_id="46354")
    spread.loyalty.add(zoe, Decimal(9), "2030-01-01 00:00:00")
    crm_sandbox.fault("drop_after", method="POST", path="/cagnottes", every=2)
    credit([row(f"k{n}") for n in range(5)])
    assert audit() == {
        "credits": 5,
        "lines": 6,
        "credits_without_line": 0,
        "credits_with_another_amount": 0,
        "credits_in_doubt": 0,
        "lines_without_credit": 1,
    }


def test_the_audit_fails_when_a_line_is_missing(spread, add, credit, audit):
    zoe = add("zoe@example.fr")
    credit([row("a"), row("b")])
    line = spread.loyalty.lines.pop(0)
    spread.loyalty.of_customer(zoe).remove(line)
    message, report = audit()
    assert message.startswith("1 credits of the ledger have no line in SPREAD")
    assert [(one["problem"], one["credit_key"]) for one in report] == [("credit without line", "a")]


@pytest.mark.slow
def test_the_audit_waits_for_lines_that_show_late(spread, add, credit, audit, crm_sandbox):
    zoe = add("zoe@example.fr")
    spread.loyalty.add(zoe, Decimal(9), "2030-01-01 00:00:00")
    crm_sandbox.switch("spread", line_delay=1.0)
    credit([row("a")])
    found = audit(settle_seconds=2)
    assert found["credits_without_line"] == 0
    assert (found["lines"], found["lines_without_credit"]) == (2, 1)


def test_the_audit_takes_a_window_with_a_zone(spread, add, credit, audit):
    add("zoe@example.fr")
    credit([row("a")])
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    ahead = timezone(timedelta(hours=14))
    assert audit(created_after=(now - hour).astimezone(ahead))["credits"] == 1
    assert audit(created_after=(now + hour).astimezone(ahead))["credits"] == 0


def test_a_window_that_is_turned_round_is_refused(spread):
    operator = SpreadAuditLoyaltyOperator(
        task_id="a", created_after="2026-02-01", created_before="2026-01-01"
    )
    with pytest.raises(CrmInputError, match="turned round"):
        operator.execute({})


def test_the_audit_does_not_trust_the_crms_clock(spread, add, credit, audit, crm_sandbox):
    add("zoe@example.fr")
    crm_sandbox.switch("spread", clock_shift=-40 * 3600.0)
    credit([row("a")])
    found = audit(created_after="2020-01-01 00:00:00", created_before="2100-01-01 00:00:00")
    assert found["credits_without_line"] == 0


def test_the_audit_refuses_a_window_that_is_turned_round(spread, crm_sandbox):
    operator = SpreadAuditLoyaltyOperator(
        task_id="a", created_after="2026-02-01 00:00:00", created_before="2026-01-01 00:00:00"
    )
    with pytest.raises(CrmInputError, match="turned round"):
        operator.execute({})
    assert posts(crm_sandbox) == others(crm_sandbox) == 0
