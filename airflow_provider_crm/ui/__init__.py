"""The page "CRM syncs" in Airflow's web interface: what the history tells, for whom it may be told.

:mod:`.plugin` is what Airflow finds; the other modules are imported by its web server alone.
"""
