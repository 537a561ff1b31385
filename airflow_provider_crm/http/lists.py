"""How a list is read page by page without trusting what the CRM says about its end. Knows no vendor."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Protocol, Self, TypeVar

from airflow_provider_crm.exceptions import (
    CrmError,
    CrmListChangedError,
    CrmNotFoundError,
    CrmRateLimitError,
    CrmTransientError,
    CrmUnreachableError,
    CrmUnreadableAnswerError,
)
from airflow_provider_crm.http.known_ids import KnownIds

T = TypeVar("T")
S = TypeVar("S")

#: How often a page that the server cannot give is asked for in halves, and these in halves again.
MOST_HALVINGS = 4
#: How often a page may come again: as many new rows in front as a page has look the same.
MOST_REPEATS = 3
#: How many rows further in front a part of a list is read again, one after the other.
LOOKING_BACK = (1, 10, 100, 1_000, 10_000, 100_000)
#: How often in a row that may bring nothing new: a list that shrinks while it is read needs a few times.
MOST_TURNS = 20


class Page(Protocol):
    """A page of a list, whatever its rows have become."""

    @property
    def keys(self) -> Sequence[str]:
        """The own id of every row, in the order of the list."""

    def without(self, positions: Collection[int]) -> Self:
        """Return the page without the rows at these positions, counted from 0."""


class RowPage(Generic[T]):
    """A page of rows that stay as they are.

    :param keys: the own id of every row.
    """

    def __init__(self, rows: Sequence[T], keys: Sequence[str]) -> None:
        self.rows = rows
        self.keys = keys

    def without(self, positions: Collection[int]) -> RowPage[T]:
        """Return the page without the rows at these positions."""
        kept = [position for position in range(len(self.rows)) if position not in positions]
        return RowPage([self.rows[position] for position in kept], [self.keys[position] for position in kept])


P = TypeVar("P", bound=Page)
Submit = Callable[..., "Future[Any]"]
"""Starts a call in another thread."""


def in_order(
    submit: Submit, function: Callable[[S], T], items: Iterable[S], *, ahead: int
) -> Generator[T, None, None]:
    """Call a function for many items side by side, and yield the results in the order of the items.

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


def at_once(function: Callable[..., T], *arguments: Any) -> Future[T]:
    """Make a call in this thread: one of a pool's must not wait for another one of the pool."""
    future: Future[T] = Future()
    try:
        future.set_result(function(*arguments))
    except Exception as error:
        future.set_exception(error)
    return future


def _cancel(futures: Iterable[Future[Any]]) -> None:
    for future in futures:
        future.cancel()


@dataclass(frozen=True, slots=True)
class _Part(Generic[P]):
    """A page, and what was asked for.

    :param page: None where the server said that there is none.
    :param missing: how it said so.
    """

    start: int
    size: int
    page: P | None
    missing: CrmError | None = None

    @property
    def keys(self) -> Sequence[str]:
        return () if self.page is None else self.page.keys

    @property
    def is_short(self) -> bool:
        return len(self.keys) < self.size


@dataclass(frozen=True, slots=True)
class _Asked(Generic[P]):
    """A page that is on its way.

    :param joins: whether its first row is the last one of the page before it.
    """

    start: int
    size: int
    joins: bool
    parts: Future[list[_Part[P]]]


