"""What a look has shown is not so any more, or not yet: nobody is overwritten, opted in or forgotten for it."""

from __future__ import annotations

import pytest

from airflow_provider_crm.exceptions import CrmError
from airflow_provider_crm.operators.base.deletes import CrmDeleteOperator

from .registry import DESTINATIONS
from .trial import WRITING, Connect, Trial, by_name, first_modes

ERASURES = first_modes(one for one in DESTINATIONS if issubclass(one.operator, CrmDeleteOperator))
each_erasure = pytest.mark.parametrize("each", ERASURES, ids=by_name, indirect=True)


@pytest.mark.sampled
def test_people_who_appear_between_the_look_and_the_call(trial: Trial) -> None:
    """Whoever was looked up before they were there is left as they are, or written as if they had been seen."""
    trial.see_through("stale")
    trial.hide_everybody(writes=1)
    ended = trial.run(**{"batch_size": 50} if "batch_size" in trial.destination.parameters else {})
    if any(call.method in WRITING for call in trial.sandbox.calls):
        trial.check_held()
    else:
        assert set(ended.ends) <= {"skipped", "unchanged", "rejected"}, ended.said
        assert trial.held() == trial.before
    trial.sandbox.clear()
    trial.run()
    trial.check_held()


@pytest.mark.slow
def test_people_whom_no_look_shows(trial: Trial) -> None:
    """Nothing is spoiled by it: a later run, which sees them, brings the CRM to where it should be."""
    trial.see_through("stale")
    trial.hide_everybody(writes=1000)
    trial.run_or_fail(CrmError)
    assert trial.destination.opted_out(trial.sandbox) >= trial.opted_out
    trial.sandbox.clear()
    trial.run()
    trial.check_held()


@each_erasure
def test_an_erasure_does_not_depend_on_a_look(trial: Trial) -> None:
    trial.see_through("stale")
    trial.hide_everybody(writes=1000)
    trial.run()
    assert trial.held() == trial.mode.held


@pytest.mark.sampled
@each_erasure
@pytest.mark.parametrize("max_retries", [0, 3])
@pytest.mark.parametrize("fault", ["drop_after", "drop_before"])
def test_an_erasure_is_not_taken_for_refused_where_looks_show_who_is_gone(
    trial: Trial, connect: Connect, fault: str, max_retries: int
) -> None:
    connect(trial.destination.system, max_retries=max_retries)
    trial.fault("stale", writes=1000)
    trial.fault(fault, method="DELETE", every=2)
    failed, ended = trial.run_or_fail(CrmError)
    if failed is None:
        trial.check(ended)
    trial.sandbox.clear()
    trial.run()
    trial.check_held()
