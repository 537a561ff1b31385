"""A snapshot in a SQL database: what the database keeps, and runs that use it at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.bulk import snapshot_table
from airflow_provider_crm.bulk.snapshot_file import SnapshotInUseError
from airflow_provider_crm.bulk.snapshot_table import SnapshotTable, SnapshotTableError, metadata, runs_table
from tests.helpers.properties import at_least

ABOUT = {"account": "one", "`field_map`": "two"}

Open = Callable[..., SnapshotTable]


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.slow),
        pytest.param("mariadb", marks=pytest.mark.slow),
    ]
)
def url(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'snapshots.db'}"
    server: str = request.getfixturevalue({"postgresql": "postgres", "mariadb": "mariadb"}[request.param])
    engine = sa.create_engine(server)
    metadata.drop_all(engine)
    engine.dispose()
    return server


@pytest.fixture
def opened(url: str) -> Iterator[Open]:
    """Open the snapshot as a worker of its own does."""
    stores = []

    def opened(
        run: str = "run", about: dict[str, str] = ABOUT, name: str = "nightly", **how: Any
    ) -> SnapshotTable:
        stores.append(SnapshotTable(sa.create_engine(url), name, about, run, **how))
        return stores[-1]

    yield opened
    for store in stores:
        store._database.close()


def fill(opened: Open, people: int = 3, **how: Any) -> None:
    store = opened(**how)
    store.take_out(range(people))
    store.put_in((person, b"entry") for person in range(people))
    store.complete()
    store.close()


def found(opened: Open, **how: Any) -> set[int]:
    return set(opened(dry=True, **how).find(range(-10, 3000)))


def test_what_is_put_in_is_found_by_the_next_run(opened: Open) -> None:
    fill(opened, 2500)
    again = opened()
    assert again.find(range(3000)) == dict.fromkeys(range(2500), b"entry")
    assert again.salt == opened(dry=True).salt
    assert not again.unfinished


@pytest.mark.parametrize("bound", [False, True])
def test_entries_are_bytes_of_any_kind_and_people_numbers_of_any_size(
    opened: Open, bound: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if bound:  # as in a database whose way of writing bytes is not known
        monkeypatch.setattr(snapshot_table, "_BYTES", {})
    entries = {-(2**63): bytes(range(29)), 2**63 - 1: bytes(29), 0: b"\xff'\\%s:x"}
    store = opened()
    store.take_out(list(entries))
    store.put_in(entries.items())
    store.close()
    assert opened(dry=True).find(list(entries)) == entries


def test_who_is_taken_out_is_not_found_even_if_the_run_is_killed(opened: Open) -> None:
    fill(opened)
    killed = opened("other")
    killed.put_in([(2, b"other")])
    killed.take_out([1, 2])
    assert found(opened) == {0}
    assert opened("next").find([0, 1, 2]).keys() == {0}
    assert opened("other").killed, "the same run is tried again"


def test_snapshots_of_other_names_are_others(opened: Open) -> None:
    fill(opened)
    assert found(opened, name="Nightly") == set()
    fill(opened, 1, name="Nightly")
    assert found(opened) == {0, 1, 2}


def test_tries_of_a_run_have_its_number_and_another_run_has_its_own(opened: Open) -> None:
    numbers = []
    for run in ("one", "one", "two"):
        store = opened(run)
        numbers.append(store.run)
        assert store.unfinished == (len(numbers) > 1)
        assert not store.killed
        store.close()
    opened("two")  # and is killed
    store = opened("two")
    store.complete()
    store.close()
    numbers.append(opened("two").run)
    assert numbers[0] == numbers[1]
    assert len(set(numbers)) == 3


def test_a_dry_run_changes_nothing(opened: Open) -> None:
    assert found(opened) == set()
    fill(opened)
    dry = opened("other", dry=True)
    dry.complete()
    dry.close()
    assert not opened("next").unfinished


def test_a_snapshot_of_something_else_is_void_and_says_so(
    opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    fill(opened)
    other = {**ABOUT, "`field_map`": "three"}
    assert found(opened, about=other) == set()
    assert "is of another `field_map`:" in caplog.text
    assert found(opened) == {0, 1, 2}
    opened(about=other).close()
    assert found(opened, about=other) == set()


def test_two_runs_of_something_else_do_not_meet(opened: Open, url: str) -> None:
    fill(opened)
    first = opened("one")
    other = {**ABOUT, "`field_map`": "three"}
    with pytest.raises(SnapshotInUseError, match="nothing was sent"):
        opened("two", about=other)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(runs_table.update().values(seen_at=runs_table.c.seen_at - 3600))
    engine.dispose()
    opened("two", about=other)
    with pytest.raises(SnapshotInUseError, match="begun the snapshot nightly anew"):
        first.take_out([1])
    first.put_in([(1, b"entry")])
    first.close()
    assert found(opened, about=other) == set()


def test_who_is_claimed_by_two_runs_is_looked_up_by_the_next_and_known_again_then(opened: Open) -> None:
    one, two = opened("one"), opened("two")
    for store in (one, two):
        store.take_out([1, 2] if store is one else [2, 3])
    for store in (two, one):
        store.put_in([(1, b"one"), (2, store.run), (3, b"three")])
        store.complete()
        store.close()
    assert found(opened) == {1, 3}
    fill(opened)
    assert found(opened) == {0, 1, 2, 3}


def test_who_is_claimed_by_two_runs_is_not_known_while_the_first_of_them_is_at_it(opened: Open) -> None:
    one, two = opened("one"), opened("two")
    one.take_out([1])
    two.take_out([1])
    two.complete()
    two.close()
    fill(opened, run="three")
    assert found(opened) == {0, 2}, "the call of the first run may still be on its way"
    one.close()
    fill(opened, run="four")
    assert found(opened) == {0, 1, 2}


@pytest.mark.slow
def test_workers_that_add_the_same_people_at_once(opened: Open) -> None:
    stores = [opened(str(number)) for number in range(4)]
    errors: list[BaseException] = []

    def work(store: SnapshotTable) -> None:
        try:
            for start in range(0, 400, 40):
                people = [person * 7919 % 1000 for person in range(start, start + 120)]
                store.take_out(people)
                store.put_in((person, store.run) for person in people)
            store.complete()
            store.close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    fill(opened, 1000)
    assert found(opened) >= set(range(1000))


def test_a_database_out_of_reach_is_said_before_anything_is_sent() -> None:
    pytest.importorskip("psycopg2")
    away = sa.create_engine("postgresql+psycopg2://user:hidden@127.0.0.1:9/db")
    with pytest.raises(SnapshotTableError, match="Nothing is sent without it") as caught:
        SnapshotTable(away, "nightly", ABOUT, "run")
    assert "hidden" not in str(caught.value)


# Any number of runs at once, any of which may be killed


class Together:
    """Runs that share a snapshot and a CRM that carries out a call at some time, even after its sender was killed."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
        self.held: dict[int, bytes] = {}
        self.runs: dict[int, SnapshotTable] = {}
        #: Calls on their way: by which run, for whom, with what; those whose sender is gone have none.
        self.calls: list[tuple[int, int, bytes]] = []
        self.number = 0

    def begin(self) -> None:
        self.number += 1
        store = SnapshotTable(self.engine, "nightly", ABOUT, self.draw(st.sampled_from("xyz")))
        self.runs[self.number] = store

    def send(self) -> None:
        if run := self._one():
            busy = {person for by, person, _ in self.calls if by == run}
            if people := [
                person for person in self.draw(st.sets(st.integers(0, 1), min_size=1)) if person not in busy
            ]:
                self.runs[run].take_out(people)
                self.calls += [(run, person, self.draw(st.sampled_from([b"1", b"2"]))) for person in people]

    def land(self) -> None:
        if self.calls:
            run, person, value = self.calls.pop(self.draw(st.integers(0, len(self.calls) - 1)))
            self.held[person] = value
            if run in self.runs and self.draw(st.booleans()):
                self.runs[run].put_in([(person, value)])
                self.runs[run]._flush()

    def end(self) -> None:
        run = self._one()
        if run and not any(by == run for by, _, _ in self.calls):
            store = self.runs.pop(run)
            if self.draw(st.booleans()):
                store.complete()
            store._flush()
            ended = runs_table.update().where(store._of_it, runs_table.c.try_number == store._try)
            store._write(lambda connection, now: connection.execute(ended.values(ended=True)))

    def kill(self) -> None:
        if run := self._one():
            self.runs.pop(run)

    def _one(self) -> int | None:
        return self.draw(st.sampled_from(sorted(self.runs))) if self.runs else None