class PagedList(Generic[P]):
    """A list whose rows may come and go while it is read: page by page, in order, each row once.

    Every page begins with the last row of the one before. Where it does not, rows went away from the pages before
    it, so that others moved over the edge unseen: that part is read again from further in front. Rows that came in
    push known ones over the edge: these are left out. Rows that come and go in equal numbers between two reads
    cannot be seen. (An export by offsets that does none of this had 1,002 rows, 1,001 of them different:
    spencerc99/playhtml#382.)

    The list ends where nothing new comes. A short page is no end, since servers give fewer rows than they are asked
    for, and empty pages in the middle of lists (https://google.aip.dev/158): how much one gives is learnt from it, and
    the pages that were asked for from offsets that assumed more are given up. Nor is an empty page where a row has to
    be: it is read again from further in front, and a list that does not go on so fails.

    :param fetch: gives the rows from a 0-based offset on, at most so many.
    :param size: rows a page.
    :param call: the call's name, for errors.
    :param submit: starts a call in another thread; made in the reader's own otherwise.
    :param ahead: pages that are under way, or wait for their turn, at most.
    :param exists: tells whether what the list belongs to is there, asked after a 404 for the first page.
    """

    def __init__(
        self,
        fetch: Callable[[int, int], P],
        *,
        size: int,
        call: str,
        submit: Submit = at_once,
        ahead: int = 1,
        exists: Callable[[], bool] | None = None,
    ) -> None:
        self._fetch = fetch
        self._size = size
        self._call = call
        self._submit = submit
        self._ahead = ahead
        self._exists = exists
        self._known = KnownIds()
        self._asked: deque[_Asked[P]] = deque()
        self._next = 0
        self._next_joins = False
        # Nothing is known of the list's length: the first page is asked for alone.
        self._under_way = 1
        self._last_short = 0
        self._longest = 0
        self._turned_back = False
        self._turns = 0
        self._first: Sequence[str] = ()
        self._previous: Sequence[str] = ()
        self._repeats = 0

    def __iter__(self) -> Iterator[P]:
        """Read the list, once.

        :return: the pages, each with at least one row that was not there before.
        :raises CrmListChangedError: the list changed faster than it can be read.
        :raises CrmUnreadableAnswerError: the server gives the same page whatever the offset, or none where there
            are rows.
        :raises CrmNotFoundError: it says so of the list, or of a page of it.
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
                    if (asked.joins or number > 0) and not self._is_joined(part):
                        self._give_up_asked()
                        part = self._read_again(part)
                    known = self._known.add(part.keys)
                    has_new = len(known) < len(part.keys)
                    if part.page is not None and has_new:
                        self._turns = 0
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
        """Drop the pages that are on their way: they were asked for from offsets that prove wrong."""
        self._turned_back = True
        _cancel(asked.parts for asked in self._asked)
        self._asked.clear()

    def _is_joined(self, part: _Part[P]) -> bool:
        return bool(part.keys) and part.keys[0] in self._known

    def _goes_on_after(self, part: _Part[P], *, has_new: bool) -> bool:
        """Decide what to ask for after a page.

        :return: False at the end of the list.
        """
        keys = part.keys
        # A server without offsets gives the first page for ever; one that bounds them (as in aces/cbrain#1446), its
        # last whole one.
        other = self._first if part.is_short else self._previous
        same = bool(keys) and not (has_new or self._turned_back) and list(keys) == list(other)
        self._repeats = self._repeats + 1 if same else 0
        if self._repeats > MOST_REPEATS:
            raise CrmUnreadableAnswerError(
                f"{self._call} gives the same {len(keys)} rows from offset {part.start} as before: it ignores the "
                f"offset",
                call=self._call,
            )
        self._previous = keys
        self._first = self._first or keys
        self._longest = max(self._longest, len(keys))
        if not part.is_short:
            self._under_way = self._ahead
            if not self._asked:
                self._expect_after(part.start, len(keys))
            return True
        # A page as long as any, and known altogether, may be the work of rows that came in in front.
        if not has_new and (not keys or len(keys) < self._longest):
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
        """Read a part of the list from further in front, where rows are known.

        :raises CrmListChangedError: none are, as far as it makes sense to go back.
        :raises CrmUnreadableAnswerError: it was read so often enough: there is no page where there are rows.
        :raises CrmNotFoundError: the same, and the server says it with a 404.
        """
        self._turns += 1
        if self._turns > MOST_TURNS and not part.keys:
            raise part.missing or CrmUnreadableAnswerError(
                f"{self._call} gives no rows from offset {part.start} on, although it gave one there before: the list "
                f"cannot be read to its end",
                call=self._call,
            )
        for back in LOOKING_BACK if self._turns <= MOST_TURNS else ():
            start = max(part.start - back, 0)
            again = self._parts(start, part.size)[0]
            if start == 0 or self._is_joined(again):
                return again
        raise CrmListChangedError(
            f"{self._call}: more than {LOOKING_BACK[-1]} rows went away from the list while it was read. Read it "
            f"again when fewer are deleted or changed",
            call=self._call,
        )

    def _parts(self, start: int, size: int, halvings: int = 0) -> list[_Part[P]]:
        """Fetch some rows, in halves where the server cannot give them at once.

        A page that takes too long would do so for ever: airbytehq/airbyte-python-cdk#1149.
        """
        try:
            return [_Part(start, size, self._fetch(start, size))]
        except CrmNotFoundError as error:
            # So Django's REST framework, and flask-smorest before marshmallow-code/flask-smorest@33722f6, answer
            # behind the end of a list; whether it is the end, the pages before tell.
            if start == 0 and not (self._exists and self._exists()):
                raise
            return [_Part(start, size, None, error)]
        except (CrmRateLimitError, CrmUnreachableError):
            raise  # it is not for the rows that there is no answer
        except CrmTransientError as error:
            # 503 is about the server, whatever it is asked for (RFC 9110, section 15.6.4).
            if error.status == 503 or halvings == MOST_HALVINGS or size < 4:
                raise
        half = size // 2
        first = self._parts(start, half, halvings + 1)
        if first[-1].is_short:
            return first
        return first + self._parts(start + half - 1, size - half + 1, halvings + 1)
