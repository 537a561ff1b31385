"""How the rows of a long answer are cut into short lists before they are decoded. Knows neither fields nor CRMs.

The objects of a few hundred rows fit into a processor's cache, those of a page do not: decoding, encoding and freeing
them slice by slice takes three quarters of the time, and memory for one slice in place of the page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

#: Bytes of a slice, about.
SLICE = 128 * 1024
#: Bytes at the end of an answer in which its list is expected to end.
_TAIL = 1024

_LIST = re.compile(rb'\[\s*(\{\s*"[^"\\]*"\s*:)')
_BRACKET = re.compile(rb"\]")


class RowList:
    """The JSON list of an answer's rows.

    :param answer: the bytes that hold it.
    :param start: where its bracket opens.
    :param end: behind the bracket that closes it.
    :param measure: gives the list's length in bytes where the end is a guess; raises what decoding raises.
    """

    def __init__(self, answer: bytes, start: int, end: int, measure: Callable[[], int] | None = None) -> None:
        self._answer = memoryview(answer)
        self._measure = measure
        self._start = start + 1
        self._end = end
        # A quote inside of a text is escaped, so that what looks like the beginning of a row is one, or an object
        # inside of a row.
        first = _LIST.match(answer, start, end)
        self._between = re.compile(rb"\}\s*,\s*(?=%s)" % re.escape(first[1])) if first else None

    def read(self, read_list: Callable[[bytes], T]) -> Iterator[T]:
        """Read the list slice by slice.

        :param read_list: reads a part of it, which is a list too; raises DecodeError for what is no JSON.
        :return: at least one result.
        :raises msgspec.DecodeError: while iterating: the list is broken.
        """
        start, size = self._start, SLICE
        while start < self._end:
            one, following = self._cut(start, size)
            try:
                yield read_list(one)
            except (msgspec.DecodeError, UnicodeDecodeError):
                if following < self._end:
                    size *= 2  # it was cut inside of a row
                elif not self._find_end():
                    raise
            else:
                start = following

    def _cut(self, start: int, size: int) -> tuple[bytes, int]:
        """Cut a list off.

        :param start: of a row.
        :param size: of the list in bytes, at least.
        :return: the list, and where the next one starts: at the end of it all when this is the last one.
        """
        edge = self._between.search(self._answer, start + size, self._end) if self._between else None
        if edge is None:
            return b"".join((b"[", self._answer[start : self._end])), self._end
        return b"".join((b"[", self._answer[start : edge.start() + 1], b"]")), edge.end()

    def _find_end(self) -> bool:
        """Find the end where it was guessed.

        :return: whether it is another one.
        :raises msgspec.MsgspecError: the answer is broken.
        """
        if self._measure is None:
            return False
        guess, self._end = self._end, self._start - 1 + self._measure()
        self._measure = None
        return self._end != guess


def find_rows(
    answer: bytes, decode: Callable[[bytes], Any], rows_in: Callable[[Any], msgspec.Raw]
) -> tuple[Any, RowList]:
    """Find the list of the rows in an answer.

    :param decode: decodes an answer but for its list.
    :param rows_in: takes the list out of it.
    :return: the decoded answer, in which something else may stand in the list's place, and the list.
    :raises msgspec.MsgspecError: the answer has no such list.
    """

    def measure() -> int:
        return len(bytes(rows_in(decode(answer))))

    # Going through the whole answer costs a tenth of all the work, so that the list is looked for where it usually
    # is. Something else in its place has to be what `rows_in` takes.
    if found := _LIST.search(answer):
        start = found.start()
        for bracket in _BRACKET.finditer(answer, max(found.end(), len(answer) - _TAIL)):
            try:
                around = decode(b"%b0%b" % (answer[:start], answer[bracket.end() :]))
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue
            if bytes(rows_in(around)) == b"0":
                return around, RowList(answer, start, bracket.end(), measure)
    decoded = decode(answer)
    rows = bytes(rows_in(decoded))
    if not rows.startswith(b"["):
        raise msgspec.ValidationError("Expected `array`")
    return decoded, RowList(rows, 0, len(rows))
