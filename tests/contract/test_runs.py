"""What holds for every run of every destination, without any fault."""

from __future__ import annotations

import pytest

from airflow_provider_crm.exceptions import CrmInputError, CrmRejectsError

from .registry import DESTINATIONS
from .trial import Trial, by_name, first_modes


def test_every_row_ends_as_it_should_and_a_second_run_changes_nothing(trial: Trial) -> None:
    trial.check(trial.run())
    trial.check_again(trial.run())


@pytest.mark.sampled
def test_a_row_at_a_time(trial: Trial) -> None:
    if "batch_size" in trial.destination.parameters:
        trial.check(trial.run(batch_size=1, concurrency=1))
    else:
        trial.check(trial.run(concurrency=1))


@pytest.mark.sampled
def test_a_source_that_holds_every_row_twice_does_nothing_twice(trial: Trial) -> None:
    trial.run([*trial.rows, *trial.rows])
    assert trial.held() == trial.mode.held


@pytest.mark.sampled
@pytest.mark.parametrize(
    "each", first_modes(one for one in DESTINATIONS if one.will), ids=by_name, indirect=True
)
@pytest.mark.parametrize("between", [0, 20], ids=["beside", "apart"])
@pytest.mark.parametrize("order", [1, -1], ids=["out-in", "in-out"])
def test_an_opt_out_wins(trial: Trial, between: int, order: int) -> None:
    assert trial.destination.will is not None
    first, last = trial.destination.will[::order]
    trial.run([first, *(trial.rows[:between]), last])
    assert trial.destination.opted_out(trial.sandbox) - trial.opted_out


@pytest.mark.sampled
def test_a_dry_run_says_how_rows_would_end_and_writes_nothing(trial: Trial) -> None:
    ended = trial.run(dry_run=True)
    assert ended.ends == (trial.mode.dry or trial.mode.ends).split(), ended.said
    assert trial.held() == trial.before
    assert {call.method for call in trial.sandbox.calls} <= {"GET"}


@pytest.mark.sampled
def test_too_many_rejects_fail_the_task_after_all_rows(trial: Trial) -> None:
    with pytest.raises(CrmRejectsError) as raised:
        trial.run(max_rejects=len(trial.rejected) - 1)
    assert "@" not in str(raised.value)
    assert trial.held() == trial.mode.held
    assert {line["row"] for line in trial.run_task.rejects} == trial.rejected


def test_a_source_that_is_too_short_is_not_sent(trial: Trial) -> None:
    with pytest.raises(CrmInputError, match="min_rows"):
        trial.run(min_rows=len(trial.rows) + 1)
    assert trial.held() == trial.before
