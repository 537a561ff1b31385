"""Event triggers against the sandbox: what they fire for, what they remember, and what they share."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from airflow_provider_crm._compat import AirflowException, SharedStreamProducer
from airflow_provider_crm.sandbox.server import Sandbox
from airflow_provider_crm.sandbox.spread.consents import API_SOURCE, DEFINITIONS
from airflow_provider_crm.triggers.base import hook_cache, watch
from airflow_provider_crm.triggers.spread import SpreadConsentEventTrigger, SpreadCustomerEventTrigger
from tests.helpers.waits import patience

try:
    from airflow.triggers.base import BaseEventTrigger as _Known  # noqa: F401

    HAS_EVENTS = True
except ImportError:
    HAS_EVENTS = False

has_events = pytest.mark.skipif(not HAS_EVENTS, reason="event triggers came with Airflow 3.0")
has_shared_streams = pytest.mark.skipif(
    SharedStreamProducer is object, reason="shared streams came with Airflow 3.3"
)

Take = Callable[[], Awaitable[dict[str, Any] | None]]


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch, fresh_hook_cache: hook_cache.HookCache) -> None:
    monkeypatch.setattr(watch, "HOOK_CACHE", fresh_hook_cache)
    monkeypatch.setattr(watch, "AFTER_REFUSAL", 0.1)
    monkeypatch.setattr(watch, "SHORTEST_POLL_INTERVAL", 0.1)
    monkeypatch.setattr(watch, "_WATCHERS", {})


class AssetState:
    """What Airflow keeps with an asset; written and read as JSON."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.broken = 0

    async def aget(self, key: str, default: Any = None) -> Any:
        return json.loads(self.kept[key]) if key in self.kept else default

    async def aset(self, key: str, value: Any) -> None:
        if self.broken:
            self.broken -= 1
            raise OSError("no API server")
        self.kept[key] = json.dumps(value)


def answers(sandbox: Sandbox, count: int, status: str = "accepted", at: str | None = None) -> None:
    """Let so many people answer, now or at a local time of the CRM."""
    spread = sandbox.spread
    with sandbox.lock:
        for _ in range(count):
            customer = spread.add_customer(f"p{len(spread.customers)}@example.fr")
            moment = at or spread.clock.without_zone(spread.clock.now())
            spread.consents.add(customer.id, DEFINITIONS[0], status, moment, API_SOURCE)


def consents(status: str | None = None, **parameters: Any) -> SpreadConsentEventTrigger:
    return SpreadConsentEventTrigger(9876, status, **{"poll_interval": 0.1, **parameters})


@asynccontextmanager
async def firing(stream: AsyncIterator[Any]) -> AsyncIterator[Take]:
    """Run a trigger; gives what takes its next event, or None when there is none for half a second."""
    fired: asyncio.Queue[Any] = asyncio.Queue()

    async def run() -> None:
        async for event in stream:
            fired.put_nowait(event.payload)

    async def take() -> Any:
        try:
            return await asyncio.wait_for(fired.get(), patience(0.5))
        except TimeoutError:
            assert not task.done(), task.exception()
            return None

    task = asyncio.create_task(run())
    try:
        yield take
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_without_event_triggers_it_is_refused_in_clear_words() -> None:
    if HAS_EVENTS:
        pytest.skip("this Airflow has event triggers")
    for trigger in (SpreadConsentEventTrigger, SpreadCustomerEventTrigger):
        with pytest.raises(AirflowException, match=r"need Airflow 3\.0 or later"):
            trigger(9876)


@has_events
def test_serialize_makes_the_same_trigger_again() -> None:
    for made in (consents("accepted", spread_conn_id="mine"), SpreadCustomerEventTrigger(30, "mine")):
        path, parameters = made.serialize()
        assert path == f"airflow_provider_crm.triggers.spread.{type(made).__name__}"
        again = type(made)(**json.loads(json.dumps(parameters)))
        assert again.serialize() == made.serialize()
        assert again.shared_stream_key() == made.shared_stream_key()


@pytest.mark.slow
@has_events
def test_it_fires_once_for_each_batch(crm_sandbox: Sandbox) -> None:
    answers(crm_sandbox, 5)  # were there before it began

    async def go() -> None:
        async with firing(consents("accepted").run()) as take:
            assert await take() is None
            answers(crm_sandbox, 3)
            answers(crm_sandbox, 2, "refused")
            event = await take()
            assert event is not None
            assert {name: event[name] for name in ("system", "consent_id", "status", "count")} == {
                "system": "spread",
                "consent_id": "9876",
                "status": "accepted",
                "count": 3,
            }
            assert await take() is None
            answers(crm_sandbox, 1, "refused")
            assert await take() is None
            answers(crm_sandbox, 1)
            event = await take()
            assert event is not None
            assert event["count"] == 1

    asyncio.run(go())


