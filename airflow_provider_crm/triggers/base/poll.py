"""The trigger of every deferrable sensor: asks its question again and again until the answer is yes.

Knows no CRM. It only ever reads, so that a triggerer may start it again at any time.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Mapping
from itertools import count
from typing import Any

from airflow_provider_crm import exceptions
from airflow_provider_crm._compat import BaseTrigger, TriggerEvent
from airflow_provider_crm.exceptions import CrmError, CrmTransientError
from airflow_provider_crm.triggers.base.hook_cache import HOOK_CACHE
from airflow_provider_crm.triggers.base.questions import unpacked

log = logging.getLogger(__name__)

MAX_CONSECUTIVE_FAILURES = 10
#: Seconds between two looks at least: a sensor may be told 0.
SHORTEST_INTERVAL = 0.01


class Patience:
    """Bears failures that may pass, up to so many in a row.

    :param limit: the failure that is one too many; None bears all of them.
    :param failures: in a row so far.
    """

    def __init__(self, limit: int | None, failures: int = 0) -> None:
        self._limit = limit
        self.failures = failures

    def bear(self, error: CrmTransientError) -> None:
        """Count a failure.

        :raises CrmTransientError: it is one too many.
        """
        self.failures += 1
        if self._limit is not None and self.failures >= self._limit:
            log.error("%d failures in a row, which is as many as are borne", self.failures)
            raise error
        log.warning("%s (failure %d in a row)", error, self.failures)

    def rest(self) -> None:
        """Note a success."""
        self.failures = 0


class LookTimes:
    """The moments at which one trigger looks: every so many seconds, and evenly between those of the other triggers.

    A thousand triggers that start together, or that a CRM has told the same moment, would look together otherwise. And
    calls that come one by one begin while others end: what they hold hardly grows, which keeps Python's garbage
    collector, and with it the event loop's longest lag, away.

    :param interval: seconds between two looks.
    """

    _NUMBERS = count()

    def __init__(self, interval: float) -> None:
        self.interval = max(interval, SHORTEST_INTERVAL)
        # Multiples of the golden ratio fall, one after the other, into the largest gaps that there are.
        self._phase = next(self._NUMBERS) * (math.sqrt(5) - 1) / 2 % 1

    def after(self, moment: float) -> float:
        """Return the first of them after a moment."""
        # Rounding must not make one come after itself.
        turns = math.floor(moment / self.interval - self._phase + 1e-6)
        return (turns + 1 + self._phase) * self.interval


class CrmPollTrigger(BaseTrigger):
    """Waits until a question to a CRM is answered with yes.

    :param question: path of the question's class, and
    :param fields: its fields, see :meth:`~airflow_provider_crm.triggers.base.questions.Question.packed`.
    :param conn_id: the connection.
    :param poll_interval: seconds between two looks.
    :param max_consecutive_failures: failures in a row that may pass, of which this one fails the sensor.
    :param failures: of them, those that the worker has met.
    """

    def __init__(
        self,
        *,
        question: str,
        fields: Mapping[str, Any],
        conn_id: str,
        poll_interval: float = 60.0,
        max_consecutive_failures: int = MAX_CONSECUTIVE_FAILURES,
        failures: int = 0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.question = question
        self.fields = dict(fields)
        self.conn_id = conn_id
        self.poll_interval = poll_interval
        self.max_consecutive_failures = max_consecutive_failures
        self.failures = failures

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes the same trigger again."""
        return f"{__name__}.{type(self).__name__}", {
            "question": self.question,
            "fields": self.fields,
            "conn_id": self.conn_id,
            "poll_interval": self.poll_interval,
            "max_consecutive_failures": self.max_consecutive_failures,
            "failures": self.failures,
        }

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.question.rpartition('.')[2]} of {self.conn_id}>"

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: what was seen, or why it cannot be seen."""
        try:
            result = await self._until_seen()
        except CrmError as error:
            yield TriggerEvent(failure_event(error))  # type: ignore[no-untyped-call]
        else:
            yield TriggerEvent({"status": "success", "result": result})  # type: ignore[no-untyped-call]

    async def _until_seen(self) -> dict[str, Any]:
        question = unpacked(self.question, self.fields)
        patience = Patience(self.max_consecutive_failures, self.failures)
        clock = asyncio.get_running_loop().time
        times = LookTimes(self.poll_interval)
        due = times.after(clock())  # the worker has just looked
        while True:
            await asyncio.sleep(due - clock())
            try:
                reply = await HOOK_CACHE.call(question.hook_class, self.conn_id, question.ask)
            except CrmTransientError as error:
                patience.bear(error)
                due = times.after(max(due, clock() + (error.retry_after or -times.interval)))
                continue
            patience.rest()
            if reply.done:
                return reply.result
            # A look that took longer than to the next time is followed by another one at once.
            due = times.after(max(due, clock() - times.interval))


def failure_event(error: CrmError) -> dict[str, Any]:
    """Pack an error for the worker, which is in another process."""
    return {
        "status": "error",
        "error": type(error).__name__,
        "message": str(error),
        "retry_after": error.retry_after,
    }


def failure_of(event: Mapping[str, Any]) -> CrmError:
    """Return the error, of the class it had, so that Airflow treats it as if the worker had met it."""
    kind = getattr(exceptions, str(event.get("error")), None)
    if not isinstance(kind, type) or not issubclass(kind, CrmError):
        kind = CrmError
    error = kind(str(event.get("message") or "The trigger ended without a reason"))
    error.retry_after = event.get("retry_after")
    return error
