"""Failures that may pass: how many in a row a sensor bears, in each of its modes."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_crm._compat import AirflowSkipException
from airflow_provider_crm.exceptions import CrmRateLimitError, CrmTransientError
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.sandbox.server import Sandbox
from airflow_provider_crm.sensors import base
from airflow_provider_crm.sensors.mindbaz import MindbazSubscriberSensor


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no call be tried again by the hook itself."""
    monkeypatch.setattr(base, "RETRY_BUDGET", 0.0)


def sensor(**parameters: Any) -> MindbazSubscriberSensor:
    given = {"email": "zoe@example.fr", "poke_interval": 0, **parameters}
    return MindbazSubscriberSensor(task_id="wait", **given)


def arrive() -> None:
    MindbazHook().create_subscribers([{"fields": {1: "zoe@example.fr"}}])


def test_a_few_failures_are_borne(crm_sandbox: Sandbox) -> None:
    arrive()
    crm_sandbox.fault("error_before", system="mindbaz", status=503, times=3)
    crm_sandbox.fault("rate_limited", system="mindbaz", retry_after=60, times=3)
    crm_sandbox.fault("drop_before", system="mindbaz", times=3)
    assert sensor().execute({})["status"] == 0
    assert crm_sandbox.calls.count("mindbaz") == 11  # one of them makes the subscriber


def test_the_last_of_too_many_fails_it(crm_sandbox: Sandbox) -> None:
    crm_sandbox.fault("error_before", system="mindbaz", status=503)
    with pytest.raises(CrmTransientError, match="503"):
        sensor(max_consecutive_failures=4).execute({})
    assert crm_sandbox.calls.count("mindbaz") == 4


def test_it_is_said_when_the_crm_wants_to_be_asked_again(crm_sandbox: Sandbox) -> None:
    crm_sandbox.fault("rate_limited", system="mindbaz", retry_after=60)
    with pytest.raises(CrmRateLimitError) as caught:
        sensor(max_consecutive_failures=1).execute({})
    assert caught.value.retry_after == pytest.approx(60)


def test_failures_count_in_a_row(crm_sandbox: Sandbox) -> None:
    waiting = sensor(max_consecutive_failures=2)
    for _ in range(3):
        crm_sandbox.fault("error_before", system="mindbaz", status=503, times=1)
        assert not waiting.poke({})
        assert not waiting.poke({})


def test_soft_fail_skips(crm_sandbox: Sandbox) -> None:
    crm_sandbox.fault("error_before", system="mindbaz", status=503)
    with pytest.raises(AirflowSkipException):
        sensor(max_consecutive_failures=1, soft_fail=True).execute({})


@pytest.mark.parametrize("deferrable", [False, True])
def test_soft_fail_skips_what_cannot_pass(crm_sandbox: Sandbox, deferrable: bool) -> None:
    crm_sandbox.switch("mindbaz", api_key="another")
    with pytest.raises(AirflowSkipException):
        sensor(soft_fail=True, deferrable=deferrable).execute({})


def test_reschedule_counts_in_the_tasks_state(crm_sandbox: Sandbox, context: Any, store: Any) -> None:
    crm_sandbox.fault("error_before", system="mindbaz", status=503, times=5)
    for _ in range(2):  # each look is a sensor of its own, as on workers
        assert not sensor(mode="reschedule", max_consecutive_failures=3).poke(context)
    with pytest.raises(CrmTransientError):
        sensor(mode="reschedule", max_consecutive_failures=3).poke(context)
    context["ti"].try_number = 2
    for _ in range(2):
        assert not sensor(mode="reschedule", max_consecutive_failures=3).poke(context)
    assert not sensor(mode="reschedule", max_consecutive_failures=3).poke(context)
    assert store == {"crm_sensor.failures": {"failures": 0, "try": 2}}


def test_reschedule_writes_no_state_as_long_as_all_is_well(
    crm_sandbox: Sandbox, context: Any, store: Any
) -> None:
    assert not sensor(mode="reschedule").poke(context)
    assert store == {}


def test_reschedule_without_state_bears_all(crm_sandbox: Sandbox, context: Any) -> None:
    crm_sandbox.fault("error_before", system="mindbaz", status=503)
    del context["task_state_store"]
    for _ in range(4):
        assert not sensor(mode="reschedule", max_consecutive_failures=2).poke(context)


def test_reschedule_does_with_any_context(crm_sandbox: Sandbox) -> None:
    crm_sandbox.fault("error_before", system="mindbaz", status=503)
    assert not sensor(mode="reschedule").poke({})
