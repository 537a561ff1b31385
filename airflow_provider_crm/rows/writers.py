"""How records become a file: JSON lines, CSV or Parquet, by the suffix of its name.

Knows no CRM: a column has a name and a kind, a record has an attribute of each. A page of records is encoded by the
thread that fetched it, so that what waits for its turn are bytes and not objects.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Self, cast

import msgspec

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows.csv_lines import FORMULA

if TYPE_CHECKING:
    import pyarrow

#: The column of CSV and Parquet that takes the fields which are not documented, as JSON.
EXTRA = "extra"
#: Rows of a row group of a Parquet file.
ROW_GROUP = 20_000
#: Bytes of different values in a row group from which on a column gets no dictionary. Arrow waits for eight times as
#: many, which only makes a file of ids and e-mails larger.
LARGEST_DICTIONARY = 128 * 1024

# A foreign number is a Decimal, so that it is written as it came.
_encoder = msgspec.json.Encoder(decimal_format="number")


class Column(Protocol):
    """What a writer has to know of a column; for the kinds see the readers of records."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def attribute(self) -> str:
        """The name of a record's attribute."""


class Block(Protocol):
    """Some encoded records."""

    @property
    def rows(self) -> int: ...

    def without(self, positions: Collection[int]) -> Self:
        """Give the block without the records at these places, counted from 0."""

    def from_record(self, first: int) -> Self:
        """Give the block from this record on."""

    def followed_by(self, others: Sequence[Self]) -> Self:
        """Give one block with the records of all."""


class Format(Protocol):
    """A file format."""

    def encode(self, records: Sequence[Any], unknown: Sequence[str]) -> Block:
        """Encode records; called by several threads.

        :param unknown: the fields that no column is for; a record holds them as ``unknown_0`` and so on.
        """

    def open(self, file: BinaryIO) -> Writer:
        """Begin a file."""


class Writer(Protocol):
    """A file that is being written."""

    def write(self, block: Any) -> None:
        """Add records."""

    def finish(self) -> None:
        """Complete the file, without closing it; an empty one gets its header or schema."""

    def abandon(self) -> None:
        """Give the file up while it is still open; does nothing after :meth:`finish`."""


def check_suffix(path: str) -> str:
    """Find the suffix that tells a file's format.

    :return: ``.jsonl``, ``.csv`` or ``.parquet``.
    :raises CrmInputError: the file's name has no known one.
    """
    name = path.lower()
    for suffix in (".jsonl", ".csv", ".parquet"):
        if name.endswith(suffix) or (name.endswith(f"{suffix}.gz") and suffix != ".parquet"):
            return suffix
    raise CrmInputError(
        f"{path.rpartition('/')[2]!r} is of no known format: its name must end in .jsonl, .jsonl.gz, .csv, .csv.gz or "
        f".parquet."
    )


def format_for(
    path: str, columns: Sequence[Column], *, metadata: Mapping[str, str], csv_escape_formulas: bool = False
) -> Format:
    """Choose the format by the suffix of a file's name.

    :param metadata: what a file says about itself, where its format has a place for that.
    :param csv_escape_formulas: put an apostrophe before texts of CSV that a spreadsheet would compute.
    :raises CrmInputError: the suffix is not known, or the format needs something that is not installed.
    """
    suffix = check_suffix(path)
    if suffix == ".parquet":
        return Parquet(columns, metadata)
    compressed = path.lower().endswith(".gz")
    if suffix == ".jsonl":
        return JsonLines(compressed=compressed)
    return Csv(columns, compressed=compressed, escape_formulas=csv_escape_formulas)


class Bytes:
    """Lines of JSON.

    :param parts: some lines each.
    """

    def __init__(self, parts: Sequence[bytes | memoryview], rows: int) -> None:
        self._parts = parts
        self.rows = rows

    @property
    def data(self) -> bytes | memoryview:
        # Put together only by who writes it: memory for it is needed once, and not by each thread.
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    def without(self, positions: Collection[int]) -> Bytes:
        lines = bytes(self.data).split(b"\n")[:-1]
        lines = [line for place, line in enumerate(lines) if place not in positions]
        return Bytes([b"".join(line + b"\n" for line in lines)], len(lines))

    def from_record(self, first: int) -> Bytes:
        data, start = bytes(self._parts[0]), 0
        for _ in range(first):
            start = data.find(b"\n", start) + 1
            if start == 0:  # there are not as many in it
                return self.without(range(first))
        return Bytes([memoryview(data)[start:], *self._parts[1:]], self.rows - first)

    def followed_by(self, others: Sequence[Bytes]) -> Bytes:
        blocks = (self, *others)
        return Bytes([part for block in blocks for part in block._parts], sum(block.rows for block in blocks))


