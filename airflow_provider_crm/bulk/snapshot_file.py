"""A snapshot in one file: SQLite, on this machine or in an object store. Knows neither rows nor how they end.

New entries are appended, and put into their places in one go when the run is over: at ten million people that is many
times faster than to look for the place of each.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import secrets
import sqlite3
import struct
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from airflow_provider_crm.bulk.snapshot_places import APPLICATION, place_of, remove, state_of
from airflow_provider_crm.exceptions import CrmTransientError
from airflow_provider_crm.rows.files import not_writable

log = logging.getLogger(__name__)

#: Values in one statement, where SQLite takes so many: it took 999 before 3.32.
_VALUES = 5000
#: Statements that Python keeps, of up to half a megabyte each; those of other numbers of values are other ones.
_KEPT = 8
#: Kilobytes of the file in memory.
_CACHE = 16_000
#: A byte each tells whether somebody may be among the news.
_MARKS = 1 << 22
#: Seconds after which new entries are made to last, at the latest.
_COMMIT_EVERY = 1.0

#: Bytes of a page. People who are looked up lie far apart, and a page is read, and written, for nearly each of them.
_PAGE = 1024
#: Pages that wait in the file beside it before they are put into their places, which takes two waits for the disk.
_WAITING_PAGES = 16_000

_LAYOUT = (
    f"PRAGMA application_id={APPLICATION}",
    "CREATE TABLE about (name TEXT PRIMARY KEY, value BLOB)",
    # An empty entry is of somebody of whom nothing is known to be accepted.
    "CREATE TABLE people (person INTEGER PRIMARY KEY, entry BLOB NOT NULL)",
    "CREATE TABLE news (person INTEGER NOT NULL, entry BLOB NOT NULL)",
    "CREATE TABLE names (person INTEGER PRIMARY KEY, name TEXT NOT NULL)",
)
#: What else a snapshot may be of, so that its people are the same and nothing is known to be accepted of them.
_SAME_PEOPLE = frozenset({"`field_map`", "`nulls`", "version of this package's rules"})
_COUNT_SEEN = (
    "CREATE TEMP TABLE here (person INTEGER PRIMARY KEY)",
    "INSERT OR IGNORE INTO here SELECT person FROM seen ORDER BY person",
    "CREATE TEMP TABLE left_people (person INTEGER PRIMARY KEY)",
    "INSERT INTO left_people SELECT person FROM names WHERE person NOT IN here ORDER BY person",
)
#: All entries as one value: with a row for each, other threads would be let in at each of them.
_FIND = (
    "SELECT count(*), group_concat(printf('%016x', person) || hex(entry), ' ') FROM people "
    "WHERE person IN ({places}) AND entry != x''"
)
#: A person, and an entry as nearly all are.
_PLAIN = struct.Struct(">q29s")
_MERGE = (
    "INSERT OR REPLACE INTO people SELECT person, entry FROM news ORDER BY person, rowid",
    "DELETE FROM news",
)


class SnapshotInUseError(CrmTransientError):
    """Another run is using the snapshot: nothing was sent."""


class SnapshotFile:
    """Entries in a file, which is one run's alone while it is open.

    A file that is lost, damaged or cannot be written any more costs look-ups: it is thrown away, and begun anew by
    the next run.

    :param path: a local path or a URI. An object is copied down, and up again when the run is over.
    :param about: what the snapshot is of, by the names that users know; of anything else it is void.
    :param run: names the run, the same for all of its tries.
    :param dry: leave it as it is.
    :param names: keep people's keys in clear; otherwise those that are there are removed.
    :param confirm: called before what is there is void; what it raises leaves that as it was.
    :raises CrmInputError: the file there is no snapshot, or it cannot be written.
    :raises SnapshotInUseError: another run has it open.
    """

    may_find_later = False

    def __init__(
        self,
        path: str,
        about: Mapping[str, str],
        run: str,
        *,
        dry: bool = False,
        names: bool = False,
        confirm: Callable[[], object] = lambda: None,
    ) -> None:
        self._path = path
        self._confirm = confirm
        self._names = names
        #: The run before may have been killed: the CRM may still be at its last calls.
        self.killed = False
        #: It did not end well: what it sent last may not be shown yet.
        self.unfinished = False
        self._dry = dry
        self._place = place_of(path)
        self._db: sqlite3.Connection | None = None
        #: It is given up, and lies there still.
        self._is_harmful = False
        #: One statement at a time, since one thread finds entries while another one works on. Taken by a ``with`` of
        #: its own: in a generator's it would stay taken if the task is stopped just then.
        self._turn = threading.Lock()
        self._finder = ThreadPoolExecutor(1, thread_name_prefix="crm-snapshot")
        self._news = bytearray(_MARKS)
        #: Nobody was in it when it was opened; who is put in meanwhile stands among the news.
        self._is_new = False
        self._committed = time.monotonic()
        self.salt = secrets.token_bytes(16)
        self.run = bytes(4)
        try:
            self._open(about, run)
        except sqlite3.Error as error:
            self.killed = self.unfinished = True  # as far as can be told
            self._give_up(error)
        except BaseException:
            self._close_file()
            raise

    def _open(self, about: Mapping[str, str], run: str) -> None:
        file = self._place.open()
        state = state_of(file, self._path)
        self.killed = self.unfinished = state == "damaged"
        if state == "damaged" and not self._dry:
            log.warning("The snapshot %s is damaged: it begins anew, and all rows are looked up", self._path)
            remove(file)
        if state != "whole":
            if state == "absent":
                log.info("There is no snapshot %s yet: all rows are looked up", self._path)
            if self._dry:
                return
        self._db = db = sqlite3.connect(
            file, timeout=2.0, isolation_level=None, check_same_thread=False, cached_statements=_KEPT
        )
        weakref.finalize(self, db.close)
        with self._said_plainly():
            db.execute("PRAGMA locking_mode=EXCLUSIVE")
            if state != "whole":
                db.execute(f"PRAGMA page_size={_PAGE}")
                self._do(("BEGIN EXCLUSIVE", *_LAYOUT, "COMMIT"))
            db.execute("PRAGMA journal_mode=WAL")
            db.execute(f"PRAGMA synchronous={'FULL' if self._place.lasts else 'OFF'}")
            db.execute(f"PRAGMA cache_size=-{_CACHE}")
            db.execute(f"PRAGMA wal_autocheckpoint={_WAITING_PAGES}")
            db.execute(f"PRAGMA secure_delete={'ON' if self._names else 'FAST'}")
            db.execute("CREATE TEMP TABLE seen (person INTEGER NOT NULL, name TEXT NOT NULL)")
            db.execute("BEGIN IMMEDIATE")
        self._do(_MERGE)
        self._take_up(about, run)
        if self._db is not None:
            self._is_new = self._execute("SELECT 1 FROM people LIMIT 1").fetchone() is None

    @contextlib.contextmanager
    def _said_plainly(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise SnapshotInUseError(
                    f"Another run is using the snapshot {self._path}: nothing was sent. Let one run at a time use it "
                    f"(max_active_runs=1, and a snapshot for each mapped task)"
                ) from error
            if "readonly" in str(error) or "unable to open" in str(error):
                raise not_writable(self._path, error) from error
            raise

    def _take_up(self, about: Mapping[str, str], run: str) -> None:
        """Go on with the snapshot, if it is of the same rows of the same account."""
        stored = dict(self._execute("SELECT name, value FROM about"))
        self.killed = self.killed or bool(stored.get("open"))
        self.unfinished = self.unfinished or bool(stored.get("run"))
        held = {name.removeprefix("of "): value for name, value in stored.items() if name.startswith("of ")}
        others = [name for name in {**held, **about} if held.get(name) != about.get(name)]
        if held and others:
            log.warning(
                "The snapshot %s is of another %s: it begins anew, and all rows are looked up",
                self._path,
                " and ".join(others),
            )
            if self._dry:
                self._close_file()
                return
            self._confirm()
            if _SAME_PEOPLE.issuperset(others):
                self._do(("UPDATE people SET entry = x''",))
            else:
                self._do(("DELETE FROM people", "DELETE FROM names", "DELETE FROM about"))
                stored = {}
        self.salt = stored.get("salt", self.salt)
        number = stored.get("number", 0)
        if stored.get("run") != run:
            number += 1
        self.run = int(number).to_bytes(4, "big")
        if not self._dry:
            if not self._names and self._execute("SELECT 1 FROM names LIMIT 1").fetchone():
                self._do(("DELETE FROM names",))
            self._say({f"of {name}": value for name, value in about.items()})
            self._say({"salt": self.salt, "number": number, "run": run, "open": 1})
            self._commit()

    # What a snapshot asks for

    def find(self, people: Sequence[int]) -> Mapping[int, bytes]:
        found: dict[int, bytes] = {}
        if self._is_new:
            return found
        with self._turn, self._harm_borne():
            for some, places in self._portions(people):
                number, together = self._execute(_FIND.format(places=places), some).fetchone()
                if number:
                    found.update(_entries(number, together))
        return found

    def find_meanwhile(self, people: Sequence[int]) -> Callable[[], Mapping[int, bytes]]:
        return dict if self._is_new else self._finder.submit(self.find, people).result

    def take_out(self, people: Sequence[int]) -> None:
        if not people:
            return
        self._place.begin()
        with self._turn, self._harm_borne():
            taken = 0
            for some, places in () if self._is_new else self._portions(people):
                emptied = f"UPDATE people SET entry = x'' WHERE person IN ({places}) AND entry != x''"
                taken += self._execute(emptied, some).rowcount
            again = [(person, b"") for person in people if self._news[person % _MARKS]]
            if again:
                self._append(again)
            if taken or again:
                self._commit()
        self._destroy()  # where the other thread could not: nobody may leave while entries of theirs lie there

    def put_in(self, accepted: Iterable[tuple[int, bytes]]) -> None:
        with self._turn, self._harm_borne():
            self._append(accepted)
            if time.monotonic() - self._committed > _COMMIT_EVERY:
                self._commit()

    def complete(self) -> None:
        """Say that the run is over: another one of its name is to do everything anew."""
        with self._turn, self._harm_borne():
            self._do(_MERGE)
            self._say({"run": ""})
            self._commit()

    # Who has left

    def name(self, people: Iterable[tuple[int, str]]) -> None:
        with self._turn, self._harm_borne():
            self._opened.executemany("INSERT INTO seen VALUES (?, ?)", people)

    def count_leavers(self) -> tuple[int, int]:
        with self._turn, self._harm_borne():
            (held,) = self._execute("SELECT count(*) FROM names").fetchone()
            self._do(_COUNT_SEEN)
            (left,) = self._execute("SELECT count(*) FROM left_people").fetchone()
            if not self._dry:
                self._do(("INSERT OR IGNORE INTO names SELECT person, name FROM seen ORDER BY person",))
                self._commit()
            return left, held
        return 0, 0

    def leavers(self) -> Iterator[str]:
        named = self._execute("SELECT name FROM left_people JOIN names USING (person) ORDER BY person")
        yield from (name for (name,) in named)

    def forget_leavers(self) -> None:
        with self._turn, self._harm_borne():
            self._do(
                f"DELETE FROM {table} WHERE person IN (SELECT person FROM left_people)"
                for table in ("people", "names")
            )
            self._commit()

    def close(self) -> None:
        """Put everything into the file, and the file into its place."""
        self._finder.shutdown()
        with self._turn, self._harm_borne():
            if not self._dry:
                self._say({"open": 0})
            self._do(("COMMIT", "PRAGMA wal_checkpoint(TRUNCATE)"))
            self._close_file()
            try:
                self._place.finish()
            except Exception as error:  # each store has its own; what lies there now nobody believes
                log.warning("The snapshot %s could not be stored (%s): it begins anew", self._path, error)

    # The database

    def _portions(self, people: Sequence[int]) -> Iterator[tuple[Sequence[int], str]]:
        for start in range(0, len(people), self._most):
            some = people[start : start + self._most]
            yield some, ",".join("?" * len(some))

    @property
    def _most(self) -> int:
        return min(_VALUES, self._opened.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER))

    def _append(self, entries: Iterable[tuple[int, bytes]]) -> None:
        entries = list(entries)
        for person, _ in entries:
            self._news[person % _MARKS] = 1
        most = self._most // 2
        for start in range(0, len(entries), most):
            some = entries[start : start + most]
            # One statement for many: SQLite's executemany takes three times as long, and lets other threads in at
            # each row.
            values = ",".join(["(?,?)"] * len(some))
            self._execute(f"INSERT INTO news VALUES {values}", list(itertools.chain.from_iterable(some)))

    def _say(self, values: Mapping[str, object]) -> None:
        for pair in values.items():
            self._execute("INSERT OR REPLACE INTO about VALUES (?, ?)", pair)

    def _commit(self) -> None:
        self._do(("COMMIT", "BEGIN IMMEDIATE"))
        self._committed = time.monotonic()

    def _do(self, statements: Iterable[str]) -> None:
        for statement in statements:
            self._execute(statement)

    def _execute(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        return self._opened.execute(statement, values)

    @property
    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            raise _GivenUpError
        return self._db

    @contextlib.contextmanager
    def _harm_borne(self) -> Iterator[None]:
        try:
            yield
        except _GivenUpError:
            pass  # it was said then
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Throw the snapshot away: what cannot be taken out of it must not be believed by a later run.

        :raises OSError: nor can it be thrown away.
        """
        log.warning(
            "The snapshot %s cannot be used (%s): all other rows are looked up, and the next run begins it anew",
            self._path,
            error,
        )
        self._close_file()
        self._is_harmful = not self._dry
        self._destroy()

    def _destroy(self) -> None:
        if self._is_harmful:
            self._place.destroy()
            self._is_harmful = False

    def _close_file(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()


class _GivenUpError(Exception):
    """There is no database any more."""


def _entries(number: int, together: str) -> Iterable[tuple[int, bytes]]:
    """Read what :data:`_FIND` gives."""
    digits = 2 * _PLAIN.size
    # Where the spaces stand tells it, not the length: those of longer and shorter entries add up to the same.
    if len(together) == number * (digits + 1) - 1 and together[digits :: digits + 1] == " " * (number - 1):
        return _PLAIN.iter_unpack(bytes.fromhex(together))
    each = map(bytes.fromhex, together.split())
    return [(int.from_bytes(one[:8], "big", signed=True), one[8:]) for one in each]
