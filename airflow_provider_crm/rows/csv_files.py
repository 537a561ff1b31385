"""How a CSV file becomes rows.

Knows no CRM and no other format. A record that cannot be read is a row with a number and a reason.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, ClassVar

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows.files import ByteStream, Location, PlainBytes, whole_lines
from airflow_provider_crm.rows.row import MAX_UNPARSED, Row, UnreadableRow, check_column_names

#: Within how many lines the header must end for its delimiter to be told; names may hold line ends.
_HEADER_LINES = 50
_QUOTED = re.compile(r'"[^"]*"')
_SURROGATE = re.compile("[\udc80-\udcff]")


class CsvFile:
    """Comma-separated values with a header line, in UTF-8, quoted as in RFC 4180.

    The header line tells the delimiter: comma, semicolon or tab. An empty cell is ``None``; a blank line is no row.
    """

    format_name: ClassVar[str] = "CSV"
    has_header: ClassVar[bool] = True

    def __init__(self, location: Location, open_bytes: Callable[[Location], ByteStream] = PlainBytes) -> None:
        self.location = location
        self.size = location.size()
        self._open_bytes = open_bytes
        self._columns: list[str] | None = None
        self._position = 0

    def columns(self) -> list[str]:
        if self._columns is None:
            with closing(self._open_bytes(self.location)) as stream:
                lines = _CsvLines(stream)
                self._columns = self._header(lines, lines.reader())
        return self._columns

    def _header(self, lines: _CsvLines, reader: Any) -> list[str]:
        name = self.location.name
        try:
            names = next(reader, None)
            while names is not None and lines.is_blank(names, reader.line_num):
                lines.record_start = reader.line_num
                names = next(reader, None)
        except csv.Error as error:
            raise CrmInputError(f"The header of {name} cannot be read as CSV: {error}.") from error
        if names is None:
            raise CrmInputError(f"{name} has no header: its first line must name the columns.")
        if lines.undecodable and _has_surrogate(names):
            raise CrmInputError(f"The header of {name} is not in UTF-8. Save the file in UTF-8.")
        return check_column_names(names, name)

    def rows(self, first_number: int) -> Generator[Row | UnreadableRow]:
        with closing(self._open_bytes(self.location)) as stream:
            lines = _CsvLines(stream)
            reader = lines.reader()
            header = self._header(lines, reader)
            width = len(header)
            number = first_number
            while True:
                lines.record_start = reader.line_num
                self._position = stream.position
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    reason = _explain(error, reader.line_num - lines.record_start)
                    yield self._unreadable(number, reason, lines, reader.line_num)
                else:
                    if len(cells) == width and not (lines.undecodable and _has_surrogate(cells)):
                        if "" in cells:
                            cells = [cell or None for cell in cells]
                        yield Row(number, dict(zip(header, cells, strict=False)))
                    elif lines.is_blank(cells, reader.line_num):
                        continue
                    else:
                        yield self._unreadable(number, _fault(cells, width), lines, reader.line_num, cells)
                number += 1

    def _unreadable(
        self, number: int, reason: str, lines: _CsvLines, last_line: int, cells: Sequence[str] | None = None
    ) -> UnreadableRow:
        where = _where(self.location, lines.record_start + 1, last_line)
        return UnreadableRow(number, f"{where}: {reason}", _unparsed(cells, lines.text(last_line)))

    def fraction_read(self) -> float:
        return min(1.0, self._position / max(1, self.size))


class _CsvLines:
    """The lines of a CSV file, decoded block by block; keeps those of the record under way, to quote them."""

    def __init__(self, stream: ByteStream) -> None:
        #: Whether some bytes so far were no UTF-8: cells may hold surrogates in their place.
        self.undecodable = False
        #: How many lines the records before the one under way took.
        self.record_start = 0
        self._kept: deque[tuple[int, list[str]]] = deque()
        self._blocks = self._decode(stream)
        self._first = next(self._blocks, [])

    def reader(self) -> Any:
        """Give a CSV reader over the lines. It takes them from the blocks without any Python code per line."""
        lines = itertools.chain(self._first, itertools.chain.from_iterable(self._blocks))
        return csv.reader(lines, delimiter=self._delimiter(), strict=True)

    def _delimiter(self) -> str:
        start = _QUOTED.sub("", "".join(self._first[:_HEADER_LINES])).lstrip("\r\n")
        return max(",;\t", key=start.partition("\n")[0].count)

    def _decode(self, stream: ByteStream) -> Iterator[list[str]]:
        count = 0
        for block in whole_lines(stream):
            try:
                text = block.decode()
            except UnicodeDecodeError:
                text = block.decode(errors="surrogateescape")
                self.undecodable = True
            lines = list(io.StringIO(text, newline="\n"))
            while self._kept and self._kept[0][0] + len(self._kept[0][1]) <= self.record_start:
                self._kept.popleft()
            self._kept.append((count, lines))
            count += len(lines)
            yield lines

    def is_blank(self, cells: Sequence[str], end: int) -> bool:
        """Tell a blank line from a row of one quoted cell without text."""
        return not cells or (len(cells) == 1 and not cells[0].strip() and not self.text(end).strip())

    def text(self, end: int) -> str:
        """Give the text of the record under way, at least as much of it as is worth keeping.

        :param end: how many lines were taken so far.
        """
        text = ""
        for start, lines in self._kept:
            for line in lines[max(0, self.record_start - start) : max(0, end - start)]:
                text += line[:MAX_UNPARSED]
                if len(text) >= MAX_UNPARSED:
                    return text
        return text


def _has_surrogate(cells: Sequence[str]) -> bool:
    return _SURROGATE.search("".join(cells)) is not None


def _fault(cells: Sequence[str], width: int) -> str:
    if _has_surrogate(cells):
        return "the row is not in UTF-8"
    return f"the row has {len(cells)} {'cell' if len(cells) == 1 else 'cells'}, the header has {width}"


def _explain(error: csv.Error, lines: int) -> str:
    """Say in a user's words what the CSV reader stumbled over."""
    if lines > 1:
        return (
            f"a quote is not closed where it should be, so that {lines} lines were read as one row ({error})"
        )
    return f"no valid CSV ({error})"


def _where(location: Location, first: int, last: int) -> str:
    return f"{location.name}, line {first}" if first >= last else f"{location.name}, lines {first} to {last}"


def _unparsed(cells: Sequence[str] | None, text: str) -> dict[str, Any]:
    """Keep what is there of an unreadable row: its cells, or, where there are none or too much, its text."""
    if cells is not None and len(cells) <= MAX_UNPARSED and sum(map(len, cells)) <= MAX_UNPARSED:
        return {"cells": [_printable(cell) for cell in cells]}
    return {"unparsed": _printable(text)[:MAX_UNPARSED]}


def _printable(text: str) -> str:
    """Show bytes that are no UTF-8 as ``\\xe9``."""
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
