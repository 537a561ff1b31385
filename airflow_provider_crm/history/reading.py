"""What the history is asked: a page of runs, one run, sums a day, what is usual for a task."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from statistics import median
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from airflow_provider_crm.databases.database import Database
from airflow_provider_crm.history.runs import (
    BAD_STATES,
    NO_END_KNOWN,
    RUNNING,
    Choices,
    Day,
    Reason,
    Run,
    RunFilter,
    RunPage,
    TaskTry,
)
from airflow_provider_crm.history.tables import metadata, reasons_table, runs_table

#: Seconds without a sign of life after which nobody knows what became of a run.
SILENCE = 180.0
#: Successful runs that say what is usual, and how few of them say nothing.
USUAL_RUNS, LEAST_RUNS = 7, 3

_c = runs_table.c
_ALL = RunFilter()
_DAY_SUMS = ("read", "created", "updated", "unchanged", "skipped", "rejected", "exported")


class HistoryReader:
    """Reads the history.

    :param database: where it is; its tables are made when they are missing.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._is_made = False

    def page(self, wanted: RunFilter = _ALL, *, before: int | None = None, limit: int = 50) -> RunPage:
        """Return runs, the newest first.

        :param before: only those that are older than the run of this id; :attr:`RunPage.older` of the page before.
        :raises HistoryError: the database cannot be used.
        """
        with self._reading() as connection:
            query = sa.select(runs_table).where(*self._conditions(connection, wanted))
            if before is not None:
                query = query.where(_c.id < before)
            found = self._runs(connection, query.order_by(_c.id.desc()).limit(limit + 1))
        runs = found[:limit]
        return RunPage(runs, runs[-1].id if len(found) > limit else None)

    def count(self, wanted: RunFilter = _ALL) -> int:
        """Return how many runs there are.

        :raises HistoryError: the database cannot be used.
        """
        with self._reading() as connection:
            query = sa.select(sa.func.count()).select_from(runs_table)
            return int(connection.execute(query.where(*self._conditions(connection, wanted))).scalar_one())

    def run(self, number: int) -> Run | None:
        """Return one run with its reasons; None when there is none of this id.

        :raises HistoryError: the database cannot be used.
        """
        with self._reading() as connection:
            rows = connection.execute(
                sa.select(reasons_table)
                .where(reasons_table.c.crm_run_id == number)
                .order_by(reasons_table.c.place)
            )
            reasons = tuple(Reason(row.ending, row.stage, row.reason, row.row_count) for row in rows)
            found = self._runs(connection, sa.select(runs_table).where(_c.id == number), reasons)
        return found[0] if found else None

    def tries(self, task: TaskTry) -> tuple[Run, ...]:
        """Return all runs of one task instance, the newest first, without their reasons.

        :param task: any try of it.
        :raises HistoryError: the database cannot be used.
        """
        query = sa.select(runs_table).where(*of_instance(task)).order_by(_c.id.desc())
        with self._reading() as connection:
            return self._runs(connection, query)

    def later_with_same_rejects(self, run: Run) -> int | None:
        """Return the id of the newest later run of the same task that names the same rejects file.

        :raises HistoryError: the database cannot be used.
        """
        if run.rejects_path is None:
            return None
        query = (
            sa.select(_c.id)
            .where(*_of_task(run.task), _c.id > run.id, _c.rejects_path == run.rejects_path)
            .order_by(_c.id.desc())
            .limit(1)
        )
        with self._reading() as connection:
            number = connection.execute(query).scalar()
        return None if number is None else int(number)

    def days(self, wanted: RunFilter = _ALL) -> list[Day]:
        """Return the sums of each day on which runs began, in the order of days; give a first and a last one.

        :raises HistoryError: the database cannot be used.
        """
        rows = sa.or_(_c.rows_read > 0, _c.rows_exported > 0)
        sums = {name: sa.func.sum(_c[f"rows_{name}"]) for name in _DAY_SUMS}
        sums["seconds"] = sa.func.sum(sa.case((rows, _c.seconds), else_=0.0))
        with self._reading() as connection:
            conditions = self._conditions(connection, wanted)
            bad = sa.or_(_c.state.in_(BAD_STATES), self._is_silent(connection))
            runs = sa.select(_c.day, sa.func.count(), sa.func.sum(sa.case((bad, 1), else_=0)))
            # Two sums: one that looks at each run what counts takes half as long again, with 100,000 runs.
            told = sa.select(_c.day, *(column.label(name) for name, column in sums.items())).where(
                _c.continued.is_(False), _c.state != "dry_run"
            )
            all_runs = connection.execute(runs.where(*conditions).group_by(_c.day).order_by(_c.day)).all()
            summed = connection.execute(told.where(*conditions).group_by(_c.day)).mappings().all()
        by_day = {row["day"]: dict(row) for row in summed}
        return [
            Day(
                day=dt.date.fromisoformat(day),
                runs=int(number),
                bad=int(bad_runs),
                **{name: int(by_day.get(day, {}).get(name) or 0) for name in _DAY_SUMS},
                seconds=float(by_day.get(day, {}).get("seconds") or 0),
            )
            for day, number, bad_runs in all_runs
        ]

    def choices(self, wanted: RunFilter = _ALL) -> Choices:
        """Return the DAGs and systems of which there are runs, and the tasks of the one DAG that is asked for.

        :param wanted: only its ``dag_ids`` and its ``dag_id`` count.
        :raises HistoryError: the database cannot be used.
        """
        with self._reading() as connection:
            dag_ids = _different(connection, _c.dag_id)
            systems = _different(connection, _c.system)
            readable = None if wanted.dag_ids is None else set(wanted.dag_ids)
            if readable is not None and not readable.issuperset(dag_ids):
                dag_ids = [dag_id for dag_id in dag_ids if dag_id in readable]
                of_them = _of_dags(dag_ids)
                systems = [one for one in systems if _is_any(connection, _c.system == one, of_them)]
            tasks = wanted.dag_id in dag_ids
            return Choices(
                dag_ids=tuple(sorted(dag_ids)),
                task_ids=tuple(sorted(_different(connection, _c.task_id, of=wanted.dag_id)) if tasks else ()),
                systems=tuple(sorted(systems)),
            )

    def last_rows(self, task: TaskTry) -> list[int]:
        """Return the rows of the last seven successful runs of a task, the newest first.

        :param task: the task; runs of the same map index only count.
        :raises HistoryError: the database cannot be used.
        """
        with self._reading() as connection:
            return last_rows(connection, task)

    # How it is read

    def _make(self) -> None:
        if not self._is_made:
            self._database.create(metadata)
            self._is_made = True

    def _reading(self) -> AbstractContextManager[Connection]:
        self._make()
        return self._database.reading()

    def _is_silent(self, connection: Connection) -> Any:
        heard = self._database.time(connection) - SILENCE
        return sa.and_(_c.state == RUNNING, _c.seen_at < heard)

    def _conditions(self, connection: Connection, wanted: RunFilter) -> list[Any]:
        # Of some days the index of the days is to be used: SQLite would take that of the systems or DAGs, and read all
        # of their runs (measured with 100,000 runs: of three systems 33 ms a sum of 30 days, 16 without; of two DAGs
        # 232 ms the whole page, 146 without).
        of_days = wanted.first_day is not None
        system: Any = sa.func.coalesce(_c.system, "") if of_days else _c.system
        dag_id: Any = sa.func.coalesce(_c.dag_id, "") if of_days else _c.dag_id
        conditions: list[Any] = [
            column == value
            for column, value in (
                (dag_id, wanted.dag_id),
                (_c.task_id, wanted.task_id),
                (_c.run_id, wanted.run_id),
                (_c.map_index, wanted.map_index),
                (system, wanted.system),
            )
            if value is not None
        ]
        if wanted.dag_ids is not None:
            conditions.append(_of_dags(wanted.dag_ids))
        if wanted.first_day is not None:
            conditions.append(_c.day >= wanted.first_day.isoformat())
        if wanted.last_day is not None:
            conditions.append(_c.day <= wanted.last_day.isoformat())
        if wanted.state is not None:
            conditions.append(self._in_state(connection, wanted.state))
        return conditions

    def _in_state(self, connection: Connection, state: str) -> Any:
        if state == NO_END_KNOWN:
            return sa.or_(_c.state == NO_END_KNOWN, self._is_silent(connection))
        if state == RUNNING:
            return sa.and_(_c.state == RUNNING, sa.not_(self._is_silent(connection)))
        return _c.state == state

    def _runs(self, connection: Connection, query: Any, reasons: tuple[Reason, ...] = ()) -> tuple[Run, ...]:
        heard = self._database.time(connection) - SILENCE
        return tuple(_run_of(row, heard, reasons) for row in connection.execute(query).mappings().all())


