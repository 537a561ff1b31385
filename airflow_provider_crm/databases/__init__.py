"""SQL databases behind Airflow connections: the ledger of credits, the history of runs, queries as sources."""
