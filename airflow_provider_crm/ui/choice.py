"""Which runs somebody has chosen to look at, and the addresses of other choices."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import urlencode

from airflow_provider_crm.history.runs import RunFilter


@dataclass(frozen=True, slots=True)
class Choice:
    """What is chosen; an empty text, or no day, is all of them."""

    dag_id: str = ""
    task_id: str = ""
    system: str = ""
    state: str = ""
    day: dt.date | None = None

    def wanted(
        self, dag_ids: Collection[str], *, first_day: dt.date | None = None, last_day: dt.date | None = None
    ) -> RunFilter:
        """Return what the history is asked for.

        :param dag_ids: the DAGs that whoever looks may read.
        :param first_day: where these days count, and not the one that is chosen; with ``last_day``.
        """
        return RunFilter(
            dag_ids=dag_ids,
            dag_id=self.dag_id or None,
            task_id=self.task_id or None,
            system=self.system or None,
            state=self.state or None,
            first_day=first_day or self.day,
            last_day=last_day or self.day,
        )

    def query(self, **others: Any) -> str:
        """Return the query of the address of this choice.

        :param others: what is another in it; ``before`` besides.
        """
        before = others.pop("before", None)
        chosen = replace(self, **others)
        values = {field.name: getattr(chosen, field.name) for field in fields(self)} | {"before": before}
        return "?" + urlencode({name: str(value) for name, value in values.items() if value})

    def __bool__(self) -> bool:
        return self != Choice()
