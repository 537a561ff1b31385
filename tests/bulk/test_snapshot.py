"""Whatever happens, a snapshot takes no row for sent that the CRM does not hold."""

from __future__ import annotations

import math
import secrets
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.bulk import snapshot_file, snapshot_table
from airflow_provider_crm.bulk.batches import Batch, Ended
from airflow_provider_crm.bulk.outcomes import Ending, Item, Outcome, RowKey, Step, rejected
from airflow_provider_crm.bulk.snapshot import Snapshot
from airflow_provider_crm.bulk.snapshot_digests import Digests
from airflow_provider_crm.bulk.snapshot_file import SnapshotFile
from airflow_provider_crm.bulk.snapshot_store import SnapshotStore
from airflow_provider_crm.bulk.snapshot_table import SnapshotTable
from airflow_provider_crm.rows.row import Row
from airflow_provider_crm.rows.sources import open_source
from tests.helpers.properties import at_least

PEOPLE = "abc"
VALUES = ("1", "2", "3", "out")
Record = dict[str, str]


class Statuses:
    """Who says "out" wants no other row of the source."""

    def find(self, record: Record) -> list[str]:
        return ["out"] if record["value"] == "out" else []

    def keep(self, record: Record, said: list[str]) -> None:
        record["value"] = "out"


class Crm:
    """Holds a value for each person; a destination as far as a snapshot looks at one."""

    opt_outs = Statuses()
    batch_size = 2
    is_keyed_by_email = False

    def __init__(self) -> None:
        self.held: dict[str, str] = {}

    def key(self, data: Mapping[str, Any]) -> str:
        if not data["person"]:
            raise ValueError("nobody")
        return str(data["person"]).lower()

    def read(self, data: Mapping[str, Any]) -> tuple[RowKey, Record]:
        person = self.key(data)
        if data["value"] == "bad":
            raise ValueError("bad")
        return RowKey(person), {"person": person, "value": str(data["value"])}

    def read_many(self, rows: Sequence[Row]) -> tuple[list[str], list[Record]] | None:
        try:
            read = [self.read(row.data) for row in rows]
        except ValueError:
            return None
        return [key.text for key, _ in read], [record for _, record in read]

    def plan(self, items: Sequence[Item[Record]]) -> list[Step[Record]]:
        return [Step(item, Outcome(Ending.UPDATED)) for item in items]

    def apply(self, steps: Sequence[Step[Record]]) -> list[Outcome]:
        raise AssertionError("rows are sent by the test")


class KilledError(Exception):
    """The process is gone."""


def row(person: str, value: str) -> dict[str, str]:
    return {"person": person, "value": value}


class Store(SnapshotStore, Protocol):
    """Where entries are kept, with a way to make those last that were put in."""

    def keep(self) -> None: ...


class File(SnapshotFile):
    def __init__(self, path: Path, run: str, *, dry: bool) -> None:
        super().__init__(str(path), {"account": "one"}, run, dry=dry)

    keep = SnapshotFile._commit


class Table(SnapshotTable):
    def __init__(self, path: Path, run: str, *, dry: bool) -> None:
        path.parent.mkdir(exist_ok=True)
        engine = sa.create_engine(f"sqlite:///{path}")
        super().__init__(engine, "nightly", {"account": "one"}, run, dry=dry)

    keep = SnapshotTable._flush


Kind = Callable[..., Store]
each_kind = pytest.mark.parametrize("kind", [File, Table])


def opened(kind: Kind, crm: Crm, path: Path, run: str, **how: Any) -> tuple[Store, Snapshot[Record]]:
    store = kind(path, run, dry=how.get("dry", False))
    return store, Snapshot(crm, store, Digests(store.salt, "secret"), window=2, together=2, **how)


def all_ended(batch: Batch[Record]) -> list[Ended]:
    return [*batch.ended, *(one for some in batch.alike for one in some.each())]


