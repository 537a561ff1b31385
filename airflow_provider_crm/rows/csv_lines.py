"""The lines of a CSV file, and where rows begin again after a quote that is not closed where it should be.

Python's reader tells that a record is broken. Which lines it took with it, and which behind it are still part of its
cell, is told here: no line vanishes, and nothing inside a quoted cell is read as a row.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from airflow_provider_crm.rows.row import MAX_UNPARSED
from airflow_provider_crm.rows.streams import ByteStream, whole_lines

#: Within how many lines the header must end for its delimiter to be told; names may hold line ends.
_HEADER_LINES = 50
#: Lines that are read at once where each is a record.
_AT_ONCE = 200
_QUOTED = re.compile(r'"[^"]*"')
#: A line of Excel's own before the header.
_TOLD_DELIMITER = re.compile(r'"?sep=([^"\r\n])"?\s*', re.IGNORECASE)
_EMAIL = re.compile(r"\s*[^\s@]+@[^\s@]+\.[^\s@]+\s*")
#: A text that a spreadsheet would compute, or that seems to be escaped against that: one apostrophe more escapes it.
FORMULA = re.compile(r"'*[=+\-@]")
_ESCAPED = re.compile(r"'[=+\-@]")


class CsvLines:
    """The lines of a CSV file, decoded block by block; keeps those of the record under way, to quote them.

    :param delimiter: None when the header tells it.
    """

    def __init__(self, stream: ByteStream, delimiter: str | None) -> None:
        #: Whether some bytes so far were no UTF-8: cells may hold surrogates in their place.
        self.undecodable = False
        #: Whether some text so far may be escaped against spreadsheets.
        self.escaped = False
        #: Whether either is so: each record is looked at.
        self.odd = False
        #: How many lines the records before the one under way took.
        self.record_start = 0
        #: How many lines were decoded so far.
        self._decoded = 0
        self._kept: deque[tuple[int, list[str]]] = deque()
        blocks = self._decode(stream)
        first = next(blocks, [])
        told = _TOLD_DELIMITER.fullmatch(first[0]) if first else None
        skipped = 1 if told else 0
        self.delimiter = delimiter or (told[1] if told else _delimiter_of(first))
        header = first[skipped] if len(first) > skipped else ""
        self._quotes_all = '"' in header and not _QUOTED.sub("", header).strip("\r\n" + self.delimiter)
        self._put_back: Iterator[str] = iter(())
        self._blocks = itertools.chain(first[skipped:], itertools.chain.from_iterable(blocks))
        self._restart(skipped)

    def _restart(self, taken: int) -> None:
        self.record_start = taken
        #: What the reader's count of lines lacks to be that of the file.
        self.before = taken
        # The reader takes lines from the blocks without any Python code per line.
        lines = itertools.chain(self._put_back, self._blocks)
        self.reader: Any = csv.reader(lines, delimiter=self.delimiter, strict=True)

    def _decode(self, stream: ByteStream) -> Iterator[list[str]]:
        for block in whole_lines(stream):
            try:
                text = block.decode()
            except UnicodeDecodeError:
                text = block.decode(errors="surrogateescape")
                self.undecodable = True
            self.escaped = self.escaped or ("'" in text and _ESCAPED.search(text) is not None)
            self.odd = self.undecodable or self.escaped
            lines = list(io.StringIO(text, newline="\n"))
            while self._kept and self._kept[0][0] + len(self._kept[0][1]) <= self.record_start:
                self._kept.popleft()
            self._kept.append((self._decoded, lines))
            self._decoded += len(lines)
            yield lines

    def plain_records(self, width: int) -> list[list[str]]:
        """Take lines of which each is a record, and none a blank one.

        They are of what is decoded, and no more is asked for: lines may be long, and what comes may be damaged.

        :param width: how many cells each has.
        :return: none where the next lines have to be looked at one by one, which the reader then does, or at the end.
        """
        lines = itertools.chain(self._put_back, self._blocks)
        block = list(itertools.islice(lines, 1))
        block += itertools.islice(lines, min(_AT_ONCE, self._decoded - self.record_start) - len(block))
        try:
            records = [] if self.odd else list(csv.reader(block, delimiter=self.delimiter, strict=True))
        except csv.Error:  # or a cell goes on behind the block
            records = []
        # One that begins with a blank may be of blanks alone.
        if (
            records
            and len(records) == len(block)
            and {*map(len, records)} == {width}
            and min(records)[0] >= "!"
        ):
            self.record_start += len(block)
            return records
        self._put_back = iter([*block, *self._put_back])
        self._restart(self.record_start)
        return []

    def of_record(self, end: int) -> Iterator[str]:
        """Yield the lines of the record under way.

        :param end: how many lines of the file were taken so far.
        """
        for first, lines in self._kept:
            yield from lines[max(0, self.record_start - first) : max(0, end - first)]

    def text(self, end: int) -> str:
        """Return the text of the record under way, at least as much of it as is worth keeping."""
        text = ""
        for line in self.of_record(end):
            text += line[:MAX_UNPARSED]
            if len(text) >= MAX_UNPARSED:
                break
        return text

    def is_unquoted(self, end: int) -> bool:
        """Return True when the record has no quotes: blanks and delimiters alone are no row, ``""`` is one."""
        return not any('"' in line for line in self.of_record(end))

    def holds_rows(self, end: int, width: int) -> bool:
        """Return True when lines within the record are rows, which a quote that another one closed by chance took.

        Where a file quotes all cells, the next row's quotes have broken such a record before.

        :param width: how many cells a row has.
        """
        if self._quotes_all:
            return False
        first, *others = self.of_record(end)
        comma = self.delimiter
        others = [
            line for line in others if line.count(comma) >= (1 if "@" in line and width > 1 else width - 1)
        ]
        kinds = list(map(_kind, self._cells_alone(first))) if others else []
        return any(kinds) and any(
            _same_address_column(kinds, cells)
            or (len(kinds) == len(cells) == width and _same_kinds(kinds, cells))
            for cells in map(self._cells_alone, others)
        )

    def _cells_alone(self, line: str) -> list[str]:
        """Return the cells of a line, were it a record; a quote that stays open is none."""
        try:
            cells: list[str] = next(csv.reader([line.replace("\r", " ")], delimiter=self.delimiter), [])
        except csv.Error:  # longer than a cell may be
            return []
        if self._follow(line, False) == (True, True):
            cells[-1:] = cells[-1].split(self.delimiter)
        return cells

    def swallowed(self, end: int, *, is_csv: bool) -> Iterator[tuple[int, str]]:
        """Yield the lines of a broken record and those behind it that are part of its cell; go on after them.

        :param end: how many lines of the file were taken so far.
        :param is_csv: whether the record is CSV as far as it goes, so that it tells itself if its cell is still open.
        :return: the number of each line, from 1, and its text.
        """
        lines = list(self.of_record(end))
        number = end - len(lines)
        valid, is_open = is_csv, False
        for line in lines:
            number += 1
            yield number, line
            if valid:
                valid, is_open = self._follow(line, is_open)
        if is_open or not valid:
            yield from self._behind(number, known_open=valid)
        else:
            self._restart(number)

    def _behind(self, number: int, *, known_open: bool) -> Iterator[tuple[int, str]]:
        """Yield the lines that are part of a cell, and make the line behind them the next one.

        That the cell is still open, and that it has ended, are both followed until only one of them makes CSV of
        what comes. Where nothing tells they are rows: a cell as long as that would be beyond Python's limit, and one
        that ends with the file would be a second fault.

        :param known_open: that the cell is open needs no telling; that it was never one is still possible.
        """
        waiting: list[str] = []
        as_cell, cell_open = True, True
        as_rows, row_open = True, False
        while (line := self._next_line()) is not None:
            waiting.append(line)
            if as_cell:
                as_cell, cell_open = self._follow(line, cell_open)
            if as_rows:
                as_rows, row_open = self._follow(line, row_open)
            if as_rows and not as_cell:
                break
            if as_rows and not known_open:
                if sum(map(len, waiting)) > csv.field_size_limit():
                    break
                continue
            for lost in waiting:
                number += 1
                yield number, lost
            self.record_start = number
            waiting.clear()
            if as_cell and not as_rows and not cell_open:
                break
            if not as_cell:  # no CSV either way: nothing is known any more
                known_open = False
                as_cell, cell_open = True, True
                as_rows, row_open = True, False
        self._put_back = iter([*waiting, *self._put_back])
        self._restart(number)

    def _next_line(self) -> str | None:
        return next(itertools.chain(self._put_back, self._blocks), None)

    def _follow(self, line: str, is_open: bool) -> tuple[bool, bool]:
        """Follow the quotes of a line.

        :param is_open: whether it begins within a quoted cell.
        :return: whether it is CSV then, and whether a quoted cell is open at its end.
        """
        if '"' not in line:
            return True, is_open
        text, at = line.rstrip("\r\n"), 0
        while True:
            if is_open:
                at = text.find('"', at)
                if at < 0:
                    return True, True
                at += 1
                if text.startswith('"', at):
                    at += 1
                    continue
                is_open = False
                if at == len(text):
                    return True, False
                if text[at] != self.delimiter:
                    return False, False
                at += 1
            if text.startswith('"', at):
                is_open = True
                at += 1
                continue
            end = text.find(self.delimiter, at)
            if text.endswith('"', at, end if end >= 0 else len(text)):
                return False, False  # Python takes it for text; it is rather the end of a cell from before
            if end < 0:
                return True, False
            at = end + 1


def _delimiter_of(lines: Sequence[str]) -> str:
    start = _QUOTED.sub("", "".join(lines[:_HEADER_LINES])).lstrip("\r\n")
    return max(",;\t", key=start.partition("\n")[0].count)


def _kind(text: str) -> str:
    """Return what a cell is by its looks; empty for words, which may stand anywhere."""
    if _EMAIL.fullmatch(text):
        return "address"
    word = text.strip()
    return "code" if word and " " not in word and any(map(str.isdecimal, word)) else ""


def _same_address_column(kinds: Sequence[str], cells: Sequence[str]) -> bool:
    """Return True when an address stands where another row has one."""
    return any(kind == "address" == _kind(cell) for kind, cell in zip(kinds, cells, strict=False))


def _same_kinds(kinds: Sequence[str], cells: Sequence[str]) -> bool:
    """Return True when addresses and codes stand in the same places; a cell may be empty, but not all of these."""
    pairs = [(kind, _kind(cell)) for kind, cell in zip(kinds, cells, strict=True) if kind and cell.strip()]
    return bool(pairs) and all(kind == other for kind, other in pairs)