class Lines:
    """Records of CSV, which may hold line ends."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    @property
    def rows(self) -> int:
        return len(self._lines)

    @property
    def data(self) -> bytes:
        return "".join(self._lines).encode()

    def without(self, positions: Collection[int]) -> Lines:
        return Lines([line for place, line in enumerate(self._lines) if place not in positions])

    def from_record(self, first: int) -> Lines:
        return Lines(self._lines[first:])

    def followed_by(self, others: Sequence[Lines]) -> Lines:
        return Lines([line for block in (self, *others) for line in block._lines])


class BytesWriter:
    """Writes blocks as they are, or compressed.

    :param compressed: by gzip, without a time stamp and a name: the same rows give the same file.
    """

    def __init__(self, file: BinaryIO, *, compressed: bool, header: bytes = b"") -> None:
        self._gzip = gzip.GzipFile("", "wb", 6, file, mtime=0) if compressed else None
        self._out: Any = self._gzip or file
        self._out.write(header)

    def write(self, block: Bytes | Lines) -> None:
        self._out.write(block.data)

    def finish(self) -> None:
        if self._gzip is not None:
            self._gzip.close()

    def abandon(self) -> None:
        # Python completes a file when it is forgotten, and from 3.13 on complains where that is closed by then.
        with contextlib.suppress(Exception):
            self.finish()


class JsonLines:
    """One JSON object a line. Fields that no column is for stand beside the columns."""

    def __init__(self, *, compressed: bool) -> None:
        self._compressed = compressed

    def encode(self, records: Sequence[Any], unknown: Sequence[str]) -> Bytes:
        return Bytes([_encoder.encode_lines(records)], len(records))

    def open(self, file: BinaryIO) -> BytesWriter:
        return BytesWriter(file, compressed=self._compressed)


class Csv:
    """Comma-separated values in UTF-8 with a header, quoted as in RFC 4180; nothing and an empty text look alike.

    :param escape_formulas: put an apostrophe before texts that a spreadsheet would compute.
    """

    def __init__(self, columns: Sequence[Column], *, compressed: bool, escape_formulas: bool = False) -> None:
        self._columns = columns
        self._compressed = compressed
        self._escape = escape_formulas

    def encode(self, records: Sequence[Any], unknown: Sequence[str]) -> Lines:
        cells = [_cells(column, records) for column in self._columns]
        if self._escape:
            for column, values in zip(self._columns, cells, strict=True):
                if column.kind == "text":
                    values[:] = map(_escaped, values)
        cells.append(_extras(records, unknown))
        return Lines(_csv_lines(zip(*cells, strict=True)))

    def open(self, file: BinaryIO) -> BytesWriter:
        header = "".join(_csv_lines([[*(column.name for column in self._columns), EXTRA]]))
        return BytesWriter(file, compressed=self._compressed, header=header.encode())


def _csv_lines(rows: Iterable[Sequence[Any]]) -> list[str]:
    # Before 3.11.9 and 3.12.3 Python quotes only what is in the line's end: https://github.com/python/cpython/issues/67230
    lines: list[str] = []
    csv.writer(_Collector(lines), lineterminator="\r\n").writerows(rows)
    return [f"{line[:-2]}\n" for line in lines]


def _escaped(value: Any) -> Any:
    """Put an apostrophe before a text that a spreadsheet would compute, and before one that seems to have one."""
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


class _Collector:
    """What a CSV writer writes to: it writes each record by one call."""

    def __init__(self, lines: list[str]) -> None:
        self.write = lines.append


def _values(column: Column, records: Sequence[Any]) -> list[Any]:
    return list(map(attrgetter(column.attribute), records))


def _cells(column: Column, records: Sequence[Any]) -> list[Any]:
    to_cell = _CELLS.get(column.kind)
    values = _values(column, records)
    if to_cell is None:
        return values
    return [None if value is None else to_cell(value) for value in values]


def _json_text(value: Any) -> str:
    return _encoder.encode(value).decode()


_CELLS: dict[str, Callable[[Any], Any]] = {
    "boolean": lambda value: "true" if value else "false",
    "moment": lambda value: value.isoformat(),
    "texts": _json_text,
    "named_values": _json_text,
    "map": _json_text,
}


def _extras(records: Sequence[Any], unknown: Sequence[str]) -> list[str | None]:
    """Gather the fields that no column is for."""
    if not unknown:
        return [None] * len(records)
    extras: list[str | None] = []
    for record in records:
        found = {name: getattr(record, f"unknown_{number}") for number, name in enumerate(unknown)}
        found = {name: value for name, value in found.items() if value is not msgspec.UNSET}
        extras.append(_json_text(found) if found else None)
    return extras


class Table:
    """Records in Arrow's memory."""

    def __init__(self, table: pyarrow.Table) -> None:
        self.table = table

    @property
    def rows(self) -> int:
        return cast(int, self.table.num_rows)

    def without(self, positions: Collection[int]) -> Table:
        import pyarrow

        places = [place for place in range(self.rows) if place not in positions]
        return Table(self.table.take(pyarrow.array(places, pyarrow.int64())))

    def from_record(self, first: int) -> Table:
        return Table(self.table.slice(first))

    def followed_by(self, others: Sequence[Table]) -> Table:
        import pyarrow

        return Table(pyarrow.concat_tables([self.table, *(block.table for block in others)]))


