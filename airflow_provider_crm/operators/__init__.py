"""The Airflow tasks, one file a CRM."""
