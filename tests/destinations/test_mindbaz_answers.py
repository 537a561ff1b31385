"""Which of Mindbaz' answers is whose, where they say little."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_crm.bulk.outcomes import UNSAID, Ending, Item, Outcome, Refused, Step
from airflow_provider_crm.destinations.mindbaz.upserts import send
from airflow_provider_crm.rows.row import Row


class Crm:
    """Answers a POST with given ids, and without e-mails."""

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids

    def create_subscribers(self, subscribers: Any) -> list[dict[str, Any]]:
        return [{"id": number, "fields": {}} for number in self.ids]


def steps(number: int) -> list[Step[dict[int, Any]]]:
    payloads = [{"fields": {1: f"a{place}@example.fr"}} for place in range(number)]
    return [
        Step(Item(Row(1, {}), "", payload["fields"]), Outcome(Ending.CREATED), payload)
        for payload in payloads
    ]


APPLIED, REFUSED = Outcome, Refused


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        ([7, 8], [APPLIED, APPLIED]),
        ([7], [APPLIED]),
        ([-1], [REFUSED]),
        ([-1, -1], [REFUSED, REFUSED]),
        ([-1, 7], [UNSAID, UNSAID]),
        ([7, -1], [UNSAID, UNSAID]),
        ([7], [UNSAID, UNSAID]),
    ],
)
def test_answers_without_an_email(ids: list[int], told: list[Any]) -> None:
    verdicts = send(Crm(ids), steps(len(told)))  # type: ignore[arg-type]
    assert [verdict if verdict is UNSAID else type(verdict) for verdict in verdicts] == told
