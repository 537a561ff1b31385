"""No ledger, no credit; and nobody is named in it."""

from __future__ import annotations

import json
import logging
import threading

import pytest

from airflow_provider_crm.exceptions import CrmFailError, CrmInputError, CrmRejectsError
from airflow_provider_crm.http import retry
from airflow_provider_crm.loyalty import claims
from airflow_provider_crm.loyalty.claims import GROUPS
from airflow_provider_crm.loyalty.database import LedgerError
from airflow_provider_crm.loyalty.ledger import LoyaltyLedger
from airflow_provider_crm.loyalty.sending import IN_A_GROUP

from .credits import LEDGER, posts, row

# The ledger out of reach


def test_no_ledger_no_credit(spread, add, credit, crm_sandbox, monkeypatch):
    add("zoe@example.fr")
    monkeypatch.delenv(LEDGER)
    with pytest.raises(CrmInputError, match="AIRFLOW_CONN_CRM_LEDGER_DEFAULT"):
        credit([row("a")])
    monkeypatch.setenv(LEDGER, json.dumps({"conn_type": "sqlite", "host": "/nowhere/at/all.db"}))
    with pytest.raises(LedgerError) as caught:
        credit([row("a")])
    assert not isinstance(caught.value, CrmFailError)
    assert len(crm_sandbox.calls) == 0


@pytest.mark.sampled
@pytest.mark.parametrize("moment", ["start_all", "finish_all"])
def test_a_ledger_that_goes_away_in_the_middle(spread, add, credit, crm_sandbox, monkeypatch, moment):
    for number in range(200):
        add(f"p{number}@example.fr")
    source = [row(f"k{n}", f"p{n}@example.fr") for n in range(200)]
    original, calls, gone = getattr(LoyaltyLedger, moment), [], threading.Event()
    write = claims.Database.write

    def fail_from_the_second_on(self, *arguments, **more):
        calls.append(1)
        if len(calls) >= 2:
            gone.set()
        return original(self, *arguments, **more)

    def write_or_fail(self, work):
        if gone.is_set():
            raise LedgerError("The ledger is gone")
        return write(self, work)

    monkeypatch.setattr(LoyaltyLedger, moment, fail_from_the_second_on)
    monkeypatch.setattr(claims.Database, "write", write_or_fail)
    with pytest.raises(LedgerError):
        credit(source)
    sent = posts(crm_sandbox)
    assert sent <= (1 + GROUPS) * IN_A_GROUP * 8
    monkeypatch.undo()
    monkeypatch.setattr(claims, "LEASE", 0.1)
    assert sent == posts(crm_sandbox)


@pytest.mark.slow
def test_a_claim_is_confirmed_after_a_long_wait(spread, add, credit, crm_sandbox, monkeypatch):
    """A 429 may hold a call back for longer than the lease: the ledger decides again before it leaves."""
    add("zoe@example.fr")
    monkeypatch.setattr(claims, "LEASE", 0.3)
    monkeypatch.setattr(retry, "wait_after", lambda failures, asked: 0.2)
    confirmed = []
    still_open = LoyaltyLedger._still_open
    monkeypatch.setattr(LoyaltyLedger, "_still_open", lambda self: confirmed.append(1) or still_open(self))
    crm_sandbox.fault("rate_limited", method="POST", path="/cagnottes", times=2)
    assert credit([row("a")])["credited"] == 1
    assert len(confirmed) >= 3  # once at the start, and once for each try that came later


# What must not be seen


def test_no_email_and_no_secret_anywhere(spread, add, credit, crm_sandbox, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    add("zoe@example.fr")
    crm_sandbox.fault("drop_after", method="POST", path="/cagnottes", times=1)
    body = '{"error": "zoe@example.fr is not allowed, demo-private"}'
    crm_sandbox.fault("answer_before", method="POST", path="/cagnottes", after=1, status=400, body=body)
    with pytest.raises(CrmRejectsError) as caught:
        credit([row("a"), row("b", amount=7), row("c", "nobody@example.fr")])
    files = b"".join(path.read_bytes() for path in tmp_path.glob("ledger.db*"))
    logged = "".join(str(one.getMessage()) for one in caplog.records if "uvicorn" not in one.name)
    for secret in ("example.fr", "demo-private"):
        assert secret not in logged
        assert secret not in str(caught.value)
        assert secret.encode() not in files
