"""The tables of snapshots in a SQL database."""

from __future__ import annotations

import sqlalchemy as sa

from airflow_provider_crm.databases.columns import Number, Text

metadata = sa.MetaData()

snapshots_table = sa.Table(
    "crm_snapshot",
    metadata,
    sa.Column("id", Number, primary_key=True, autoincrement=True),
    sa.Column("name", Text(250), nullable=False, unique=True),
    sa.Column("salt", sa.LargeBinary(16), nullable=False),
    # What it is of, as JSON.
    sa.Column("about", sa.Text, nullable=False),
    # Tries of tasks that have used it.
    sa.Column("tries", sa.BigInteger, nullable=False),
)

#: One row for each try of a task that uses a snapshot, until its run is over. The number of the try stands in its
#: claims, that of the run's first one in the entries.
runs_table = sa.Table(
    "crm_snapshot_run",
    metadata,
    sa.Column("snapshot_id", Number, primary_key=True, autoincrement=False),
    sa.Column("try_number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("first_try", sa.BigInteger, nullable=False),
    sa.Column("run", Text(64), nullable=False),
    # The database's time, in seconds since 1970.
    sa.Column("seen_at", sa.Float(53), nullable=False),
    sa.Column("ended", sa.Boolean, nullable=False),
)

#: No personal data: ``person`` is a keyed hash, and so is what ``entry`` is made of.
people_table = sa.Table(
    "crm_snapshot_person",
    metadata,
    sa.Column("snapshot_id", Number, primary_key=True, autoincrement=False),
    sa.Column("person", sa.BigInteger, primary_key=True, autoincrement=False),
    # Empty of somebody of whom nothing is known to be accepted.
    sa.Column("entry", sa.LargeBinary, nullable=False),
    # The run that has sent them something; negative where another one may have too; 0 when it was accepted.
    sa.Column("claim", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
