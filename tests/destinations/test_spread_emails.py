"""What an earlier row did to an address is known for as long as a look may not show it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from airflow_provider_crm.bulk.outcomes import SETTLE_SECONDS, Ending, Item, Outcome, Step
from airflow_provider_crm.destinations.spread.emails import UpdateEmails
from airflow_provider_crm.rows.row import Row


class SlowHook:
    """A SPREAD whose looks show nothing of the last changes, and last long."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.clock = SimpleNamespace(now=lambda: self.seconds)
        self.meanwhile: Any = None

    def find_customer(self, *, email: str) -> dict[str, Any] | None:
        if self.meanwhile is not None:
            self.meanwhile()
        return {"id": "3", "email": email} if email == "carla@example.fr" else None


def item(number: int, old: str, new: str, emails: UpdateEmails) -> Item[Any]:
    row = Row(number, {"old_email": f"{old}@example.fr", "new_email": f"{new}@example.fr"})
    key, record = emails.read(row.data)
    return Item(row, key.text, record)


def test_a_look_that_lasts_long_takes_no_change_of_an_earlier_row_for_none() -> None:
    hook: Any = SlowHook()
    emails = UpdateEmails(hook, old_field="old_email", new_field="new_email")

    def done(number: int, old: str, new: str) -> None:
        emails._remember([Step(item(number, old, new, emails), Outcome(Ending.UPDATED))])

    def another_row_ends_much_later() -> None:
        hook.seconds = SETTLE_SECONDS + 1
        done(2, "ada", "bert")

    done(1, "bert", "dora")
    hook.meanwhile = another_row_ends_much_later
    waits = item(3, "dora", "carla", emails)
    (plan,) = emails.plan([waits])
    assert isinstance(plan, Outcome)
    assert plan.ending is Ending.REJECTED
    assert waits.in_doubt_until == SETTLE_SECONDS
