"""What the CRM has accepted from a task: rows that stand there unchanged cost no call. Knows no CRM.

The rule behind it: a person's entry is taken out, for good, before a row of theirs is passed on, and one comes in again
when the CRM has certainly accepted it. So whoever dies in between leaves rows that are looked up again, and never one
that is taken for sent. Where the entries are kept is a store's business.
"""

from __future__ import annotations

import itertools
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol

import msgspec

from airflow_provider_crm.bulk.batches import WINDOW, Batch, Ended, RowReader, batches
from airflow_provider_crm.bulk.outcomes import Destination, Ending, Item, Outcome, R, RowKey, rejected
from airflow_provider_crm.bulk.prepass import AnyRow, Check
from airflow_provider_crm.bulk.reasons import masked_reason
from airflow_provider_crm.bulk.snapshot_digests import DIGEST, Digests
from airflow_provider_crm.rows.row import Row

log = logging.getLogger(__name__)

#: Rows that are compared with the snapshot in one go.
TOGETHER = 999
#: How a row has to end for the CRM to hold it.
ACCEPTED = (Ending.CREATED, Ending.UPDATED, Ending.UNCHANGED)
_CODES = {ending: bytes([number]) for number, ending in enumerate(ACCEPTED)}
_KNOWN = Outcome(Ending.UNCHANGED, "as it was accepted before")
_EARLIER = {code[0]: Outcome(ending, "in an earlier try") for ending, code in _CODES.items()}

#: After the digests: how the row ended, and in which run.
_HOW, _RUN = 2 * DIGEST, slice(2 * DIGEST + 1, 2 * DIGEST + 5)
#: Of a row that was refused the time in seconds since 1970 follows, and why, without what is the person's.
_REFUSED, _WHEN, _WHY = bytes([len(ACCEPTED)]), slice(_RUN.stop, _RUN.stop + 4), slice(_RUN.stop + 4, None)
#: In place of the digest of the cells where these do not tell the whole row.
_UNTOLD = bytes(DIGEST)


@dataclass
class SqlSnapshot:
    """A snapshot in a SQL database, which any number of workers may use at once.

    :param conn_id: the Airflow connection to the database (templated).
    :param name: tells it from other snapshots there (templated).
    """

    conn_id: str
    name: str

    # Airflow sets the rendered values on the object itself, so it cannot be frozen.
    template_fields = ("conn_id", "name")
    is_shared = True


class KeyedDestination(Destination[R], Protocol):
    """A destination whose rows can be told apart before they are read."""

    key_column: str
    """The column that holds the match key."""

    def key(self, data: Mapping[str, Any]) -> str:
        """Return the text of the key that :meth:`read` gives, which is all that the row holds in flight.

        :raises ValueError: it cannot be read.
        """


class SnapshotStore(Protocol):
    """Where entries are kept, by a number for each person.

    An entry is the digest of the row as the source had it, that of what was sent, a byte for how the row ended, and
    the run in which it did; of a row that was refused also when, and why.
    """

    @property
    def salt(self) -> bytes:
        """Makes digests of no use for another snapshot."""

    @property
    def run(self) -> bytes:
        """Names this run, the same for all of its tries."""

    @property
    def killed(self) -> bool:
        """Whether a run was killed so lately that the CRM may still be at its last calls: nobody must write yet."""

    @property
    def unfinished(self) -> bool:
        """Whether an earlier try, or the run before, did not end well."""

    def find(self, people: Sequence[int]) -> Mapping[int, bytes]:
        """Return the entries of those who have one."""

    def take_out(self, people: Sequence[int]) -> None:
        """Remove the entries of these people, so that not even the loss of the machine brings them back."""

    def put_in(self, accepted: Iterable[tuple[int, bytes]]) -> None:
        """Put entries in; of several of one person the last one counts. May be lost with the process."""

    def complete(self) -> None:
        """Say that the run is over: another one of its name is to do everything anew."""

    def close(self) -> None:
        """Close it; what was put in lasts."""


class CountingCheck(Check, Protocol):
    """A check that counts people."""

    count: int


class Mark(msgspec.Struct, gc=False):
    """What is known of a row on its way.

    :param cells: the digest of the row as the source has it.
    :param found: the entry of its person; empty when there is none.
    :param entry: what becomes of that when the row is accepted, but for how.
    :param checked: the row is known, and looked up all the same.
    """

    person: int
    cells: bytes
    found: bytes
    entry: bytes = b""
    checked: bool = False