@pytest.mark.slow
@at_least(100)
@given(data=st.data())
def test_no_run_beside_another_leaves_an_entry_that_is_not_true(data: st.DataObject) -> None:
    together = Together(data.draw)
    together.begin()
    together.begin()
    acts = (
        together.send,
        together.land,
        together.send,
        together.land,
        together.begin,
        together.end,
        together.kill,
    )
    for _ in range(20):
        data.draw(st.sampled_from(acts), "act")()
        known = SnapshotTable(together.engine, "nightly", ABOUT, "looks", dry=True).find(range(3))
        on_their_way = {person for _, person, _ in together.calls}
        for person, value in known.items():
            if person not in on_their_way:
                assert together.held.get(person) == value
    while together.calls:
        together.land()
    known = SnapshotTable(together.engine, "nightly", ABOUT, "looks", dry=True).find(range(3))
    for person, value in known.items():
        assert together.held.get(person) == value
    together.engine.dispose()


def test_a_conflict_that_does_not_end_quotes_no_statement(opened: Open, monkeypatch: Any) -> None:
    store = opened()

    def conflict(work: Any) -> None:
        raise sa.exc.IntegrityError("INSERT INTO crm_snapshot_person VALUES (1,2,x'ab12',3)", {}, Exception())

    monkeypatch.setattr(store._database, "write", conflict)
    with pytest.raises(SnapshotTableError) as caught:
        store.take_out([1])
    assert "ab12" not in str(caught.value)
    assert caught.value.__context__ is None


def test_statements_that_name_people_are_not_kept(url: str) -> None:
    """Each of them is another text: SQLAlchemy would keep hundreds of a thousand people each."""
    engine = sa.create_engine(url)
    store = SnapshotTable(engine, "nightly", ABOUT, "run")
    kept = []
    for first in (0, 10, 20, 30):
        people = range(first, first + 10)
        for _ in range(2):  # claimed people whom the table has not, and whom it has
            store.take_out(people)
            store.put_in((person, b"entry") for person in people)
            store._flush()
        kept.append(len(engine._compiled_cache))  # type: ignore[attr-defined, unused-ignore]
    store._database.close()
    assert kept[-1] == kept[0]
