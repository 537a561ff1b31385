"""This package's operators, without the rest of a task's life: ``python ours.py URL FILE RESOURCE KEYWORDS...``."""

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
base, _, resource = sys.argv[1].rpartition("/")
os.environ["AIRFLOW_CONN_SPREAD_DEFAULT"] = json.dumps(
    {"conn_type": "spread", "host": base, "login": "k", "password": "s"}
)

from airflow.sdk.bases.hook import BaseHook
from measured import measure

from airflow_provider_crm.operators.spread.exports import (
    SpreadExportConsentsOperator,
    SpreadExportCustomersOperator,
)

logging.disable(logging.WARNING)
EXPORTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "customers": (SpreadExportCustomersOperator, {"window": "all"}),
    "customers-consents": (SpreadExportConsentsOperator, {"consent_id": "9876", "window": "all"}),
}


def main() -> int:
    operator, parameters = EXPORTS[resource]
    parameters |= json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    task = operator(task_id="export", path=sys.argv[2], **parameters)
    rows: int = task.execute({})["rows"]
    return rows


# The process of a task has loaded what looks connections up.
BaseHook.get_connection("spread_default")
measure(main)
