"""Calls that leave no trace, from workers that are killed: forced messages, and answers for one channel."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_crm.operators.expertsender import ExpertSenderUpsertCustomersOperator
from airflow_provider_crm.sandbox.server import Sandbox
from airflow_provider_crm.sandbox.spread.customers import Changes
from tests.helpers.tasks import TaskRunner
from tests.helpers.waits import patience

pytestmark = pytest.mark.system

KILLS = 12
PEOPLE = 240
CONCURRENCY = 4

#: Tries a task in forks, after the imports, until a try ends by itself; says the id of each.
WORKER = """
import json, os, pathlib, sys
from airflow_provider_crm.operators import expertsender, spread

folder = pathlib.Path(sys.argv[1])
operator = {
    "messages": expertsender.ExpertSenderUpsertCustomersOperator,
    "answers": spread.SpreadCreateConsentsOperator,
}[sys.argv[2]]


class Store:
    def get(self, key, default=None):
        path = folder / key
        return json.loads(path.read_text()) if path.exists() else default

    def set(self, key, value):
        new = folder / "new"
        new.write_text(json.dumps(value))
        new.rename(folder / key)

    def delete(self, key):
        (folder / key).unlink(missing_ok=True)


while True:
    child = os.fork()
    if not child:
        options = json.loads(sys.argv[3])
        task = operator(task_id="t", source=str(folder / "rows.jsonl"), settle_seconds=1, **options)
        summary = task.execute({"task_state_store": Store()})
        (folder / "summary.json").write_text(json.dumps(summary))
        os._exit(0)
    print("started", child, flush=True)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


@pytest.fixture
def killed(crm_sandbox: Sandbox, tmp_path: Path) -> Callable[..., dict[str, int]]:
    """Run a task that is killed at random moments, until a try of it comes to its end."""

    def run(kind: str, rows: list[dict[str, object]], seed: int, **options: object) -> dict[str, int]:
        chance = random.Random(seed)
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        arguments = [sys.executable, "-c", WORKER, str(tmp_path), kind, json.dumps(options)]
        with subprocess.Popen(
            arguments, env={**os.environ, **crm_sandbox.environ()}, stdout=subprocess.PIPE, text=True
        ) as worker:
            assert worker.stdout is not None
            children = (int(line.split()[1]) for line in worker.stdout if line.startswith("started "))
            for number, child in enumerate(children):
                # At a number of calls, which is a random moment of a try and hardly ever after it.
                calls = len(crm_sandbox.calls) + chance.randrange(1, 40)
                while number < KILLS and Path(f"/proc/{child}").exists():
                    if len(crm_sandbox.calls) >= calls:
                        os.kill(child, signal.SIGKILL)
                        break
            assert worker.wait(timeout=patience(60)) == 0
            assert number, "a try was killed"
        summary: dict[str, int] = json.loads((tmp_path / "summary.json").read_text())
        assert summary["read"] == len(rows)
        assert not list(tmp_path.glob("crm_bulk_*"))
        return summary

    return run


@pytest.mark.parametrize("asked_before", [False, True])
def test_nobody_gets_a_forced_message_twice(
    crm_sandbox: Sandbox, run_task: TaskRunner, killed: Callable[..., dict[str, int]], asked_before: bool
) -> None:
    rows = [
        {"email": f"p{n}@example.fr", "consents.1": "AwaitingConfirmation", "force": True}
        for n in range(PEOPLE)
    ]
    if asked_before:
        unforced = [{**row, "force": False} for row in rows]
        run_task(ExpertSenderUpsertCustomersOperator, unforced)
    before = len(list(crm_sandbox.records("expertsender", "mailbox")))
    killed("messages", rows, 7, batch_size=30, concurrency=CONCURRENCY, allow_resubscribe=True)
    mails = Counter(mail["email"] for mail in list(crm_sandbox.records("expertsender", "mailbox"))[before:])
    assert max(mails.values()) == 1
    # Of somebody who was asked before, no look tells whether a call that was on its way has asked them again.
    lost = PEOPLE - len(mails)
    assert lost <= (KILLS * CONCURRENCY if asked_before else 0), lost


@pytest.mark.parametrize("only_changes", [True, False])
def test_an_answer_for_a_channel_is_recorded_once(
    crm_sandbox: Sandbox, killed: Callable[..., dict[str, int]], only_changes: bool
) -> None:
    spread = crm_sandbox.spread
    people = [
        spread.customers.add(f"p{n}@example.fr", Changes({}, [], {}), "2026-01-05T08:30:00+0000").id
        for n in range(PEOPLE // 4)
    ]
    answers = [(customer, str(channel)) for customer in people for channel in range(4)]
    rows: list[dict[str, object]] = [
        {
            "customer_id": customer,
            "channel_id": channel,
            "consent_id": 9876,
            "status": "accepted",
            "created_at": "2026-01-06 00:00:00",
        }
        for customer, channel in answers
    ]
    killed("answers", rows, 11, concurrency=CONCURRENCY, only_changes=only_changes)
    recorded = Counter((event.customer_id, event.channel_id) for event in spread.consents.events)
    assert recorded == Counter(answers)
