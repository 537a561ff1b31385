"""What an upsert does with a row, in one table: its mode, what the CRM holds, and whether an answer was lost.

Knows no CRM: a destination says what its look-up has found, and makes the call.
"""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

from airflow_provider_crm.bulk.outcomes import Ending, Item

#: ``create`` leaves those who exist alone, ``update`` those who do not.
MODES = ("upsert", "create", "update")


class Held(enum.StrEnum):
    """What a look-up has found."""

    NOBODY = "nobody"
    OTHER = "other values"
    """Somebody, and not with all the values that the row asks for; also where nobody can tell."""
    SAME = "the same values"


class Decision(NamedTuple):
    """What becomes of a row.

    :param ending: how it ends, once it is written where it has to be.
    :param writes: whether it has to be.
    """

    ending: Ending
    writes: bool = False


_CREATE = Decision(Ending.CREATED, writes=True)
_UPDATE = Decision(Ending.UPDATED, writes=True)
#: The creation was applied in part, or somebody else was there too: it is still this row that created the person.
_COMPLETE = Decision(Ending.CREATED, writes=True)
_CREATED, _UPDATED = Decision(Ending.CREATED), Decision(Ending.UPDATED)
_UNCHANGED, _SKIP = Decision(Ending.UNCHANGED), Decision(Ending.SKIPPED)

#: Three columns: no call that held the row may have been applied; one may have been; one may have been, and before it
#: the person was absent, so that it was this call which has created whoever holds the row's values now.
_TABLE = {
    ("upsert", Held.NOBODY): (_CREATE, _CREATE, _CREATE),
    ("upsert", Held.OTHER): (_UPDATE, _UPDATE, _COMPLETE),
    ("upsert", Held.SAME): (_UNCHANGED, _UPDATED, _CREATED),
    ("create", Held.NOBODY): (_CREATE, _CREATE, _CREATE),
    ("create", Held.OTHER): (_SKIP, _SKIP, _SKIP),
    ("create", Held.SAME): (_SKIP, _SKIP, _CREATED),
    ("update", Held.NOBODY): (_SKIP, _SKIP, _SKIP),
    ("update", Held.OTHER): (_UPDATE, _UPDATE, _UPDATE),
    ("update", Held.SAME): (_UNCHANGED, _UPDATED, _UPDATED),
}


#: A member of an enumeration is looked up slowly, and this is done for each row.
_NOBODY = Held.NOBODY


def decide(mode: str, item: Item[Any], held: Held) -> Decision:
    """Decide what becomes of a row; take note on its item when the person is absent.

    :param mode: one of :data:`MODES`.
    :param held: what the look-up for this item has found.
    """
    fresh, again, ours = _TABLE[mode, held]
    if held is _NOBODY:
        if not item.may_create:
            return _SKIP
        item.was_absent = True
    if not item.maybe_applied:
        return fresh
    return ours if item.was_absent else again
