"""What test_standalone.py runs: a sensor that is left to the triggerer, and a DAG that a watcher starts."""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_crm.sensors.mindbaz import MindbazSubscriberSensor
from airflow_provider_crm.triggers.spread import SpreadConsentEventTrigger

with DAG(dag_id="waits", start_date=datetime(2026, 1, 1), schedule=None, catchup=False):
    MindbazSubscriberSensor(
        task_id="wait", email="zoe@example.fr", status=0, deferrable=True, poke_interval=1, timeout=3600
    )

trigger = SpreadConsentEventTrigger(9876, "accepted", poll_interval=1)
answers = Asset("answers", watchers=[AssetWatcher(name="answers", trigger=trigger)])

with DAG(dag_id="watched", start_date=datetime(2026, 1, 1), schedule=[answers], catchup=False):

    @task
    def count(triggering_asset_events=None):
        """Give how many answers the run is about."""
        return sum(
            event.extra["payload"]["count"] for events in triggering_asset_events.values() for event in events
        )

    count()
