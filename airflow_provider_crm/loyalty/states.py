"""The terms in which runs and the ledger speak of a credit: its state, what a run may do with it, whose it is.

Knows neither SQL nor a CRM; what may be changed when is in :mod:`airflow_provider_crm.loyalty.ledger`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from airflow_provider_crm.loyalty.credits import Credit


class State(enum.StrEnum):
    """Where a credit stands."""

    CLAIMED = "claimed"
    """Somebody means to send it; nothing of it is in the CRM."""
    SENDING = "sending"
    """The request may have left."""
    CREDITED = "credited"
    """The CRM holds it, as the line noted."""
    REFUSED = "refused"
    """The CRM does not take it; it may come again, repaired."""
    UNKNOWN = "unknown"
    """The request ended without an answer that tells."""


class Standing(enum.Enum):
    """What a run may do with a credit it asks for."""

    FREE = enum.auto()
    """It is claimed for this run, and certainly not in the CRM."""
    DOUBT = enum.auto()
    """It is claimed for this run, and has to be looked for in the CRM first."""
    CREDITED = enum.auto()
    """The CRM holds it already."""
    CONFLICT = enum.auto()
    """Its key was used with another amount or for somebody else."""
    BUSY = enum.auto()
    """Another run holds it, or another thread of this one."""
    INCOMPARABLE = enum.auto()
    """Its key is known for a customer who was named otherwise, by id or by e-mail: find out both, and ask again."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A credit as it stands in the ledger, and what the run that asked may do with it.

    :param lane: the credit's, as long as it is on its way or in doubt; None otherwise.
    :param baseline: the lines that the CRM held before the next or last attempt; None when there was none yet.
    :param ended_at: when the request ended at the latest, by the database's clock.
    :param doubted: an attempt ended without an answer that tells, so that the CRM was or is to be asked.
    :param reason: why nobody can tell what became of it; empty when somebody can.
    :param checked_at: when it was last certain that no other run may send it, by this machine's clock.
    """

    id: int
    version: int
    standing: Standing
    state: State
    credit: Credit
    lane: str | None = None
    attempts: int = 0
    line_id: str | None = None
    baseline: str | None = None
    ended_at: float | None = None
    doubted: bool = False
    reason: str = ""
    checked_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Origin:
    """The run and task that send a credit."""

    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None