class Parquet:
    """Apache Parquet; needs the extra ``parquet``.

    :param metadata: stands in the file's key-value metadata.
    """

    def __init__(self, columns: Sequence[Column], metadata: Mapping[str, str]) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise CrmInputError(
                "Parquet needs pyarrow: install it with pip install 'airflow-provider-crm[parquet]'."
            ) from error
        # Of the one that Arrow would take, each thread keeps several times what it needs.
        pyarrow.set_memory_pool(pyarrow.system_memory_pool())
        self._columns = columns
        named = pyarrow.struct([("name", pyarrow.string()), ("value", pyarrow.string())])
        self._moment = pyarrow.timestamp("us", tz="UTC")
        types = {
            "text": pyarrow.string(),
            "boolean": pyarrow.bool_(),
            "integer": pyarrow.int64(),
            "decimal": pyarrow.decimal128(38, 9),
            "moment": self._moment,
            "local_moment": self._moment,
            "date": pyarrow.date32(),
            "texts": pyarrow.list_(pyarrow.string()),
            "named_values": pyarrow.map_(pyarrow.string(), named),
            "map": pyarrow.map_(pyarrow.string(), pyarrow.string()),
        }
        fields = [(column.name, types[column.kind]) for column in columns]
        self._schema = pyarrow.schema([*fields, (EXTRA, pyarrow.string())], metadata=dict(metadata))

    def encode(self, records: Sequence[Any], unknown: Sequence[str]) -> Table:
        import pyarrow

        arrays = []
        for column, data_type in zip(self._columns, self._schema.types[:-1], strict=True):
            values = _values(column, records)
            if column.kind in ("decimal", "local_moment"):  # texts, which Arrow reads faster than Python
                arrays.append(pyarrow.array(values, pyarrow.string()).cast(data_type))
            elif column.kind in ("named_values", "map"):
                items = [None if value is None else list(value.items()) for value in values]
                arrays.append(pyarrow.array(items, data_type))
            else:
                arrays.append(pyarrow.array(values, data_type))
        arrays.append(pyarrow.array(_extras(records, unknown), pyarrow.string()))
        return Table(pyarrow.Table.from_arrays(arrays, schema=self._schema))

    def open(self, file: BinaryIO) -> ParquetWriter:
        return ParquetWriter(file, self._schema)


class ParquetWriter:
    """Gathers blocks into row groups of a size that readers like."""

    def __init__(self, file: BinaryIO, schema: pyarrow.Schema) -> None:
        import pyarrow.parquet

        self._parquet = pyarrow.parquet.ParquetWriter(
            file, schema, dictionary_pagesize_limit=LARGEST_DICTIONARY
        )
        self._waiting: list[pyarrow.Table] = []

    def write(self, block: Table) -> None:
        self._waiting.append(block.table)
        if sum(table.num_rows for table in self._waiting) >= ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        import pyarrow

        if self._waiting:
            self._parquet.write_table(pyarrow.concat_tables(self._waiting))
            self._waiting.clear()

    def finish(self) -> None:
        self._flush()
        self._parquet.close()

    def abandon(self) -> None:
        # Arrow completes a file when it is forgotten, and complains in the log where that is closed by then.
        with contextlib.suppress(Exception):
            self._parquet.close()