@pytest.mark.slow
@has_events
def test_the_window_holds_the_answers(crm_sandbox: Sandbox) -> None:
    zone_now = crm_sandbox.spread.clock.now()
    at = crm_sandbox.spread.clock.without_zone(zone_now)

    async def go() -> Any:
        async with firing(consents().run()) as take:
            await take()
            answers(crm_sandbox, 2, at=at)
            return await take()

    event = asyncio.run(go())
    moment = dt.datetime.fromisoformat(at)
    assert event["created_after"] == str(moment - dt.timedelta(seconds=1))
    assert event["created_before"] == str(moment + dt.timedelta(seconds=1))
    assert "@" not in str(event)


@pytest.mark.slow
@has_events
@pytest.mark.parametrize("bounds", ["exclusive", "inclusive"])
def test_answers_of_one_second_are_neither_lost_nor_repeated(crm_sandbox: Sandbox, bounds: str) -> None:
    crm_sandbox.switch("spread", date_bounds=bounds)
    at = crm_sandbox.spread.clock.without_zone(crm_sandbox.spread.clock.now())

    async def go() -> list[int]:
        counts = []
        async with firing(consents().run()) as take:
            await take()
            for size in (1, 2, 3):
                answers(crm_sandbox, size, at=at)
                event = await take()
                counts.append(event["count"] if event else 0)
            assert await take() is None
        return counts

    assert asyncio.run(go()) == [1, 2, 3]


@pytest.mark.slow
@has_events
@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris"])
def test_customers(crm_sandbox: Sandbox, zone: str) -> None:
    crm_sandbox.switch("spread", zone=zone)
    known = crm_sandbox.spread.add_customer("old@example.fr")

    async def go() -> list[int]:
        counts = []
        async with firing(SpreadCustomerEventTrigger(0.1).run()) as take:
            assert await take() is None
            crm_sandbox.spread.add_customer("a@example.fr")
            crm_sandbox.spread.add_customer("b@example.fr")
            counts.append(await take())
            await asyncio.sleep(1)  # into another second
            await asyncio.to_thread(rename, known.id)
            counts.append(await take())
            assert await take() is None
        return [event["count"] for event in counts]

    def rename(customer_id: str) -> None:
        from airflow_provider_crm.hooks.spread import SpreadHook

        SpreadHook().update_customer(customer_id, {"email": "old@example.fr", "city": "Lille"})

    assert asyncio.run(go()) == [2, 1]


@pytest.mark.slow
@has_events
def test_nothing_makes_a_watcher_give_up(crm_sandbox: Sandbox) -> None:
    async def go() -> None:
        async with firing(consents().run()) as take:
            assert await take() is None
            key = crm_sandbox.spread.switches.private_key
            crm_sandbox.switch("spread", private_key="another")
            crm_sandbox.fault("error_before", system="spread", status=503, times=3)
            answers(crm_sandbox, 2)
            assert await take() is None
            assert await take() is None
            crm_sandbox.switch("spread", private_key=key)
            event = await take()
            assert event is not None
            assert event["count"] == 2

    asyncio.run(go())


# What is remembered


@pytest.mark.slow
@has_events
def test_a_restart_neither_repeats_nor_misses(crm_sandbox: Sandbox) -> None:
    state = AssetState()

    def trigger() -> SpreadConsentEventTrigger:
        made = consents()
        made.asset_state_store = state  # type: ignore[assignment]
        return made

    async def go() -> None:
        async with firing(trigger().run()) as take:
            assert await take() is None
            answers(crm_sandbox, 2)
            assert (await take() or {})["count"] == 2
        answers(crm_sandbox, 3)  # while it is down
        async with firing(trigger().run()) as take:
            assert (await take() or {})["count"] == 3
            assert await take() is None
        async with firing(trigger().run()) as take:
            assert await take() is None

    asyncio.run(go())
    assert list(state.kept) == ["crm_watch.spread_default.consent.9876"]


@pytest.mark.slow
@has_events
def test_what_it_began_with_stays_old_after_a_restart(crm_sandbox: Sandbox) -> None:
    state = AssetState()
    answers(crm_sandbox, 2)

    async def go() -> None:
        for _ in range(2):
            made = consents("accepted")
            made.asset_state_store = state  # type: ignore[assignment]
            async with firing(made.run()) as take:
                assert await take() is None

    asyncio.run(go())
    assert list(state.kept) == ["crm_watch.spread_default.consent.9876.accepted"]