def _of_dags(dag_ids: Collection[str]) -> Any:
    """Return the condition for runs of some DAGs.

    Of many DAGs no index is to be used: SQLite would take the one that begins with them, and sort all of their runs to
    find the newest (measured with 100,000 runs of 40 DAGs: 56 ms a page and 436 ms a sum of 30 days, 2 and 50 without).
    """
    return (_c.dag_id if len(dag_ids) == 1 else sa.func.coalesce(_c.dag_id, "")).in_(list(dag_ids))


def _is_any(connection: Connection, *conditions: Any) -> bool:
    return connection.execute(sa.select(_c.id).where(*conditions).limit(1)).first() is not None


def _different(connection: Connection, column: Any, *, of: str | None = None) -> list[str]:
    """Return the different values of a column, each found by one step through its index.

    ``distinct`` goes through all rows: 36 ms of 100,000 runs, where this takes 2.

    :param of: only of this DAG.
    """
    runs = runs_table.alias()
    within, next_within = (() if of is None else (table.dag_id == of,) for table in (_c, runs.c))
    found = sa.select(sa.func.min(column).label("value")).where(*within).cte("found", recursive=True)
    following = sa.select(sa.func.min(runs.c[column.name])).where(
        *next_within, runs.c[column.name] > found.c.value
    )
    found = found.union_all(sa.select(following.scalar_subquery()).where(found.c.value.isnot(None)))
    values = connection.execute(sa.select(found.c.value)).scalars()
    return [value for value in values if value is not None]


