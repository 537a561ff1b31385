"""Which of Mindbaz' answers is whose, where they say little."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_crm.bulk.outcomes import Ending, Item, Outcome, Step
from airflow_provider_crm.destinations.mindbaz.upserts import SubscriberRecord, send
from airflow_provider_crm.rows.row import Row


class Crm:
    """Answers a POST with given ids, and without e-mails."""

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids

    def create_subscribers(self, subscribers: Any) -> list[dict[str, Any]]:
        return [{"id": number, "fields": {}} for number in self.ids]


def steps(number: int) -> list[Step[SubscriberRecord]]:
    payloads = [{"fields": {1: f"a{place}@example.fr"}} for place in range(number)]
    return [
        Step(Item(Row(1, {}), "", SubscriberRecord(payload["fields"])), Outcome(Ending.CREATED), payload)
        for payload in payloads
    ]


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        ([7, 8], [True, True]),
        ([7], [True]),
        ([-1], [False]),
        ([-1, -1], [False, False]),
        ([-1, 7], [None, None]),
        ([7, -1], [None, None]),
        ([7], [None, None]),
    ],
)
def test_answers_without_an_email(ids: list[int], told: list[bool | None]) -> None:
    some = steps(len(told))
    outcomes = send(Crm(ids), some)  # type: ignore[arg-type]
    for step, outcome, one in zip(some, outcomes, told, strict=True):
        assert (outcome is not None) is (one is True)
        assert bool(step.item.refusals) is (one is False)
