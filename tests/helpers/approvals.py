"""A person whom Airflow asks: what they were asked, and what they may answer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_crm._compat import can_ask_a_person

Answer = Callable[[], dict[str, Any]]

needs_a_person = pytest.mark.skipif(not can_ask_a_person(), reason="Airflow asks people from 3.1 on")


class Person:
    """Stands where Airflow keeps what is asked.

    :ivar asked: what :meth:`ask` was given, one after the other.
    """

    def __init__(self, name: str = "ada") -> None:
        self.name = name
        self.asked: list[dict[str, Any]] = []

    def ask(self, **question: Any) -> None:
        self.asked.append(question)

    @property
    def read(self) -> str:
        """All that they were shown."""
        return "\n".join(
            text for one in self.asked for text in (one["subject"], one["body"], *one["options"])
        )

    def _answers(self, option: str) -> dict[str, Any]:
        assert option in self.asked[-1]["options"]
        return {
            "chosen_options": [option],
            "params_input": {},
            "responded_at": dt.datetime(2026, 3, 2, 9, 30, tzinfo=dt.UTC),
            "responded_by_user": {"id": "7", "name": self.name},
        }

    def approves(self) -> dict[str, Any]:
        return self._answers("Approve")

    def refuses(self) -> dict[str, Any]:
        return self._answers("Reject")

    @staticmethod
    def is_away() -> dict[str, Any]:
        return {"error": "The response timeout has passed without a response.", "error_type": "timeout"}
