"""The hooks of a triggerer: looked up once, again after a while, and anew after a refusal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_crm._compat import Connection
from airflow_provider_crm.exceptions import CrmAuthenticationError, CrmConnectionError, CrmTransientError
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.sandbox.server import Sandbox
from airflow_provider_crm.triggers.base.hook_cache import HookCache

Lookups = list[str]

#: All that a test made.
MADE: list[HookCache] = []


@pytest.fixture(autouse=True)
def close_all() -> Iterator[None]:
    yield
    while MADE:
        MADE.pop().close()


def new_cache(looked_up_for: float = 300.0) -> HookCache:
    MADE.append(HookCache(looked_up_for=looked_up_for, retry_budget=0.0))
    return MADE[-1]


@pytest.fixture
def lookups(crm_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Lookups:
    """The connections that were asked for."""
    asked: Lookups = []
    real = MindbazHook.get_connection

    def get_connection(conn_id: str) -> Connection:
        asked.append(conn_id)
        return real(conn_id)

    monkeypatch.setattr(MindbazHook, "get_connection", staticmethod(get_connection))
    return asked


async def look(kept: HookCache, function: Callable[[MindbazHook], Any] = lambda hook: hook) -> Any:
    return await kept.call(MindbazHook, "mindbaz_default", function)


def test_the_connection_of_another_system_is_refused(
    crm_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SNOWFLAKE_PROD", "snowflake://user:classified@acme")

    async def go() -> None:
        await new_cache().call(MindbazHook, "snowflake_prod", MindbazHook.list_fields)

    with pytest.raises(
        CrmConnectionError, match=r"'snowflake_prod' is of type 'snowflake' and not of 'mindbaz'"
    ):
        asyncio.run(go())
    assert crm_sandbox.calls.count() == 0


def test_one_lookup_serves_all(lookups: Lookups) -> None:
    async def go() -> list[Any]:
        kept = new_cache()
        return await asyncio.gather(*(look(kept) for _ in range(50)))

    found = asyncio.run(go())
    assert len(set(map(id, found))) == 1
    assert len(lookups) == 2  # once for its settings, once for the hook that is kept


def test_a_hook_is_kept_while_its_connection_is_as_it_was(
    lookups: Lookups, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> tuple[Any, Any, Any]:
        kept = new_cache(looked_up_for=-1.0)
        first, second = await look(kept), await look(kept)
        monkeypatch.setenv("AIRFLOW_CONN_MINDBAZ_DEFAULT", "mindbaz://:key@/?site_id=4")
        return first, second, await look(kept)

    first, second, third = asyncio.run(go())
    assert first is second
    assert third is not first
    assert third.site_id == "4"


def test_a_lookup_that_fails_leaves_the_known_hook(lookups: Lookups, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(conn_id: str) -> Connection:
        raise OSError("no API server")

    async def go() -> None:
        kept = new_cache(looked_up_for=-1.0)
        first = await look(kept)
        monkeypatch.setattr(MindbazHook, "get_connection", staticmethod(refuse))
        assert await look(kept) is first
        with pytest.raises(CrmTransientError, match="does not give"):
            await look(new_cache())

    asyncio.run(go())


def test_a_refusal_makes_it_look_the_connection_up(lookups: Lookups, crm_sandbox: Sandbox) -> None:
    async def go() -> None:
        kept = new_cache()
        await look(kept)
        crm_sandbox.switch("mindbaz", api_key="another")
        with pytest.raises(CrmAuthenticationError):
            await look(kept, lambda hook: hook.list_fields())
        before = len(lookups)
        await look(kept)
        assert len(lookups) > before

    asyncio.run(go())


def test_a_lookup_that_failed_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> Any:
        kept = new_cache()
        with pytest.raises(CrmConnectionError):
            await look(kept)
        monkeypatch.setenv("AIRFLOW_CONN_MINDBAZ_DEFAULT", "mindbaz://:key@/?site_id=4")
        return await look(kept)

    assert asyncio.run(go()).site_id == "4"


def test_who_is_cancelled_does_not_take_the_hook_from_the_others(lookups: Lookups) -> None:
    async def go() -> None:
        kept = new_cache()
        first, second = asyncio.create_task(look(kept)), asyncio.create_task(look(kept))
        await asyncio.sleep(0)
        first.cancel()
        assert isinstance(await second, MindbazHook)

    asyncio.run(go())


def test_another_event_loop_looks_up_again(lookups: Lookups) -> None:
    kept = new_cache()
    assert asyncio.run(look(kept)) is not None
    assert asyncio.run(look(kept)) is not None
