"""Airflow's HttpOperator with a pagination function, its pages written to a file by the response filter."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

target = urlsplit(sys.argv[1])
os.environ["AIRFLOW_CONN_CRM"] = json.dumps(
    {"conn_type": "http", "host": f"{target.scheme}://{target.netloc}", "login": "k", "password": "s"}
)

from airflow.providers.http.operators.http import HttpOperator
from airflow.sdk.bases.hook import BaseHook
from measured import measure

start = 0


def next_page(response: Any) -> dict[str, Any] | None:
    global start
    rows = len(response.json()["customers"])
    start += rows
    return {"data": {"startAt": start, "maxResults": 5000}} if rows else None


def main() -> int:
    written = 0
    with open(sys.argv[2], "w") as file:

        def write(responses: Any) -> None:
            nonlocal written
            for response in responses:
                for row in response.json()["customers"]:
                    file.write(json.dumps(row) + "\n")
                    written += 1

        export = HttpOperator(
            task_id="export",
            http_conn_id="CRM",
            method="GET",
            endpoint=target.path,
            data={"startAt": 0, "maxResults": 5000},
            pagination_function=next_page,
            response_filter=write,
        )
        export.execute({})
    return written


# The process of a task has loaded what looks connections up.
BaseHook.get_connection("CRM")
measure(main)
