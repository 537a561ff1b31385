"""The hooks of a task that works in several CRMs, as one: what the ways through a task ask of a hook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_crm.hooks.base.hook import CrmHook
from airflow_provider_crm.http.clock import Clock


class SeveralCounters:
    """Requests and retries of several hooks together."""

    def __init__(self, hooks: Sequence[CrmHook[Any]]) -> None:
        self._hooks = hooks

    @property
    def requests(self) -> int:
        return sum(hook.counters.requests for hook in self._hooks)

    @property
    def retries(self) -> int:
        return sum(hook.counters.retries for hook in self._hooks)


class SeveralHooks:
    """Several hooks, of which the first one's settings count where there can only be one.

    :param hooks: at least one.
    :param at_once: batches in the hands of workers; as many as calls may be in flight when None.
    """

    conn_type = "crm"

    def __init__(self, hooks: Sequence[CrmHook[Any]], *, at_once: int | None = None) -> None:
        self._hooks = hooks
        self._at_once = at_once
        self.counters = SeveralCounters(hooks)
        self.settings = hooks[0].settings
        self.conn_id = ", ".join(hook.conn_id for hook in hooks)
        self.hook_name = ", ".join(hook.hook_name for hook in hooks)

    @property
    def account(self) -> tuple[tuple[str, ...], ...]:
        """Whose records the calls are about."""
        return tuple(hook.account for hook in self._hooks)

    @property
    def concurrency(self) -> int:
        """Batches in the hands of workers at once."""
        return self._at_once or min(hook.concurrency for hook in self._hooks)

    @property
    def clock(self) -> Clock:
        """What all of them wait by."""
        return self._hooks[0].clock

    def pause(self, seconds: float) -> bool:
        """Wait, unless the hooks are closed meanwhile.

        :return: whether they are.
        """
        return self._hooks[0].pause(seconds)

    def close(self) -> None:
        """Close them all."""
        for hook in self._hooks:
            hook.close()
