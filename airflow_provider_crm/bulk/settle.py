"""One batch until each of its rows has ended: what is unknown is looked up, what is refused is isolated.

Knows no CRM: it is handed a destination. The rule behind it: nothing is sent again before a look into the CRM; and what
must not be done twice, not before what may still be on its way has had the time to be seen.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Generic

from airflow_provider_crm.bulk.in_flight import InFlight
from airflow_provider_crm.bulk.outcomes import (
    UNSAID,
    Destination,
    Item,
    Outcome,
    R,
    Refused,
    Step,
    Verdict,
    is_open,
    rejected,
)
from airflow_provider_crm.exceptions import CrmOutcomeUnknownError, CrmRequestError, CrmTooLargeError

#: Seconds between two looks at a call whose outcome is unknown.
FIRST_WAIT = 0.5
LONGEST_WAIT = 60.0
#: Beyond the end of a doubt, so that it is over by any clock.
_MOMENT = 0.002

#: A place in a list of the body, as in ``data[3].email``; and what may be a key.
_PLACE = re.compile(r"\[(\d{1,6})\]")
_WORD = re.compile(r"[^\s\"'<>(),;:\[\]{}]+")

#: How often a row is refused, each time with another call, before it is rejected without a further one.
MOST_REFUSALS = 3
#: How often a row is sent again alone when the answer does not speak of it.
MOST_UNSAID = 2
NO_REASON = "refused by the CRM without a reason"
UNCONFIRMED = "the CRM accepted the call and did not say what became of this row"


class Settler(Generic[R]):
    """Settles batches; safe to call from several threads.

    :param destination: takes the rows.
    :param max_retries: how often in a row a call is sent again after an unknown outcome.
    :param sleep: waits a number of seconds.
    :param now: the time in seconds, by the clock that ``sleep`` goes by.
    :param in_flight: where rows are noted that have to be; None where nothing is kept for a retry.
    """

    def __init__(
        self,
        destination: Destination[R],
        *,
        max_retries: int,
        sleep: Callable[[float], object],
        now: Callable[[], float] = time.monotonic,
        in_flight: InFlight | None = None,
    ) -> None:
        self._destination = destination
        self._max_retries = max_retries
        self._sleep = sleep
        self._now = now
        self._in_flight = in_flight
        self._began = now()
        self._largest = destination.batch_size
        self._lock = threading.Lock()

    def settle(self, items: Sequence[Item[R]]) -> list[tuple[Item[R], Outcome]]:
        """Bring every item to its end.

        :raises CrmOutcomeUnknownError: the CRM did not answer a writing call, again and again.
        :raises CrmTransientError: the CRM cannot be reached.
        """
        course: _Course[R] = _Course(self._now)
        parts: deque[Sequence[Item[R]]] = deque([items])
        doubtful: list[Item[R]] = []
        while parts or doubtful:
            if not parts:  # once for all of them, when nothing else is left to do
                self._wait_for(doubtful)
                parts.append(doubtful)
                doubtful = []
            part = parts.popleft()
            if len(part) > self._largest:
                parts.extendleft(reversed(list(_cut(part, self._largest))))
                continue
            looked_at = self._now()  # an answer may take so long that what it shows is old when it comes
            try:
                plans = self._destination.plan(part)
            except CrmRequestError as error:
                parts.extendleft(reversed(course.isolate_unseen(part, error)))
                continue
            uncertain = [
                place
                for place, (item, plan) in enumerate(zip(part, plans, strict=True))
                if (item.retried or item.in_doubt_until) and not self._is_certain(item, plan, looked_at)
            ]
            doubtful += [part[place] for place in uncertain]
            if steps := course.steps(part, plans, frozenset(uncertain)):
                parts.extendleft(reversed(self._carry_out(steps, course)))
        return course.ended

    def _carry_out(self, steps: Sequence[Step[R]], course: _Course[R]) -> list[Sequence[Item[R]]]:
        """Make the calls; after one whose outcome is unknown, none before another look.

        :return: parts to plan again.
        """
        left: list[Sequence[Item[R]]] = []
        calls = deque(_calls(steps))
        while calls:
            left += self._call(calls.popleft(), course)
            if course.unknown:
                break
        return left + [[step.item for step in call] for call in calls]

    def _call(self, steps: Sequence[Step[R]], course: _Course[R]) -> list[Sequence[Item[R]]]:
        """Make one call.

        :return: parts to plan again.
        """
        try:
            with self._noting(steps[0].item):
                verdicts = self._destination.apply(steps)
        except CrmOutcomeUnknownError as error:
            course.unknown += 1
            if course.unknown > self._max_retries:
                raise
            course.doubt(steps)
            self._sleep(max(_pause(course.unknown), error.retry_after or 0.0))
            return [[step.item for step in steps]]
        except CrmRequestError as error:
            if isinstance(error, CrmTooLargeError):
                self._remember(len(steps))
            left = course.isolate(steps, error)
        else:
            left = course.sort(steps, verdicts)
        course.unknown = 0
        return left

    def _noting(self, item: Item[R]) -> AbstractContextManager[None]:
        if self._in_flight is None or not item.noted:
            return nullcontext()
        return self._in_flight.sending(item)

    def _is_certain(self, item: Item[R], plan: Outcome | Step[R], looked_at: float) -> bool:
        """Return False where a plan goes by what the CRM does not show, and may show in a moment.

        :param looked_at: before this moment nobody had asked the CRM.
        """
        if isinstance(plan, Step) and item.retried and plan.settle_seconds:
            item.in_doubt_until = max(item.in_doubt_until, self._began + plan.settle_seconds)
        return not is_open(item, plan, looked_at)

    def _wait_for(self, items: Sequence[Item[R]]) -> None:
        left = max(item.in_doubt_until for item in items) - self._now()
        self._sleep(max(left, 0.0) + _MOMENT)

    def _remember(self, too_large: int) -> None:
        if too_large > 1:  # otherwise it is the row that is large
            with self._lock:
                self._largest = min(self._largest, too_large // 2)


class _Course(Generic[R]):
    """What has become of the rows of one batch so far.

    :param now: the time in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.ended: list[tuple[Item[R], Outcome]] = []
        #: Calls in a row whose outcome is unknown.
        self.unknown = 0
        #: By the row's number: how often it was refused, and how often a call of its own passed it over.
        self._refusals: Counter[int] = Counter()
        self._unsaid: Counter[int] = Counter()

    def steps(
        self, items: Sequence[Item[R]], plans: Sequence[Outcome | Step[R]], uncertain: Collection[int]
    ) -> list[Step[R]]:
        """Note the items that have ended.

        :param uncertain: the places of those that are to be planned again.
        :return: what is to be done with the others.
        """
        steps = []
        for place, (item, plan) in enumerate(zip(items, plans, strict=True)):
            if place in uncertain:
                continue
            if not isinstance(plan, Step):
                self.ended.append((item, plan))
            elif item.refused and self._is_futile(plan, item.refused):
                self.ended.append((item, rejected("crm", item.refused.reason, plan.outcome.crm_id)))
            else:
                steps.append(plan)
        return steps

    def _is_futile(self, step: Step[R], refused: Refused) -> bool:
        return step.payload == refused.payload or self._refusals[step.item.row.number] >= MOST_REFUSALS

    def doubt(self, steps: Sequence[Step[R]]) -> None:
        """Note that a call has ended without an answer that tells."""
        _mark_applied(steps)
        for step in steps:
            self._hold_in_doubt(step)

    def _hold_in_doubt(self, step: Step[R]) -> None:
        if step.settle_seconds:
            step.item.in_doubt_until = self._now() + step.settle_seconds

    def sort(self, steps: Sequence[Step[R]], verdicts: Sequence[Verdict]) -> list[Sequence[Item[R]]]:
        """Note what a call has said.

        :return: parts to plan again.
        """
        left: list[Step[R]] = []
        unsaid: list[Step[R]] = []
        for step, verdict in zip(steps, verdicts, strict=True):
            if isinstance(verdict, Outcome):
                self.ended.append((step.item, verdict))
                continue
            left.append(step)
            if isinstance(verdict, Refused):
                self._refuse(step, verdict)
            elif verdict is UNSAID:
                unsaid.append(step)
        self.doubt(unsaid)
        if len(unsaid) < len(steps):
            return [[step.item for step in left]] if left else []
        if len(left) == 1 and self._unsaid[left[0].item.row.number] < MOST_UNSAID:
            self._unsaid[left[0].item.row.number] += 1
            return [[left[0].item]]
        return self.isolate(left, CrmRequestError(UNCONFIRMED))

    def isolate(self, steps: Sequence[Step[R]], error: CrmRequestError) -> list[Sequence[Item[R]]]:
        """Cut a call that was refused as a whole, until the row at fault stands alone.

        :return: parts to plan again.
        """
        if len(steps) == 1:
            self._refuse(steps[0], Refused(error.reason))
            return [[steps[0].item]]
        _mark_applied(steps)  # those before the one at fault may have been
        return _parts([step.item for step in steps], error)

    def isolate_unseen(self, items: Sequence[Item[R]], error: CrmRequestError) -> list[Sequence[Item[R]]]:
        """Cut a look-up that was refused as a whole; a row that cannot be looked up alone is rejected.

        :return: parts to plan again.
        """
        if len(items) > 1:
            return _parts(items, error)
        self.ended.append((items[0], rejected("crm", error.reason or NO_REASON)))
        return []

    def _refuse(self, step: Step[R], refused: Refused) -> None:
        item = step.item
        item.refused = Refused(refused.reason or NO_REASON, step.payload)
        if item.maybe_applied:  # the CRM may refuse it because it holds it already, and not show it yet
            self._hold_in_doubt(step)
        if refused.settle_seconds:
            item.in_doubt_until = max(item.in_doubt_until, self._now() + refused.settle_seconds)
        self._refusals[step.item.row.number] += 1


def _calls(steps: Sequence[Step[R]]) -> Iterator[Sequence[Step[R]]]:
    """Cut steps into calls: what is noted goes alone, so that what becomes of others tells nothing of it."""
    noted = [step for step in steps if step.item.noted]
    if not noted:
        yield steps
        return
    if others := [step for step in steps if not step.item.noted]:
        yield others
    yield from ([step] for step in noted)


def _parts(items: Sequence[Item[R]], error: CrmRequestError) -> list[Sequence[Item[R]]]:
    named = named_rows([item.key for item in items], error.errors)
    if named:
        rest = [item for place, item in enumerate(items) if place not in named]
        return [rest, *([items[place]] for place in sorted(named))]
    middle = len(items) // 2
    return [items[:middle], items[middle:]]


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


def _mark_applied(steps: Sequence[Step[R]]) -> None:
    for step in steps:
        step.item.maybe_applied = True


def _cut(items: Sequence[Item[R]], size: int) -> Iterator[Sequence[Item[R]]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
