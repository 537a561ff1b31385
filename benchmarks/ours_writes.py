"""This package's upserts, without the rest of a task's life.

``python ours_writes.py CRM URL SOURCE CONCURRENCY [SNAPSHOT]``; a source that is a database's URL means all rows of its
table ``people``.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-home-"))

from measured import measure

from airflow_provider_crm.operators.expertsender import ExpertSenderUpsertCustomersOperator
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
from airflow_provider_crm.operators.spread import SpreadUpsertCustomersOperator
from airflow_provider_crm.rows import sql
from airflow_provider_crm.rows.arrow_values import load_arrow
from airflow_provider_crm.rows.sources import SqlSource

crm, url, source, concurrency, *snapshot = sys.argv[1:]
connection = {"conn_type": crm, "host": url, "login": "k", "password": "s", "extra": {}}
if crm == "mindbaz":
    connection["extra"] = {"site_id": 3}
os.environ[f"AIRFLOW_CONN_{crm.upper()}_DEFAULT"] = json.dumps(connection)
logging.disable(logging.WARNING)
# What reads the source is imported before it is measured, as all else is.
if source.endswith(".parquet"):
    load_arrow()
elif source.startswith("postgresql"):
    importlib.import_module("psycopg2")
NAMES = {"email": "email", "last_name": "lastName", "first_name": "firstName", "city": "city", "zip": "zip"}
OPERATORS: dict[str, tuple[Any, dict[str, Any]]] = {
    "mindbaz": (MindbazUpsertSubscribersOperator, {"batch_size": 5000}),
    "spread": (SpreadUpsertCustomersOperator, {"field_map": NAMES}),
    "expertsender_cdp": (
        ExpertSenderUpsertCustomersOperator,
        {
            "field_map": NAMES | {"city": "customAttributes.city", "zip": "customAttributes.zip"},
            "batch_size": 1000,
        },
    ),
}


def rows() -> Any:
    """Return the source; a query needs no Airflow provider here."""
    if not source.startswith("postgresql"):
        return source
    import sqlalchemy as sa

    sql.engine_for = lambda conn_id: sa.create_engine(source)
    return SqlSource("people", "select * from people order by email")


def main() -> int:
    operator, parameters = OPERATORS[crm]
    kept = {"snapshot": snapshot[0]} if snapshot else {}
    task = operator(task_id="upsert", source=rows(), concurrency=int(concurrency), **kept, **parameters)
    summary = task.execute({})
    assert snapshot or crm == "expertsender_cdp" or summary["created"] == summary["updated"], summary
    return int(summary["created"] + summary["updated"] + summary["unchanged"])


measure(main)