def usual_rows(rows: Sequence[int]) -> float | None:
    """Return the median of the rows of earlier runs; None where they are too few to say what is usual."""
    return float(median(rows)) if len(rows) >= LEAST_RUNS else None


def last_rows(connection: Connection, task: TaskTry) -> list[int]:
    """Return what :meth:`HistoryReader.last_rows` does, within a transaction."""
    rows = sa.func.coalesce(_c.rows_read, _c.rows_exported)
    query = (
        sa.select(rows)
        .where(*_of_task(task), _c.state == "success", rows.isnot(None))
        .order_by(_c.id.desc())
        .limit(USUAL_RUNS)
    )
    return [int(number) for number in connection.execute(query).scalars()]


def _of_task(task: TaskTry) -> tuple[Any, ...]:
    return _c.dag_id == task.dag_id, _c.task_id == task.task_id, _c.map_index == task.map_index


def of_instance(task: TaskTry) -> tuple[Any, ...]:
    """Return the conditions for all runs of one task instance."""
    return *_of_task(task), _c.run_id == task.run_id


def _run_of(row: Any, heard: float, reasons: tuple[Reason, ...]) -> Run:
    silent = row["state"] == RUNNING and row["seen_at"] < heard
    return Run(
        id=row["id"],
        task=TaskTry(
            row["dag_id"],
            row["task_id"],
            row["run_id"],
            row["map_index"],
            row["try_number"],
            _in_utc(row["logical_date"]),
        ),
        system=row["system"],
        operator=row["operator"],
        state=NO_END_KNOWN if silent else row["state"],
        started_at=row["started_at"].replace(tzinfo=dt.UTC),
        ended_at=_in_utc(row["ended_at"]),
        seen_at=dt.datetime.fromtimestamp(row["seen_at"], dt.UTC),
        usual=row["rows_usual"],
        bytes=row["bytes_exported"],
        more=json.loads(row["more"] or "{}"),
        reasons=reasons,
        **{name: row[f"rows_{name}"] for name in _DAY_SUMS},
        **{name: row[name] for name in _AS_THEY_ARE},
    )


_AS_THEY_ARE = (
    "seconds",
    "last_row",
    "requests",
    "retries",
    "amount",
    "path",
    "rejects_path",
    "results_path",
    "error_type",
    "error_message",
    "continued",
)


def _in_utc(time: dt.datetime | None) -> dt.datetime | None:
    return None if time is None else time.replace(tzinfo=dt.UTC)
