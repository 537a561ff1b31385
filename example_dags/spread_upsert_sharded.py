"""Upsert a large source into SPREAD with several workers: cut it into shards, upsert each, add up what became of all.

SPREAD takes one customer a call, so that a worker sends a few hundred rows a second at best; shards run side by side.
How many do is the size of the pool `spread_api`, which you make first, for all DAGs that call SPREAD:

    airflow pools set spread_api 4 "Tasks that call SPREAD at the same time"

All rows of a person are in one shard (`key`): shards do not know each other's rows, and the last one of a person wins.
A shard that fails is retried alone. Each shard has its own rejects file.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task

from airflow_provider_crm.operators.spread import SpreadUpsertCustomersOperator
from airflow_provider_crm.rows.sources import split_source

with DAG(
    dag_id="spread_upsert_sharded",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    tags=["crm", "spread"],
    params={
        "source": "/data/customers.csv",
        "rows_per_shard": 50_000,
        # A folder or bucket that all workers reach.
        "folder": "/data/shards",
    },
    doc_md=__doc__,
) as dag:

    @task
    def split(params: dict[str, Any] | None = None) -> list[str]:
        """Cut the source into files."""
        assert params is not None
        return split_source(params["source"], params["rows_per_shard"], params["folder"], key="email")

    @task(multiple_outputs=False)
    def add_up(results: Any) -> dict[str, float]:
        """Add up the counts of all shards."""
        total: Counter[str] = Counter()
        for result in results:
            total.update(
                {name: count for name, count in result.items() if name not in ("seconds", "rejects_path")}
            )
        return dict(total)

    upsert = SpreadUpsertCustomersOperator.partial(
        task_id="upsert_customers",
        pool="spread_api",
        rejects_path="{{ params.folder }}/rejects-{{ ti.map_index }}.jsonl",
        max_rejects=0.05,
        retries=3,
    ).expand(source=split())
    add_up(upsert.output)
