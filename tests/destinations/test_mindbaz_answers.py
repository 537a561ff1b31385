"""Which of Mindbaz' answers is whose, where they say little."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_crm.bulk.outcomes import UNSAID, Ending, Item, Outcome, Refused, Step
from airflow_provider_crm.destinations.mindbaz.verdicts import send
from airflow_provider_crm.rows.row import Row
from airflow_provider_crm.schemas.mindbaz.write import SubscriberData, wire_subscriber


class Crm:
    """Answers a POST with given ids, and without e-mails."""

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids

    def write_subscribers(self, method: str, subscribers: Any) -> list[SubscriberData]:
        assert method == "POST"
        return [SubscriberData(number, []) for number in self.ids]


def steps(number: int) -> list[Step[dict[int, Any]]]:
    records: list[dict[int, Any]] = [{1: f"a{place}@example.fr"} for place in range(number)]
    return [
        Step(Item(Row(1, {}), "", record), Outcome(Ending.CREATED), wire_subscriber(None, record))
        for record in records
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
