"""How a SQL database is written: one transaction at a time and whole, by the clock that all workers share.

Knows SQLAlchemy and the differences between databases; knows nothing of what is kept there.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Generic, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import NullPool, QueuePool

from airflow_provider_crm.exceptions import CrmTransientError, redact

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[Connection, float], T]
"""Something to be done within a transaction; gets the database's time, in seconds since 1970."""

#: How often a transaction is begun again that the database gave up in favour of another.
MOST_CONFLICTS = 10
#: The codes for that: deadlock and serialization failure of PostgreSQL, deadlock and lock timeout of MySQL.
_CONFLICTS = ("40P01", "40001", 1213, 1205)
#: Seconds to wait for a connection, and the drivers that are told so, unless the connection says another number.
CONNECT_TIMEOUT = 10
_WITH_CONNECT_TIMEOUT = ("psycopg2", "psycopg", "pymysql", "mysqldb")

#: SQLite serves one machine, and has no other clock than that.
_CLOCKS = {
    "postgresql": "select extract(epoch from clock_timestamp())",
    # In UTC: the hour that comes twice when summer ends would set a local clock back.
    "mysql": "select timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)) / 1000000.0",
}
_CLOCKS["mariadb"] = _CLOCKS["mysql"]


class DatabaseError(CrmTransientError):
    """A database cannot be reached or written."""

    #: What is said about it: whose database it is, and what follows.
    said: ClassVar[str] = "The database cannot be used ({problem})"

    @classmethod
    def because(cls, problem: str) -> Self:
        """Return the error.

        :param problem: what the database says, already fit for a log.
        """
        return cls(cls.said.format(problem=problem))


class _StaleConnectionError(SQLAlchemyError):
    """A connection that was kept open is not any more."""


class _Job(Generic[T]):
    """Something that a thread wants done, and what became of it."""

    def __init__(self, work: Work[T], error: type[DatabaseError]) -> None:
        self.work = work
        self.done = False
        self._unusable = error
        self._result: Any = None
        self._error: Exception | None = None

    def end(self, result: Any = None, error: Exception | None = None) -> None:
        self.done, self._result, self._error = True, result, error

    def outcome(self) -> T:
        if not self.done:  # the thread that was about to do it has come to a sudden end
            raise self._unusable.because("it was not written: the task is ending")
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[no-any-return]


