"""Pass answers to a SPREAD consent on to Mindbaz and ExpertSender, whenever there are some. An opt-out always wins.

A watcher starts a run as soon as there are new answers (Airflow 3.0 and later; Airflow 2 looks once an hour). Who has
refused is unsubscribed, dated as they answered; who has accepted is subscribed unless they have opted out there since.
A run looks at the answers since `created_after`: those that were passed on before change nothing.
"""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG, Asset, AssetWatcher
except ImportError:  # Airflow 2
    from airflow import DAG

    Asset = None

from airflow_provider_crm.operators.consents import CrmPropagateConsentsOperator

CONSENT_ID = "9876"

if Asset is None:
    schedule = "@hourly"
else:
    from airflow_provider_crm.triggers.spread import SpreadConsentEventTrigger

    watcher = AssetWatcher(name="new_answers", trigger=SpreadConsentEventTrigger(CONSENT_ID))
    schedule = [Asset("spread_newsletter_answers", watchers=[watcher])]

with DAG(
    dag_id="spread_consents_to_mindbaz",
    start_date=datetime(2026, 1, 1),
    schedule=schedule,
    catchup=False,
    max_active_runs=1,
    tags=["crm", "spread", "mindbaz", "expertsender", "consents"],
    # Two days back by default: a run that was missed, and answers that came late, are made up for.
    params={"created_after": "", "created_before": "", "folder": "/data/consents"},
    doc_md=__doc__,
) as dag:
    CrmPropagateConsentsOperator(
        task_id="pass_on",
        consents=[{"spread": CONSENT_ID, "mindbaz": True}],
        created_after="{{ params.created_after or macros.datetime.now() - macros.timedelta(days=2) }}",
        created_before="{{ params.created_before }}",
        opt_ins=True,
        rejects_path="{{ params.folder }}/rejects.jsonl",
        results_path="{{ params.folder }}/results.jsonl",
    )
