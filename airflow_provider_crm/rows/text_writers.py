"""Files of text: JSON lines and CSV, plain or gzipped. A page of records is encoded by the thread that fetched it."""

from __future__ import annotations

import contextlib
import csv
import gzip
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, BinaryIO

from airflow_provider_crm.rows.blocks import EXTRA, Column, encoder, extras, json_text, values
from airflow_provider_crm.rows.csv_lines import FORMULA


class JsonBlock:
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

    def without(self, positions: Collection[int]) -> JsonBlock:
        lines = bytes(self.data).split(b"\n")[:-1]
        lines = [line for place, line in enumerate(lines) if place not in positions]
        return JsonBlock([b"".join(line + b"\n" for line in lines)], len(lines))

    def from_record(self, first: int) -> JsonBlock:
        data, start = bytes(self._parts[0]), 0
        for _ in range(first):
            start = data.find(b"\n", start) + 1
            if start == 0:  # there are not as many in it
                return self.without(range(first))
        return JsonBlock([memoryview(data)[start:], *self._parts[1:]], self.rows - first)

    def followed_by(self, others: Sequence[JsonBlock]) -> JsonBlock:
        blocks = (self, *others)
        return JsonBlock(
            [part for block in blocks for part in block._parts], sum(block.rows for block in blocks)
        )


class CsvBlock:
    """Records of CSV, which may hold line ends."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    @property
    def rows(self) -> int:
        return len(self._lines)

    @property
    def data(self) -> bytes:
        return "".join(self._lines).encode()

    def without(self, positions: Collection[int]) -> CsvBlock:
        return CsvBlock([line for place, line in enumerate(self._lines) if place not in positions])

    def from_record(self, first: int) -> CsvBlock:
        return CsvBlock(self._lines[first:])

    def followed_by(self, others: Sequence[CsvBlock]) -> CsvBlock:
        return CsvBlock([line for block in (self, *others) for line in block._lines])


class BytesWriter:
    """Writes blocks as they are, or compressed.

    :param compressed: by gzip, without a time stamp and a name: the same rows give the same file.
    """

    def __init__(self, file: BinaryIO, *, compressed: bool, header: bytes = b"") -> None:
        self._gzip = gzip.GzipFile("", "wb", 6, file, mtime=0) if compressed else None
        self._out: Any = self._gzip or file
        self._out.write(header)

    def write(self, block: JsonBlock | CsvBlock) -> None:
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

    def encode(self, records: Sequence[Any], unknown: Sequence[str]) -> JsonBlock:
        return JsonBlock([encoder.encode_lines(records)], len(records))

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

    def encode(self, records: Sequence[Any], unknown: Sequence[str]) -> CsvBlock:
        cells = [_cells(column, records) for column in self._columns]
        if self._escape:
            for column, values in zip(self._columns, cells, strict=True):
                if column.kind == "text":
                    values[:] = map(_escaped, values)
        cells.append(extras(records, unknown))
        return CsvBlock(_csv_lines(zip(*cells, strict=True)))

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


def _cells(column: Column, records: Sequence[Any]) -> list[Any]:
    to_cell = _CELLS.get(column.kind)
    cells = values(column, records)
    if to_cell is None:
        return cells
    return [None if value is None else to_cell(value) for value in cells]


_CELLS: dict[str, Callable[[Any], Any]] = {
    "boolean": lambda value: "true" if value else "false",
    "moment": lambda value: value.isoformat(),
    "texts": json_text,
    "named_values": json_text,
    "map": json_text,
}
