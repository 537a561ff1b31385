"""The history's two tables: a row a run, and its most frequent reasons. No personal data is in them."""

from __future__ import annotations

import sqlalchemy as sa

from airflow_provider_crm.databases.columns import Number, Text

metadata = sa.MetaData()

#: One row for each try of a task, the higher the ``id`` the newer. The columns of the report are named as its keys,
#: but for those that are words of SQL. Times are UTC.
runs_table = sa.Table(
    "crm_run",
    metadata,
    sa.Column("id", Number, primary_key=True, autoincrement=True),
    sa.Column("dag_id", Text(250, words=True), nullable=False),
    sa.Column("task_id", Text(250, words=True), nullable=False),
    sa.Column("run_id", Text(250, words=True), nullable=False),
    sa.Column("map_index", sa.Integer, nullable=False),
    sa.Column("try_number", sa.Integer, nullable=False),
    sa.Column("logical_date", sa.DateTime),
    sa.Column("system", Text(40, words=True), nullable=False),
    sa.Column("operator", Text(120, words=True), nullable=False),
    sa.Column("state", Text(20), nullable=False),
    # When it began, as a date of its own: no two databases cut one out of a time in the same way.
    sa.Column("day", Text(10), nullable=False),
    sa.Column("started_at", sa.DateTime, nullable=False),
    sa.Column("ended_at", sa.DateTime),
    # The database's time when the run last said that it lives, in seconds since 1970.
    sa.Column("seen_at", sa.Float(53), nullable=False),
    sa.Column("seconds", sa.Float(53)),
    *(
        sa.Column(f"rows_{end}", sa.BigInteger)
        for end in ("read", "created", "updated", "unchanged", "skipped", "rejected", "exported")
    ),
    sa.Column("bytes_exported", sa.BigInteger),
    # The median of the rows of the task's last successful runs, when this one began.
    sa.Column("rows_usual", sa.Float(53)),
    sa.Column("last_row", sa.BigInteger),
    sa.Column("requests", sa.BigInteger),
    sa.Column("retries", sa.BigInteger),
    sa.Column("amount", Text(40)),
    sa.Column("path", Text(1000, words=True)),
    sa.Column("rejects_path", Text(1000, words=True)),
    sa.Column("results_path", Text(1000, words=True)),
    sa.Column("error_type", Text(120, words=True)),
    sa.Column("error_message", Text(1000, words=True)),
    # What else the report says, as JSON.
    sa.Column("more", sa.Text),
    # A later try has gone on after its rows and counts them too.
    sa.Column("continued", sa.Boolean, nullable=False),
    sa.Index("crm_run_task", "dag_id", "task_id", "map_index", "id"),
    sa.Index("crm_run_day", "day", "id"),
    sa.Index("crm_run_state", "state", "id"),
    sa.Index("crm_run_system", "system", "id"),
)

#: Why rows were skipped or rejected, in the order of their number.
reasons_table = sa.Table(
    "crm_run_reason",
    metadata,
    sa.Column("crm_run_id", Number, primary_key=True, autoincrement=False),
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("ending", Text(20), nullable=False),
    sa.Column("stage", Text(20)),
    sa.Column("reason", Text(250, words=True), nullable=False),
    sa.Column("row_count", sa.BigInteger, nullable=False),
)
