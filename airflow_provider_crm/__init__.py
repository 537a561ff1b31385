"""Apache Airflow provider for the SPREAD, Mindbaz and ExpertSender CDP marketing CRMs."""

__version__ = "0.2.0"
