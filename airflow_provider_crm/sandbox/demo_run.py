"""Run one DAG file in the Airflow of this process, and write down what its last task returned.

``python -m airflow_provider_crm.sandbox.demo_run DAG_FILE CONF_JSON ANSWER_FILE``. Imports nothing but Airflow.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path


def main(dag_file: str, conf: str, answer: str) -> int:
    """Run the DAG to its end.

    :return: 0 when the run succeeded.
    """
    dag = runpy.run_path(dag_file)["dag"]
    run = dag.test(run_conf=json.loads(conf))
    if str(run.state).rpartition(".")[2].lower() != "success":
        return 1
    from airflow import settings
    from sqlalchemy import text

    assert settings.engine is not None
    with settings.engine.connect() as database:
        value = database.execute(
            text("select value from xcom where run_id = :run_id and key = 'return_value'"),
            {"run_id": run.run_id},
        ).scalar_one()
    Path(answer).write_text(value if isinstance(value, str) else bytes(value).decode(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
