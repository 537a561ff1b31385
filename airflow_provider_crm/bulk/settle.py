"""One batch until each of its rows has ended: what is unknown is looked up, what is refused is isolated.

Knows no CRM: it is handed a destination. The rule behind it: nothing is sent again before a look into the CRM.
"""

from __future__ import annotations

import random
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Generic

from airflow_provider_crm.bulk.outcomes import Again, Destination, Item, Outcome, R, Step, rejected
from airflow_provider_crm.exceptions import CrmOutcomeUnknownError, CrmRequestError, CrmTooLargeError

#: Seconds between two looks at a call whose outcome is unknown.
FIRST_WAIT = 0.5
LONGEST_WAIT = 60.0

#: A place in a list of the body, as in ``data[3].email``; and what may be a key.
_PLACE = re.compile(r"\[(\d{1,6})\]")
_WORD = re.compile(r"[^\s\"'<>(),;:\[\]{}]+")

#: How often a row is sent again alone when the answer does not speak of it.
MOST_UNSAID = 2
UNCONFIRMED = "the CRM accepted the call and did not say what became of this row"


class Settler(Generic[R]):
    """Settles batches; safe to call from several threads.

    :param destination: takes the rows.
    :param max_retries: how often in a row a call is sent again after an unknown outcome.
    :param sleep: waits a number of seconds.
    """

    def __init__(
        self, destination: Destination[R], *, max_retries: int, sleep: Callable[[float], object]
    ) -> None:
        self._destination = destination
        self._max_retries = max_retries
        self._sleep = sleep
        self._largest = destination.batch_size
        self._lock = threading.Lock()

    def settle(self, items: Sequence[Item[R]]) -> list[tuple[Item[R], Outcome]]:
        """Bring every item to its end.

        :raises CrmOutcomeUnknownError: the CRM did not answer a writing call, again and again.
        :raises CrmTransientError: the CRM cannot be reached.
        """
        ended: list[tuple[Item[R], Outcome]] = []
        parts: deque[Sequence[Item[R]]] = deque([items])
        unknown = 0
        while parts:
            part = parts.popleft()
            if len(part) > self._largest:
                parts.extendleft(reversed(list(_cut(part, self._largest))))
                continue
            try:
                steps = self._plan(part, ended)
            except CrmRequestError as error:  # one of the keys cannot be looked up
                parts.extendleft(reversed(self._isolate(part, error, ended)))
                continue
            if not steps:
                continue
            doing = [step.item for step in steps]
            refusals = [item.refusals for item in doing]
            try:
                answers = self._destination.apply(steps)
            except CrmOutcomeUnknownError as error:
                unknown += 1
                if unknown > self._max_retries:
                    raise
                _mark_applied(doing)
                self._sleep(max(_pause(unknown), error.retry_after or 0.0))
                parts.appendleft(doing)
                continue
            except CrmRequestError as error:
                if isinstance(error, CrmTooLargeError):
                    self._remember(len(doing))
                left = self._isolate(doing, error, ended)
            else:
                left = self._sort(doing, answers, refusals, ended)
            unknown = 0
            parts.extendleft(reversed(left))
        return ended

    def _plan(self, items: Sequence[Item[R]], ended: list[tuple[Item[R], Outcome]]) -> list[Step[R]]:
        steps = []
        for item, plan in zip(items, self._destination.plan(items), strict=True):
            if not isinstance(plan, Step):
                ended.append((item, plan))
            elif item.refusal and plan.payload == item.refused:
                ended.append((item, rejected("crm", item.refusal)))
            else:
                item.sent = plan.payload
                steps.append(plan)
        return steps

    def _sort(
        self,
        items: Sequence[Item[R]],
        answers: Sequence[Outcome | Again | None],
        refusals: Sequence[int],
        ended: list[tuple[Item[R], Outcome]],
    ) -> list[Sequence[Item[R]]]:
        """Take note of the answers; what they leave open is planned again.

        :param refusals: how often each had been refused before this call.
        """
        left: list[Item[R]] = []
        unsaid: list[Item[R]] = []
        for item, answer, before in zip(items, answers, refusals, strict=True):
            if isinstance(answer, Outcome):
                ended.append((item, answer))
                continue
            left.append(item)
            if answer is None and item.refusals == before:
                unsaid.append(item)
        _mark_applied(unsaid)
        if len(unsaid) < len(items):
            return [left] if left else []
        if len(left) == 1 and left[0].unsaid < MOST_UNSAID:
            left[0].unsaid += 1
            return [left]
        return self._isolate(left, CrmRequestError(UNCONFIRMED), ended)

    def _isolate(
        self, items: Sequence[Item[R]], error: CrmRequestError, ended: list[tuple[Item[R], Outcome]]
    ) -> list[Sequence[Item[R]]]:
        """Cut what was refused as a whole, until the row at fault stands alone."""
        if len(items) == 1:
            outcome = items[0].refuse(error.reason)
            if outcome is None:
                return [items]
            ended.append((items[0], outcome))
            return []
        _mark_applied(items)  # those before the one at fault may have been
        named = named_rows([item.key for item in items], error.errors)
        if named:
            rest = [item for place, item in enumerate(items) if place not in named]
            return [rest, *([items[place]] for place in sorted(named))]
        middle = len(items) // 2
        return [items[:middle], items[middle:]]

    def _remember(self, too_large: int) -> None:
        if too_large > 1:  # otherwise it is the row that is large
            with self._lock:
                self._largest = min(self._largest, too_large // 2)


def named_rows(keys: Sequence[str], errors: Sequence[str]) -> frozenset[int]:
    """Find the rows that the CRM's error messages name, by their key or by their place in the call.

    It is a hint only: a row that is named is sent alone, and rejected when it is refused again.

    :return: their places; empty when none is named, or so many that the messages cannot mean single rows.
    """
    text = "\n".join(errors).lower()
    named = {int(place) for place in _PLACE.findall(text) if int(place) < len(keys)}
    words = {word.rstrip(".") for word in _WORD.findall(text)}
    named |= {place for place, key in enumerate(keys) if key.lower() in words}
    return (
        frozenset(named) if len(named) <= max(1, len(keys) // 4) and len(named) < len(keys) else frozenset()
    )


def _pause(tries: int) -> float:
    """Full jitter, as between the tries of one call."""
    return random.uniform(0.0, min(LONGEST_WAIT, FIRST_WAIT * 2 ** (tries - 1)))


def _mark_applied(items: Sequence[Item[R]]) -> None:
    for item in items:
        item.maybe_applied = True


def _cut(items: Sequence[Item[R]], size: int) -> Iterator[Sequence[Item[R]]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
