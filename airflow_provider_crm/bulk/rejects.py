"""Rows that cannot be done: their file, their reasons, and whether there are too many of them. Knows no CRM."""

from __future__ import annotations

from typing import Any

from airflow_provider_crm.bulk.reasons import Reasons
from airflow_provider_crm.rows.journal import Journal


class Rejects:
    """Takes rejected rows, one line of JSON each.

    :param path: where they are written; None for nowhere.
    :param with_data: whether the rows themselves are written there too.
    :param reasons: counts why; its own when left out.
    """

    def __init__(self, path: str | None, *, with_data: bool, reasons: Reasons | None = None) -> None:
        self.path = path
        self.journal = Journal(path) if path else None
        self._with_data = with_data
        self.reasons = Reasons() if reasons is None else reasons

    def restart(self) -> None:
        """Forget all rows, and begin the file anew.

        :raises CrmInputError: the file cannot be written.
        """
        self.reasons.clear()
        if self.journal:
            self.journal.open()

    def close(self) -> None:
        """Finish the file."""
        if self.journal:
            self.journal.close()

    def add(self, row: int, key: str | None, stage: str | None, reason: str, data: Any) -> None:
        """Add a row.

        :param row: its number in the source, or among all rows that were read.
        :param reason: in clear, which is for the file only.
        """
        self.reasons.add("rejected", stage, reason, key, data)
        if self.journal:
            self.journal.append(
                {
                    "row": row,
                    "key": key,
                    "stage": stage,
                    "reason": reason,
                    "data": data if self._with_data else None,
                }
            )

    @property
    def where(self) -> str:
        """Where the rows are to be found, for a message."""
        return f"they are in {self.path}" if self.path else "set `rejects_path` to have them written"

    @property
    def most_frequent(self) -> str:
        """The most frequent reasons, for a message."""
        told = [one for one in self.reasons.told() if one["end"] == "rejected"]
        reasons = "; ".join(f"{one['rows']} x {one['reason']}" for one in told[:5])
        return f"Most frequent: {reasons}"


def too_many(number: int, read: int, most: int | float) -> bool:
    """Return whether more rows were rejected than may be.

    :param most: a number of rows, or, as a float, a share of the rows read.
    """
    return number > (most * read if isinstance(most, float) else most)
