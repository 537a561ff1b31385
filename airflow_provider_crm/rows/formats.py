"""How a file becomes rows, by its suffix: one small reader per format.

Knows no CRM, and nothing of folders, patterns or other sources. What cannot be read is a row with a number and a
reason, never the end of the job.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import msgspec

from airflow_provider_crm.exceptions import CrmInputError, redact
from airflow_provider_crm.rows.arrow_values import PythonColumn, for_python, load_arrow
from airflow_provider_crm.rows.csv_files import CsvFile
from airflow_provider_crm.rows.file_source import PLAIN_TEXT, TextFormat
from airflow_provider_crm.rows.files import Location
from airflow_provider_crm.rows.jsonlines import objects_in
from airflow_provider_crm.rows.row import (
    MAX_UNPARSED,
    Block,
    Part,
    Row,
    UnreadableRow,
    check_column_names,
    show_name,
)
from airflow_provider_crm.rows.shared_cells import SharedCells
from airflow_provider_crm.rows.streams import (
    ByteStream,
    GzipBytes,
    open_file,
    whole_lines,
)
from airflow_provider_crm.rows.text_file import TextFile

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

#: How many rows of a JSON-lines file are looked at to tell its columns.
SAMPLE_ROWS = 1_000
#: How many rows of a Parquet file are in memory at a time.
BATCH_ROWS = 1_000
#: How much of each of its columns is: a row group may be of any size.
COLUMN_BYTES = 1 << 22

#: The columns of a rejects file. A line with exactly these is a rejected row: its data is the row.
_REJECT_KEYS = frozenset(("row", "key", "stage", "reason", "data"))
_REJECT_KEYS_WITHOUT_DATA = _REJECT_KEYS - {"data"}
_REJECT_STAGES = ("read", "validate", "crm")
_INDEX = re.compile(r"__index_level_\d+__")
#: How Hive writes that a key has no value.
NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"
_UNREADABLE_DATA = ({"unparsed"}, {"cells"})


class RowFile(Protocol):
    """A file of rows."""

    @property
    def format_name(self) -> str:
        """For people: ``CSV``."""

    @property
    def has_header(self) -> bool:
        """Whether the file itself names its columns; otherwise they are those of its first rows."""

    @property
    def location(self) -> Location: ...

    @property
    def size(self) -> int:
        """In bytes."""

    def columns(self) -> list[str]:
        """Return the names of the columns.

        :raises CrmInputError: the header is missing or ambiguous, or the file is not of this format.
        """

    def parts(self, first_number: int) -> Generator[Part]:
        """Read the file from its start: its rows one by one, or, where they are read so, by column.

        :param first_number: the number of its first row.
        """

    def fraction_read(self) -> float:
        """Return how far the reading is, from 0 to 1."""


class JsonLinesFile(TextFile):
    """One JSON object per line; a blank line is no row, and an empty file has none.

    A line of a rejects file stands for the row that it holds, so that a repaired rejects file is a source.
    """

    format_name: ClassVar[str] = "JSONL"
    has_header: ClassVar[bool] = False

    def columns(self) -> list[str]:
        if self._columns is None:
            with closing(self.parts(1)) as rows:
                sample = itertools.islice(rows, SAMPLE_ROWS)
                self._columns = list(
                    dict.fromkeys(key for row in sample if isinstance(row, Row) for key in row.data)
                )
        return self._columns

    def parts(self, first_number: int) -> Generator[Row | UnreadableRow]:
        nulls = self._format.nulls
        more_nulls = nulls != PLAIN_TEXT.nulls
        with closing(self._open()) as stream:
            self._reading = stream
            decode = msgspec.json.Decoder(dict[str, Any]).decode
            number = first_number
            for line_number, line in enumerate(self._lines(stream), start=1):
                if not line or line.isspace():
                    continue
                try:
                    data = decode(line)
                except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                    where = f"{self.location.name}, line {line_number}"
                    parts = objects_in(line)
                    several = f"{where}: one of {len(parts)} JSON objects, each needs a line of its own"
                    for part in parts[:-1]:
                        yield UnreadableRow(number, several, {"unparsed": _start_of(part)})
                        number += 1
                    reason = several if len(parts) > 1 else f"{where}: no JSON object ({error})"
                    yield UnreadableRow(number, reason, {"unparsed": _start_of(parts[-1])})
                else:
                    row = _unwrap(number, data, line) if is_reject(data) else Row(number, data)
                    if more_nulls and isinstance(row, Row):
                        row.data.update(
                            {
                                name: None
                                for name, text in row.data.items()
                                if type(text) is str and text in nulls
                            }
                        )
                    yield row
                number += 1

    def _lines(self, stream: ByteStream) -> Iterator[bytes]:
        for block in whole_lines(stream):
            lines = block.split(b"\n")
            if not lines[-1]:
                lines.pop()
            yield from lines


def _start_of(line: bytes) -> str:
    return line[:MAX_UNPARSED].decode(errors="backslashreplace")[:MAX_UNPARSED]


def is_reject(data: dict[str, Any]) -> bool:
    """Return True for a line of a rejects file, False for a row that happens to have a column named ``reason``."""
    return (
        4 <= len(data) <= 5
        and data.keys() in (_REJECT_KEYS, _REJECT_KEYS_WITHOUT_DATA)
        and isinstance(data["row"], int)
        and data["stage"] in _REJECT_STAGES
        and isinstance(data.get("data"), (dict, NoneType))
    )


def _unwrap(number: int, reject: dict[str, Any], line: bytes) -> Row | UnreadableRow:
    data = reject.get("data")
    if data is None:
        reason = "a line of a rejects file that was written without the row's data"
        return UnreadableRow(number, reason, {"unparsed": _start_of(line)})
    if reject["stage"] == "read" and data.keys() in _UNREADABLE_DATA:
        return UnreadableRow(number, str(reject["reason"]), data)
    return Row(number, data)


class ParquetFile:
    """Apache Parquet. A decimal, a date or a list stays one; needs the extra ``parquet``."""

    format_name: ClassVar[str] = "Parquet"
    has_header: ClassVar[bool] = True

    def __init__(self, location: Location, text_format: TextFormat = PLAIN_TEXT) -> None:
        self.location = location
        self.size = location.size()
        self._columns: list[str] | None = None
        self._fraction = 0.0

    def columns(self) -> list[str]:
        if self._columns is None:
            with self._open() as parquet:
                self._columns = self._names(parquet)
        return self._columns

    def parts(self, first_number: int) -> Generator[Part]:
        with self._open() as parquet:
            names = self._names(parquet)
            number, shared = first_number, SharedCells()
            self._fraction = 0.0
            wanted = names if len(names) < len(parquet.schema_arrow.names) else None
            # Threads for each column would keep more memory than they spare time.
            for batch in parquet.iter_batches(batch_size=BATCH_ROWS, columns=wanted, use_threads=False):
                yield from self._parts_of(batch, names, number, shared)
                number += batch.num_rows
                self._fraction = (number - first_number) / parquet.metadata.num_rows

    def _names(self, parquet: pyarrow.parquet.ParquetFile) -> list[str]:
        """Return the names of the columns, without the index that pandas writes beside them."""
        names = [name for name in parquet.schema_arrow.names if not _INDEX.fullmatch(name)]
        return check_column_names(names, self.location.name)

    def _parts_of(
        self, batch: pyarrow.RecordBatch, names: Sequence[str], first_number: int, shared: SharedCells
    ) -> Iterator[Part]:
        columns = [for_python(column) for column in batch.columns]
        try:
            cells = [convert(column.to_pylist()) for column, convert in columns]
        except (ValueError, OverflowError):  # such as a date after the year 9999: find the rows it is in
            for index in range(batch.num_rows):
                yield self._row_of(names, columns, index, first_number + index)
        else:
            if cells and batch.num_rows:
                yield Block(first_number, names, cells, shared)

    def _row_of(
        self, names: Sequence[str], columns: Sequence[PythonColumn], index: int, number: int
    ) -> Row | UnreadableRow:
        cells: list[Any] = []
        faults: list[str] = []
        for name, (column, convert) in zip(names, columns, strict=True):
            try:
                cells.extend(convert([column[index].as_py()]))
            except (ValueError, OverflowError) as error:
                cells.append(None)
                faults.append(f"{show_name(name)}: {error}")
        if not faults:
            return Row(number, cells, names)
        return UnreadableRow(number, f"{self.location.name}, {'; '.join(faults)}", {"cells": cells})

    def fraction_read(self) -> float:
        return self._fraction

    @contextmanager
    def _open(self) -> Iterator[pyarrow.parquet.ParquetFile]:
        load_arrow()
        import pyarrow.parquet

        name = self.location.name
        with closing(open_file(self.location)) as file:
            try:
                # Spark's INT96 are nanoseconds, in 64 bits of which 9999-12-31 would be 1816.
                with pyarrow.parquet.ParquetFile(
                    file, buffer_size=COLUMN_BYTES, pre_buffer=False, coerce_int96_timestamp_unit="us"
                ) as parquet:
                    _check_timestamps(name, parquet)
                    yield parquet
            except pyarrow.ArrowException as error:
                raise CrmInputError(f"{name} cannot be read as Parquet: {redact(error)}") from error
            except OSError as error:
                if error.errno is not None:  # the store's own failure; Arrow's have no number
                    raise
                raise CrmInputError(f"{name} is damaged: {redact(error)}") from error


def _check_timestamps(name: str, parquet: pyarrow.parquet.ParquetFile) -> None:
    """Refuse a file with Spark's timestamps where pyarrow gets those before 1970 wrong, by 584 years.

    :raises CrmInputError: it is such a file, and pyarrow is older than 23. Tried with 21, 22, 23 and 24.
    """
    import pyarrow

    columns = (parquet.schema.column(place) for place in range(len(parquet.schema)))
    if int(pyarrow.__version__.partition(".")[0]) < 23 and any(
        column.physical_type == "INT96" for column in columns
    ):
        raise CrmInputError(
            f"{name} holds timestamps of Spark's old kind (INT96), of which pyarrow {pyarrow.__version__} reads those "
            f"before 1970 wrong: install pyarrow 23 or later, or let Spark write the file with "
            f"spark.sql.parquet.outputTimestampType=TIMESTAMP_MICROS"
        )


class Partition:
    """A file whose folders name further columns, as ``dt=2026-01-01/country=fr``.

    :param keys: these columns, whose values are texts, or None.
    """

    def __init__(self, file: RowFile, keys: dict[str, str | None]) -> None:
        self._file = file
        self._keys = keys
        self.format_name = file.format_name
        self.has_header = file.has_header
        self.location = file.location
        self.size = file.size

    def columns(self) -> list[str]:
        return check_column_names([*self._file.columns(), *self._keys], self.location.name)

    def parts(self, first_number: int) -> Generator[Part]:
        if self.has_header:
            self.columns()
        for part in self._file.parts(first_number):
            if isinstance(part, Block):
                keys = [[value] * len(part) for value in self._keys.values()]
                yield Block(part.first, (*part.names, *self._keys), [*part.columns, *keys], part.shared)
            elif isinstance(part, UnreadableRow):
                yield part
            elif part.columns is None:
                yield Row(part.number, part.data | self._keys)
            else:
                yield Row(part.number, (*part.cells, *self._keys.values()), (*part.columns, *self._keys))

    def fraction_read(self) -> float:
        return self._file.fraction_read()


#: The reader of each suffix.
FORMATS: dict[str, Callable[[Location, TextFormat], RowFile]] = {
    ".csv": CsvFile,
    ".csv.gz": partial(CsvFile, open_bytes=GzipBytes),
    ".jsonl": JsonLinesFile,
    ".jsonl.gz": partial(JsonLinesFile, open_bytes=GzipBytes),
    ".parquet": ParquetFile,
}


def format_of(name: str) -> Callable[[Location, TextFormat], RowFile] | None:
    """Return the reader for a file of this name, or None when its suffix is not known."""
    return next((reader for suffix, reader in FORMATS.items() if name.lower().endswith(suffix)), None)