class Database:
    """A database that takes transactions from any thread.

    :param engine: any database that SQLAlchemy knows; SQLite serves one machine.
    :param unusable: what is raised when it cannot be used.
    """

    def __init__(self, engine: Engine, unusable: type[DatabaseError] = DatabaseError) -> None:
        self._engine = engine
        self._unusable = unusable
        self._one_writer = engine.dialect.name == "sqlite"
        self._turn = threading.Lock()
        self._waiting: deque[_Job[Any]] = deque()
        self._clock = _CLOCKS.get(engine.dialect.name)
        if self._one_writer:
            self._engine = _sqlite_engine(engine)
        elif engine.dialect.name in ("mysql", "mariadb"):
            sa.event.listen(engine, "do_connect", _speak_unicode)
        if engine.dialect.driver in _WITH_CONNECT_TIMEOUT:
            sa.event.listen(engine, "do_connect", _give_up)

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._engine.dispose()

    def create(self, metadata: sa.MetaData) -> None:
        """Create the tables that are missing.

        :raises DatabaseError: the database cannot be used.
        """
        with self._said_plainly():
            with self._engine.connect():
                pass  # one that is away is away: what is tried again is what other workers are in the way of
            for _ in range(MOST_CONFLICTS):
                try:
                    metadata.create_all(self._engine)
                except SQLAlchemyError as error:
                    problem = error  # another worker may be making them at the same time
                    time.sleep(random.uniform(0.0, 0.05))
                else:
                    return
            # Never as itself: two workers that make one table may break its database's own uniqueness.
            raise SQLAlchemyError(str(getattr(problem, "orig", problem)))

    def write(self, work: Work[T]) -> T:
        """Do something in one transaction, which is committed when this returns.

        :param work: called again when the database gave the transaction up in favour of another.
        :return: what it gave.
        :raises IntegrityError: it broke a unique constraint; nothing was changed.
        :raises DatabaseError: the database cannot be used; what was to be changed may be changed or not.
        """
        if not self._one_writer:
            return self._write_alone(work)
        # SQLite has one writer at a time and makes the others sleep: those of this process wait for each other
        # here, and whoever comes first commits what all of them want done.
        job = _Job(work, self._unusable)
        self._waiting.append(job)
        with self._turn:
            if not job.done:
                self._write_together([self._waiting.popleft() for _ in range(len(self._waiting))])
        return job.outcome()

    def _write_together(self, jobs: Sequence[_Job[Any]]) -> None:
        if len(jobs) > 1:
            try:
                results = self._write_alone(
                    lambda connection, now: [job.work(connection, now) for job in jobs]
                )
            except DatabaseError as error:
                for job in jobs:
                    job.end(error=error)
                return
            except Exception:  # one of them cannot be done: nothing was, so let each be done by itself
                log.debug("A common transaction was given up")
            else:
                for job, result in zip(jobs, results, strict=True):
                    job.end(result)
                return
        for job in jobs:
            try:
                job.end(self._write_alone(job.work))
            except Exception as error:
                job.end(error=error)

    def _write_alone(self, work: Work[T]) -> T:
        with self._said_plainly():
            for _ in range(MOST_CONFLICTS - 1):
                try:
                    return self._write_once(work)
                except _StaleConnectionError:
                    continue
                except DBAPIError as error:
                    if not _is_conflict(error):
                        raise
                time.sleep(random.uniform(0.0, 0.02))
            return self._write_once(work)

    def _write_once(self, work: Work[T]) -> T:
        with self._engine.connect() as connection, connection.begin():
            try:
                now = self.time(connection)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                # It waited in the pool for so long that the server closed it; nothing was done yet.
                raise _StaleConnectionError(str(error.orig)) from error
            return work(connection, now)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a connection that only reads, and keeps nobody from writing meanwhile."""
        with self._said_plainly(), self._engine.connect() as connection:
            reader = connection.execution_options(crm_reads=True)
            with reader.begin():
                yield reader

    def now(self) -> float:
        """Return the database's time, in seconds since 1970."""
        return self.write(lambda connection, now: now)

    @contextmanager
    def _said_plainly(self) -> Iterator[None]:
        """Turn a database's error into ours, without its parameters."""
        try:
            yield
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            problem = f"{type(cause).__name__}: {redact(cause, limit=200)}"
        else:
            return
        raise self._unusable.because(problem)

    def time(self, connection: Connection) -> float:
        """Return the database's time through a connection that is open, in seconds since 1970."""
        if self._clock is None:
            return time.time()
        return float(connection.exec_driver_sql(self._clock).scalar_one())


def _is_conflict(error: DBAPIError) -> bool:
    if isinstance(error, IntegrityError):
        return False
    cause: Any = error.orig
    code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    first = cause.args[0] if getattr(cause, "args", ()) else None
    return code in _CONFLICTS or (isinstance(first, int) and first in _CONFLICTS)


def _speak_unicode(dialect: Any, record: Any, arguments: Any, parameters: dict[str, Any]) -> None:
    """Set MySQL's drivers to UTF-8; some of them would use latin1 when nobody says otherwise."""
    parameters.setdefault("charset", "utf8mb4")


def _give_up(dialect: Any, record: Any, arguments: Any, parameters: dict[str, Any]) -> None:
    """Set how long a driver waits for a connection, which a database behind a firewall, or one that hangs, never gives.

    See ``connect_timeout`` in https://www.postgresql.org/docs/current/libpq-connect.html: "wait indefinitely".
    """
    parameters.setdefault("connect_timeout", CONNECT_TIMEOUT)


def _sqlite_engine(engine: Engine) -> Engine:
    """Return an engine whose connections are kept open and begin transactions when they are told to."""
    if isinstance(engine.pool, NullPool):  # what SQLAlchemy 1.4 has for files
        engine = sa.create_engine(engine.url, poolclass=QueuePool, connect_args={"check_same_thread": False})
    if not sa.event.contains(engine, "connect", _prepare_sqlite):
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, record: Any) -> None:
    """Set SQLite to commit to the disk, and to let readers read meanwhile."""
    connection.isolation_level = None  # the driver would begin transactions too late
    cursor = connection.cursor()
    for pragma in ("busy_timeout = 30000", "journal_mode = WAL", "synchronous = FULL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """Acquire the write lock when a transaction begins: one that begins by reading could not get it any more."""
    reads = connection.get_execution_options().get("crm_reads")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