@pytest.mark.slow
@has_events
def test_a_state_that_cannot_be_written_for_a_while(crm_sandbox: Sandbox) -> None:
    state = AssetState()
    state.broken = 3

    async def go() -> None:
        made = consents()
        made.asset_state_store = state  # type: ignore[assignment]
        async with firing(made.run()) as take:
            answers(crm_sandbox, 1)
            await take()
            await take()

    asyncio.run(go())
    assert state.kept


@pytest.mark.slow
@has_events
def test_a_watcher_of_several_assets_goes_on_without_state(crm_sandbox: Sandbox) -> None:
    class Several(AssetState):
        async def aget(self, key: str, default: Any = None) -> Any:
            raise ValueError("Task has 2 concrete inlets and outlets")

    async def go() -> None:
        made = consents()
        made.asset_state_store = Several()  # type: ignore[assignment]
        async with firing(made.run()) as take:
            assert await take() is None
            answers(crm_sandbox, 1)
            assert (await take() or {})["count"] == 1

    asyncio.run(go())


# What is shared, by Airflow's own manager


class Runner:
    """Runs watchers as the triggerer of Airflow 3.3 does, and says when their events are stored."""

    def __init__(self) -> None:
        from airflow.triggers.shared_stream import SharedStreamManager

        self.manager = SharedStreamManager()
        self.stores = True
        self._number = 0

    async def events(self, trigger: Any) -> AsyncIterator[Any]:
        self._number += 1
        number, key = self._number, trigger.shared_stream_key()
        stream = self.manager.subscribe(trigger_id=number, trigger=trigger, key=key)
        try:
            async for event in trigger.filter_shared_stream(stream):
                seq = self.manager.bind_pending_event(trigger_id=number, key=key)
                yield event
                if self.stores and seq is not None:
                    asyncio.get_running_loop().call_later(0.05, self.manager.confirm_persisted, [seq])
        finally:
            await self.manager.unsubscribe(number, key)


@pytest.mark.slow
@has_shared_streams
def test_siblings_share_one_look(crm_sandbox: Sandbox) -> None:
    async def go() -> None:
        runner = Runner()
        accepted, refused, other = consents("accepted"), consents("refused"), consents(poll_interval=0.2)
        assert accepted.shared_stream_key() == refused.shared_stream_key() != other.shared_stream_key()
        async with firing(runner.events(accepted)) as take_yes, firing(runner.events(refused)) as take_no:
            assert await take_yes() is None
            crm_sandbox.calls.clear()
            started = time.monotonic()
            answers(crm_sandbox, 3, "accepted")
            answers(crm_sandbox, 1, "refused")
            assert (await take_yes() or {})["count"] == 3
            assert (await take_no() or {})["count"] == 1
            assert await take_no() is None
            # A look that finds rows takes two calls: the list ends with an empty page.
            assert crm_sandbox.calls.count("spread") <= 2 * ((time.monotonic() - started) / 0.1 + 2)

    asyncio.run(go())


@pytest.mark.slow
@has_shared_streams
def test_a_sibling_that_was_down_catches_up(crm_sandbox: Sandbox) -> None:
    state = AssetState()

    def trigger(status: str) -> SpreadConsentEventTrigger:
        made = consents(status)
        made.asset_state_store = state  # type: ignore[assignment]
        return made

    async def go() -> None:
        runner = Runner()
        async with firing(runner.events(trigger("refused"))) as take_no:
            async with firing(runner.events(trigger("accepted"))) as take_yes:
                assert await take_yes() is None
                assert await take_no() is None
            soon = crm_sandbox.spread.clock.now() + dt.timedelta(minutes=1)
            answers(crm_sandbox, 2, "accepted", at=crm_sandbox.spread.clock.without_zone(soon))
            later = soon + dt.timedelta(hours=1)
            answers(crm_sandbox, 1, "refused", at=crm_sandbox.spread.clock.without_zone(later))
            assert (await take_no() or {})["count"] == 1
            async with firing(runner.events(trigger("accepted"))) as take_yes:
                assert (await take_yes() or {})["count"] == 2
                assert await take_no() is None

    asyncio.run(go())


@pytest.mark.slow
@has_shared_streams
def test_an_event_that_airflow_has_not_stored_comes_again(crm_sandbox: Sandbox) -> None:
    state = AssetState()

    def trigger() -> SpreadConsentEventTrigger:
        made = consents()
        made.asset_state_store = state  # type: ignore[assignment]
        return made

    async def go() -> None:
        runner = Runner()
        runner.stores = False
        async with firing(runner.events(trigger())) as take:
            assert await take() is None
            answers(crm_sandbox, 2)
            assert (await take() or {})["count"] == 2
        for expected in (2, None):  # killed, and started twice
            runner = Runner()
            async with firing(runner.events(trigger())) as take:
                event = await take()
                assert (event and event["count"]) == expected
                assert await take() is None

    asyncio.run(go())
