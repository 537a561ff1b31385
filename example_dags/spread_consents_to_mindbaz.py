"""Pass answers to a SPREAD consent on to Mindbaz, as soon as there are some (Airflow 3; Airflow 2: hourly).

An opt-out always wins. Answers of the last two days that were passed on before change nothing.
"""

from datetime import datetime

from airflow_provider_crm.operators.consents import CrmPropagateConsentsOperator
from airflow_provider_crm.triggers.spread import SpreadConsentEventTrigger

CONSENT_ID = "9876"

try:
    from airflow.sdk import DAG, Asset, AssetWatcher
except ImportError:  # Airflow 2 has no watchers
    from airflow import DAG

    schedule = "@hourly"
else:
    watcher = AssetWatcher(name="new_answers", trigger=SpreadConsentEventTrigger(CONSENT_ID))
    schedule = [Asset("spread_newsletter_answers", watchers=[watcher])]

with DAG(
    dag_id="spread_consents_to_mindbaz",
    start_date=datetime(2026, 1, 1),
    schedule=schedule,
    catchup=False,
    max_active_runs=1,
    tags=["crm", "consents"],
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
    )
