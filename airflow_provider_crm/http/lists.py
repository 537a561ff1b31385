"""How a list is read page by page without trusting what the CRM says about its end. Knows no vendor."""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Protocol, Self, TypeVar

from airflow_provider_crm.exceptions import (
    CrmListChangedError,
    CrmRateLimitError,
    CrmTransientError,
    CrmUnreachableError,
    CrmUnreadableAnswerError,
)

T = TypeVar("T")
S = TypeVar("S")

#: How often a page that the server cannot give is asked for in halves, and these in halves again.
MOST_HALVINGS = 4
#: How often a page may come again: as many new rows in front as a page has look the same.
MOST_REPEATS = 3
#: How many rows further in front a place of a list is read again, one after the other.
LOOKING_BACK = (10, 100, 1_000, 10_000, 100_000)

_NUMBERS = re.compile(r"[1-9]\d*(?:\n[1-9]\d*)*", re.ASCII)


def offset_pages(fetch: Callable[[int], Sequence[T]], *, call: str) -> Iterator[Sequence[T]]:
    """Read pages until one is empty.

    A short page is no end, since a server may cap every page; a total or a link to a next page is not trusted.

    :param fetch: the rows from a 0-based offset on.
    :param call: the call's name, for the error.
    :return: the pages, each with at least one row.
    :raises CrmUnreadableAnswerError: the server begins the page before again, so that it would never end.
    """
    start = 0
    previous: Sequence[T] = ()
    while rows := fetch(start):
        # New rows that push the others on, at the front of a list that is being read, bring back the end of the
        # previous page, but hardly its first row.
        if previous and previous[0] in rows:
            raise CrmUnreadableAnswerError(
                f"{call} gives rows from offset {start} that it gave before: it ignores the offset",
                call=call,
            )
        yield rows
        start += len(rows)
        previous = rows


class Page(Protocol):
    """What a fetched page has to tell, whatever its rows have become."""

    @property
    def keys(self) -> Sequence[str]:
        """The own id of every row, in the order of the list."""

    def without(self, positions: Collection[int]) -> Self:
        """Give the page without the rows at these places, counted from 0."""


P = TypeVar("P", bound=Page)
Submit = Callable[..., "Future[Any]"]


def in_order(
    submit: Submit, function: Callable[[S], T], items: Iterable[S], *, ahead: int
) -> Generator[T, None, None]:
    """Call a function for many items side by side, and give the results in the order of the items.

    :param submit: starts a call in another thread.
    :param ahead: calls that are under way, or whose results wait, at most.
    """
    rest = iter(items)
    waiting: deque[Future[T]] = deque(submit(function, item) for item in islice(rest, ahead))
    try:
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(submit(function, item) for item in islice(rest, 1))
            yield result
    finally:
        _cancel(waiting)


def _cancel(futures: Iterable[Future[Any]]) -> None:
    for future in futures:
        future.cancel()


class Seen:
    """The rows' own ids that were met, in bounded memory.

    Ids of a CRM are mostly numbers given out one after the other: a bit each then suffices. The stretches of numbers
    that were not met for the longest time, and the oldest of other ids, are forgotten once there are too many.
    """

    _STRETCHES = 8192  # of 32768 numbers, 4 KiB each
    _OTHERS = 100_000

    def __init__(self) -> None:
        self._bits: OrderedDict[int, bytearray] = OrderedDict()
        self._others: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, key: str) -> bool:
        numbers = _numbers([key])
        if numbers is None:
            return key in self._others
        [number] = numbers
        stretch = self._bits.get(number >> 15)
        return stretch is not None and bool(stretch[(number >> 3) & 4095] & (1 << (number & 7)))

    def add(self, keys: Sequence[str]) -> list[int]:
        """Take note of ids.

        :return: the places of those that were known already.
        """
        numbers = _numbers(keys)
        if numbers is None:
            return [place for place, key in enumerate(keys) if self._add_one(key)]
        known = []
        bits = self._bits
        last = -1
        for place, number in enumerate(numbers):
            if number >> 15 != last:  # neighbours mostly share their stretch
                last = number >> 15
                stretch = bits.get(last) or self._new_stretch(last)
            byte = (number >> 3) & 4095
            held = stretch[byte]
            marked = held | 1 << (number & 7)
            if marked == held:
                known.append(place)
            else:
                stretch[byte] = marked
        return known

    def _add_one(self, key: str) -> bool:
        if _numbers([key]) is not None:
            return bool(self.add([key]))
        known = key in self._others
        self._others[key] = None
        self._others.move_to_end(key)
        if len(self._others) > self._OTHERS:
            self._others.popitem(last=False)
        return known

    def _new_stretch(self, number: int) -> bytearray:
        if len(self._bits) >= self._STRETCHES:
            self._bits.popitem(last=False)
        stretch = self._bits[number] = bytearray(4096)
        return stretch


def _numbers(keys: Sequence[str]) -> list[int] | None:
    """Read ids as numbers, where each is one and has no other form: ``7`` and ``07`` are two ids."""
    try:
        return list(map(int, keys)) if _NUMBERS.fullmatch("\n".join(keys)) else None
    except ValueError:  # of an id with a line break, or of thousands of digits
        return None


@dataclass(frozen=True, slots=True)
class _Part(Generic[P]):
    """A page, and what was asked for."""

    start: int
    size: int
    page: P

    @property
    def is_short(self) -> bool:
        return len(self.page.keys) < self.size


@dataclass(frozen=True, slots=True)
class _Asked(Generic[P]):
    """A page that is on its way.

    :param joins: whether its first row is the last one of the page before it.
    """

    start: int
    size: int
    joins: bool
    parts: Future[list[_Part[P]]]