def end_of(item: Item[Record], outcome: Outcome) -> Ended:
    return Ended(item.row.number, item.key, item.row.data, outcome, mark=item.mark)


class Run:
    """Sends rows as the engine does: some batches at once, reported in order, none beside another of its people."""

    def __init__(self, crm: Crm, snapshot: Snapshot[Record], draw: Any) -> None:
        self.crm = crm
        self.snapshot = snapshot
        self.draw = draw
        self.pending: deque[tuple[Batch[Record], list[Ended]]] = deque()
        self.ends: dict[int, Outcome] = {}

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[int, Outcome]:
        for batch in self.snapshot.batches(open_source(list(rows))):
            self.may_be_killed()
            while any(set(batch.locks) & set(other.locks) for other, _ in self.pending):
                self.finish()
            self.send(batch)
            while len(self.pending) > self.draw(st.integers(0, 2)):
                self.finish()
        while self.pending:
            self.finish()
        return self.ends

    def may_be_killed(self) -> None:
        if self.draw(st.integers(0, 9)) == 9:
            raise KilledError

    def send(self, batch: Batch[Record]) -> None:
        ended = all_ended(batch)
        self.pending.append((batch, ended))
        assert len({item.key for item in batch.items}) == len(batch.items), "one row of a person in a call"
        for item in batch.items:
            self.may_be_killed()
            if self.draw(st.integers(0, 3)) == 3:
                ended.append(end_of(item, rejected("crm", "no")))
            else:
                before, self.crm.held[item.key] = self.crm.held.get(item.key), item.record["value"]
                ending = Ending.UNCHANGED if before == item.record["value"] else Ending.UPDATED
                ended.append(end_of(item, Outcome(ending)))

    def finish(self) -> None:
        self.may_be_killed()
        _, ended = self.pending.popleft()
        self.snapshot.note(ended)
        for one in ended:
            assert one.number not in self.ends, "each row ends once"
            self.ends[one.number] = one.outcome


def known(kind: Kind, crm: Crm, path: Path) -> set[tuple[str, str]]:
    """What the snapshot takes for accepted: tried with every row there may be."""
    found = set()
    for value in VALUES:
        store, snapshot = opened(kind, crm, path, "", dry=True)
        rows = [row(person, value) for person in PEOPLE]
        for batch in snapshot.batches(open_source(rows)):
            found |= {(one.key, value) for one in all_ended(batch) if one.key}
        store.close()
    return found


a_row = st.builds(row, st.sampled_from(["a", "A", "b", "c", ""]), st.sampled_from([*VALUES, "bad"]))
a_run = st.tuples(st.lists(a_row, max_size=12), st.booleans(), st.booleans())


@each_kind
@pytest.mark.slow
@at_least(150)
@given(runs=st.lists(a_run, min_size=1, max_size=5), data=st.data())
def test_no_row_is_taken_for_sent_that_the_crm_does_not_hold(
    kind: Kind, runs: list[Any], data: st.DataObject
) -> None:
    crm = Crm()
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as now_or_never:
        for store_module in (snapshot_file, snapshot_table):  # not when a loaded machine has taken as long
            now_or_never.setattr(store_module, "_COMMIT_EVERY", data.draw(st.sampled_from([-1.0, math.inf])))
        path = Path(folder, "0", "snapshot")
        number = 0
        for rows, full, same_run in runs:
            number += not same_run
            store, snapshot = opened(kind, crm, path, str(number), full=full)
            try:
                ends = Run(crm, snapshot, data.draw)(rows)
            except KilledError:
                # The files as they are at this moment are all that a killed process leaves.
                path = shutil.copytree(path.parent, Path(folder, secrets.token_hex(8))) / "snapshot"
            else:
                assert sorted(ends) == list(range(1, len(rows) + 1)), "each row ends"
                store.complete()
            store.close()
            for person, value in known(kind, crm, path):
                assert crm.held.get(person) == value


