"""The hooks that a triggerer keeps: one a connection, for all its triggers; calls are made off the event loop.

Knows asyncio, threads and Airflow's connections; which calls are made is said by others.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from airflow_provider_crm._compat import with_airflow
from airflow_provider_crm.exceptions import CrmError, CrmFailError, CrmTransientError
from airflow_provider_crm.hooks.base.hook import CrmHook

log = logging.getLogger(__name__)

T = TypeVar("T")
H = TypeVar("H", bound=CrmHook[Any])

#: Calls in flight, and threads, of one connection in one triggerer, where the connection does not say.
CALLS_IN_FLIGHT = 32
#: Seconds that one look may be tried again for: who looks now and then need not insist, and a thread is kept busy.
RETRY_BUDGET = 5.0
#: Seconds after which a connection is looked up again: somebody may have changed it.
LOOKED_UP_FOR = 300.0
#: Seconds after which a hook that is no longer used has no call in flight.
CLOSED_AFTER = 300.0


@dataclass(slots=True)
class _Entry:
    loop: asyncio.AbstractEventLoop
    until: float
    task: asyncio.Task[CrmHook[Any]]


class HookCache:
    """Keeps a hook for each connection that is in use.

    :param looked_up_for: seconds after which a connection is looked up again.
    :param retry_budget: seconds that a call may take with its retries.
    """

    def __init__(self, *, looked_up_for: float = LOOKED_UP_FOR, retry_budget: float = RETRY_BUDGET) -> None:
        self._looked_up_for = looked_up_for
        self._retry_budget = retry_budget
        self._entries: dict[tuple[type[CrmHook[Any]], str], _Entry] = {}

    async def call(self, hook_class: type[H], conn_id: str, function: Callable[[H], T]) -> T:
        """Call a function with the connection's hook in one of the hook's threads.

        :raises CrmFailError: another try cannot help, unless somebody corrects the connection: it is then looked up.
        """
        hook = await self._hook(hook_class, conn_id)
        try:
            return await asyncio.wrap_future(hook.in_background(function, hook))
        except CrmFailError:
            entry = self._entries.get((hook_class, conn_id))
            if entry is not None and _result(entry) is hook:
                del self._entries[hook_class, conn_id]
                _close_later(hook)
            raise

    async def _hook(self, hook_class: type[H], conn_id: str) -> H:
        key = (hook_class, conn_id)
        loop = asyncio.get_running_loop()
        entry = self._entries.get(key)
        if entry is None or entry.loop is not loop or time.monotonic() > entry.until:
            known = _result(entry)
            task = loop.create_task(_renewed(hook_class, conn_id, known, self._retry_budget))
            entry = self._entries[key] = _Entry(loop, time.monotonic() + self._looked_up_for, task)
        try:
            # Whoever is cancelled while waiting does not take the hook from the others.
            hook: Any = await asyncio.shield(entry.task)
        except BaseException:
            if entry.task.done() and self._entries.get(key) is entry:
                del self._entries[key]
            raise
        return hook  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close all hooks."""
        for entry in self._entries.values():
            if (hook := _result(entry)) is not None:
                hook.close()
        self._entries.clear()


async def _renewed(hook_class: type[H], conn_id: str, known: H | None, retry_budget: float) -> H:
    hook = await with_airflow(lambda: _looked_up(hook_class, conn_id, known, retry_budget))
    if known is not None and known is not hook:
        _close_later(known)
    return hook


def _close_later(hook: CrmHook[Any]) -> None:
    # Its threads would live on for ever; at once would be too early for those who wait for a call.
    asyncio.get_running_loop().call_later(CLOSED_AFTER, hook.close)


def _result(entry: _Entry | None) -> CrmHook[Any] | None:
    if entry is None or not entry.task.done() or entry.task.cancelled() or entry.task.exception():
        return None
    return entry.task.result()


def _looked_up(hook_class: Callable[..., H], conn_id: str, known: H | None, retry_budget: float) -> H:
    """Return a hook that needs nothing of Airflow any more; the known one if its connection is as it was.

    :raises CrmConnectionError: the connection cannot be used.
    :raises CrmTransientError: Airflow does not give the connection.
    """
    try:
        settings = hook_class(conn_id).settings
        if known is not None and known.settings == settings:
            return known
        hook = hook_class(conn_id, concurrency=settings.extras.concurrency or CALLS_IN_FLIGHT)
        hook.retry_budget = retry_budget
        # The first call of a hook makes all that it needs, which may be in a second connection.
        hook.in_background(int).result()
    except CrmError:
        raise
    except Exception as error:
        if known is not None:
            log.warning("Connection %r could not be looked up again (%s)", conn_id, type(error).__name__)
            return known
        kind = type(error).__name__  # its message may quote the connection
    else:
        return hook
    raise CrmTransientError(f"Airflow does not give the connection {conn_id!r} ({kind})")


#: All triggers of a process use it.
HOOK_CACHE = HookCache()
