"""Whatever happens to a call: every row ends as it would have, nothing is lost, and nothing is done twice."""

from __future__ import annotations

import random
import typing
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmFailError, CrmTransientError
from airflow_provider_crm.sandbox import faults
from tests.helpers.state import TaskState, second_try

from .trial import WRITING, Connect, Trial

#: What a fault needs, or else does not do.
SETTINGS: dict[str, dict[str, Any]] = {
    "latency": {"ms": 2},
    "slow_after": {"ms": 2},
    "rate_limited": {"retry_after": 0},
    "query_too_long": {"limit": 300},
    "page_cap": {"limit": 1},
    "next_page_url": {"form": "loop"},
    "abort_at": {"item": 1},
    # Any other may be the answer of a call that was carried out.
    "redirect": {"status": 308},
    "drop_after": {"reset": True},
    # By the client's clock, in which nobody has to wait.
    "late_commit": {"ms": 1500},
    "late_reads": {"ms": 500},
}
#: Faults that decide how a call ends, and that no CRM means by its answer.
ENDING = sorted(
    set(faults.BEFORE | faults.AFTER) - {"answer_before", "answer_after", "redirect", "query_too_long"}
)
#: Those of them that pass: what is read is not to be had from an address that leads to itself.
PASSING = [kind for kind in ENDING if kind != "redirect_after"]


def times(kind: str) -> dict[str, int]:
    """Say how often a fault fires on the calls of one method."""
    if kind == "answer_before":
        return {
            "times": 1
        }  # a deletion that is confirmed again and again and not made is rejected in the end
    if kind == "late_reads":
        return {}
    return {"times": 2} if kind in ENDING or kind == "answer_after" else {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", typing.get_args(faults.Kind))
def test_a_fault_changes_no_end(trial: Trial, kind: str) -> None:
    """Every fault that the sandbox knows, on the first calls that read and the first that write."""
    trial.see_through(kind)
    methods = WRITING if kind == "redirect_after" else ("GET", *WRITING)
    active = [trial.fault(kind, method=method, **SETTINGS.get(kind, {}), **times(kind)) for method in methods]
    trial.check(trial.run())
    assert any(one.fired for one in active) or kind in faults.CONDITIONS
    trial.sandbox.clear()
    trial.check_again(trial.run())


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 2.0])
@pytest.mark.parametrize("kind", ["drop_after", "error_after", "html_after", "late_commit"])
def test_what_is_shown_late_is_not_done_twice(trial: Trial, kind: str, seconds: float) -> None:
    trial.fault("late_reads", ms=1000 * seconds)
    trial.see_through("late_reads")
    for method in WRITING:
        trial.fault(kind, method=method, **{**SETTINGS.get(kind, {}), "every": 2, "times": 3})
    trial.check(trial.run())


@pytest.mark.sampled
def test_an_answer_that_comes_too_late(trial: Trial, connect: Connect) -> None:
    connect(trial.destination.system, timeout=0.1)
    for method in WRITING:
        trial.fault("slow_after", ms=200, method=method, times=1)
    trial.check(trial.run())


@pytest.mark.sampled
@pytest.mark.parametrize("seed", range(3))
def test_faults_of_several_kinds_that_come_again_and_again(trial: Trial, seed: int) -> None:
    for number, kind in enumerate(random.Random(seed).sample(PASSING, 3)):
        trial.fault(kind, probability=0.15, seed=seed + number, **SETTINGS.get(kind, {}))
    trial.check(trial.run())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ENDING)
def test_a_fault_that_stays_fails_the_task_and_a_retry_goes_on(
    trial: Trial, connect: Connect, kind: str
) -> None:
    if kind == "late_commit":
        trial.see_through(kind)
    connect(trial.destination.system, max_retries=1)
    active = [trial.fault(kind, method=method, after=1, **SETTINGS.get(kind, {})) for method in WRITING]
    state = TaskState()
    failed, ended = trial.run_or_fail(CrmTransientError, store=state)
    if failed is None:
        # A look into the CRM has told that what was not answered had been done; or there was no such call.
        assert kind in faults.AFTER or not any(one.fired for one in active)
        trial.check(ended)
    else:
        assert not isinstance(failed, CrmFailError), "a retry may pass"
        assert "@" not in str(failed)
        assert {line["row"] for line in trial.run_task.rejects} <= trial.rejected, "it is no reason to reject"
        trial.sandbox.clear()
        trial.check_resumed(trial.run(store=state))
    assert state == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["drop_after", "late_commit"])
def test_a_second_try_of_whose_first_no_state_tells(trial: Trial, connect: Connect, kind: str) -> None:
    trial.see_through(kind)
    connect(trial.destination.system, max_retries=0)
    for method in WRITING:
        trial.fault(kind, method=method, after=1, times=1, **SETTINGS.get(kind, {}))
    failed, ended = trial.run_or_fail(CrmTransientError)
    if failed is None:
        trial.check(ended)
    else:
        connect(trial.destination.system)
        trial.check_resumed(trial.run(context=second_try()))


@pytest.mark.sampled
def test_a_crm_that_cannot_be_read_fails_the_task_before_it_writes(trial: Trial, connect: Connect) -> None:
    connect(trial.destination.system, max_retries=1)
    trial.fault("error_before", method="GET")
    with pytest.raises(CrmTransientError, match="503"):
        trial.run()
    assert trial.held() == trial.before
    trial.sandbox.clear()
    trial.check(trial.run())