@each_kind
@pytest.mark.slow
@at_least(100)
@given(rows=st.lists(a_row, max_size=12))
def test_a_second_run_sends_nothing_but_what_cannot_be_known(kind: Kind, rows: list[dict[str, str]]) -> None:
    """One row of each person of the source's last rows is known; those before it of the same person may differ."""
    crm = Crm()
    last = {one["person"].lower(): one for one in rows if one["person"] and one["value"] != "bad"}
    with TemporaryDirectory() as folder:
        for number in (1, 2):
            store, snapshot = opened(kind, crm, Path(folder, "snapshot"), str(number))
            sent = []
            for batch in snapshot.batches(open_source(list(last.values()))):
                sent += batch.items
                crm.held.update((item.key, item.record["value"]) for item in batch.items)
                snapshot.note([end_of(item, Outcome(Ending.CREATED)) for item in batch.items])
            store.complete()
            store.close()
    assert not sent
    assert snapshot.known == len(last)


# The rules one by one


@dataclass
class Killed:
    """A run that is driven batch by batch, and of which nothing but its files is left."""

    kind: Kind
    crm: Crm
    path: Path

    def __post_init__(self) -> None:
        self.store, self.snapshot = opened(self.kind, self.crm, self.path, "2")

    def batches(self, *rows: Mapping[str, str]) -> Iterator[Batch[Record]]:
        return self.snapshot.batches(open_source(list(rows)))

    def send(self, batch: Batch[Record]) -> list[Ended]:
        self.crm.held.update((item.key, item.record["value"]) for item in batch.items)
        return [end_of(item, Outcome(Ending.UPDATED)) for item in batch.items]

    def left(self) -> set[tuple[str, str]]:
        """Kill it.

        :return: what the snapshot takes for accepted then.
        """
        left = shutil.copytree(self.path.parent, self.path.parent.with_name("left")) / self.path.name
        self.store.close()
        return known(self.kind, self.crm, left)


@pytest.fixture(params=[File, Table])
def second_run(request: pytest.FixtureRequest, tmp_path: Path) -> Killed:
    """A run after one that has sent the first value of everybody."""
    kind, crm = request.param, Crm()
    path = tmp_path / "run" / "snapshot"
    store, snapshot = opened(kind, crm, path, "1")
    Run(crm, snapshot, lambda _: 0)([row(person, "1") for person in PEOPLE])
    store.complete()
    store.close()
    return Killed(kind, crm, path)


def test_a_row_looked_up_before_its_person_was_sent_something_else_is_sent_too(second_run: Killed) -> None:
    # The last row is looked up together with the one before it, with which the first ones are passed on.
    rows = [row("a", "2"), row("x", "1"), row("y", "bad"), row("z", "1"), row("w", "1"), row("a", "1")]
    for batch in second_run.batches(*rows):
        second_run.snapshot.note(second_run.send(batch))
    assert second_run.crm.held["a"] == "1"


@pytest.mark.sampled
def test_what_was_accepted_of_a_person_does_not_count_while_a_later_row_is_on_its_way(
    second_run: Killed,
) -> None:
    rows = [row("a", "2"), *(row(other, "1") for other in "vwxyz"), row("a", "3"), row("u", "1")]
    stream = second_run.batches(*rows)
    first = second_run.send(next(stream))
    assert "a" in {one.key for one in first}
    for batch in stream:
        ended = second_run.send(batch)
        if "a" in {one.key for one in ended}:
            break
        second_run.snapshot.note(ended)
    second_run.snapshot.note(first)
    second_run.store.keep()
    assert ("a", "2") not in second_run.left()
    assert second_run.crm.held["a"] == "3"


