"""Real processes that credit: killed with SIGKILL at many points, and two at once.

``CRM_LOYALTY_KILLS`` sets how many kills there are for each database; the default is fit for every run of the tests.
"""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa

from airflow_provider_crm.loyalty.tables import metadata
from airflow_provider_crm.sandbox.remote import RemoteSandbox
from tests.helpers.waits import patience

ROWS = 500
KILLS = int(os.environ.get("CRM_LOYALTY_KILLS", "2"))
SEED = int(os.environ.get("CRM_LOYALTY_SEED") or random.randrange(10**9))

pytestmark = [pytest.mark.system, pytest.mark.slow]


@pytest.fixture
def postgres(postgres):
    """The URL of the session's PostgreSQL, without any ledger that other tests have left there."""
    engine = sa.create_engine(postgres)
    metadata.drop_all(engine)
    engine.dispose()
    return postgres


@pytest.fixture
def work(tmp_path):
    """Let processes credit 500 rows of a hundred people, and give what became of it."""

    def work(ledger, *, kills=(), at_once=1):
        with RemoteSandbox.spawn(seed=100) as sandbox:
            people = [(one["id"], one["email"]) for one in sandbox.records("spread", "customers")]
            source, wanted = tmp_path / "credits.csv", Counter()
            with source.open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["credit_key", "email", "customer_id", "amount"])
                for number in range(ROWS):
                    customer, email = people[number % len(people)]
                    amount = "5" if number % 3 else "7"
                    by_id = number % 4 == 0
                    writer.writerow([f"k{number}", "" if by_id else email, customer if by_id else "", amount])
                    wanted[customer, amount] += 1
            sandbox.fault("latency", method="POST", path="/cagnottes", ms=10)
            sandbox.fault("drop_after", method="POST", path="/cagnottes", probability=0.02, seed=SEED)
            connection = json.loads(sandbox.connections()["spread_default"])
            connection["extra"] = {"timeout": 2}
            request = {
                "environ": {
                    "AIRFLOW_CONN_SPREAD_DEFAULT": json.dumps(connection),
                    "NO_PROXY": "127.0.0.1",
                },
                "sandbox": sandbox.url,
                "ledger": ledger,
                "source": str(source),
                "rows": ROWS,
                "kills": list(kills),
                "at_once": at_once,
                "seed": SEED,
            }
            asked, answered = tmp_path / "request.json", tmp_path / "answer.json"
            asked.write_text(json.dumps(request))
            driver = Path(__file__).with_name("loyalty_processes.py")
            done = subprocess.run(
                [sys.executable, str(driver), str(asked), str(answered)],
                capture_output=True,
                text=True,
                timeout=patience(60 + 30 * len(request["kills"])),
                check=False,
            )
            assert done.returncode == 0, (
                f"CRM_LOYALTY_SEED={SEED}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
            )
        answer = json.loads(answered.read_text())
        assert {(customer, amount): number for customer, amount, number in answer["lines"]} == wanted
        assert answer["audit"]["credits"] == ROWS
        for problem in ("credits_without_line", "credits_with_another_amount", "credits_in_doubt"):
            assert answer["audit"][problem] == 0
        return answer

    return work


def shares(kills):
    return [(number + 0.5) / (kills + 1) for number in range(kills)]


def test_kills_on_sqlite(work, tmp_path):
    answer = work(f"sqlite:///{tmp_path / 'ledger.db'}", kills=shares(KILLS))
    assert answer["deaths"] == KILLS
    (result,) = answer["results"]
    assert result["read"] == ROWS == result["credited"] + result["already_credited"]
    assert result["already_credited"] > 0


def test_kills_on_postgresql(work, postgres):
    answer = work(postgres, kills=shares(KILLS))
    assert answer["deaths"] == KILLS
    assert answer["results"][0]["read"] == ROWS


def test_two_workers_at_once_on_postgresql(work, postgres):
    answer = work(postgres, at_once=2)
    assert [result["read"] for result in answer["results"]] == [ROWS, ROWS]
    assert sum(result["credited"] for result in answer["results"]) <= ROWS
