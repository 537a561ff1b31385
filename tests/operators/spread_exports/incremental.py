"""What Airflow 3.3 gives an incremental export: the state of its asset and its own, and an outlet."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow_provider_crm.operators.spread.exports import (
    SpreadExportConsentsOperator,
    SpreadExportLoyaltyOperator,
)
from tests.helpers.exports import export, lines
from tests.helpers.state import TaskState


class AssetStates:
    """What Airflow 3.3 gives a task for its assets."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def __getitem__(self, asset: Any) -> AssetStates:
        return self

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        self.values[key] = value

    def delete(self, key: str) -> None:
        self.values.pop(key, None)


class Asset:
    uri = "file:///exports/consents"


class Incremental(SpreadExportConsentsOperator):
    """The same task with an outlet that needs no Airflow of a certain version."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.outlets = [Asset()]  # type: ignore[list-item]


class IncrementalLoyalty(SpreadExportLoyaltyOperator):
    """Likewise."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.outlets = [Asset()]  # type: ignore[list-item]


class Run:
    """A run of a task: what lasts over its tries and clears.

    :param states: the asset's, which last over runs.
    """

    def __init__(self, states: AssetStates, path: Path, *, map_index: int = -1, **context: Any) -> None:
        self.state = TaskState()
        self.path = path
        self.context = {
            "asset_state_store": states,
            "task_state_store": self.state,
            "ti": SimpleNamespace(map_index=map_index),
            **context,
        }

    def __call__(self, operator: Any = Incremental, **parameters: Any) -> list[str]:
        """Run a try.

        :return: the ids of the answers or lines in the file.
        """
        export(operator, self.path, self.context, incremental=True, **parameters)
        return [row.get("trackId") or row["cagnotteLineId"] for row in lines(self.path)]
