"""Which loyalty lines SPREAD held before credits were sent, their baseline: none of them is taken for a credit's own.

Read in bulk where that is cheaper than customer by customer; nothing relies on clocks or on the order of line ids.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence

from airflow_provider_crm.exceptions import CrmRequestError, CrmTransientError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.loyalty.baseline_store import LineSet
from airflow_provider_crm.loyalty.ledger import LoyaltyLedger
from airflow_provider_crm.loyalty.lines import CustomerLines, Line, line_id, line_pages

log = logging.getLogger(__name__)

#: Seconds after which lines that were added meanwhile are read too.
REFRESH_EVERY = 60.0
#: Pages of a refresh that look for known lines, where new ones come first.
MOST_NEW_PAGES = 20
#: Calls for one customer that take as long as one full page.
CALLS_A_PAGE = 10
#: Full pages that are read at once, however few the credits.
LEAST_PAGES = 3
#: Full pages of the whole account that are read at most: two million lines, 16 MB of memory.
MOST_PAGES = 400


class Baselines:
    """Takes baselines and keeps them in the ledger.

    :param hook: through which lines are read.
    :param ledger: keeps them.
    """

    def __init__(self, hook: SpreadHook, ledger: LoyaltyLedger) -> None:
        self._hook = hook
        self._ledger = ledger
        self._lock = threading.Lock()
        self._all: _AllLines | None = None
        #: Calls that reading customer by customer has taken or would take, and what they must come to before the size
        #: of the account is asked for again.
        self._calls = self._ask_at = 0
        #: Reads lines of customers, as the look for a credit in doubt does too.
        self.lines = CustomerLines(hook, self._pages_of_all)

    def of_account(self, calls: int) -> str | None:
        """Return the baseline of all customers; None while reading them all would take longer than one by one.

        :param calls: what it would take to look up the credits that are about to be sent one by one.
        """
        with self._lock:
            self._calls += calls
            if self._all is None and self._calls >= self._ask_at:
                pages = min(max(self._calls // CALLS_A_PAGE, LEAST_PAGES), MOST_PAGES)
                try:
                    self._all = _AllLines.read(self._hook, self._ledger, pages)
                except CrmRequestError as error:  # it is about no row, and must not reject one
                    raise CrmTransientError(f"{error}. Nothing is sent before the lines are known") from error
                self._ask_at = 2 * max(self._calls, pages * CALLS_A_PAGE)
            return None if self._all is None else self._all.fresh()

    def of_lines(self, lines: Iterable[Sequence[Line]]) -> str:
        """Keep lines that were just read as a baseline of their own."""
        return self._ledger.baselines.save(LineSet(map(line_id, some) for some in lines))

    def _pages_of_all(self) -> int | None:
        return None if self._all is None else self._all.pages


class _TooManyError(Exception):
    """There are more lines than may be read."""


class _AllLines:
    """All lines of the account, and those that were added since."""

    def __init__(self, hook: SpreadHook, ledger: LoyaltyLedger) -> None:
        self._hook = hook
        self._ledger = ledger
        self._count = 0
        self._last = ""
        self._name = ""
        self._read_at = hook.clock.now()
        #: Calls that it takes to read all of them.
        self.pages = 1

    @classmethod
    def read(cls, hook: SpreadHook, ledger: LoyaltyLedger, most_pages: int) -> _AllLines | None:
        """Read all lines; None when there are too many of them."""
        lines = cls(hook, ledger)
        try:
            lines._name = ledger.baselines.save(LineSet(lines._ids(most_pages)))
        except _TooManyError:
            log.info("There are too many loyalty lines to read them all: reading them customer by customer")
            return None
        return lines

    def _ids(self, most_pages: int) -> Iterator[list[str]]:
        for page in line_pages(self._hook):
            # Whether there are too many is better asked than found out by reading them.
            if self.pages == 1 and self._holds(most_pages * len(page)):
                raise _TooManyError
            self.pages += 1
            ids = list(map(line_id, page))
            self._count += len(ids)
            self._last = ids[-1]
            yield ids

    def _holds(self, place: int) -> bool:
        return next(line_pages(self._hook, start=place, size=1), None) is not None

    def fresh(self) -> str:
        """Return the baseline, with what was added since it was read."""
        now = self._hook.clock.now()
        if now - self._read_at >= REFRESH_EVERY:
            self._read_at = now
            new = self._added_last()
            if new is None:
                new = self._added_first()
            if new:
                self._name = self._ledger.baselines.save(LineSet([new]), parent=self._name)
        return self._name

    def _added_last(self) -> list[str] | None:
        """Return the ids that follow the last known one; None where that is not in its place any more."""
        start = max(self._count - 1, 0)
        new = [line_id(line) for page in line_pages(self._hook, start=start) for line in page]
        if self._last:
            if not new or new[0] != self._last:
                return None
            new = new[1:]
        if new:
            self._count += len(new)
            self._last = new[-1]
        return new

    def _added_first(self) -> list[str]:
        """Return the ids before the first known one, in a list that begins with the newest."""
        new: list[str] = []
        for number, page in enumerate(line_pages(self._hook), start=1):
            ids = list(map(line_id, page))
            unknown = [one for one in ids if not self._ledger.baselines.holds(self._name, one)]
            new += unknown
            if len(unknown) < len(ids) or number == MOST_NEW_PAGES:
                break
        return new
