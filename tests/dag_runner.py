"""Run one DAG to its end in this process, and write down how every task ended.

``python dag_runner.py REQUEST ANSWER``, both JSON files; tests use it through the fixture ``run_dag``.
It must import nothing but Airflow: each run is a process of its own, as on a worker.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any


def main(request_path: str, answer_path: str) -> None:
    """Run the DAG that the request names."""
    request = json.loads(Path(request_path).read_text())
    _log_as_a_worker_does()
    dag = _load(request["path"], request["dag_id"])
    _retry_at_once(dag)
    run = dag.test(run_conf=request["conf"], **_date_argument(dag, request["logical_date"]))
    answer = {"state": str(run.state), "run_id": run.run_id, "tasks": _tasks(run.dag_id, run.run_id)}
    Path(answer_path).write_text(json.dumps(answer))


def _log_as_a_worker_does() -> None:
    """Log from Airflow's level on, without local variables: dag.test() of Airflow 3.0 prints all, secrets included."""
    try:
        import airflow.sdk.log  # noqa: F401
        import structlog
    except ImportError:  # Airflow 2
        return
    if not structlog.is_configured():
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(),
                structlog.dev.ConsoleRenderer(
                    colors=False, exception_formatter=structlog.dev.plain_traceback
                ),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(
                logging.getLevelNamesMapping()[os.environ.get("AIRFLOW__LOGGING__LOGGING_LEVEL", "INFO")]
            ),
        )


def _load(path: str, dag_id: str | None) -> Any:
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # before 3.2
        from airflow.models.dagbag import DagBag

    bag = DagBag(path, safe_mode=False)
    if bag.import_errors:
        raise SystemExit("\n".join(bag.import_errors.values()))
    if dag_id is None and len(bag.dags) != 1:
        raise SystemExit(f"{path} holds {sorted(bag.dags)}: name one of them")
    return bag.dags[dag_id] if dag_id else next(iter(bag.dags.values()))


def _retry_at_once(dag: Any) -> None:
    """Make retries due at once: dag.test() would wait the delay out, five minutes by default."""
    for task in dag.tasks:
        if hasattr(task, "partial_kwargs"):  # a mapped task
            task.partial_kwargs["retry_delay"] = timedelta(0)
        else:
            task.retry_delay = timedelta(0)


def _date_argument(dag: Any, logical_date: str | None) -> dict[str, datetime | None]:
    if logical_date is None:
        # As a trigger by hand: Airflow 3 lets a run have no date, but from 3.0 on only where it is told so.
        return {"logical_date": None} if "run_after" in inspect.signature(dag.test).parameters else {}
    date = datetime.fromisoformat(logical_date)
    if "logical_date" in inspect.signature(dag.test).parameters:
        return {"logical_date": date}
    # Airflow 2 deletes the earlier run of that date, for which it needs these tables to be known.
    import airflow.providers.fab.auth_manager.models  # noqa: F401

    return {"execution_date": date}


def _tasks(dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
    """Read how the tasks ended: their classes differ between Airflows, their tables do not."""
    from airflow import settings
    from sqlalchemy import text

    assert settings.engine is not None
    run = {"dag_id": dag_id, "run_id": run_id}
    tasks: dict[str, dict[str, Any]] = {}
    with settings.engine.connect() as database:
        instances = database.execute(
            text(
                "select task_id, map_index, state, try_number from task_instance"
                " where dag_id = :dag_id and run_id = :run_id"
            ),
            run,
        )
        for task_id, map_index, state, tries in instances:
            tasks[_name(task_id, map_index)] = {"state": state, "tries": tries, "xcom": None}
        values = database.execute(
            text(
                "select task_id, map_index, value from xcom"
                " where dag_id = :dag_id and run_id = :run_id and key = 'return_value'"
            ),
            run,
        )
        for task_id, map_index, value in values:
            tasks[_name(task_id, map_index)]["xcom"] = (
                value if isinstance(value, (int, float)) else json.loads(value)  # SQLite reads a JSON 1 as 1
            )
    return tasks


def _name(task_id: str, map_index: int) -> str:
    return task_id if map_index < 0 else f"{task_id}[{map_index}]"


if __name__ == "__main__":
    main(*sys.argv[1:])
