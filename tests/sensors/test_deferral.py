"""How a sensor hands over to the triggerer, and goes on after it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmAuthenticationError, CrmTransientError
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.sandbox.server import Sandbox
from airflow_provider_crm.sensors import base
from airflow_provider_crm.sensors.mindbaz import MindbazSubscriberSensor
from airflow_provider_crm.triggers.base.poll import failure_event

try:
    from airflow.sdk.exceptions import TaskDeferred
except ImportError:  # before 3.2
    from airflow.exceptions import TaskDeferred


def sensor(**parameters: Any) -> MindbazSubscriberSensor:
    given = {"email": "zoe@example.fr", "deferrable": True, **parameters}
    return MindbazSubscriberSensor(task_id="wait", **given)


def handed_over(sensor: MindbazSubscriberSensor) -> Any:
    with pytest.raises(TaskDeferred) as caught:
        sensor.execute({})
    return caught.value


def test_what_is_there_is_seen_at_once(crm_sandbox: Sandbox) -> None:
    MindbazHook().create_subscribers([{"fields": {1: "zoe@example.fr"}}])
    assert sensor().execute({})["status"] == 0


def test_everything_reaches_the_trigger(crm_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MINE", crm_sandbox.environ()["AIRFLOW_CONN_MINDBAZ_DEFAULT"])
    deferred = handed_over(
        sensor(
            mindbaz_conn_id="mine",
            status=[0, 8],
            poke_interval=timedelta(minutes=5),
            timeout=timedelta(days=14),
            max_consecutive_failures=3,
            mode="reschedule",
        )
    )
    assert deferred.trigger.serialize()[1] == {
        "question": "airflow_provider_crm.triggers.mindbaz.SubscriberQuestion",
        "fields": {"value": "zoe@example.fr", "by": "Email", "statuses": ["0", "8"]},
        "conn_id": "mine",
        "poll_interval": 300.0,
        "max_consecutive_failures": 3,
        "failures": 0,
    }
    assert (deferred.method_name, deferred.timeout) == ("execute_complete", timedelta(days=14))
    assert "zoe" not in repr(deferred.trigger)


def test_a_failure_of_the_first_look_counts(crm_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "RETRY_BUDGET", 0.0)
    crm_sandbox.fault("error_before", system="mindbaz", status=503, times=1)
    assert handed_over(sensor()).trigger.failures == 1


def test_a_wrong_key_is_not_handed_over(crm_sandbox: Sandbox) -> None:
    crm_sandbox.switch("mindbaz", api_key="another")
    with pytest.raises(CrmAuthenticationError):
        sensor().execute({})


def test_it_goes_on_after_the_trigger() -> None:
    seen = {"id": 1, "status": 0}
    assert sensor().execute_complete({}, {"status": "success", "result": seen}) == seen
    with pytest.raises(CrmTransientError, match="too busy"):
        sensor().execute_complete({}, failure_event(CrmTransientError("too busy")))
    with pytest.raises(CrmAuthenticationError):
        sensor().execute_complete({}, failure_event(CrmAuthenticationError("no")))
