"""Upsert a CSV of customers into ExpertSender CDP, and ask new ones to confirm the newsletter by e-mail.

Somebody who already awaits the confirmation, or has confirmed, is not written to again: run it as often as you like.
Somebody who has refused is never asked again, whatever the file says: such a row is rejected, with that reason.
Trigger it with other parameters, or put your own defaults here.
"""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_crm.operators.expertsender import ExpertSenderUpsertCustomersOperator

with DAG(
    dag_id="expertsender_upsert",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    tags=["crm", "expertsender"],
    params={
        "source": "/data/customers.csv",
        "rejects_path": "/data/rejects.jsonl",
        "results_path": "/data/results.jsonl",
        "max_rejects": "0.05",
    },
    doc_md=__doc__,
) as dag:
    ExpertSenderUpsertCustomersOperator(
        task_id="upsert_customers",
        source="{{ params.source }}",
        field_map={
            "email": "email",
            "phone": "phone",
            "first_name": "firstName",
            "last_name": "lastName",
            "birthday": "dateOfBirth",
            "gender": "gender",
            "city": "customAttributes.Ville",
            # True, False or AwaitingConfirmation; by its name in ExpertSender, or by its id: consents.1
            "newsletter": "consents.Newsletter subscription",
        },
        rejects_path="{{ params.rejects_path }}",
        results_path="{{ params.results_path }}",
        # A float is a share: up to 5 % of the rows may be rejected before the task fails.
        max_rejects="{{ params.max_rejects }}",
    )
