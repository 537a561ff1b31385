"""Airflow's HttpHook makes the calls of the loop: ``python http_hook_writes.py CRM URL FILE IN_FLIGHT``, in turn."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

import loop_writes
import msgspec
from measured import measure

target = urlsplit(loop_writes.url)
os.environ["AIRFLOW_CONN_CRM"] = json.dumps(
    {"conn_type": "http", "host": f"{target.scheme}://{target.netloc}", "login": "k", "password": "s"}
)

from airflow.providers.http.hooks.http import HttpHook
from airflow.sdk.bases.hook import BaseHook

hooks = {method: HttpHook(method=method, http_conn_id="CRM") for method in ("GET", "POST", "PUT")}


def call(method: str, path: str, *, params: Any = None, body: Any = None) -> bytes:
    data = params if body is None else msgspec.json.encode(body)
    headers = {"Content-Type": "application/json"}
    content: bytes = hooks[method].run(target.path + path, data=data, headers=headers).content
    return content


def main() -> int:
    return sum(loop_writes.WRITES[loop_writes.crm](rows) for rows in loop_writes.batches(loop_writes.BATCH))


loop_writes.call = call
# The process of a task has loaded what looks connections up.
BaseHook.get_connection("CRM")
measure(main)
