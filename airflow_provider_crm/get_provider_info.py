"""What Airflow reads about the package. Imported by every Airflow process: imports nothing."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Describe the package to Airflow.

    :return: a mapping in the form of Airflow's ``provider_info.schema.json``.
    """
    return {
        "package-name": "airflow-provider-crm",
        "name": "CRM",
        "description": "SPREAD, Mindbaz and ExpertSender CDP marketing CRMs",
    }