class OverlappingPages(Generic[P]):
    """Reads a list whose rows may come and go meanwhile: pages ahead, side by side, in order, each row once.

    Every page begins with the last row of the one before. Where it does not, rows went away from the pages before
    it, so that others moved over the edge unseen: the place is read again from further in front. Rows that came in
    push known ones over the edge: these are left out. Rows that come and go in equal numbers between two reads
    cannot be seen.

    The list ends where nothing new comes. A short page is no end, since a server may cap every page: how much it
    gives is learnt from it, and the pages that were asked for from offsets that assumed more are given up.

    :param fetch: gives the rows from a 0-based offset on, at most so many.
    :param submit: starts a call in another thread.
    :param size: rows a page.
    :param ahead: pages that are under way, or wait for their turn, at most.
    :param call: the call's name, for errors.
    """

    def __init__(
        self, fetch: Callable[[int, int], P], submit: Submit, *, size: int, ahead: int, call: str
    ) -> None:
        self._fetch = fetch
        self._submit = submit
        self._size = size
        self._ahead = ahead
        self._call = call
        self._seen = Seen()
        self._asked: deque[_Asked[P]] = deque()
        self._next = 0
        self._next_joins = False
        # Nothing is known of the list's length: the first page is asked for alone.
        self._under_way = 1
        self._last_short = 0
        self._turned_back = False
        self._first: Sequence[str] = ()
        self._previous: Sequence[str] = ()
        self._repeats = 0

    def __iter__(self) -> Iterator[P]:
        """Read the list, once.

        :return: the pages, each with at least one row that was not there before.
        :raises CrmListChangedError: the list changed faster than it can be read.
        :raises CrmUnreadableAnswerError: the server gives the same page whatever the offset.
        """
        ended = False
        try:
            while not ended:
                self._ask()
                asked = self._asked.popleft()
                parts = asked.parts.result()
                if len(parts) > 1:  # the server cannot give as many at once
                    self._size = min(self._size, parts[0].size)
                self._turned_back = False
                for number, part in enumerate(parts):
                    if (asked.joins or number > 0) and not self._is_joined(part.page):
                        self._give_up_asked()
                        part = self._read_again(part)
                    known = self._seen.add(part.page.keys)
                    has_new = len(known) < len(part.page.keys)
                    if has_new:
                        yield part.page.without(known) if known else part.page
                    ended = not self._goes_on_after(part, has_new=has_new)
                    if ended or self._turned_back:
                        break
        finally:
            self._give_up_asked()

    def _ask(self) -> None:
        """Ask for the next pages, as many as may be under way."""
        while len(self._asked) < self._under_way:
            parts = self._submit(self._parts, self._next, self._size)
            self._asked.append(_Asked(self._next, self._size, self._next_joins, parts))
            self._expect_after(self._next, self._size)

    def _expect_after(self, start: int, rows: int) -> None:
        """Go on after some rows, with the last of them as the first of the next page."""
        self._next_joins = rows > 1
        self._next = start + rows - int(self._next_joins)

    def _give_up_asked(self) -> None:
        """Give up the pages that are on their way: they were asked for from offsets that prove wrong."""
        self._turned_back = True
        _cancel(asked.parts for asked in self._asked)
        self._asked.clear()

    def _is_joined(self, page: P) -> bool:
        return bool(page.keys) and page.keys[0] in self._seen

    def _goes_on_after(self, part: _Part[P], *, has_new: bool) -> bool:
        """Decide what to ask for after a page.

        :return: False at the end of the list.
        """
        keys = part.page.keys
        # A server without offsets gives the first page for ever; one that bounds them, its last whole one.
        other = self._first if part.is_short else self._previous
        same = not has_new and len(keys) > 1 and list(keys) == list(other)
        self._repeats = self._repeats + 1 if same else 0
        if self._repeats > MOST_REPEATS:
            raise CrmUnreadableAnswerError(
                f"{self._call} gives the same {len(keys)} rows from offset {part.start} as before: it ignores the "
                f"offset",
                call=self._call,
            )
        self._previous = keys
        self._first = self._first or keys
        if not part.is_short:
            self._under_way = self._ahead
            if not self._asked:
                self._expect_after(part.start, len(keys))
            return True
        if not has_new and not same:
            return False
        # The end of the list, or a server that gives fewer rows than it is asked for: what follows will tell.
        self._give_up_asked()
        self._expect_after(part.start, len(keys))
        capped = len(keys) == self._last_short
        self._last_short = len(keys)
        if capped:
            self._size = len(keys)
        self._under_way = self._ahead if capped else 1
        return True

    def _read_again(self, part: _Part[P]) -> _Part[P]:
        """Read a place of the list from further in front, where rows are known.

        :raises CrmListChangedError: none are, as far as it makes sense to go back.
        """
        for back in LOOKING_BACK:
            start = max(part.start - back, 0)
            again = self._parts(start, part.size)[0]
            if start == 0 or self._is_joined(again.page):
                return again
        raise CrmListChangedError(
            f"{self._call}: more than {LOOKING_BACK[-1]} rows went away from the list while it was read. Read it "
            f"again when fewer are deleted or changed",
            call=self._call,
        )

    def _parts(self, start: int, size: int, halvings: int = 0) -> list[_Part[P]]:
        """Fetch some rows, in halves where the server cannot give them at once."""
        try:
            return [_Part(start, size, self._fetch(start, size))]
        except (CrmRateLimitError, CrmUnreachableError):
            raise  # it is not for the rows that there is no answer
        except CrmTransientError:
            if halvings == MOST_HALVINGS or size < 4:
                raise
        half = size // 2
        first = self._parts(start, half, halvings + 1)
        if first[-1].is_short:
            return first
        return first + self._parts(start + half - 1, size - half + 1, halvings + 1)
