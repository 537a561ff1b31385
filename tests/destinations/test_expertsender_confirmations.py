"""Mails that ask people to confirm: once to each, whatever becomes of the answer, and again when forced."""

from __future__ import annotations

from typing import Any

import pytest

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


@pytest.mark.parametrize("fault", ["error_after", "drop_after", "truncate", "html_after"])
def test_a_forced_confirmation_is_sent_once_a_run(run: Run, fault: str) -> None:
    rows = [{"email": "a@x.fr", "consents.1": AWAITING, "force": True, "confirmationMessageId": 5}]
    run.fault(fault)
    assert run.upsert(rows) == {"updated": 1}
    assert run.mailbox() == {("a@x.fr", 1): 1}
    assert run.sandbox.expertsender.mailbox[0].message_id == 5
    assert run.upsert(rows) == {"updated": 1}
    assert run.mailbox() == {("a@x.fr", 1): 2}


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
