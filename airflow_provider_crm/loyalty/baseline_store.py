"""Which of the CRM's lines were there before: kept in the ledger, small, for as long as a credit may be in doubt.

Knows neither the CRM nor what a line is, only its id.
"""

from __future__ import annotations

import threading
import uuid
import zlib
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import accumulate, chain, groupby, pairwise
from typing import Any

import msgspec
import sqlalchemy as sa

from airflow_provider_crm.databases.database import Database
from airflow_provider_crm.loyalty.database import LedgerError
from airflow_provider_crm.loyalty.states import State
from airflow_provider_crm.loyalty.tables import baselines_table, credits_table

#: Days after which a baseline is thrown away when no credit in doubt needs it; no run lasts that long.
KEPT_FOR = timedelta(days=30)
#: Baselines that are kept in memory.
IN_MEMORY = 64


class LineSet:
    """Ids of lines: eight bytes each as long as they are numbers, as a CRM's own ids mostly are.

    :param pages: the ids, some at a time; read one after the other.
    """

    def __init__(self, pages: Iterable[Iterable[str]] = ()) -> None:
        parts: list[array[int]] = []
        self._others: set[str] = set()
        for page in pages:
            ids = list(page)
            parts.append(array("Q", sorted(int(one) for one in ids if _is_number(one))))
            self._others.update(one for one in ids if not _is_number(one))
        self._numbers = array("Q", (number for number, _ in groupby(merge(*parts))))

    def __contains__(self, one: str) -> bool:
        if not _is_number(one):
            return one in self._others
        number = int(one)
        place = bisect_left(self._numbers, number)
        return place < len(self._numbers) and self._numbers[place] == number

    def __len__(self) -> int:
        return len(self._numbers) + len(self._others)

    def pack(self) -> bytes:
        """Write the ids; of numbers given out one after the other, hardly anything is left."""
        steps = [number - before for before, number in pairwise(chain((0,), self._numbers))]
        return zlib.compress(msgspec.msgpack.encode((steps, sorted(self._others))))

    @classmethod
    def unpack(cls, data: bytes) -> LineSet:
        """Read what :meth:`pack` wrote."""
        steps, others = msgspec.msgpack.decode(zlib.decompress(data), type=tuple[list[int], list[str]])
        lines = cls()
        lines._numbers = array("Q", accumulate(steps))
        lines._others = set(others)
        return lines


def _is_number(one: str) -> bool:
    return one.isascii() and one.isdecimal() and len(one) < 19 and (one[0] != "0" or one == "0")


class BaselineStore:
    """The baselines of one account.

    :param database: the ledger's.
    :param account: whose.
    """

    def __init__(self, database: Database, account: str) -> None:
        self._database = database
        self._account = account
        self._kept: OrderedDict[str, tuple[LineSet, str | None]] = OrderedDict()
        self._lock = threading.Lock()

    def save(self, lines: LineSet, parent: str | None = None) -> str:
        """Keep which lines the CRM holds.

        :param parent: an earlier baseline whose lines count too.
        :return: its name.
        """
        name = uuid.uuid4().hex
        values = {
            "id": name,
            "account": self._account,
            "parent": parent,
            "lines": lines.pack(),
            "created_at": datetime.now(UTC).replace(tzinfo=None),
        }
        self._database.write(lambda connection, _: connection.execute(baselines_table.insert(), values))
        self._keep(name, (lines, parent))
        return name

    def holds(self, name: str | None, line_id: str) -> bool:
        """Return whether a line is in a baseline or in one before it.

        :raises LedgerError: the ledger does not hold the baseline.
        """
        while name:
            lines, name = self._load(name)
            if line_id in lines:
                return True
        return False

    def _load(self, name: str) -> tuple[LineSet, str | None]:
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        with self._database.reading() as connection:
            row: Any = connection.execute(
                sa.select(baselines_table).where(baselines_table.c.id == name)
            ).first()
        if row is None:
            raise LedgerError(f"The ledger has lost the baseline {name}: nothing is decided without it")
        return self._keep(name, (LineSet.unpack(row.lines), row.parent))

    def _keep(self, name: str, baseline: tuple[LineSet, str | None]) -> tuple[LineSet, str | None]:
        with self._lock:
            self._kept[name] = baseline
            while len(self._kept) > IN_MEMORY:
                self._kept.popitem(last=False)
        return baseline

    def sweep(self) -> None:
        """Throw away what no credit in doubt needs any more."""
        table, credit = baselines_table.c, credits_table.c
        before = datetime.now(UTC).replace(tzinfo=None) - KEPT_FOR
        with self._database.reading() as connection:
            old = connection.execute(
                sa.select(table.id).where(table.account == self._account, table.created_at < before).limit(1)
            ).first()
            if old is None:
                return
            parents = {
                row.id: row.parent
                for row in connection.execute(
                    sa.select(table.id, table.parent).where(table.account == self._account)
                )
            }
            doubts = connection.execute(
                sa.select(credit.baseline)
                .where(
                    credit.account == self._account,
                    credit.state.in_([State.SENDING.value, State.UNKNOWN.value]),
                    credit.baseline.isnot(None),
                )
                .distinct()
            ).fetchall()
            young = connection.execute(
                sa.select(table.id).where(table.account == self._account, table.created_at >= before)
            ).fetchall()
        needed: set[str] = set()
        for name in [row.baseline for row in doubts] + [row.id for row in young]:
            while name and name not in needed:
                needed.add(name)
                name = parents.get(name)
        gone = [name for name in parents if name not in needed]
        for start in range(0, len(gone), 500):
            condition = table.id.in_(gone[start : start + 500])
            self._delete(baselines_table.delete().where(condition))

    def _delete(self, statement: Any) -> None:
        self._database.write(lambda connection, _: connection.execute(statement))