class Snapshot(RowReader[R], Generic[R]):
    """Keeps rows from being sent that the CRM has accepted before. For one thread.

    :param store: takes the entries.
    :param digests: made of the store's salt.
    :param full: take no row for known, and renew all entries.
    :param dry: leave the store alone.
    :param verify: the share of known rows that are looked up all the same.
    :param leave_refused: seconds for which rows that the CRM has refused end as rejected without a call; 0 for none.
    :param exempt: says of a row that it is to be passed on and that nothing is noted of it.
    :param leavers: finds who has left.
    :param window: rows that are held back to find duplicates.
    :param together: rows that are compared with the store in one go.
    """

    def __init__(
        self,
        destination: KeyedDestination[R],
        store: SnapshotStore,
        digests: Digests,
        *,
        full: bool = False,
        dry: bool = False,
        verify: float = 0.0,
        leave_refused: float = 0.0,
        exempt: Callable[[Item[R]], bool] | None = None,
        leavers: CountingCheck | None = None,
        window: int = WINDOW,
        together: int = TOGETHER,
    ) -> None:
        super().__init__(destination)
        self._keyed = destination
        self._store = store
        self._digests = digests
        self._full = full
        self._dry = dry
        self._verify = verify
        self._leave_refused = leave_refused
        self._exempt = exempt
        self._leavers = leavers
        self._window = window
        self._together = together
        #: Rows that were read ahead of their turn, by their number.
        self._ahead: dict[int, tuple[str, Mark]] = {}
        self._lately: OrderedDict[int, None] = OrderedDict()
        #: Rows that are passed on and have not ended, and the last of them of each person.
        self._in_flight: dict[int, Mark] = {}
        self._last: dict[int, int] = {}
        #: Rows that ended without a call, and known ones that were looked up all the same and found to be others.
        self.known = self.drifted = 0

    # From rows to batches

    def batches(self, rows: Iterable[AnyRow]) -> Generator[Batch[R], None, None]:
        """Cut rows into batches of those that are not known; the others end beside them."""
        size = self._keyed.batch_size
        batch: Batch[R] = Batch(1)
        ahead = self._read_ahead(rows)
        for some in batches(ahead, self._keyed, window=self._window, size=self._together, reader=self):
            batch.ended += some.ended
            for item in self._sift(some.items, batch.ended):
                batch.add(item)
                if len(batch.items) == size:
                    yield batch
                    batch = Batch(batch.number + 1)
            if len(batch.ended) >= self._together:  # what is left waits for a whole batch
                yield Batch(batch.number, ended=batch.ended)
                batch = Batch(batch.number + 1, batch.items, batch.locks)
        if batch.items or batch.ended:
            yield batch

    def _read_ahead(self, rows: Iterable[AnyRow]) -> Iterator[AnyRow]:
        iterator = iter(rows)
        while some := list(itertools.islice(iterator, self._together)):
            self._look_up([row for row in some if isinstance(row, Row)])
            yield from some

    def _look_up(self, rows: Sequence[Row]) -> None:
        keys = []
        for row in rows:
            try:
                key = self._keyed.key(row.data)
            except ValueError:
                continue  # reading it will say so
            keys.append((row, key, self._digests.person(key)))
        found = self._store.find([person for _, _, person in keys])
        if self._full:
            found = {person: entry for person, entry in found.items() if entry[_RUN] == self._store.run}
        for row, key, person in keys:
            entry = found.get(person, b"")
            if len(entry) > _RUN.stop and not self._is_left_alone(entry):
                entry = b""
            self._ahead[row.number] = key, Mark(person, self._digests.cells(row.data), entry)

    def _is_left_alone(self, refused: bytes) -> bool:
        return time.time() - int.from_bytes(refused[_WHEN], "big") < self._leave_refused

    def read(self, row: Row) -> tuple[RowKey, Item[R]]:
        """Read a row, but for one whose cells are those that were accepted."""
        ahead = self._ahead.pop(row.number, None)
        if ahead is None:
            return super().read(row)
        key, mark = ahead
        if mark.found.startswith(mark.cells) and self._exempt is None and not self.opted_out(key):
            return RowKey(key), Item(row, key, None, mark=mark)  # type: ignore[arg-type]
        row_key, item = super().read(row)
        item.mark = mark
        return row_key, item

    def opt_out_of(self, row: Row, key: str, said: Any, ends: Outcome) -> Item[R]:
        """Return the opt-out of a row that is rejected; what the person's entry says is not so any more."""
        item = super().opt_out_of(row, key, said, ends)
        item.mark = Mark(self._digests.person(key), b"", b"")
        return item

    def _sift(self, items: Sequence[Item[R]], ended: list[Ended]) -> list[Item[R]]:
        """End the items that are known; take out the entries of the others' people.

        :return: the others.
        """
        left = []
        for item in items:
            mark: Mark = item.mark
            outcome = self._known_as(item, mark)
            if outcome is not None:
                ended.append(Ended(item.row.number, item.key, item.row.data, outcome))
                continue
            try:
                self._complete(item, mark)
            except ValueError as error:  # it was accepted before: the CRM has changed what it takes
                ended.append(
                    Ended(item.row.number, item.key, item.row.data, rejected("validate", str(error)))
                )
            else:
                left.append(item)
        self._pass_on(left)
        return left

    def _known_as(self, item: Item[R], mark: Mark) -> Outcome | None:
        """Return how an item ends that needs no call."""
        if not mark.found or mark.person in self._lately or self._is_exempt(item):
            return None
        if item.record is not None:
            mark.entry = self._entry(item, mark)
            if mark.entry[DIGEST:] != mark.found[DIGEST : 2 * DIGEST]:
                return None
        if len(mark.found) > _RUN.stop:
            return rejected("crm", mark.found[_WHY].decode())
        if self._verify and random.random() < self._verify:
            mark.checked = True
            return None
        if mark.found[_RUN] == self._store.run and (earlier := _EARLIER.get(mark.found[_HOW])):
            return earlier
        self.known += 1
        return _KNOWN

    def _complete(self, item: Item[R], mark: Mark) -> None:
        if item.record is None:
            self.complete(item)
        mark.entry = mark.entry or self._entry(item, mark)

    def _is_exempt(self, item: Item[R]) -> bool:
        return self._exempt is not None and self._exempt(item)

    def _entry(self, item: Item[R], mark: Mark) -> bytes:
        if self._is_exempt(item):
            return b""
        # A row that opts out is read each time, so that later rows of its person know of it.
        opt_outs = self._keyed.opt_outs
        cells = _UNTOLD if opt_outs and opt_outs.find(item.record) else mark.cells
        return cells + self._digests.values(item.key, item.record)

    def _pass_on(self, items: Sequence[Item[R]]) -> None:
        if not self._dry:
            self._store.take_out([item.mark.person for item in items])
        for item in items:
            person = item.mark.person
            if not self._dry or item.mark.checked:  # of others nothing is noted, and not all of them may end
                self._in_flight[item.row.number] = item.mark
                self._last[person] = item.row.number
            self._lately[person] = None
            self._lately.move_to_end(person)
        # A look into the store, made when a row was read, can have missed those that were taken out since.
        while len(self._lately) > self._window + 4 * self._together:
            self._lately.popitem(last=False)

    # Back from the CRM

    def note(self, rows: Iterable[Ended]) -> None:
        """Put in what the CRM has accepted.

        :param rows: as they have ended, each once.
        """
        accepted = []
        for row in rows:
            mark = self._in_flight.pop(row.number, None)
            if mark is None:
                continue
            ending = row.outcome.ending
            self.drifted += mark.checked and ending in (Ending.CREATED, Ending.UPDATED)
            if self._last[mark.person] != row.number:
                continue  # a later row of the person is on its way: what it leaves is not known yet
            del self._last[mark.person]
            if ending in ACCEPTED and mark.entry:
                accepted.append((mark.person, mark.entry + _CODES[ending] + self._store.run))
            elif self._leave_refused and row.outcome.stage == "crm" and not mark.entry.startswith(_UNTOLD):
                accepted.append((mark.person, mark.entry + self._refusal(row)))
        if accepted and not self._dry:
            self._store.put_in(accepted)

    def _refusal(self, row: Ended) -> bytes:
        why = masked_reason(row.outcome.reason, row.key, row.data).encode(errors="replace")
        return _REFUSED + self._store.run + int(time.time()).to_bytes(4, "big") + why

    @property
    def unfinished(self) -> bool:
        """Whether rows may have been sent lately of which nothing is noted."""
        return self._store.unfinished

    @property
    def checks(self) -> Sequence[Check]:
        """What has to be known of the source before anything is sent."""
        return [self._leavers] if self._leavers else []

    @property
    def counts(self) -> dict[str, int]:
        """How many rows ended without a call; how many that are checked were others, how many people have left."""
        counts = {"known": self.known}
        if self._verify:
            counts["drifted"] = self.drifted
        if self._leavers:
            counts["leavers"] = self._leavers.count
        return counts
