"""What is left to do of a row that is rejected and opts somebody out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_crm.bulk.opt_outs import settle_with_opt_outs
from airflow_provider_crm.bulk.outcomes import Ending, Item, Outcome, rejected
from airflow_provider_crm.rows.row import Row

Record = dict[str, Any]


class Wishes:
    """Rows that may say ``no``."""

    def find(self, record: Record) -> list[str]:
        return ["no"] if record.get("no") else []

    def keep(self, record: Record, said: list[str]) -> None:
        record["no"] = True

    def alone(self, key: str, said: list[str]) -> Record:
        return {"key": key, "no": True}


def test_what_is_left_of_a_row_remembers_that_an_earlier_call_may_have_applied_it() -> None:
    sent: list[Item[Record]] = []

    def settle(items: Sequence[Item[Record]]) -> list[tuple[Item[Record], Outcome]]:
        sent.extend(items)
        return [
            (item, rejected("crm", "bad name") if "name" in item.record else Outcome(Ending.UPDATED))
            for item in items
        ]

    item = Item(Row(1, {}), "zoe", {"key": "zoe", "no": True, "name": "?"}, maybe_applied=True)
    ((_, outcome),) = settle_with_opt_outs(settle, Wishes(), [item])
    assert outcome == rejected("crm", "bad name (its opt-out is carried out)")
    assert [(one.record, one.maybe_applied, one.retried, one.may_create) for one in sent[1:]] == [
        ({"key": "zoe", "no": True}, True, False, False)
    ]
