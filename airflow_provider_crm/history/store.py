"""The history as runs write it: one row when a run begins, told again while it lives, completed at its end."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from airflow_provider_crm._compat import conf
from airflow_provider_crm.databases.database import Database, DatabaseError, T, Work
from airflow_provider_crm.databases.engines import engine_for
from airflow_provider_crm.history.reading import HistoryReader, last_rows, of_instance, usual_rows
from airflow_provider_crm.history.runs import NO_END_KNOWN, RUNNING, TaskTry
from airflow_provider_crm.history.tables import reasons_table, runs_table

_c = runs_table.c

#: Where a key of the report stands in the table, where it is not under its own name.
_COLUMNS = {
    **{key: f"rows_{key}" for key in ("read", "created", "updated", "unchanged", "skipped", "rejected")},
    "rows": "rows_exported",
    "bytes": "bytes_exported",
}
#: What is written when a run begins, or stands in a table of its own.
_NOT_TAKEN = {"version", "system", "operator", "started_at", "ended_at", "reasons", "error"}
#: The states of runs after whose rows another may go on.
_INCOMPLETE = ("failed", "stopped", NO_END_KNOWN)


class HistoryError(DatabaseError):
    """The history cannot be read or written."""

    said = "The history of CRM runs cannot be used ({problem})"


class History(HistoryReader):
    """The history in one database; to be closed, also by ``with``.

    :param engine: any database that SQLAlchemy knows; SQLite serves one machine.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(Database(engine, HistoryError))

    @classmethod
    def at(cls, conn_id: str) -> Self:
        """Return the history behind an Airflow connection to a SQL database.

        :raises CrmInputError: there is no such connection, or it is none to a SQL database.
        """
        return cls(engine_for(conn_id))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._database.close()

    def begin(self, task: TaskTry, *, system: str, operator: str, started_at: dt.datetime) -> int:
        """Note that a run begins. Earlier tries of the same task instance that look alive are not any more.

        :param system: the connection type of the CRM, such as ``mindbaz``.
        :param operator: the name of the operator's class.
        :param started_at: a time with a zone.
        :return: the run's id, for :meth:`seen` and :meth:`end`.
        :raises HistoryError: the database cannot be used.
        """
        values = {
            "dag_id": task.dag_id,
            "task_id": task.task_id,
            "run_id": task.run_id,
            "map_index": task.map_index,
            "try_number": task.try_number,
            "logical_date": _without_zone(task.logical_date),
            "system": system,
            "operator": operator,
            "state": RUNNING,
            "day": started_at.astimezone(dt.UTC).date().isoformat(),
            "started_at": _without_zone(started_at),
            "continued": False,
        }

        def begin(connection: Connection, now: float) -> int:
            lost = runs_table.update().where(*of_instance(task), _c.state == RUNNING)
            connection.execute(lost.values(state=NO_END_KNOWN))
            usual = usual_rows(last_rows(connection, task))
            row: Any = connection.execute(
                runs_table.insert().values({**values, "seen_at": now, "rows_usual": usual})
            )
            return int(row.inserted_primary_key[0])

        return self._write(begin)

    def seen(self, run: int) -> None:
        """Note that a run still lives; without it, nobody knows its end after three minutes.

        :param run: its id, from :meth:`begin`.
        :raises HistoryError: the database cannot be used.
        """
        alive = runs_table.update().where(_c.id == run, _c.state == RUNNING)
        self._write(lambda connection, now: connection.execute(alive.values(seen_at=now)))

    def end(self, run: int, report: Mapping[str, Any], *, goes_on: bool = False) -> None:
        """Note how a run ended.

        :param run: its id, from :meth:`begin`.
        :param report: what the task pushes as XCom ``crm_report``. Keys without a column of their own are kept too.
        :param goes_on: it went on after the rows of an earlier try, which its report counts too.
        :raises HistoryError: the database cannot be used.
        """
        values = _values_of(report)
        reasons = [
            {
                "crm_run_id": run,
                "place": place,
                "ending": reason["end"],
                "stage": reason["stage"],
                "reason": reason["reason"],
                "row_count": reason["rows"],
            }
            for place, reason in enumerate(report.get("reasons") or ())
        ]

        def end(connection: Connection, now: float) -> None:
            connection.execute(runs_table.update().where(_c.id == run).values({**values, "seen_at": now}))
            connection.execute(reasons_table.delete().where(reasons_table.c.crm_run_id == run))
            if reasons:
                connection.execute(reasons_table.insert(), reasons)
            if goes_on:
                row = connection.execute(sa.select(runs_table).where(_c.id == run)).mappings().first()
                if row is not None:
                    _note_continued(connection, run, row)

        self._write(end)

    def forget(self, run: int) -> None:
        """Delete a run.

        :param run: its id, from :meth:`begin`.
        :raises HistoryError: the database cannot be used.
        """
        self._write(lambda connection, now: connection.execute(runs_table.delete().where(_c.id == run)))

    def sweep(self, days: int) -> int:
        """Throw away runs that began more than so many days ago.

        :return: how many they were.
        :raises HistoryError: the database cannot be used.
        """

        def sweep(connection: Connection, now: float) -> int:
            first = (dt.datetime.fromtimestamp(now, dt.UTC) - dt.timedelta(days=days)).date().isoformat()
            old = sa.select(_c.id).where(_c.day < first)
            connection.execute(reasons_table.delete().where(reasons_table.c.crm_run_id.in_(old)))
            return int(connection.execute(runs_table.delete().where(_c.day < first)).rowcount)

        return self._write(sweep)

    def _write(self, work: Work[T]) -> T:
        self._make()
        return self._database.write(work)


def history_conn_id() -> str | None:
    """Return the connection that Airflow's option ``[crm] history_conn_id`` names; None where it names none."""
    return conf.get("crm", "history_conn_id", fallback="") or None


def history_days() -> int:
    """Return for how many days runs are kept: Airflow's option ``[crm] history_days``."""
    return conf.getint("crm", "history_days", fallback=90)


def _note_continued(connection: Connection, run: int, row: Any) -> None:
    task = TaskTry(row["dag_id"], row["task_id"], row["run_id"], row["map_index"])
    before = runs_table.update().where(*of_instance(task), _c.id < run, _c.state.in_(_INCOMPLETE))
    connection.execute(before.values(continued=True))


def _values_of(report: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {"ended_at": _without_zone(dt.datetime.fromisoformat(report["ended_at"]))}
    more: dict[str, Any] = {}
    for key, value in report.items():
        column = _COLUMNS.get(key, key)
        if key in _NOT_TAKEN:
            continue
        if column in _c:
            values[column] = value
        elif value is not None:
            more[key] = value
    error = report.get("error")
    if error:
        values |= {"error_type": error["type"], "error_message": error["message"]}
    return {**values, "more": json.dumps(more)}


def _without_zone(time: dt.datetime | None) -> dt.datetime | None:
    """Return a time as the tables have it: in UTC, and without saying so."""
    return None if time is None else time.astimezone(dt.UTC).replace(tzinfo=None)
