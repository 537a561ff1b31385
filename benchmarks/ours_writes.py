"""This package's upserts, without the rest of a task's life.

``python ours_writes.py CRM URL FILE CONCURRENCY [SNAPSHOT]``
"""

from __future__ import annotations

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

from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
from airflow_provider_crm.operators.spread import SpreadUpsertCustomersOperator

crm, url, source, concurrency, *snapshot = sys.argv[1:]
connection = {"conn_type": crm, "host": url, "login": "k", "password": "s", "extra": {}}
if crm == "mindbaz":
    connection["extra"] = {"site_id": 3}
os.environ[f"AIRFLOW_CONN_{crm.upper()}_DEFAULT"] = json.dumps(connection)
logging.disable(logging.WARNING)
OPERATORS: dict[str, tuple[Any, dict[str, Any]]] = {
    "mindbaz": (MindbazUpsertSubscribersOperator, {"batch_size": 5000}),
    "spread": (
        SpreadUpsertCustomersOperator,
        {
            "field_map": {
                "email": "email",
                "last_name": "lastName",
                "first_name": "firstName",
                "city": "city",
                "zip": "zip",
            }
        },
    ),
}


def main() -> int:
    operator, parameters = OPERATORS[crm]
    kept = {"snapshot": snapshot[0]} if snapshot else {}
    task = operator(task_id="upsert", source=source, concurrency=int(concurrency), **kept, **parameters)
    summary = task.execute({})
    assert snapshot or summary["created"] == summary["updated"], summary
    return int(summary["created"] + summary["updated"] + summary["unchanged"])


measure(main)
