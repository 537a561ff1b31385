"""What the history tells: which try of which task, how it ended, sums of a day. Plain data."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

RUNNING = "running"
NO_END_KNOWN = "no_end_known"
#: The states in which the history knows a run: those of a report, and two of a run that has left none.
STATES = ("success", "rejects", "failed", "stopped", "dry_run", "refused", RUNNING, NO_END_KNOWN)
#: Those of them in which something went wrong.
BAD_STATES = ("rejects", "failed", "stopped", NO_END_KNOWN)


@dataclass(frozen=True, slots=True)
class TaskTry:
    """Which try of which task a run is, by Airflow's own names.

    :param map_index: -1 for a task that is not mapped.
    :param logical_date: None for a run without one.
    """

    dag_id: str
    task_id: str
    run_id: str
    map_index: int = -1
    try_number: int = 1
    logical_date: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why rows ended as they did.

    :param end: how: ``rejected``, ``skipped`` or ``unchanged``.
    :param stage: where they were rejected: ``read``, ``validate`` or ``crm``.
    :param reason: in words, without a person's data.
    :param rows: how many.
    """

    end: str
    stage: str | None
    reason: str
    rows: int


@dataclass(frozen=True, slots=True)
class Run:
    """One try of a task, as the history has it. Times are in UTC; None is what the run has not told.

    :param id: its number in the history: the higher, the newer.
    :param state: one of :data:`STATES`. ``no_end_known``: its worker has not been heard of since ``seen_at``, or a
        later try of the task has begun.
    :param read: rows of the source that have ended; the next five say how.
    :param exported: records in the file of an export.
    :param usual: median of the rows of the task's last seven successful runs when this one began; None where there
        were fewer than three.
    :param last_row: number of the last row that has ended with all before it.
    :param amount: points credited, as decimal text.
    :param path: the file of an export.
    :param continued: a later try went on after the rows of this one, and counts them too.
    :param more: what else the report says, by its names there.
    :param reasons: the most frequent first; empty in lists of runs.
    """

    id: int
    task: TaskTry
    system: str
    operator: str
    state: str
    started_at: dt.datetime
    ended_at: dt.datetime | None
    seen_at: dt.datetime
    seconds: float | None
    read: int | None
    created: int | None
    updated: int | None
    unchanged: int | None
    skipped: int | None
    rejected: int | None
    exported: int | None
    usual: float | None
    bytes: int | None
    last_row: int | None
    requests: int | None
    retries: int | None
    amount: str | None
    path: str | None
    rejects_path: str | None
    results_path: str | None
    error_type: str | None
    error_message: str | None
    continued: bool
    more: Mapping[str, Any] = field(default_factory=dict)
    reasons: tuple[Reason, ...] = ()

    @property
    def rows(self) -> int | None:
        """Rows of the source, or records of an export."""
        return self.read if self.exported is None else self.exported

    @property
    def approved_by(self) -> str | None:
        """Who has approved it, as Airflow names them; None where nobody was asked."""
        return self.more.get("approved_by")

    @property
    def deviation(self) -> float | None:
        """The share by which its rows differ from what is usual: -0.5 for half of them; None where nobody can tell."""
        if self.rows is None or not self.usual:
            return None
        return (self.rows - self.usual) / self.usual

    @property
    def rows_per_second(self) -> float | None:
        """Rows a second; None where the run lasted no time, or has not ended."""
        return self.rows / self.seconds if self.rows is not None and self.seconds else None


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs are asked for; None means all.

    :param dag_ids: of these DAGs only: those that whoever looks may read. An empty one holds no run.
    :param dag_id: of this DAG.
    :param state: one of :data:`STATES`.
    :param first_day: those that began on this day (UTC) or later.
    :param last_day: those that began on this day (UTC) or earlier.
    """

    dag_ids: Collection[str] | None = None
    dag_id: str | None = None
    task_id: str | None = None
    run_id: str | None = None
    map_index: int | None = None
    system: str | None = None
    state: str | None = None
    first_day: dt.date | None = None
    last_day: dt.date | None = None


@dataclass(frozen=True, slots=True)
class RunPage:
    """Some runs, the newest first.

    :param older: what to ask for as ``before`` to have the next page; None where there is none.
    """

    runs: tuple[Run, ...]
    older: int | None


@dataclass(frozen=True, slots=True)
class Day:
    """What the runs that began on one day (UTC) have done together.

    Runs that only planned, and those whose rows a later try has counted too, are in ``runs`` alone.

    :param runs: how many.
    :param bad: how many of them ended in one of :data:`BAD_STATES`.
    :param seconds: that those with rows lasted, together.
    """

    day: dt.date
    runs: int
    bad: int
    read: int
    created: int
    updated: int
    unchanged: int
    skipped: int
    rejected: int
    exported: int
    seconds: float

    @property
    def rows_per_second(self) -> float | None:
        """Rows and records a second; None where nothing lasted any time."""
        return (self.read + self.exported) / self.seconds if self.seconds else None


@dataclass(frozen=True, slots=True)
class Choices:
    """What there is to choose from when looking for runs, each sorted."""

    dag_ids: tuple[str, ...]
    task_ids: tuple[str, ...]
    systems: tuple[str, ...]
