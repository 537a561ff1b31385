"""What is said when the ledger's database cannot be used."""

from __future__ import annotations

from airflow_provider_crm.databases.database import DatabaseError


class LedgerError(DatabaseError):
    """The ledger cannot be reached or written: nothing more is sent."""

    said = "The loyalty ledger cannot be used ({problem}). No credit is sent without it"
