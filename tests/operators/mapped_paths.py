"""Tasks that are mapped, with paths that are the same for all instances, and with paths that are not."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

try:
    from airflow.sdk import DAG, task, task_group
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task, task_group

from airflow_provider_crm.operators.expertsender import ExpertSenderUpsertCustomersOperator
from airflow_provider_crm.operators.spread import SpreadExportConsentsOperator

FOLDER = os.environ["CRM_TEST_FOLDER"]
SOURCES = [[{"email": "one@example.fr"}], [{"email": "two@example.fr"}]]


def upsert(name: str, **given: Any) -> Any:
    return ExpertSenderUpsertCustomersOperator.partial(task_id=name, **given)


def export(name: str, path: str, **given: Any) -> Any:
    return SpreadExportConsentsOperator.partial(
        task_id=name, path=f"{FOLDER}/{path}", window="all", **given
    ).expand(consent_id=[9876, 9875])


with DAG(
    dag_id="mapped_paths",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    params={"folder": FOLDER},
    default_args={"retries": 1},
) as dag:
    # The same for all
    upsert("same_text", rejects_path=f"{FOLDER}/a.jsonl").expand(source=SOURCES)
    upsert("same_path", rejects_path=Path(FOLDER, "b.jsonl")).expand(source=SOURCES)
    upsert("same_results", results_path="{{ params.folder }}/{{ run_id }}-{{ task.task_id }}.jsonl").expand(
        source=SOURCES
    )
    upsert("same_beside_others", rejects_path=f"{FOLDER}/{{{{ ti.task_id }}}}.jsonl").expand_kwargs(
        [{"source": one, "results_path": f"{FOLDER}/{n}.jsonl"} for n, one in enumerate(SOURCES)]
    )
    export("same_export", "{{ dag.dag_id }}.csv")

    @task_group
    def same_group(source: Any) -> None:
        ExpertSenderUpsertCustomersOperator(
            task_id="upsert", source=source, rejects_path=f"{FOLDER}/{{{{ dag_run.run_id }}}}.jsonl"
        )

    same_group.expand(source=SOURCES)

    # Each has its own
    upsert("own_index", rejects_path="{{ params.folder }}/c-{{ ti.map_index }}.jsonl").expand(source=SOURCES)
    upsert("own_kwargs").expand_kwargs(
        [{"source": one, "rejects_path": f"{FOLDER}/d{n}.jsonl"} for n, one in enumerate(SOURCES)]
    )
    upsert("own_params", rejects_path=f"{FOLDER}/{{{{ params.name }}}}.jsonl").expand_kwargs(
        [{"source": one, "params": {"name": f"e{n}"}} for n, one in enumerate(SOURCES)]
    )
    export("own_consent", "f-{{ task.consent_id }}.csv")
    upsert("only_one", rejects_path=f"{FOLDER}/g.jsonl").expand(source=SOURCES[:1])

    @task
    def rejects_path(source: Any) -> str:
        return f"{FOLDER}/of-{source[0]['email']}.jsonl"

    @task_group
    def own_group(source: Any) -> None:
        ExpertSenderUpsertCustomersOperator(
            task_id="upsert",
            source=source,
            rejects_path=rejects_path(source),
            results_path=f"{FOLDER}/h-{{{{ task_instance.map_index }}}}.jsonl",
        )

    own_group.expand(source=SOURCES)
