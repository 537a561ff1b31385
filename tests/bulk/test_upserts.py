"""What becomes of a row: every mode, whatever is held, with and without a lost answer."""

from __future__ import annotations

import pytest

from airflow_provider_crm.bulk.outcomes import Ending, Item
from airflow_provider_crm.bulk.upserts import MODES, Held, decide
from airflow_provider_crm.rows.row import Row

CREATED, UPDATED, UNCHANGED, SKIPPED = Ending.CREATED, Ending.UPDATED, Ending.UNCHANGED, Ending.SKIPPED
WRITE = True

#: mode, held -> at first; after a lost answer; after a lost answer where the person was absent before.
EVERY = {
    ("upsert", Held.NOBODY): [(CREATED, WRITE), (CREATED, WRITE), (CREATED, WRITE)],
    ("upsert", Held.OTHER): [(UPDATED, WRITE), (UPDATED, WRITE), (CREATED, WRITE)],
    ("upsert", Held.SAME): [(UNCHANGED, False), (UPDATED, False), (CREATED, False)],
    ("create", Held.NOBODY): [(CREATED, WRITE), (CREATED, WRITE), (CREATED, WRITE)],
    ("create", Held.OTHER): [(SKIPPED, False), (SKIPPED, False), (SKIPPED, False)],
    ("create", Held.SAME): [(SKIPPED, False), (SKIPPED, False), (CREATED, False)],
    ("update", Held.NOBODY): [(SKIPPED, False), (SKIPPED, False), (SKIPPED, False)],
    ("update", Held.OTHER): [(UPDATED, WRITE), (UPDATED, WRITE), (UPDATED, WRITE)],
    ("update", Held.SAME): [(UNCHANGED, False), (UPDATED, False), (UPDATED, False)],
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("held", Held)
@pytest.mark.parametrize("case", range(3), ids=["at first", "lost", "lost, absent before"])
def test_every_combination(mode: str, held: Held, case: int) -> None:
    item = Item(Row(1, {}), "key", None)
    if case == 2:
        decide(mode, item, Held.NOBODY)
        assert item.was_absent
    item.maybe_applied = case > 0
    assert decide(mode, item, held) == EVERY[mode, held][case]


def test_an_absence_is_no_matter_while_nothing_was_sent() -> None:
    """Somebody else has created the person between two looks."""
    item = Item(Row(1, {}), "key", None)
    decide("create", item, Held.NOBODY)
    assert decide("create", item, Held.SAME) == (SKIPPED, False)
