"""How a run gets into the history: noted when it begins, kept alive while it lasts, completed at its end.

A thread of its own does it: a history that is slow or down holds up no row, and costs a warning.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_crm.exceptions import CrmError, CrmInputError, redact
from airflow_provider_crm.history.context import open_history, task_try
from airflow_provider_crm.operators.base.run import Run

if TYPE_CHECKING:
    from airflow_provider_crm.history.runs import TaskTry
    from airflow_provider_crm.history.store import History

log = logging.getLogger(__name__)

#: Seconds between two signs of life, and those that the end of a run waits for the history.
SIGN_EVERY, WAIT = 30.0, 20.0


class NotedRun:
    """A run that the history knows.

    :param days: for how many days runs are kept.
    """

    def __init__(self, history: History, task: TaskTry, run: Run, *, days: int) -> None:
        self._history = history
        self._task = task
        self._run = run
        self._days = days
        self._over = threading.Event()
        self._end: tuple[Mapping[str, Any], bool] | None = None
        self._thread = threading.Thread(target=self._note, name="crm-history", daemon=True)
        self._thread.start()

    def end(self, report: Mapping[str, Any], *, goes_on: bool) -> None:
        """Note how the run has ended.

        :param goes_on: its report counts the rows of an earlier try too.
        """
        self._end = (report, goes_on)
        self._wait()

    def forget(self) -> None:
        """Delete the run: the task lets go of its worker, and begins anew when it goes on."""
        self._wait()

    def _wait(self) -> None:
        self._over.set()
        self._thread.join(WAIT)
        if self._thread.is_alive():
            log.warning("The history of CRM runs has not answered within %.0f s: the end is not in it", WAIT)

    def _note(self) -> None:
        try:
            with self._history as history:
                self._note_in(history)
        except Exception as error:
            log.warning("The run may be missing in the history: %s", redact(error))

    def _note_in(self, history: History) -> None:
        number = history.begin(
            self._task,
            system=self._run.system,
            operator=self._run.operator,
            started_at=self._run.started_at,
        )
        while not self._over.wait(SIGN_EVERY):
            try:
                history.seen(number)
            except CrmError as error:
                log.debug("The history was not told that the run lives: %s", error)
        if self._end is None:
            history.forget(number)
            return
        report, goes_on = self._end
        history.end(number, report, goes_on=goes_on)
        history.sweep(self._days)


def note_run(conn_id: str | None, context: Any, run: Run) -> NotedRun | None:
    """Begin to note a run.

    :param conn_id: the task's own; Airflow's option ``[crm] history_conn_id`` otherwise.
    :return: None where there is no history, or it cannot be opened.
    """
    history = open_history(conn_id)
    task = task_try(context) if history else None
    if history is None or task is None:
        return None
    from airflow_provider_crm.history.store import history_days

    return NotedRun(history, task, run, days=history_days())


def usual_rows_of(conn_id: str | None, context: Any) -> float | None:
    """Return the median of the rows of the task's last successful runs; None where nobody can tell, which is said.

    :raises CrmInputError: there is no history.
    """
    from airflow_provider_crm.history.store import history_conn_id

    if not (conn_id or history_conn_id()):
        raise CrmInputError(
            "`max_deviation` needs the history of runs: give `history_conn_id`, or set Airflow's option "
            "`[crm] history_conn_id`"
        )
    history, task = open_history(conn_id), task_try(context)
    if history is None or task is None:
        return None
    from airflow_provider_crm.history.reading import LEAST_RUNS, usual_rows

    try:
        with history:
            rows = history.last_rows(task)
    except CrmError as error:
        log.warning("`max_deviation` was not looked at: %s", error)
        return None
    usual = usual_rows(rows)
    if usual is None:
        log.info(
            "The history has %d successful runs of this task, fewer than %d: `max_deviation` lets it pass",
            len(rows),
            LEAST_RUNS,
        )
    return usual
