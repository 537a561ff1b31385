"""Copy new answers to a SPREAD consent to Mindbaz, whenever there are some. An opt-out always wins.

A watcher starts a run for each batch of new answers (Airflow 3.0 and later; Airflow 2 looks once an hour). The
answers of the run's window are exported, and the people behind them looked up. Who has refused is unsubscribed first;
the others who have accepted are subscribed then. Whoever has refused once in the window is not subscribed by it, in
whatever order the answers came, and who has opted out of Mindbaz earlier stays so: they are in the rejects file. A run
that is triggered by hand covers `created_after` to `created_before`, or the last day.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

try:
    from airflow.sdk import DAG, Asset, AssetWatcher, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task

    Asset = None

from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.operators.mindbaz import (
    MindbazUnsubscribeOperator,
    MindbazUpsertSubscribersOperator,
)
from airflow_provider_crm.operators.spread.exports import SpreadExportConsentsOperator
from airflow_provider_crm.rows.sources import open_source

CONSENT_ID = "9876"

if Asset is None:
    schedule = "@hourly"
else:
    from airflow_provider_crm.triggers.spread import SpreadConsentEventTrigger

    answers = Asset(
        "spread_newsletter_answers",
        watchers=[AssetWatcher(name="new_answers", trigger=SpreadConsentEventTrigger(CONSENT_ID))],
    )
    schedule = [answers]


with DAG(
    dag_id="spread_consents_to_mindbaz",
    start_date=datetime(2026, 1, 1),
    schedule=schedule,
    catchup=False,
    # Of two runs at once, the older one could undo what the younger one has learnt.
    max_active_runs=1,
    tags=["crm", "spread", "mindbaz", "consents"],
    params={"folder": "/data/consents", "created_after": "", "created_before": ""},
    doc_md=__doc__,
) as dag:

    @task
    def window(
        params=None,
        dag_run=None,
        triggering_asset_events=None,
        data_interval_start=None,
        data_interval_end=None,
    ):
        """Give the stretch of time that holds the answers of all events that started the run."""
        if params["created_after"]:
            return {name: params[name] for name in ("created_after", "created_before")}
        events = [event for all_of_one in (triggering_asset_events or {}).values() for event in all_of_one]
        if events:
            payloads = [event.extra["payload"] for event in events]
            return {
                "created_after": min(payload["created_after"] for payload in payloads),
                "created_before": max(payload["created_before"] for payload in payloads),
            }
        # Triggered by hand: the run has no events, and in Airflow 3 no interval or one without extent.
        end = data_interval_end or dag_run.run_after
        start = (
            data_interval_start
            if data_interval_start and data_interval_start < end
            else end - timedelta(days=1)
        )
        return {"created_after": start.isoformat(), "created_before": end.isoformat()}

    @task
    def decide(exported, params=None):
        """Sort people into those to unsubscribe and those to subscribe."""
        refused, accepted = set(), set()
        for row in open_source(exported["path"]):
            status = row.data["customerConsentStatus"]
            if status == "refused":
                refused.add(row.data["id"])
            elif status == "accepted":
                accepted.add(row.data["id"])
        emails = {
            customer["id"]: customer["email"].strip().lower()
            for customer in SpreadHook().iter_customers(ids=refused | accepted)
            if customer.get("email")
        }
        # By e-mail, since Mindbaz knows people by it: two customers may share one.
        out = {emails[one] for one in refused if one in emails}
        opted_in = {emails[one] for one in accepted if one in emails} - out
        paths = {}
        for name, people in (("out", out), ("in", opted_in)):
            path = Path(exported["path"]).with_name(f"opted-{name}.jsonl")
            path.write_text(
                "".join(json.dumps({"email": email, "status": 0}) + "\n" for email in sorted(people))
            )
            paths[name] = str(path)
        return paths

    covers = window()
    own_folder = "{{ params.folder }}/{{ run_id | replace(':', '-') | replace('+', '-') }}"
    export = SpreadExportConsentsOperator(
        task_id="export",
        consent_id=CONSENT_ID,
        path=f"{own_folder}/answers.jsonl",
        created_after="{{ ti.xcom_pull('window')['created_after'] }}",
        created_before="{{ ti.xcom_pull('window')['created_before'] }}",
    )
    decided = decide(export.output)
    unsubscribe = MindbazUnsubscribeOperator(
        task_id="unsubscribe",
        source="{{ ti.xcom_pull('decide')['out'] }}",
        rejects_path=f"{own_folder}/opted-out-rejects.jsonl",
    )
    subscribe = MindbazUpsertSubscribersOperator(
        task_id="subscribe",
        source="{{ ti.xcom_pull('decide')['in'] }}",
        field_map={"email": 1, "status": 7},
        rejects_path=f"{own_folder}/opted-in-rejects.jsonl",
        # Who has opted out of Mindbaz is rejected here, which is no reason to fail.
        max_rejects=1.0,
    )
    covers >> export
    decided >> unsubscribe >> subscribe
