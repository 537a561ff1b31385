"""An upsert of each CRM that runs again and again with one snapshot, in a file or in a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.bulk.snapshot import SqlSnapshot
from airflow_provider_crm.operators.expertsender import ExpertSenderUpsertCustomersOperator
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
from airflow_provider_crm.operators.spread import SpreadUpsertCustomersOperator
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.tasks import Ended, TaskRunner

Row = dict[str, Any]


@dataclass(frozen=True)
class Upsert:
    """An upsert of one CRM.

    :param name: the column of a name, which is a field of the CRM too.
    :param opt_out: what a row says to opt out, and what it says to opt in.
    """

    system: str
    operator: type[Any]
    name: str
    opt_out: tuple[Row, Row] | None = None


UPSERTS = [
    Upsert("mindbaz", MindbazUpsertSubscribersOperator, "nom", ({"statut": 1}, {"statut": 0})),
    Upsert("spread", SpreadUpsertCustomersOperator, "lastName"),
    Upsert(
        "expertsender_cdp",
        ExpertSenderUpsertCustomersOperator,
        "lastName",
        ({"consents.1": "False"}, {"consents.1": "True"}),
    ),
]


class Nightly:
    """Runs an upsert again and again with one snapshot."""

    def __init__(
        self, upsert: Upsert, sandbox: Sandbox, run_task: TaskRunner, folder: Path, *, shared: bool
    ) -> None:
        self.upsert = upsert
        self.sandbox = sandbox
        self.path = folder / "snapshot"
        #: Where the snapshot is: a file, or the table of a database in that file.
        self.place: Any = SqlSnapshot("snapshots", "nightly") if shared else str(self.path)
        self._run_task = run_task
        self._before = 0

    def __call__(self, rows: Sequence[Row] | str, **parameters: Any) -> Ended:
        self.sandbox.clear()
        self._before = len(self.sandbox.calls)
        given = {"snapshot": self.place, **parameters}
        source = rows if isinstance(rows, str) else list(rows)
        return self._run_task(self.upsert.operator, source, **given)

    def people(self, *numbers: int, name: str = "Lefèvre", **others: Any) -> list[Row]:
        return [{"email": f"p{one}@example.fr", self.upsert.name: name, **others} for one in numbers]

    @property
    def _calls(self) -> list[Any]:
        return list(self.sandbox.calls)[self._before :]

    @property
    def writes(self) -> int:
        """Rows of writing calls in the latest run."""
        return sum(call.rows or 1 for call in self._calls if call.method in ("POST", "PUT"))

    @property
    def looks(self) -> int:
        """Calls about people that only read, in the latest run."""
        return sum(
            call.method == "GET" and ("ubscriber" in call.path or "ustomer" in call.path)
            for call in self._calls
        )


class OneTask:
    """A task instance, as far as it is looked at."""

    dag_id, run_id, task_id, map_index = "dag", "run", "task", -1

    def xcom_push(self, key: str, value: Any) -> None:
        pass


in_a_file = pytest.mark.parametrize("nightly", [False], indirect=True, ids=["file"])
