"""One look through a source before its first row is sent: how many rows it has, and what else must be known by then.

Knows no CRM. Files and lists are read anew afterwards. A query, or a list of a CRM, is not: asked again it may give
other rows than those that were looked at, so these are kept, in a temporary file where they are many.
"""

from __future__ import annotations

import hashlib
import pickle
import tempfile
from collections.abc import Collection, Generator, Iterator, Sequence
from typing import Protocol

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows.files import not_written
from airflow_provider_crm.rows.jsonlines import encode_line
from airflow_provider_crm.rows.row import AnyRow, Row, UnreadableRow
from airflow_provider_crm.rows.scratch import scratch_file
from airflow_provider_crm.rows.sources import Source


class Check(Protocol):
    """Something that has to be known of a source before its first row is sent."""

    def see(self, row: AnyRow) -> bool:
        """Note a row; return True if more of them are needed."""

    def conclude(self) -> None:
        """Say what was found.

        :raises CrmInputError: nothing may be sent.
        """


class AtLeast:
    """Refuses a source that is suspiciously short."""

    def __init__(self, rows: int) -> None:
        self._least = rows
        self._found = 0

    def see(self, row: AnyRow) -> bool:
        self._found += 1
        return self._found < self._least

    def conclude(self) -> None:
        if self._found < self._least:
            raise CrmInputError(
                f"The source has {self._found} rows, fewer than min_rows={self._least}: nothing was sent. "
                f"If that is right today, lower `min_rows`"
            )


class Announced:
    """Refuses a source of another number of rows than was announced."""

    def __init__(self, rows: int) -> None:
        self._announced = rows
        self._found = 0

    def see(self, row: AnyRow) -> bool:
        self._found += 1
        return True

    def conclude(self) -> None:
        if self._found != self._announced:
            raise CrmInputError(
                f"The source has {self._found} rows, {self._announced} were announced: nothing was deleted. "
                f"Check the source, or `require_confirmation_count`"
            )


class NearUsual:
    """Refuses a source that is much shorter or longer than is usual.

    :param usual: rows of the runs before.
    :param most: by which share the rows may differ from it.
    """

    def __init__(self, usual: float, most: float) -> None:
        self._usual = usual
        self._most = most
        self._found = 0

    def see(self, row: AnyRow) -> bool:
        self._found += 1
        return True

    def conclude(self) -> None:
        if abs(self._found - self._usual) > self._most * self._usual:
            raise CrmInputError(
                f"The source has {self._found} rows, where {self._usual:g} are usual: they differ by more than "
                f"max_deviation={self._most:g}. Nothing was sent. If that is right today, raise `max_deviation`"
            )


class Digest:
    """Tells a source from one with other rows, in whatever order: databases promise none.

    :param key: keeps others from trying out whether it is somebody's row.
    """

    def __init__(self, key: bytes) -> None:
        self._hash = hashlib.blake2b(digest_size=16, key=key)
        self._sum = 0
        self.rows = 0

    def see(self, row: AnyRow) -> bool:
        digest = self._hash.copy()
        digest.update(encode_line(row.data))
        self._sum += int.from_bytes(digest.digest(), "big")
        self.rows += 1
        return True

    def conclude(self) -> None:
        """Refuse no source."""

    @property
    def text(self) -> str:
        """The same for the same rows."""
        return f"{self.rows}.{self._sum % 2**128:032x}"


def look_through(source: Source, checks: Sequence[Check]) -> Source:
    """Read a source once, as far as the checks need it.

    :return: a source of the very rows that the checks have seen.
    :raises CrmInputError: a check refuses it.
    """
    if not checks:
        return source
    rows = iter(source)
    kept = _KeptRows() if source.may_change else None
    waiting = list(checks)
    whole = True
    for row in rows:
        if kept:
            kept.add(row)
        waiting = [check for check in waiting if check.see(row)]
        if not waiting:
            whole = False
            break
    for check in checks:
        check.conclude()
    if kept:
        return _KeptSource(source, kept, None if whole else rows)
    return source


class _KeptRows:
    """Rows in the order in which they were added, in a file that has no name and goes with the process."""

    def __init__(self) -> None:
        self._file = scratch_file(self)
        self._rows = 0

    def add(self, row: AnyRow) -> None:
        data = {
            name: bytes(cell) if isinstance(cell, memoryview) else cell for name, cell in row.data.items()
        }
        kept = row.number, data, row.reason if isinstance(row, UnreadableRow) else None
        try:
            pickle.dump(kept, self._file, protocol=5)
        except OSError as error:
            raise not_written("The copy of the query's rows", error, tempfile.gettempdir()) from error
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise CrmInputError(
                f"Row {row.number} of the query holds something that cannot be kept: cast it in the query"
            ) from error
        self._rows += 1

    def __iter__(self) -> Iterator[AnyRow]:
        place = 0
        for _ in range(self._rows):
            self._file.seek(place)
            number, data, reason = pickle.load(self._file)
            place = self._file.tell()
            yield Row(number, data) if reason is None else UnreadableRow(number, reason, data)


class _KeptSource:
    """The rows of a query that were looked at, and then the rest of the same answer.

    :param rest: what follows the rows that were kept; None where nothing does.
    """

    def __init__(self, source: Source, kept: _KeptRows, rest: Iterator[AnyRow] | None) -> None:
        self._source = source
        self._kept = kept
        self._rest = rest
        self._whole = rest is None
        self.may_change = not self._whole

    @property
    def description(self) -> str:
        return self._source.description

    def columns(self) -> list[str] | None:
        return self._source.columns()

    def require(self, columns: Collection[str], optional: Collection[str] = ()) -> None:
        self._source.require(columns, optional)

    def __iter__(self) -> Generator[AnyRow]:
        rest, self._rest = self._rest, None
        if rest is None and not self._whole:
            # The rows are not those of an earlier try of the task: all of it begins again.
            yield from self._source
            return
        yield from self._kept
        if rest is not None:
            yield from rest

    def fraction_read(self) -> float | None:
        return self._source.fraction_read()
