"""Opt-outs, which are lost with no row: neither undone by a later one of the source, nor rejected with its own.

Knows no CRM: what an opt-out is, a destination says. Who has opted out is remembered without anybody's data in clear,
and not in memory: as keyed fingerprints in a temporary file.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Generic

import msgspec

from airflow_provider_crm.bulk.outcomes import Ending, Item, OptOutRule, OptOuts, Outcome, R, rejected
from airflow_provider_crm.rows.row import Row
from airflow_provider_crm.rows.scratch import scratch_table, scratching

#: A byte each tells whether the file is worth asking: most people have opted out of nothing.
_MARKS = 1 << 20


NOT_CARRIED_OUT = "its opt-out is not carried out"
# A member of an enumeration is looked up slowly, and these are compared for each row.
_REJECTED = Ending.REJECTED
_CARRIED_OUT = frozenset((Ending.CREATED, Ending.UPDATED, Ending.UNCHANGED))


class OptOutMemory(Generic[R]):
    """Remembers opt-outs; for one thread.

    :param opt_outs: says what a row opts out of.
    """

    def __init__(self, opt_outs: OptOutRule[R]) -> None:
        self._opt_outs = opt_outs
        self._marks = bytearray(_MARKS)
        #: Whether it remembers anybody's.
        self.any = False
        self._salt = secrets.token_bytes(16)
        self._store = scratch_table("opted_out (person BLOB PRIMARY KEY, said BLOB) WITHOUT ROWID", self)

    def apply(self, person: str, record: R) -> None:
        """Write into a row what earlier rows of the person have opted out of; remember what this one does."""
        mark = hash(person) % _MARKS
        earlier = self._recall(person) if self._marks[mark] else None
        if earlier:
            self._opt_outs.keep(record, earlier)
        said = self._opt_outs.find(record)
        if said and said != earlier:
            self._marks[mark] = self.any = True
            row = self._fingerprint(person), msgspec.json.encode(said)
            with scratching("The list of the source's opt-outs"):
                self._store.execute("INSERT OR REPLACE INTO opted_out VALUES (?, ?)", row)

    def apply_to_all(self, people: Sequence[str], records: Sequence[R]) -> None:
        """Do as :meth:`apply` does for rows of as many people."""
        marks, find = self._marks, self._opt_outs.find
        if not self.any and not any(map(find, records)):
            return
        for person, record in zip(people, records, strict=True):
            if marks[hash(person) % _MARKS] or find(record):
                self.apply(person, record)

    def remembers(self, person: str) -> bool:
        """Return whether an earlier row of the person has opted out of something."""
        return bool(self._marks[hash(person) % _MARKS] and self._recall(person))

    def _recall(self, person: str) -> Any:
        wanted = (self._fingerprint(person),)
        found = self._store.execute("SELECT said FROM opted_out WHERE person = ?", wanted).fetchone()
        return None if found is None else msgspec.json.decode(found[0])

    def _fingerprint(self, person: str) -> bytes:
        return hashlib.blake2b(person.encode(), digest_size=16, key=self._salt).digest()


def with_reason(outcome: Outcome, more: str) -> Outcome:
    """Return how a rejected row ends, with a word on its opt-out."""
    return rejected(outcome.stage or "crm", f"{outcome.reason} ({more})", outcome.crm_id)


def opt_out_alone(
    opt_outs: OptOuts[R], row: Row, key: str, said: Any, ends: Outcome, *, maybe_applied: bool = False
) -> Item[R]:
    """Return what is left to do of a row that is rejected.

    :param said: what it opts out of.
    :param ends: how the row itself ends.
    """
    record = opt_outs.alone(key, said)
    return Item(row, key, record, maybe_applied=maybe_applied, may_create=False, rejected=ends)


Settled = list[tuple[Item[R], Outcome]]


def settle_with_opt_outs(
    settle: Callable[[Sequence[Item[R]]], Settled[R]], opt_outs: OptOuts[R], items: Sequence[Item[R]]
) -> Settled[R]:
    """Settle rows; of those that are rejected for another reason, carry out the opt-out all the same."""
    settled = settle(items)
    if all(outcome.ending is not _REJECTED and item.rejected is None for item, outcome in settled):
        return settled
    left: dict[int, Item[R]] = {}
    for item, outcome in settled:
        if outcome.ending is _REJECTED and item.rejected is None and (said := opt_outs.find(item.record)):
            rest = opt_out_alone(
                opt_outs, item.row, item.key, said, outcome, maybe_applied=item.maybe_applied
            )
            if rest.record != item.record:
                rest.mark = item.mark
                left[item.row.number] = rest
    if left:
        settled = [pair for pair in settled if pair[0].row.number not in left] + settle(list(left.values()))
    return [
        pair if pair[0].rejected is None and pair[1].ending is not _REJECTED else _end_of(opt_outs, *pair)
        for pair in settled
    ]


def _end_of(opt_outs: OptOuts[R], item: Item[R], outcome: Outcome) -> tuple[Item[R], Outcome]:
    """Say of a row that is rejected what became of its opt-out."""
    if item.rejected is not None:
        carried_out = outcome.ending in _CARRIED_OUT
        said = "its opt-out is carried out" if carried_out else f"{NOT_CARRIED_OUT}: {outcome.reason}"
        return item, with_reason(item.rejected, said)
    if opt_outs.find(item.record):
        return item, with_reason(outcome, NOT_CARRIED_OUT)
    return item, outcome
