"""``python -m airflow_provider_crm.history``: see :mod:`airflow_provider_crm.history.cli`."""

from __future__ import annotations

from airflow_provider_crm.history.cli import main

if __name__ == "__main__":
    main()
