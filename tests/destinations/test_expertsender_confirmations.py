"""Mails that ask people to confirm: once to each, whatever becomes of the answer, and again when forced."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmTransientError
from tests.helpers.state import TaskState

from .expertsender_runs import AWAITING, Run


@pytest.mark.parametrize(("value", "allow"), [(True, True), (False, False), (None, False)])
def test_rows_that_ask_nobody_are_not_looked_at(run: Run, value: bool | None, allow: bool) -> None:
    rows = [{"email": f"p{n}@x.fr", "consents.2": value} for n in range(25)]
    run.upsert(rows, batch_size=10, allow_resubscribe=allow)
    assert sorted(run.posts()) == [5, 10, 10]
    assert run.sandbox.calls.count("expertsender", "GET", "/customers/{by}/{value}") == 0


def test_a_row_that_only_asks_again_is_unchanged(run: Run) -> None:
    rows = [{"email": "a@x.fr", "consents.1": AWAITING}]
    assert run.upsert(rows) == {"updated": 1}
    assert run.upsert(rows) == {"unchanged": 1}
    assert run.posts() == []


@pytest.mark.sampled
@pytest.mark.parametrize("fault", ["error_after", "drop_after", "truncate", "html_after"])
def test_a_forced_confirmation_is_sent_once_a_run(run: Run, fault: str) -> None:
    rows = [{"email": "a@x.fr", "consents.1": AWAITING, "force": True, "confirmationMessageId": 5}]
    run.fault(fault)
    assert run.upsert(rows) == {"updated": 1}
    assert run.mailbox() == {("a@x.fr", 1): 1}
    assert run.sandbox.expertsender.mailbox[0].message_id == 5
    assert run.upsert(rows) == {"updated": 1}
    assert run.mailbox() == {("a@x.fr", 1): 2}


@pytest.mark.sampled
@pytest.mark.parametrize("failed_batch", ["none", "good_rows", "up_to_error"])
def test_a_forced_confirmation_is_sent_beside_a_bad_row(run: Run, failed_batch: str) -> None:
    run.switch(failed_batch=failed_batch)
    rows: list[dict[str, Any]] = [{"email": f"p{n}@x.fr", "consents.1": AWAITING} for n in range(6)]
    run.upsert(rows)
    rows = [{**row, "force": True} for row in rows]
    rows[3]["customAttributes"] = {"Unknown": "x"}
    assert run.upsert(rows) == {"updated": 5, "rejected": 1}
    assert run.mailbox() == {(f"p{n}@x.fr", 1): 1 if n == 3 else 2 for n in range(6)}


def test_a_forced_confirmation_is_sent_once_where_reads_lag_behind(run: Run) -> None:
    run.switch(visible_after=60)
    run.fault("drop_after")
    assert run.upsert([{"email": "a@x.fr", "consents.1": AWAITING, "force": True}]) == {"updated": 1}
    assert run.posts() == [1, 1]
    assert run.mailbox() == {("a@x.fr", 1): 1}


def forced(*people: int) -> list[dict[str, Any]]:
    return [{"email": f"p{n}@x.fr", "consents.1": AWAITING, "force": True} for n in people]


@pytest.mark.parametrize("asked_before", [True, False])
def test_a_retry_forces_only_what_the_try_before_it_has_not_sent(run: Run, asked_before: bool) -> None:
    if asked_before:
        run.upsert([{**row, "force": False} for row in forced(*range(6))])
    before = run.mailbox()
    state = TaskState()
    run.fault("drop_after", after=2)
    run.fault("error_before", method="GET", path="/customers/", times=None)
    options = {"store": state, "concurrency": 1, "allow_resubscribe": True, "settle_seconds": 0}
    with pytest.raises(CrmTransientError):
        run.upsert(forced(*range(6)), **options)
    run.sandbox.clear()
    assert (run.mailbox() - before).total() == 3
    assert run.upsert(forced(*range(6)), **options) == {"updated": 6}
    assert run.mailbox() - before == {(f"p{n}@x.fr", 1): 1 for n in range(6)}
    assert not state
    run.upsert(forced(*range(6)), **options)
    assert run.mailbox() - before == {(f"p{n}@x.fr", 1): 2 for n in range(6)}, "another run forces anew"


def test_a_message_that_was_certainly_not_sent_is_forced_by_the_retry(run: Run) -> None:
    run.upsert([{**row, "force": False} for row in forced(0)])
    state = TaskState()
    options = {"store": state, "allow_resubscribe": True, "settle_seconds": 0}
    run.fault("rate_limited", times=None)
    with pytest.raises(CrmTransientError):
        run.upsert(forced(0), **options)
    run.sandbox.clear()
    run.upsert(forced(0), **options)
    assert run.mailbox() == {("p0@x.fr", 1): 2}


def test_another_row_of_that_number_was_not_sent(run: Run) -> None:
    run.upsert([{**row, "force": False} for row in forced(0, 1)])
    state = TaskState()
    options = {"store": state, "concurrency": 1, "allow_resubscribe": True, "settle_seconds": 0}
    run.fault("drop_after")
    run.fault("error_before", method="GET", path="/customers/", times=None)
    with pytest.raises(CrmTransientError):
        run.upsert(forced(0), **options)
    run.sandbox.clear()
    run.upsert(forced(1), **options)
    assert run.mailbox() == {("p0@x.fr", 1): 2, ("p1@x.fr", 1): 2}
