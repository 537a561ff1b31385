"""What the CRM has accepted from a task: rows that stand there unchanged cost no call. Knows no CRM.

The rule behind it: a person's entry is taken out, for good, before a row of theirs leaves, and one comes in again when
the CRM has certainly accepted it. So whoever dies in between leaves rows that are looked up again, and never one
that is taken for sent. Where the entries are kept is a store's business.
"""

from __future__ import annotations

import itertools
import operator
import random
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from airflow_provider_crm.bulk.batches import WINDOW, Alike, Batch, Ended, RowReader, Slice, batches
from airflow_provider_crm.bulk.leavers import Leavers
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
from airflow_provider_crm.bulk.snapshot_held import HeldRows, KnownRows
from airflow_provider_crm.bulk.snapshot_rows import KeyedDestination, LookedUp, digested
from airflow_provider_crm.bulk.snapshot_store import SnapshotStore
from airflow_provider_crm.rows.row import AnyRow, Row

#: Rows that are compared with the snapshot in one go.
TOGETHER = 5000
#: Bytes of an entry that is none, and of one that was not refused.
_PLAIN = frozenset((0, RUN.stop))


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
        leavers: Leavers | None = None,
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
        self._held = HeldRows()
        #: Found people of whom rows were read lately, the latest last, and whether one was passed on.
        self._lately: dict[int, bool] = {}
        #: People of whom a row is passed on and waits for its batch to be full, and whose entries are still there.
        self._to_take_out: set[int] = set()
        #: Others of whom one waits, and of whom nothing is found.
        self._not_found: list[int] = []
        #: Of the rows that are passed on and have not ended the last one of each person.
        self._last: dict[int, Mark] = {}
        #: Rows that ended without a call, and known ones that were looked up all the same and found to be others.
        self.known = self.drifted = 0

    def batches(self, rows: Iterable[AnyRow]) -> Generator[Batch[R], None, None]:
        """Cut rows into batches of those that are not known; the others end beside them."""
        size = self._keyed.batch_size
        batch: Batch[R] = Batch(1)
        within: set[int] = set()  # the people of its items
        for some in batches(rows, self._keyed, window=self._window, size=self._together, reader=self):
            batch.ended += some.ended
            batch.alike += some.alike
            left = self._sift(some.items, batch.ended)
            # Where most rows are known, two of a person that lie far apart come near: within a call, either may win.
            if within and not within.isdisjoint(item.mark.person for item in left):
                yield self._about_to_leave(batch)
                batch = Batch(batch.number + 1)
                within.clear()
            while left:
                room = size - len(batch.items)
                batch.items += left[:room]
                if len(batch.items) == size:
                    yield self._about_to_leave(batch)
                    batch = Batch(batch.number + 1)
                    within.clear()
                else:
                    within.update(item.mark.person for item in left)
                left = left[room:]
            if batch.rows_ended >= self._together:  # what is left waits for a whole batch
                yield Batch(batch.number, ended=batch.ended, alike=batch.alike)
                batch = Batch(batch.number + 1, batch.items)
        if batch.items or batch.rows_ended:
            yield self._about_to_leave(batch)

    def _about_to_leave(self, batch: Batch[R]) -> Batch[R]:
        """Take out the entries of all whose rows are passed on: for few of them it costs as much as for many."""
        if (self._to_take_out or self._not_found) and not self._dry:
            self._store.take_out([*self._to_take_out, *self._not_found])
        for person in self._to_take_out:
            self._lately.pop(person, None)
            self._lately[person] = True
        self._to_take_out.clear()
        self._not_found.clear()
        return batch

    def slices(self, rows: Iterable[AnyRow]) -> Iterator[Slice[R]]:
        """Yield rows in slices; of those whose cells are the ones that were accepted nothing but how they end.

        These are held back too, but read never: a later row of the person may come.
        """
        lately = self._lately
        for some in self._looked_up(rows):
            for part in some.parts():
                yield from self._part(part)
            yield from self._let_go(self._window)
            past = len(lately) - 2 * self._window - 5 * self._together - self._keyed.batch_size
            for person in list(itertools.islice(lately, max(0, past))):
                del lately[person]
        yield from self._let_go(0)

    def _part(self, part: LookedUp) -> Iterator[Slice[R]]:
        """Hold those that are known of rows of as many people, and yield the others."""
        known = self._are_known(part)
        drawn: set[int] = set()
        if self._verify:
            drawn = {one for one in itertools.compress(part.people, known) if random.random() < self._verify}
            known = [is_known and one not in drawn for is_known, one in zip(known, part.people, strict=True)]
        if any(known):
            self._hold(part, known)
            yield from self._displaced()
        if all(known):
            return
        left = part.chosen(list(map(operator.not_, known))) if any(known) else part
        marks = list(map(Mark, left.people, left.cells, left.entries))
        for mark in marks if drawn else ():
            mark.checked = mark.person in drawn
        start = 0
        for some, items in super().slices(left.rows):
            end = start + len(some)
            if items is not None:
                self._take_up(list(items.values()), marks[start:end])
            else:
                keyed = zip(left.numbers[start:end], left.keys[start:end], marks[start:end], strict=True)
                self._ahead = {number: mark for number, key, mark in keyed if key is not None}
            start = end
            yield some, items
            yield from self._displaced()

    def _are_known(self, part: LookedUp) -> list[bool]:
        """Return which of the rows have the cells that were accepted of their people last."""
        if self._exempt is not None or not any(part.entries):
            return [False] * len(part.keys)
        known = list(map(bytes.startswith, part.entries, part.cells))
        if not _PLAIN.issuperset(map(len, part.entries)):  # some were refused
            known = [one and len(entry) == RUN.stop for one, entry in zip(known, part.entries, strict=True)]
        for people in (self._lately.keys(), self._to_take_out):
            if not people.isdisjoint(part.people):
                known = [one and person not in people for one, person in zip(known, part.people, strict=True)]
        if opted_out := self.opted_out():
            known = [one and not opted_out(key or "") for one, key in zip(known, part.keys, strict=True)]
        return known

    def _hold(self, part: LookedUp, known: Sequence[bool]) -> None:
        run = self._store.run
        outcomes = [KNOWN] * len(known)
        if run in b"".join(part.entries):  # one of them, perhaps, is of this run: of an earlier try
            outcomes = [as_it_was(entry, run) for entry in part.entries]
        held = KnownRows(part.numbers, part.keys, part.people, outcomes)
        self._held.hold(held if all(known) else held.chosen(known))

    def _displaced(self) -> Iterator[Slice[R]]:
        if displaced := self._held.displaced():
            yield [displaced], None

    def _let_go(self, least: int) -> Iterator[Slice[R]]:
        for rows in self._held.let_go(least):
            if isinstance(rows, Alike):
                self.known += len(rows.numbers)
            else:
                self.known += [row.outcome for row in rows].count(KNOWN)
            yield [rows], None

    def _looked_up(self, rows: Iterable[AnyRow]) -> Iterator[LookedUp]:
        """Yield rows with what is known of them; while some are dealt with, the entries of the next are looked for."""
        ahead: Callable[[], LookedUp] | None = None
        for some in digested(rows, self._keyed, self._digests, self._together):
            before, ahead = ahead, self._look_up(some)
            if before is not None:
                yield before()
        if ahead is not None:
            yield ahead()

    def _look_up(self, some: LookedUp) -> Callable[[], LookedUp]:
        finding = self._store.find_meanwhile(some.people)

        def looked_up() -> LookedUp:
            found = finding()
            if self._full:
                found = {person: entry for person, entry in found.items() if entry[RUN] == self._store.run}
            return some._replace(entries=list(map(found.get, some.people, itertools.repeat(b""))))

        return looked_up

    def _is_left_alone(self, refused: bytes) -> bool:
        return time.time() - int.from_bytes(refused[WHEN], "big") < self._leave_refused

    def read(self, row: Row) -> tuple[RowKey, Item[R]]:
        mark = self._ahead.pop(row.number, None)
        row_key, item = super().read(row)
        if mark is not None:
            self._take_up([item], [mark])
        return row_key, item

    def _take_up(self, items: Sequence[Item[R]], marks: Sequence[Mark]) -> None:
        remembered = self._store.may_find_later
        for item, mark in zip(items, marks, strict=True):
            item.mark = mark
            if mark.found or remembered:
                self._lately[mark.person] = self._lately.pop(mark.person, False)
                self._held.displace(mark.person, item.key, item.row.number)
        self._prepare_entries(items)

    def keep(self, item: Item[R], said: Any) -> None:
        super().keep(item, said)
        self._prepare_entries([item])

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
        for item in items:
            mark: Mark = item.mark
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
            return rejected("crm", mark.found[WHY].decode()) if self._is_left_alone(mark.found) else None
        if checked or (self._verify and random.random() < self._verify):
            mark.checked = True
            return None
        return as_it_was(mark.found, self._store.run)

    def _prepare_entries(self, items: Sequence[Item[R]]) -> None:
        """Write down what becomes of the entries of the items' people; empty where nothing is to be noted."""
        exempt, opt_outs = self._exempt, self._keyed.opt_outs
        values = self._digests.values([(item.key, item.record) for item in items])
        for item, digest in zip(items, values, strict=True):
            mark: Mark = item.mark
            mark.entry = mark.cells + digest
        if opt_outs and any(told := [opt_outs.find(item.record) for item in items]):
            # A row that opts out is read each time, so that later rows of its person know of it.
            for item in itertools.compress(items, told):
                item.mark.entry = UNTOLD + item.mark.entry[-DIGEST:]
        for item in filter(exempt, items) if exempt is not None else ():
            item.mark.entry = b""

    def _pass_on(self, items: Sequence[Item[R]]) -> None:
        dry, lately, last = self._dry, self._lately, self._last
        for item in items:
            mark: Mark = item.mark
            person = mark.person
            if not dry or mark.checked:  # of others nothing is noted, and not all of them may end
                last[person] = mark
            if mark.found or person in lately or self._store.may_find_later:
                self._to_take_out.add(person)
                lately.pop(person, None)
                lately[person] = True
            else:
                self._not_found.append(person)
            mark.cells = mark.found = b""  # they take memory while the row is on its way

    def note(self, rows: Iterable[Ended]) -> None:
        """Put in what the CRM has accepted.

        :param rows: as they have ended, each once.
        """
        accepted = []
        last = self._last
        ends = {ending: code + self._store.run for ending, code in CODES.items()}
        for row in rows:
            mark: Mark | None = row.mark
            if mark is None or (self._dry and not mark.checked):
                continue
            ending = row.outcome.ending
            if mark.checked:
                self.drifted += ending in (Ending.CREATED, Ending.UPDATED)
            latest = last.pop(mark.person, None)
            if latest is not mark:
                if latest is not None:  # it is on its way: what it leaves is not known yet
                    last[mark.person] = latest
                continue
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
