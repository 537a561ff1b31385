"""One run of a task, however it ends: its report for the XCom and the error, and what the log says of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow_provider_crm._compat import AirflowException
from airflow_provider_crm.exceptions import CrmError, redact

log = logging.getLogger(__name__)

#: Of the report's form.
VERSION = 1
#: Reasons that the log names, and characters of such a line.
SAID_REASONS, LONGEST_LINE = 5, 120

#: How the log calls the end of a run.
_SAID = {
    "success": "Done",
    "rejects": "Done",
    "failed": "Failed",
    "stopped": "Stopped",
    "dry_run": "Dry run, nothing was sent",
    "refused": "Refused, nothing was sent",
}


class Run:
    """A run that has begun.

    :param system: the connection type of the CRM.
    :param operator: the operator's class.
    :param dry_run: whether it only plans.
    """

    def __init__(self, system: str, operator: str, *, dry_run: bool) -> None:
        self.system = system
        self.operator = operator
        self.started_at = datetime.now(UTC)
        self._dry_run = dry_run
        self._started = time.monotonic()

    def report(
        self,
        account: Mapping[str, Any],
        error: BaseException | None,
        *,
        stopped: bool,
        paths: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Return the report of a run that has ended, and let the error carry it.

        :param account: what has been done, by the names of the report.
        :param error: what is about to be raised.
        :param stopped: whether somebody has asked it to end.
        :param paths: of the task's files, which an error may name.
        """
        report = {
            "version": VERSION,
            "system": self.system,
            "operator": self.operator,
            "state": self._state(error, stopped=stopped),
            **account,
            "seconds": round(time.monotonic() - self._started, 3),
            "started_at": self.started_at.isoformat(timespec="milliseconds"),
            "ended_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "error": None
            if error is None
            else {"type": type(error).__name__, "message": _said_of(error, paths)},
        }
        if isinstance(error, CrmError):
            error.report = report
        return report

    def _state(self, error: BaseException | None, *, stopped: bool) -> str:
        if self._dry_run:
            return "dry_run"
        if error is None:
            return "success"
        # Airflow stops a task by what is no Exception, or lets its calls give up.
        if stopped or not isinstance(error, Exception):
            return "stopped"
        return error.ends_run_as if isinstance(error, CrmError) else "failed"


def _said_of(error: BaseException, paths: Sequence[str]) -> str:
    """Return an error's message; what a library says may hold the values it was given."""
    if isinstance(error, Exception) and not isinstance(error, AirflowException):
        return "see the log of the task"
    # The day or the run in a path looks like somebody's number, and without it nobody finds the file.
    return redact(error, kept=paths)


def say(report: Mapping[str, Any]) -> None:
    """Log the numbers of a report, and the most frequent reasons for which rows were rejected, a short line each."""
    numbers = ", ".join(
        f"{name} {value}"
        for name, value in report.items()
        if name not in ("version", "seconds", "last_row")
        and (name == "amount" or (isinstance(value, int) and not isinstance(value, bool)))
    )
    log.info("%s in %s s: %s", _SAID[report["state"]], report["seconds"], numbers)
    prefix = "Dry run: " if report["state"] == "dry_run" else ""
    rejects = [one for one in report["reasons"] if one["end"] == "rejected"]
    for one in rejects[:SAID_REASONS]:
        line = f"{prefix}{one['rows']:,} rejected: {one['reason']}"
        log.warning("%s", line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1]}…")