@pytest.mark.sampled
def test_what_was_accepted_earlier_in_the_run_does_not_count_once_a_later_row_is_sent(
    second_run: Killed,
) -> None:
    rows = [row("a", "2"), *(row(other, "1") for other in "vwxyz"), row("a", "3"), row("b", "2")]
    for batch in second_run.batches(*rows):
        ended = second_run.send(batch)
        if ("a", "3") in second_run.crm.held.items():
            break
        second_run.snapshot.note(ended)
    # The other row of this batch has written down all that was noted.
    assert ("a", "2") not in second_run.left()


def test_rows_of_a_person_with_many_known_ones_between_them_are_sent_one_after_the_other(
    second_run: Killed,
) -> None:
    # Written otherwise, the known ones are read, and found to be known when it is their turn.
    known = [row(person, "1") for person in "ABC"]
    run = Run(second_run.crm, second_run.snapshot, lambda _: 0)
    ends = run([row("x", "1"), *known, row("x", "2")])
    second_run.store.close()
    assert second_run.crm.held["x"] == "2"
    assert [ends[number].ending.value for number in range(1, 6)] == ["updated", *["unchanged"] * 3, "updated"]
    assert second_run.snapshot.known == 3


@each_kind
def test_a_row_that_waits_for_its_batch_makes_no_other_of_its_person_known(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Crm, "batch_size", 100)
    crm = Crm()
    many = [f"person {number}" for number in range(300)]
    store, snapshot = opened(kind, crm, tmp_path / "snapshot", "1")
    Run(crm, snapshot, lambda _: 0)([row(person, "1") for person in ["a", *many]])
    store.complete()
    store.close()
    second = Killed(kind, crm, tmp_path / "snapshot")
    # Written otherwise, they are read before they are found to be known: so many that the first one is long ago.
    rows = [row("a", "2"), *(row(person.upper(), "1") for person in many), row("a", "1")]
    ends = Run(crm, second.snapshot, lambda _: 0)(rows)
    second.store.close()
    assert crm.held["a"] == "1"
    assert [ends[number].ending for number in (1, 302)] == [Ending.UPDATED, Ending.UPDATED]
    assert second.snapshot.known == 300


def test_a_known_row_of_a_person_of_whom_another_one_follows_is_skipped(second_run: Killed) -> None:
    ends = Run(second_run.crm, second_run.snapshot, lambda _: 0)(
        [row("a", "1"), row("a", "1"), row("b", "1"), row("b", "2"), row("c", "1")]
    )
    second_run.store.close()
    endings = [ends[number].ending.value for number in range(1, 6)]
    assert endings == ["skipped", "unchanged", "skipped", "updated", "unchanged"]
    assert "row 4" in ends[3].reason
    assert second_run.snapshot.known == 2


@each_kind
def test_nothing_is_noted_of_an_exempt_row_nor_of_its_refusal(kind: Kind, tmp_path: Path) -> None:
    crm, path = Crm(), tmp_path / "run" / "snapshot"
    store, snapshot = opened(kind, crm, path, "1", leave_refused=1e9, exempt=lambda _: True)
    for batch in snapshot.batches(open_source([row("a", "1")])):
        snapshot.note([end_of(item, rejected("crm", "no")) for item in batch.items])
    store.complete()
    store.close()
    store, _ = opened(kind, crm, path, "2")
    assert not store.find([Digests(store.salt, "secret").person("a")])
    store.close()


@pytest.mark.slow
def test_rows_that_are_known_hold_no_other_back_to_the_end_of_the_source(tmp_path: Path) -> None:
    crm = Crm()
    people = [f"person {number}" for number in range(10_000)]
    store, snapshot = opened(File, crm, tmp_path / "snapshot", "1")
    Run(crm, snapshot, lambda _: 0)([row(person, "1") for person in people])
    store.complete()
    store.close()
    store, snapshot = opened(File, crm, tmp_path / "snapshot", "2")
    source = open_source([row(person, "1" if number > 1 else "2") for number, person in enumerate(people)])
    ended = 0
    for batch in snapshot.batches(source):
        if batch.items:
            break
        ended += batch.rows_ended
    store.close()
    assert ended < len(people) / 2
