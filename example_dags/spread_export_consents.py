"""Land each day's answers to all consents as one Parquet file, whole or absent.

The window is the run's data interval, so that every answer is in exactly one day's file, and a day that is cleared
gives the same file again. The timetable matters: a plain cron schedule of Airflow 3 has runs without an interval. A run
that is triggered by hand without a date has none either: it lands all answers there are, in a file of its own.
"""

from __future__ import annotations

from datetime import datetime

from airflow.timetables.interval import CronDataIntervalTimetable

try:
    from airflow.sdk import DAG, Asset
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.datasets import Dataset as Asset

from airflow_provider_crm.operators.spread import SpreadExportConsentsOperator

with DAG(
    dag_id="spread_export_consents",
    start_date=datetime(2024, 1, 1),
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="Europe/Paris"),
    catchup=False,
    tags=["crm", "spread"],
    params={"folder": "/data/consents"},
    doc_md=__doc__,
) as dag:
    SpreadExportConsentsOperator(
        task_id="export_consents",
        consent_id="all",
        path="{{ params.folder }}/{{ data_interval_start.in_timezone('Europe/Paris') | ds"
        " if data_interval_start is defined else 'all' }}.parquet",
        window="{{ 'data_interval' if data_interval_start is defined else 'all' }}",
        rejects_path="{{ params.folder }}/rejects.jsonl",
        # The event of this asset says how many rows there are, in which file and of which window.
        outlets=[Asset("crm://spread/consents")],
    )
