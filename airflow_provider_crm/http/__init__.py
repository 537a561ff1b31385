"""An HTTP client for JSON APIs. Knows neither a vendor nor Airflow."""
