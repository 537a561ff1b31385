"""The trigger of deferrable sensors: what it yields, what it bears, and what it leaves alone."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from typing import Any

import pytest

from airflow_provider_crm import exceptions
from airflow_provider_crm.exceptions import CrmAuthenticationError, CrmError, CrmFailError, CrmRateLimitError
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.sandbox.server import Sandbox
from airflow_provider_crm.triggers.base.poll import CrmPollTrigger, LookTimes, failure_event, failure_of
from airflow_provider_crm.triggers.mindbaz import SubscriberQuestion
from tests.helpers.waits import patience


def trigger(**parameters: Any) -> CrmPollTrigger:
    path, fields = SubscriberQuestion(value="zoe@example.fr").packed()
    given = {"conn_id": "mindbaz_default", "poll_interval": 0.05, **parameters}
    return CrmPollTrigger(**{"question": path, "fields": fields, **given})


async def events_of(trigger: CrmPollTrigger) -> list[dict[str, Any]]:
    return [event.payload async for event in trigger.run()]


def run(trigger: CrmPollTrigger, timeout: float = 10) -> list[dict[str, Any]]:
    return asyncio.run(asyncio.wait_for(events_of(trigger), timeout))


def arrive() -> int:
    return int(MindbazHook().create_subscribers([{"fields": {1: "zoe@example.fr"}}])[0]["id"])


def test_serialize_makes_the_same_trigger_again() -> None:
    made = trigger(max_consecutive_failures=3, failures=1)
    path, parameters = made.serialize()
    assert path == "airflow_provider_crm.triggers.base.poll.CrmPollTrigger"
    assert parameters == {
        "question": "airflow_provider_crm.triggers.mindbaz.SubscriberQuestion",
        "fields": {"value": "zoe@example.fr", "by": "Email", "statuses": []},
        "conn_id": "mindbaz_default",
        "poll_interval": 0.05,
        "max_consecutive_failures": 3,
        "failures": 1,
    }
    assert CrmPollTrigger(**parameters).serialize() == made.serialize()
    assert "zoe" not in repr(made)


@pytest.mark.slow
def test_it_waits_until_it_is_there(crm_sandbox: Sandbox) -> None:
    async def go() -> None:
        waiting = asyncio.create_task(events_of(trigger()))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        number = await asyncio.to_thread(arrive)
        events = await asyncio.wait_for(waiting, 5)
        assert events == [{"status": "success", "result": {"id": number, "status": 0}}]

    asyncio.run(go())
    assert crm_sandbox.calls.count("mindbaz", "GET") >= 5


@pytest.mark.slow
def test_a_few_failures_are_borne(crm_sandbox: Sandbox) -> None:
    arrive()
    crm_sandbox.fault("error_before", system="mindbaz", status=503, times=9)
    assert run(trigger())[0]["status"] == "success"


def test_those_of_the_worker_count(crm_sandbox: Sandbox) -> None:
    crm_sandbox.fault("error_before", system="mindbaz", status=503)
    (event,) = run(trigger(failures=7))
    assert (event["status"], event["error"]) == ("error", "CrmTransientError")
    assert crm_sandbox.calls.count("mindbaz") == 3


@pytest.mark.slow
def test_it_asks_again_when_the_crm_said(crm_sandbox: Sandbox) -> None:
    arrive()
    crm_sandbox.fault("rate_limited", system="mindbaz", retry_after=1, times=1)
    started = time.monotonic()
    assert run(trigger())[0]["status"] == "success"
    assert time.monotonic() - started > 0.9


def test_a_wrong_key_ends_it_at_once(crm_sandbox: Sandbox) -> None:
    crm_sandbox.switch("mindbaz", api_key="another")
    (event,) = run(trigger())
    assert event["error"] == "CrmAuthenticationError"
    assert crm_sandbox.calls.count("mindbaz") == 1
    assert isinstance(failure_of(event), CrmAuthenticationError)


def test_a_connection_that_does_not_exist(crm_sandbox: Sandbox) -> None:
    (event,) = run(trigger(conn_id="nowhere"))
    assert event["error"] == "CrmConnectionError"


def test_a_question_that_is_none() -> None:
    for path in ("os.system", "nowhere.Question", "airflow_provider_crm.hooks.mindbaz.MindbazHook", "x"):
        assert run(trigger(question=path))[0]["error"] == "CrmInputError"


@pytest.mark.parametrize(
    "kind",
    [kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, CrmError)],
)
def test_errors_keep_their_class_on_the_way_to_the_worker(kind: type[CrmError]) -> None:
    error = failure_of(failure_event(kind("what happened")))
    assert type(error) is kind
    assert str(error) == "what happened"


def test_errors_keep_when_to_ask_again() -> None:
    error = failure_of(failure_event(CrmRateLimitError("too many", retry_after=7.0)))
    assert error.retry_after == 7.0
    assert type(failure_of({"status": "error", "error": "print", "message": "?"})) is CrmError
    assert not isinstance(failure_of({"status": "error"}), CrmFailError)


# When it looks


def test_looks_are_spread_evenly() -> None:
    """Those of triggers that start one by one, that have been told the same moment, and of what is left of many."""
    triggers = [LookTimes(10) for _ in range(1000)]
    for some, moments in [
        (triggers, [1e6] * 1000),
        (triggers, [1e6 + number * 0.37 for number in range(1000)]),
        (triggers[500:700], [1e6] * 200),
    ]:
        due = sorted(times.after(moment) % 10 for times, moment in zip(some, moments, strict=False))
        gaps = [later - earlier for earlier, later in itertools.pairwise([*due, due[0] + 10])]
        assert max(gaps) < 3 * 10 / len(some)


@pytest.mark.slow
@pytest.mark.parametrize("interval", [0.01, 1 / 3, 10, 86400])
def test_a_time_to_look_comes_once(interval: float) -> None:
    for start in (0.1, 1e6, 1e7):
        times = LookTimes(interval)
        due = times.after(start)
        assert start < due <= start + interval * 1.001
        for _ in range(1000):
            due, before = times.after(due), due
            assert due - before == pytest.approx(interval, rel=1e-3)


def test_an_interval_of_nothing_is_none() -> None:
    assert LookTimes(0).after(5.0) > 5.0


@pytest.mark.slow
def test_it_looks_as_often_as_wanted(crm_sandbox: Sandbox) -> None:
    async def go() -> None:
        waiting = asyncio.create_task(events_of(trigger(poll_interval=0.2)))
        await asyncio.sleep(0.5)  # the connection is known by then
        before = crm_sandbox.calls.count("mindbaz")
        await asyncio.sleep(2)
        assert 8 <= crm_sandbox.calls.count("mindbaz") - before <= 12
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(go())


# What happens off the event loop


@pytest.mark.slow
def test_threads_and_hooks_are_shared_and_bounded(
    crm_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = crm_sandbox.environ()["AIRFLOW_CONN_MINDBAZ_DEFAULT"]
    monkeypatch.setenv("AIRFLOW_CONN_MINDBAZ_DEFAULT", env.replace('"site_id"', '"concurrency":3,"site_id"'))
    crm_sandbox.fault("latency", system="mindbaz", ms=100)

    before = set(threading.enumerate())

    async def go() -> None:
        waiting = [asyncio.create_task(events_of(trigger())) for _ in range(30)]
        await asyncio.sleep(1)
        new = set(threading.enumerate()) - before
        assert sum(thread.name.startswith("mindbaz") for thread in new) <= 3
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(go())
    assert crm_sandbox.calls.max_in_flight["mindbaz"] <= 3


@pytest.mark.slow
def test_the_loop_is_never_blocked(crm_sandbox: Sandbox) -> None:
    crm_sandbox.fault("latency", system="mindbaz", ms=1000)

    async def go() -> float:
        waiting = [asyncio.create_task(events_of(trigger())) for _ in range(20)]
        worst, loop = 0.0, asyncio.get_running_loop()
        for _ in range(50):
            before = loop.time()
            await asyncio.sleep(0.02)
            worst = max(worst, loop.time() - before - 0.02)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return worst

    assert asyncio.run(go()) < patience(0.6)
    assert crm_sandbox.calls.count("mindbaz") >= 20
