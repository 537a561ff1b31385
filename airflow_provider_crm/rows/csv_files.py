"""How a CSV file becomes rows.

Knows no CRM and no other format. A record that cannot be read is a row with a number and a reason; so is each line
that a broken one took with it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, ClassVar

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows.csv_lines import FORMULA, CsvLines
from airflow_provider_crm.rows.file_source import PLAIN_TEXT
from airflow_provider_crm.rows.row import MAX_UNPARSED, Block, Part, Row, UnreadableRow, check_column_names
from airflow_provider_crm.rows.shared_cells import MOST_SHARED, SharedCells
from airflow_provider_crm.rows.text_file import TextFile

#: Lines that are looked at one by one before whole blocks of them are tried again.
LOOKED_AT = 5000
#: Columns up to which it is quicker to take whole blocks of lines.
MOST_COLUMNS = 200

_SURROGATE = re.compile("[\udc80-\udcff]")


class CsvFile(TextFile):
    """Delimiter-separated values with a header line, quoted as in RFC 4180.

    An empty cell is ``None``; a line of blanks or delimiters alone is no row. A text that ``csv_escape_formulas`` of
    an export, or a spreadsheet, put an apostrophe before is read without.
    """

    format_name: ClassVar[str] = "CSV"
    has_header: ClassVar[bool] = True

    def columns(self) -> list[str]:
        if self._columns is None:
            with closing(self._open()) as stream:
                self._columns, _ = self._header(CsvLines(stream, self._format.delimiter))
        return self._columns

    def _header(self, lines: CsvLines) -> tuple[list[str], int]:
        """Read the header.

        :return: the names of the columns, and how many cells a row has: a header that ends with delimiters names
            fewer columns, whose cells must be empty.
        """
        name = self.location.name
        names: list[str] | None = None
        try:
            for names in lines.reader:
                end = lines.reader.line_num + lines.before
                if "".join(names).strip() or not lines.is_unquoted(end):
                    break
                lines.record_start, names = end, None
        except csv.Error as error:
            raise self._no_header(lines, error) from error
        if names is None:
            raise CrmInputError(f"{name} has no header: its first line must name the columns.")
        line = lines.text(lines.reader.line_num + lines.before)
        if len(line) > 3 and {"\0"} in (set(line[0::2]), set(line[1::2])):
            raise CrmInputError(
                f"{name} is in UTF-16 without a mark. Save it in UTF-8, or say so: "
                f"FileSource(path, encoding='utf-16-le') or 'utf-16-be'."
            )
        if lines.undecodable and _has_surrogate(names):
            raise CrmInputError(
                f"The header of {name} is not in {self._encoding}. Save the file in UTF-8, or say what it is in: "
                f"FileSource(path, encoding='cp1252')."
            )
        width = len(names)
        while len(names) > 1 and not names[-1].strip():
            names.pop()
        if len(names) > 1 and not names[0].strip():
            raise CrmInputError(
                f"The first column of {name} has no name, as the index of a data frame that was written with it. "
                f"Give it a name, or write the file without (pandas: index=False)."
            )
        lines.record_start = lines.reader.line_num + lines.before
        return check_column_names(names, name), width

    def _no_header(self, lines: CsvLines, error: csv.Error) -> CrmInputError:
        name = self.location.name
        first = next(lines.of_record(lines.record_start + 1), "")
        if "\r" in first.rstrip("\r\n") and '"' not in first:
            return CrmInputError(
                f"{name} ends its lines as old Macs did, with CR alone. Save it with LF or CR LF."
            )
        return CrmInputError(f"The header of {name} cannot be read as CSV: {error}.")

    @property
    def _encoding(self) -> str:
        return "UTF-8" if self._format.encoding.lower() == "utf-8" else self._format.encoding

    def parts(self, first_number: int) -> Generator[Part]:
        with closing(self._open()) as stream:
            self._reading = stream
            lines = CsvLines(stream, self._format.delimiter)
            header, width = self._header(lines)
            names, shared = tuple(header), SharedCells()
            number: int | None = first_number
            while number is not None:
                while width == len(names) <= MOST_COLUMNS and (records := lines.plain_records(width)):
                    columns = list(map(self._known_nulls, zip(*records, strict=True)))
                    yield Block(number, names, columns, shared)
                    number += len(records)
                number = yield from self._one_by_one(lines, number, names, width, shared)

    def _known_nulls(self, column: tuple[str, ...]) -> Sequence[str | None]:
        nulls = self._format.nulls
        if not any(null in column for null in nulls):
            return column
        return [None if cell in nulls else cell for cell in column]

    def _one_by_one(
        self, lines: CsvLines, number: int, names: Sequence[str], width: int, shared: SharedCells
    ) -> Generator[Row | UnreadableRow, None, int | None]:
        """Yield rows each of whose records is looked at, from so many lines.

        :param number: the first row's.
        :return: the number of the row after them; None at the end of the file.
        """
        odd_header = width != len(names)
        nulls = self._format.nulls
        more_nulls = nulls != PLAIN_TEXT.nulls
        kept, keep = shared.kept, shared.kept.setdefault  # each call per row would cost a tenth
        until = lines.record_start + LOOKED_AT
        while True:
            reader, before, start = lines.reader, lines.before, lines.record_start
            fault = ""
            try:
                for cells in reader:
                    end = reader.line_num + before
                    if len(cells) != width or end - start != 1 or lines.odd or odd_header:
                        cells, fault = self._examine(cells, len(names), width, lines, end)
                        if fault and end - start > 1:
                            break
                    if fault:
                        yield self._unreadable(
                            number, fault, start + 1, end, _unparsed(cells, lines.text(end))
                        )
                        number += 1
                        fault = ""
                    else:
                        may_be_blank = not cells or cells[0] < "!"
                        if "" in cells or more_nulls or may_be_blank:
                            if may_be_blank and not "".join(cells).strip() and lines.is_unquoted(end):
                                cells = []
                            elif more_nulls:
                                cells = [None if cell in nulls else cell for cell in cells]
                            else:
                                cells = [cell or None for cell in cells]
                        if cells:
                            yield Row(number, tuple(map(keep, cells, cells)), names)
                            number += 1
                            if len(kept) > MOST_SHARED:
                                kept.clear()
                    lines.record_start = start = end
                    if end >= until:
                        return number
                else:
                    return None
            except csv.Error as error:
                end = reader.line_num + before
                broken = self._swallowed(number, _explain(error, end - start), lines, end, is_csv=True)
            else:
                broken = self._swallowed(number, fault, lines, end, is_csv=False)
            for row in broken:
                yield row
                number += 1

    def _examine(
        self, cells: list[str], named: int, width: int, lines: CsvLines, end: int
    ) -> tuple[list[str], str]:
        """Look at a record that is not as nearly all are.

        :return: its cells, none for a blank line, and what is wrong with it.
        """
        if lines.escaped:
            cells = [cell[1:] if cell[:1] == "'" and FORMULA.match(cell, 1) else cell for cell in cells]
        if lines.undecodable and _has_surrogate(cells):
            return cells, f"the row is not in {self._encoding}"
        if len(cells) not in (named, width) or any(cells[named:]):
            if not "".join(cells).strip() and lines.is_unquoted(end):
                return [], ""
            count = f"{len(cells)} {'cell' if len(cells) == 1 else 'cells'}"
            return cells, f"the row has {count}, the header has {named}"
        many = end - lines.record_start
        if many > 1 and lines.holds_rows(end, width):
            return cells, _not_closed(many, "they look like rows of their own")
        return cells, ""

    def _swallowed(
        self, number: int, fault: str, lines: CsvLines, end: int, *, is_csv: bool
    ) -> Iterator[UnreadableRow]:
        """Yield a row for each line that a broken record took: none may vanish."""
        first = lines.record_start + 1
        blanks = f" \t\r\n{lines.delimiter}"
        for line, text in lines.swallowed(end, is_csv=is_csv):
            reason, last = (fault, end) if line == first else (f"part of the row of line {first}", line)
            parts = text.rstrip("\r\n").split("\r")  # where some lines end with CR alone, these are rows too
            for part in parts if len(parts) > 1 else [text]:
                if part.strip(blanks):
                    yield self._unreadable(number, reason, line, last, _unparsed(None, part))
                    number += 1

    def _unreadable(
        self, number: int, reason: str, first: int, last: int, data: dict[str, Any]
    ) -> UnreadableRow:
        where = f"line {first}" if first >= last else f"lines {first} to {last}"
        return UnreadableRow(number, f"{self.location.name}, {where}: {reason}", data)


def _has_surrogate(cells: Sequence[str]) -> bool:
    return _SURROGATE.search("".join(cells)) is not None


def _explain(error: csv.Error, lines: int) -> str:
    """Say in a user's words what the CSV reader could not read."""
    return _not_closed(lines, str(error)) if lines > 1 else f"no valid CSV ({error})"


def _not_closed(lines: int, why: str) -> str:
    return f"a quote is not closed where it should be, so that {lines} lines were read as one row ({why})"


def _unparsed(cells: Sequence[str] | None, text: str) -> dict[str, Any]:
    """Keep what is there of an unreadable row: its cells, or, where there are none or too much, its text."""
    if cells is not None and len(cells) <= MAX_UNPARSED and sum(map(len, cells)) <= MAX_UNPARSED:
        return {"cells": [_printable(cell) for cell in cells]}
    return {"unparsed": _printable(text[:MAX_UNPARSED])[:MAX_UNPARSED]}


def _printable(text: str) -> str:
    """Show bytes that are no UTF-8 as ``\\xe9``."""
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
