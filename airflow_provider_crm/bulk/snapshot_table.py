"""A snapshot in a SQL database, for any number of workers at once. Knows neither rows nor how they end.

Whoever sends a row of a person claims them first. Where another run has claimed them too that may still be at it,
nobody knows whose row the CRM will hold in the end: then nothing is put in for them, and the next run looks them up.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypedDict, TypeVar, Unpack

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError

from airflow_provider_crm.bulk.snapshot import SqlSnapshot
from airflow_provider_crm.bulk.snapshot_file import SnapshotInUseError
from airflow_provider_crm.bulk.snapshot_schema import metadata, people_table, runs_table, snapshots_table
from airflow_provider_crm.databases.database import MOST_CONFLICTS, Database, DatabaseError, T, Work
from airflow_provider_crm.databases.engines import engine_for

log = logging.getLogger(__name__)

#: People named in one statement.
_NAMED = 1000
#: How databases write bytes in a statement: binding them one by one, as with others, takes half of a run's time.
_BYTES = {"sqlite": "x'{}'", "mysql": "x'{}'", "mariadb": "x'{}'", "postgresql": "decode('{}','hex')"}
#: Seconds after which new entries are made to last, at the latest.
_COMMIT_EVERY = 1.0
#: Seconds between two signs of life of a run, and without one until another run may begin the snapshot anew.
_SIGN_EVERY, _DEAD_AFTER = 30.0, 180.0
#: Seconds for which the claims of a run count that never said it was over: its last calls have ended by then.
_CLAIMED_FOR = 86_400.0
#: Seconds for which the CRM may not show yet what a run has sent that did not end well.
_UNSHOWN_FOR = 3_600.0
#: Seconds for which a run that did not end well may be tried again.
_TRIED_FOR = 30 * 86_400.0

P = TypeVar("P")
_s, _r, _p = snapshots_table.c, runs_table.c, people_table.c


class SnapshotTableError(DatabaseError):
    """The snapshot cannot be read or written."""

    said = "The snapshot cannot be used ({problem}). Nothing is sent without it"


class _How(TypedDict, total=False):
    dry: bool
    confirm: Callable[[], object]


class SnapshotTable:
    """Entries in a SQL database.

    :param engine: any database that SQLAlchemy knows; SQLite serves one machine.
    :param name: tells the snapshot from others there.
    :param about: what the snapshot is of, by the names that users know; of anything else it is void.
    :param run: names the run, the same for all of its tries.
    :param dry: leave it as it is.
    :param confirm: called before what is there is void; what it raises leaves that as it was.
    :raises SnapshotInUseError: a run of something else is using it.
    :raises SnapshotTableError: the database cannot be used.
    """

    may_find_later = True

    def __init__(
        self,
        engine: Engine,
        name: str,
        about: Mapping[str, str],
        run: str,
        *,
        dry: bool = False,
        confirm: Callable[[], object] = lambda: None,
    ) -> None:
        if engine.dialect.name in ("mysql", "mariadb"):
            # Otherwise runs that add people would wait for each other, and give up, over the gaps between them.
            engine = engine.execution_options(isolation_level="READ COMMITTED")
        self._database = Database(engine, SnapshotTableError)
        self._name = name
        self._dry = dry
        self._snapshot = self._try = 0
        self._waiting: dict[int, bytes] = {}
        self._written = self._seen = time.monotonic()
        #: An earlier try was killed: the CRM may still be at its last calls. Those of other runs, which may be under
        #: way, spoil no entry.
        self.killed = False
        #: A run did not end well: what it sent last may not be shown yet.
        self.unfinished = False
        self.salt = secrets.token_bytes(16)
        self.run = bytes(4)
        #: Runs that may still be at what they have claimed.
        self._at_it: Collection[int] = ()
        try:
            self._database.create(metadata)
            if dry:
                self._look(about, run)
            else:
                if self._is_void(about):
                    confirm()
                self._write(lambda connection, now: self._begin(connection, now, about, run))
        except BaseException:
            self._database.close()
            raise

    @classmethod
    def at(cls, place: SqlSnapshot, about: Mapping[str, str], run: str, **how: Unpack[_How]) -> SnapshotTable:
        """Open the snapshot at a place.

        :raises CrmInputError: there is no such connection, or it is none to a SQL database.
        """
        return cls(engine_for(place.conn_id), place.name, about, run, **how)

    # A run begins and ends

    def _is_void(self, about: Mapping[str, str]) -> bool:
        with self._database.reading() as connection:
            stored = connection.execute(sa.select(_s.about).where(_s.name == self._name)).scalar()
        return stored is not None and json.loads(stored) != dict(about)

    def _look(self, about: Mapping[str, str], run: str) -> None:
        with self._database.reading() as connection:
            found = connection.execute(sa.select(snapshots_table).where(_s.name == self._name)).first()
            if found is None or not self._is_of(about, found.about):
                return
            self._snapshot, self.salt = found.id, bytes(found.salt)
            first = sa.select(_r.first_try).where(self._of_it, _r.run == run)
            self._count_from(connection.execute(first).scalar() or 0)

    def _begin(self, connection: Connection, now: float, about: Mapping[str, str], run: str) -> None:
        # Whoever begins has the snapshot's row for themselves, so that of two runs one knows the other.
        snapshot = sa.select(snapshots_table).where(_s.name == self._name)
        found = connection.execute(snapshot.with_for_update()).first()
        if found is None:
            log.info("There is no snapshot %s yet: all rows are looked up", self._name)
            new = {"name": self._name, "salt": self.salt, "about": json.dumps(dict(about)), "tries": 1}
            row: Any = connection.execute(snapshots_table.insert().values(new))
            self._snapshot, self._try = row.inserted_primary_key[0], 1
        else:
            self._snapshot, self.salt, self._try = found.id, bytes(found.salt), found.tries + 1
            counted = snapshots_table.update().where(_s.id == self._snapshot)
            connection.execute(counted.values(tries=self._try))
        connection.execute(runs_table.delete().where(self._of_it, _r.seen_at < now - _TRIED_FOR))
        tries = connection.execute(
            sa.select(runs_table).where(self._of_it).order_by(_r.try_number)
        ).fetchall()
        if found is not None and not self._is_of(about, found.about):
            self._begin_anew(connection, now, about, [one for one in tries if one.run != run])
            tries = []
        mine = [one for one in tries if one.run == run]
        others = [one for one in tries if one.run not in (run, "") and now - one.seen_at < _UNSHOWN_FOR]
        self.killed = any(not one.ended for one in mine)
        self.unfinished = bool(mine) or any(
            one.ended or now - one.seen_at > 2 * _SIGN_EVERY for one in others
        )
        self._at_it = {one.try_number for one in tries if not one.ended and now - one.seen_at < _CLAIMED_FOR}
        first = mine[0].first_try if mine else self._try
        self._count_from(first)
        begun = {"try_number": self._try, "first_try": first, "run": run, "seen_at": now, "ended": False}
        connection.execute(runs_table.insert().values({"snapshot_id": self._snapshot, **begun}))

    def _begin_anew(
        self, connection: Connection, now: float, about: Mapping[str, str], others: Sequence[Any]
    ) -> None:
        if any(not one.ended and now - one.seen_at < _DEAD_AFTER for one in others):
            raise SnapshotInUseError(
                f"A run of something else is using the snapshot {self._name}: nothing was sent. Give each task, "
                f"account, match key and `field_map` a snapshot of its own name"
            )
        connection.execute(people_table.delete().where(_p.snapshot_id == self._snapshot))
        connection.execute(runs_table.delete().where(self._of_it))
        new = snapshots_table.update().where(_s.id == self._snapshot)
        connection.execute(new.values(about=json.dumps(dict(about))))

    def _is_of(self, about: Mapping[str, str], stored: str) -> bool:
        held = json.loads(stored)
        others = [name for name in {**held, **about} if held.get(name) != about.get(name)]
        if others:
            log.warning(
                "The snapshot %s is of another %s: it begins anew, and all rows are looked up",
                self._name,
                " and ".join(others),
            )
        return not others

    def _count_from(self, first_try: int) -> None:
        self.run = first_try.to_bytes(4, "big")

    def complete(self) -> None:
        if self._dry:
            return
        self._flush()
        of_the_run = sa.and_(self._of_it, _r.first_try == int.from_bytes(self.run, "big"))
        over = runs_table.delete().where(of_the_run, sa.or_(_r.try_number == self._try, _r.ended))
        # What tries have claimed that were killed counts on; they are of no run any more.
        killed = runs_table.update().where(of_the_run).values(run="")

        def complete(connection: Connection, now: float) -> None:
            connection.execute(over)
            connection.execute(killed)

        self._write(complete)

    def close(self) -> None:
        try:
            if not self._dry:
                self._flush()
                ended = runs_table.update().where(self._of_it, _r.try_number == self._try).values(ended=True)
                self._write(lambda connection, now: connection.execute(ended))
        except DatabaseError as error:
            log.warning("%s: what was accepted last is looked up by the next run", error)
        finally:
            self._database.close()

    # What a snapshot asks for

    def find(self, people: Sequence[int]) -> Mapping[int, bytes]:
        found: dict[int, bytes] = {}
        if self._try and time.monotonic() - self._seen > _SIGN_EVERY:
            self._write(self._say_alive)
        with self._database.reading() as connection:
            for some in _portions(people):
                named = f"snapshot_id = {self._snapshot} AND {_person_in(some)}"
                rows = connection.exec_driver_sql(
                    f"SELECT person, entry FROM crm_snapshot_person WHERE {named}"
                )
                found.update((person, bytes(entry)) for person, entry in rows if entry)
        return found

    def find_meanwhile(self, people: Sequence[int]) -> Callable[[], Mapping[int, bytes]]:
        # Drivers give row by row: another thread would wait for its turn at each.
        found = self.find(people)
        return lambda: found

    def take_out(self, people: Sequence[int]) -> None:
        for person in people:
            self._waiting.pop(person, None)
        if people:
            ordered = sorted(set(people))  # two runs that lock the same people do so in the same order
            self._write(lambda connection, now: self._claim(connection, now, ordered))

    def _claim(self, connection: Connection, now: float, people: Sequence[int]) -> None:
        self._say_alive(connection, now)
        missing = []
        for some in _portions(people):
            claims: dict[int, list[int]] = {}
            held = self._locked(connection, some)
            for person, claim in held.items():
                claims.setdefault(self._claimed(claim), []).append(person)
            for claim, of_it in claims.items():
                changed = sa.or_(_p.claim != claim, _p.entry != b"")
                taken = people_table.update().where(self._named(of_it), changed)
                _execute_once(connection, taken.values(entry=b"", claim=claim))
            missing += [person for person in some if person not in held]
        self._add(connection, [(person, b"") for person in missing], self._try)

    def _claimed(self, claim: int) -> int:
        """Return what becomes of a claim when this run sends something too."""
        if claim >= 0:
            free = claim < self._try and claim not in self._at_it
        else:  # of at least two runs, of which the latest is named
            free = -claim < min(self._at_it, default=self._try)
        return self._try if free or claim == self._try else -max(abs(claim), self._try)

    def put_in(self, accepted: Iterable[tuple[int, bytes]]) -> None:
        self._waiting.update(accepted)
        if len(self._waiting) >= _NAMED or time.monotonic() - self._written > _COMMIT_EVERY:
            self._flush()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        try:
            self._write(lambda connection, now: self._put(connection, now, waiting))
        except (DatabaseError, SnapshotInUseError) as error:
            log.warning("%s: what was accepted last is looked up by the next run", error)
        self._written = time.monotonic()

    def _put(self, connection: Connection, now: float, entries: Mapping[int, bytes]) -> None:
        self._say_alive(connection, now)
        for some in _portions(sorted(entries)):
            mine = [person for person, claim in self._locked(connection, some).items() if claim == self._try]
            # No two databases write many rows by one statement in the same way, but for new ones.
            if mine:
                _execute_once(connection, people_table.delete().where(self._named(mine)))
            self._add(connection, [(person, entries[person]) for person in mine], 0)

    # The database

    def _write(self, work: Work[T]) -> T:
        for _ in range(MOST_CONFLICTS - 1):
            try:
                return self._database.write(work)
            except IntegrityError:
                continue  # another run has added the same people just now
        try:
            return self._database.write(work)
        except IntegrityError:
            pass  # its message quotes the statement
        raise SnapshotTableError.because("other runs add the same people again and again")

    def _say_alive(self, connection: Connection, now: float) -> None:
        mine = runs_table.update().where(self._of_it, _r.try_number == self._try)
        if not connection.execute(mine.values(seen_at=now)).rowcount:
            raise SnapshotInUseError(
                f"Another run has begun the snapshot {self._name} anew, since this one was not heard of: nothing more "
                f"is sent"
            )
        self._seen = time.monotonic()

    @property
    def _of_it(self) -> Any:
        return _r.snapshot_id == self._snapshot

    def _named(self, people: Sequence[int]) -> Any:
        return sa.and_(_p.snapshot_id == self._snapshot, sa.text(_person_in(people)))

    def _locked(self, connection: Connection, people: Sequence[int]) -> dict[int, int]:
        """Return these people's claims, which nobody else changes until the transaction is over."""
        claims = sa.select(_p.person, _p.claim).where(self._named(people)).order_by(_p.person)
        found = _execute_once(connection, claims.with_for_update())
        return {row.person: row.claim for row in found}

    def _add(self, connection: Connection, entries: Iterable[tuple[int, bytes]], claim: int) -> None:
        written = _BYTES.get(connection.dialect.name)
        for some in _portions(list(entries)):
            if written:
                rows = [
                    f"({self._snapshot},{one},{written.format(entry.hex())},{claim})" for one, entry in some
                ]
                into = "crm_snapshot_person (snapshot_id, person, entry, claim)"
                connection.exec_driver_sql(f"INSERT INTO {into} VALUES {','.join(rows)}")
            else:
                of_it = {"snapshot_id": self._snapshot, "claim": claim}
                connection.execute(
                    people_table.insert(), [of_it | {"person": one, "entry": entry} for one, entry in some]
                )


def _execute_once(connection: Connection, statement: Any) -> Any:
    """Execute a statement that names people, which SQLAlchemy is not to keep."""
    return connection.execution_options(compiled_cache=None).execute(statement)


def _person_in(people: Sequence[int]) -> str:
    # Numbers need no binding, which would take longer than the query.
    return f"person IN ({','.join(map(str, people))})"


def _portions(people: Sequence[P]) -> Iterator[Sequence[P]]:
    for start in range(0, len(people), _NAMED):
        yield people[start : start + _NAMED]
