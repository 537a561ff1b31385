"""What every sensor shares: how it looks, what it bears, and how it hands over to the triggerer.

Knows Airflow; which CRM it is, and what is looked for, is said by a subclass and its question.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Unpack

from airflow_provider_crm._compat import (
    AirflowFailException,
    AirflowSensorArguments,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)
from airflow_provider_crm.exceptions import CrmError, CrmTransientError
from airflow_provider_crm.hooks.base.hook import CrmHook
from airflow_provider_crm.parameters import CheckedParameters, Count, yes_or_no
from airflow_provider_crm.triggers.base.hook_cache import RETRY_BUDGET
from airflow_provider_crm.triggers.base.poll import (
    MAX_CONSECUTIVE_FAILURES,
    CrmPollTrigger,
    Patience,
    failure_of,
)
from airflow_provider_crm.triggers.base.questions import Question, Reply

if TYPE_CHECKING:
    from airflow_provider_crm._compat import Context

#: Where failures are counted between two tries that have nothing else in common.
_COUNT_KEY = "crm_sensor.failures"


class SensorArguments(AirflowSensorArguments, total=False):
    """What every sensor takes, see :class:`CrmSensor`."""

    max_consecutive_failures: Count
    deferrable: bool


class CrmSensor(CheckedParameters, BaseSensorOperator):
    """Waits for a state in a CRM, in one of three ways.

    ``mode="poke"`` keeps a worker, ``mode="reschedule"`` takes one for each look, ``deferrable=True`` takes one for the
    first look and leaves the others to the triggerer; the mode does not matter then.

    :param max_consecutive_failures: failures in a row that may pass (429, 5xx, no answer), of which this one fails the
        sensor. What cannot pass, such as a wrong key, fails it at once.
    :param deferrable: wait in the triggerer; Airflow's setting ``[operators] default_deferrable`` otherwise.

    The other parameters are those of every sensor: ``poke_interval``, ``timeout``, ``mode``, ``soft_fail`` ...
    """

    ui_color = "#fef7e0"

    def __init__(
        self,
        *,
        max_consecutive_failures: Count = MAX_CONSECUTIVE_FAILURES,
        deferrable: Annotated[bool, yes_or_no] = conf.getboolean(
            "operators", "default_deferrable", fallback=False
        ),
        **kwargs: Unpack[AirflowSensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.max_consecutive_failures: Any = max_consecutive_failures
        self.deferrable: Any = deferrable
        self._failures = 0
        self._stop: Callable[[], None] | None = None

    # What a subclass adds

    def _question(self) -> Question[Any]:
        """Return the question of the parameters.

        :raises CrmInputError: they make no sense.
        """
        raise NotImplementedError

    # The way of a look

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once.

        :raises CrmFailError: another look cannot help.
        :raises CrmTransientError: too many looks in a row have failed.
        """
        count = self._count(context)
        patience = Patience(count.limit, count.get())
        try:
            reply = self._look()
        except CrmTransientError as error:
            try:
                patience.bear(error)
            except CrmTransientError:
                if self.soft_fail:
                    raise AirflowSkipException(f"Skipped, since soft_fail is set: {error}") from error
                raise
            reply = Reply(done=False)
        else:
            patience.rest()
        count.set(patience.failures)
        return PokeReturnValue(reply.done, reply.result if reply.done else None)

    def execute(self, context: Context) -> Any:
        """Wait.

        :return: what was seen, without what names a person.
        """
        if not self.deferrable:
            return super().execute(context)
        try:
            answer = self.poke(context)
        except AirflowFailException as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"Skipped: {error}") from error
            raise
        if not answer.is_done:
            self._hand_over()
        return answer.xcom_value

    def _hand_over(self) -> None:
        """Leave the waiting to the triggerer."""
        self.log.info("Not yet; the triggerer looks every %s s", self.poke_interval)
        question = self._question()
        path, fields = question.packed()
        self.defer(
            trigger=CrmPollTrigger(
                question=path,
                fields=fields,
                conn_id=self._conn_id(question),
                poll_interval=self.poke_interval,
                max_consecutive_failures=self.max_consecutive_failures,
                failures=self._failures,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on after the triggerer has seen it.

        :param event: the trigger's.
        :return: what was seen.
        """
        if event.get("status") != "success":
            raise failure_of(event)
        result: dict[str, Any] = event["result"]
        return result

    def on_kill(self) -> None:
        """End a call that waits, and the waiting.

        :raises CrmError: always when Airflow stops the task: since version 3 it leaves it at this call, in a signal's
            handler, so that a sensor in mode ``poke`` would go on to look until it is killed.
        """
        if self._stop is not None:
            self._stop()
        if not isinstance(sys.exc_info()[1], AirflowTaskTimeout):  # which ends the waiting by itself
            raise CrmError("The task was told to stop while it was waiting")

    def _look(self) -> Reply:
        self.check_parameters()
        question = self._question()
        hook: CrmHook[Any] = question.hook_class(self._conn_id(question))
        hook.retry_budget = RETRY_BUDGET  # the sensor itself looks again
        with closing(hook):
            self._stop = hook.close
            reply = question.ask(hook)
        self.log.info("Seen: %s", reply.result or "nothing yet")
        return reply

    def _conn_id(self, question: Question[Any]) -> str:
        return str(getattr(self, question.hook_class.conn_name_attr))

    def _count(self, context: Context) -> _OwnCount | _StoredCount:
        if self.deferrable or not self.reschedule:
            return _OwnCount(self)
        try_number = getattr(context.get("ti"), "try_number", 1)
        return _StoredCount(self, context.get("task_state_store"), try_number)


class _OwnCount:
    """Counts failures in the sensor, which lives on between its looks."""

    def __init__(self, sensor: CrmSensor) -> None:
        self._sensor = sensor
        self.limit: int | None = sensor.max_consecutive_failures

    def get(self) -> int:
        return self._sensor._failures

    def set(self, failures: int) -> None:
        self._sensor._failures = failures


class _StoredCount:
    """Counts failures in the task's state: in mode ``reschedule`` nothing else lives on between two looks.

    Before Airflow 3.3 there is no such state. Failures that may pass are then borne until the sensor's timeout.
    """

    def __init__(self, sensor: CrmSensor, store: Any, try_number: int) -> None:
        self._store = store
        self._try = try_number
        self._known = 0
        self.limit = None if store is None else sensor.max_consecutive_failures

    def get(self) -> int:
        kept = None if self._store is None else self._store.get(_COUNT_KEY)
        # Retries of the task share its state, and begin anew.
        self._known = kept["failures"] if isinstance(kept, dict) and kept.get("try") == self._try else 0
        return self._known

    def set(self, failures: int) -> None:
        if self._store is not None and failures != self._known:
            self._store.set(_COUNT_KEY, {"failures": failures, "try": self._try})
