"""What the CRM has accepted from a task: rows that stand there unchanged cost no call. Knows no CRM.

The rule behind it: a person's entry is taken out, for good, before a row of theirs leaves, and one comes in again when
the CRM has certainly accepted it. So whoever dies in between leaves rows that are looked up again, and never one
that is taken for sent. Where the entries are kept is a store's business.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol

from airflow_provider_crm.bulk.batches import WINDOW, Batch, Ended, RowReader, Slice, batches, superseded
from airflow_provider_crm.bulk.outcomes import Ending, Item, Outcome, R, RowKey, rejected
from airflow_provider_crm.bulk.prepass import Check
from airflow_provider_crm.bulk.snapshot_digests import DIGEST, Digests
from airflow_provider_crm.bulk.snapshot_entries import (
    CODES,
    KNOWN,
    RUN,
    UNTOLD,
    WHEN,
    WHY,
    Mark,
    as_it_was,
    refusal,
)
from airflow_provider_crm.bulk.snapshot_rows import KeyedDestination, LookedUp, keys_of
from airflow_provider_crm.bulk.snapshot_store import SnapshotStore
from airflow_provider_crm.rows.row import AnyRow, Row

#: Rows that are compared with the snapshot in one go.
TOGETHER = 5000
_LEFT_OUT: Mapping[str, Any] = {}


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


class CountingCheck(Check, Protocol):
    """A check that counts people."""

    count: int


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
        self._ahead: dict[int, Mark] = {}
        #: Known rows of the window, by their people; how those end that a row after them has displaced.
        self._held: dict[int, Ended] = {}
        self._displaced: list[Ended] = []
        #: People of whom rows were read lately, the latest last, and whether one was passed on.
        self._lately: dict[int, bool] = {}
        #: People of whom a row is passed on and waits for its batch to be full, and whose entries are still there.
        self._to_take_out: set[int] = set()
        #: Rows that are passed on and have not ended, and the last of them of each person.
        self._in_flight: dict[int, Mark] = {}
        self._last: dict[int, int] = {}
        #: Rows that ended without a call, and known ones that were looked up all the same and found to be others.
        self.known = self.drifted = 0

    def batches(self, rows: Iterable[AnyRow]) -> Generator[Batch[R], None, None]:
        """Cut rows into batches of those that are not known; the others end beside them."""
        size = self._keyed.batch_size
        batch: Batch[R] = Batch(1)
        for some in batches(rows, self._keyed, window=self._window, size=self._together, reader=self):
            batch.ended += some.ended
            left = self._sift(some.items, batch.ended)
            people = {item.mark.person for item in left}
            # Where most rows are known, two of a person that lie far apart come near: within a call, either may win.
            if any(item.mark.person in people for item in batch.items):
                yield self._about_to_leave(batch)
                batch = Batch(batch.number + 1)
            while left:
                room = size - len(batch.items)
                batch.add(left[:room])
                left = left[room:]
                if len(batch.items) == size:
                    yield self._about_to_leave(batch)
                    batch = Batch(batch.number + 1)
            if len(batch.ended) >= self._together:  # what is left waits for a whole batch
                yield Batch(batch.number, ended=batch.ended)
                batch = Batch(batch.number + 1, batch.items, batch.locks)
        if batch.items or batch.ended:
            yield self._about_to_leave(batch)

    def _about_to_leave(self, batch: Batch[R]) -> Batch[R]:
        """Take out the entries of all whose rows are passed on: for few of them it costs as much as for many."""
        people = list(self._to_take_out)
        self._to_take_out.clear()
        if people and not self._dry:
            self._store.take_out(people)
        for person in people:
            self._lately.pop(person, None)
            self._lately[person] = True
        return batch

    def slices(self, rows: Iterable[AnyRow]) -> Iterator[Slice[R]]:
        """Yield rows in slices; of those whose cells are the ones that were accepted nothing but how they end.

        These are held back too, but read never: a later row of the person may come.
        """
        held, lately = self._held, self._lately
        for some in self._looked_up(rows):
            for part in some.parts():
                yield from self._part(part)
            if len(held) > self._window:
                yield [self._let_go(len(held) - self._window)], None
            past = len(lately) - 2 * self._window - 5 * self._together - self._keyed.batch_size
            for person in list(itertools.islice(lately, max(0, past))):
                del lately[person]
        if held:
            yield [self._let_go(len(held))], None

    def _part(self, part: LookedUp) -> Iterator[Slice[R]]:
        """Hold those that are known of rows of as many people, and yield the others."""
        known = self._are_known(part)
        drawn: set[int] = set()
        if self._verify:
            drawn = {one for one in itertools.compress(part.people, known) if random.random() < self._verify}
            known = [is_known and one not in drawn for is_known, one in zip(known, part.people, strict=True)]
        if any(known):
            self._hold(part if all(known) else part.chosen(known))
            if self._displaced:
                yield [self._take_displaced()], None
        if all(known):
            return
        left = part.chosen([not one for one in known]) if any(known) else part
        for row, key, person, cells, entry in zip(*left, strict=True):
            if key is not None:
                if len(entry) > RUN.stop and not self._is_left_alone(entry):
                    entry = b""
                self._ahead[row.number] = Mark(person, cells, entry, checked=person in drawn)
        for some, items in super().slices(left.rows):
            for item in items.values() if items else ():
                self._take_up(item, self._ahead.pop(item.row.number))
            yield some, items
            if self._displaced:
                yield [self._take_displaced()], None

    def _are_known(self, part: LookedUp) -> list[bool]:
        """Return which of the rows have the cells that were accepted of their people last."""
        lately, opted_out = self._lately, self.opted_out()
        if self._exempt is not None:
            return [False] * len(part.rows)
        known = [
            entry.startswith(cells) and len(entry) == RUN.stop and person not in lately
            for person, cells, entry in zip(part.people, part.cells, part.entries, strict=True)
        ]
        waiting = self._to_take_out
        if not waiting.isdisjoint(part.people):
            known = [one and person not in waiting for one, person in zip(known, part.people, strict=True)]
        if opted_out:
            known = [one and not opted_out(key or "") for one, key in zip(known, part.keys, strict=True)]
        return known

    def _hold(self, known: LookedUp) -> None:
        held, run = self._held, self._store.run
        numbers = [row.number for row in known.rows]
        if not held.keys().isdisjoint(known.people):
            for person, number in zip(known.people, numbers, strict=True):
                if person in held:
                    self._displaced.append(self._superseded(person, number))
        outcomes: Iterable[Outcome] = itertools.repeat(KNOWN)
        if run in b"".join(known.entries):  # one of them, perhaps, is of this run: of an earlier try
            outcomes = [as_it_was(entry, run) for entry in known.entries]
        ended = map(Ended, numbers, known.keys, itertools.repeat(_LEFT_OUT), outcomes)
        held.update(zip(known.people, ended, strict=True))

    def _take_displaced(self) -> list[Ended]:
        displaced, self._displaced = self._displaced, []
        return displaced

    def _let_go(self, number: int) -> list[Ended]:
        """Return the first of the rows that are held back."""
        rows = list(map(self._held.pop, list(itertools.islice(self._held, number))))
        self.known += [row.outcome for row in rows].count(KNOWN)
        return rows

    def _looked_up(self, rows: Iterable[AnyRow]) -> Iterator[LookedUp]:
        """Yield rows with what is known of them; while some are dealt with, the entries of the next are looked for."""
        iterator = iter(rows)
        ahead: Callable[[], LookedUp] | None = None
        while some := list(itertools.islice(iterator, self._together)):
            before, ahead = ahead, self._look_up(some)
            if before is not None:
                yield before()
        if ahead is not None:
            yield ahead()

    def _look_up(self, rows: Sequence[AnyRow]) -> Callable[[], LookedUp]:
        keys = keys_of(rows, self._keyed)
        people = self._digests.people([key or "" for key in keys])
        finding = self._store.find_meanwhile(people)
        cells = self._digests.cells(rows)

        def looked_up() -> LookedUp:
            found = finding()
            if self._full:
                found = {person: entry for person, entry in found.items() if entry[RUN] == self._store.run}
            return LookedUp(rows, keys, people, cells, list(map(found.get, people, itertools.repeat(b""))))

        return looked_up

    def _is_left_alone(self, refused: bytes) -> bool:
        return time.time() - int.from_bytes(refused[WHEN], "big") < self._leave_refused

    def _superseded(self, person: int, later: int) -> Ended:
        earlier = self._held.pop(person)
        return Ended(earlier.number, earlier.key, _LEFT_OUT, superseded(later))

    def read(self, row: Row) -> tuple[RowKey, Item[R]]:
        mark = self._ahead.pop(row.number, None)
        row_key, item = super().read(row)
        if mark is not None:
            self._take_up(item, mark)
        return row_key, item

    def _take_up(self, item: Item[R], mark: Mark) -> None:
        item.mark = mark
        self._lately[mark.person] = self._lately.pop(mark.person, False)
        if mark.person in self._held:
            self._displaced.append(self._superseded(mark.person, item.row.number))

    def opt_out_of(self, row: Row, key: str, said: Any, ends: Outcome) -> Item[R]:
        """Return the opt-out of a row that is rejected; what the person's entry says is not so any more."""
        item = super().opt_out_of(row, key, said, ends)
        item.mark = Mark(self._digests.person(key), b"", b"")
        self._lately[item.mark.person] = self._lately.pop(item.mark.person, False)
        return item

    def _sift(self, items: Sequence[Item[R]], ended: list[Ended]) -> list[Item[R]]:
        """End the items that are known; take out the entries of the others' people.

        :return: the others.
        """
        left = []
        for item, entry in zip(items, self._entries(items), strict=True):
            mark: Mark = item.mark
            mark.entry = entry
            outcome = self._known_as(mark) if mark.found else None
            if outcome is None:
                left.append(item)
            else:
                self.known += outcome is KNOWN
                ended.append(Ended(item.row.number, item.key, item.row.data, outcome))
        self._pass_on(left)
        return left

    def _known_as(self, mark: Mark) -> Outcome | None:
        """Return how an item ends that needs no call."""
        checked, mark.checked = mark.checked, False
        # A look into the store, made before the row was read, can have missed those that were taken out since.
        if (
            not mark.entry
            or mark.entry[DIGEST:] != mark.found[DIGEST : 2 * DIGEST]
            or self._lately.get(mark.person)
            or mark.person in self._to_take_out
        ):
            return None
        if len(mark.found) > RUN.stop:
            return rejected("crm", mark.found[WHY].decode())
        if checked or (self._verify and random.random() < self._verify):
            mark.checked = True
            return None
        return as_it_was(mark.found, self._store.run)

    def _entries(self, items: Sequence[Item[R]]) -> Iterator[bytes]:
        """Return what becomes of the entries of the items' people; empty where nothing is to be noted."""
        exempt, opt_outs = self._exempt, self._keyed.opt_outs
        values = self._digests.values([(item.key, item.record) for item in items])
        for item, digest in zip(items, values, strict=True):
            if exempt is not None and exempt(item):
                yield b""
            # A row that opts out is read each time, so that later rows of its person know of it.
            elif opt_outs and opt_outs.find(item.record):
                yield UNTOLD + digest
            else:
                yield item.mark.cells + digest

    def _pass_on(self, items: Sequence[Item[R]]) -> None:
        dry, lately = self._dry, self._lately
        self._to_take_out.update(item.mark.person for item in items)
        for item in items:
            mark: Mark = item.mark
            mark.cells = mark.found = b""  # they take memory while the row is on its way
            if not dry or mark.checked:  # of others nothing is noted, and not all of them may end
                self._in_flight[item.row.number] = mark
                self._last[mark.person] = item.row.number
            lately.pop(mark.person, None)
            lately[mark.person] = True

    def note(self, rows: Iterable[Ended]) -> None:
        """Put in what the CRM has accepted.

        :param rows: as they have ended, each once.
        """
        accepted = []
        in_flight, last = self._in_flight, self._last
        ends = {ending: code + self._store.run for ending, code in CODES.items()}
        for row in rows if in_flight else ():
            mark = in_flight.pop(row.number, None)
            if mark is None:
                continue
            ending = row.outcome.ending
            if mark.checked:
                self.drifted += ending in (Ending.CREATED, Ending.UPDATED)
            if last[mark.person] != row.number:
                continue  # a later row of the person is on its way: what it leaves is not known yet
            del last[mark.person]
            if not mark.entry:
                continue
            if ending in ends:
                accepted.append((mark.person, mark.entry + ends[ending]))
            elif self._leave_refused and row.outcome.stage == "crm" and not mark.entry.startswith(UNTOLD):
                accepted.append((mark.person, mark.entry + refusal(row, self._store.run)))
        if accepted and not self._dry:
            self._store.put_in(accepted)

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
