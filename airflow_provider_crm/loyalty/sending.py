"""Credits on their way to SPREAD: noted in the ledger before they leave, and again once their answer is there, some
at a time.

Knows what an answer says; which credits may be sent is :mod:`airflow_provider_crm.loyalty.destination`'s.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from decimal import Decimal
from typing import NamedTuple

from airflow_provider_crm.bulk.outcomes import LATER, Item, Outcome, Step, Verdict
from airflow_provider_crm.exceptions import (
    CrmError,
    CrmOutcomeUnknownError,
    CrmRedirectError,
    CrmRequestError,
)
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.loyalty.claims import GROUPS, ClaimLostError
from airflow_provider_crm.loyalty.decimals import Decimals
from airflow_provider_crm.loyalty.doubts import Doubts
from airflow_provider_crm.loyalty.ledger import LaneTakenError, LineTakenError, LoyaltyLedger
from airflow_provider_crm.loyalty.lines import Line, line_amount, line_id
from airflow_provider_crm.loyalty.source_rows import CreditRecord
from airflow_provider_crm.loyalty.states import Entry, Standing

log = logging.getLogger(__name__)

CreditItem = Item[CreditRecord]
CreditStep = Step[CreditRecord]
#: What became of a credit, or what went wrong with it.
Result = Verdict | CrmError | LaneTakenError

#: Credits that are noted in one transaction, for each call in flight. Some such groups are on their way: while one is
#: noted, the line has another. A run that is killed leaves so many in doubt.
IN_A_GROUP = 2
#: Seconds after which answers are noted, however long others of their group take.
NOTED_WITHIN = 0.5


class _Answer(NamedTuple):
    """What SPREAD has answered to a credit: its line, whose that is, and how the row ends once that is noted."""

    entry: Entry
    line_id: str
    customer_id: str | None
    outcome: Outcome


class Sender:
    """Sends credits side by side.

    :param hook: through which calls are made.
    :param ledger: where it is noted.
    :param doubts: looks for a credit that was taken for applied by mistake.
    :param decimals: learns what SPREAD makes of amounts with decimals.
    """

    def __init__(self, hook: SpreadHook, ledger: LoyaltyLedger, doubts: Doubts, decimals: Decimals) -> None:
        self._hook = hook
        self._ledger = ledger
        self._doubts = doubts
        self._decimals = decimals
        self._size = IN_A_GROUP * hook.concurrency
        self._groups = ThreadPoolExecutor(GROUPS, thread_name_prefix="crm-credits")
        # More threads than calls in flight, so that the line need not wait for what is done between two calls.
        self._calls = ThreadPoolExecutor(hook.concurrency + 2, thread_name_prefix="crm-credit")

    def close(self) -> None:
        """End the threads, once what they have begun has come to its end."""
        self._groups.shutdown(wait=True, cancel_futures=True)
        self._calls.shutdown(wait=True)

    def send(self, steps: Sequence[CreditStep]) -> list[Result]:
        """Send credits; nothing of it goes on after this returns or raises.

        :param steps: of different lanes, each with its claimed entry.
        :return: for each, what became of it; what goes wrong with one is returned, so that those side by side with it
            come to their end.
        """
        stop = threading.Event()
        groups = [steps[start : start + self._size] for start in range(0, len(steps), self._size)]
        futures = [self._groups.submit(self._send_group, group, stop) for group in groups]
        try:
            return [result for future in futures for result in future.result()]
        finally:
            stop.set()
            wait(futures)

    def _send_group(self, steps: Sequence[CreditStep], stop: threading.Event) -> list[Result]:
        """Note that some credits leave, send them, and note what is answered, as it comes."""
        if stop.is_set():
            return [LATER] * len(steps)
        results: dict[int, Result] = {}
        calls: dict[Future[Result | _Answer], int] = {}
        try:
            for place, started in enumerate(self._start(steps, stop)):
                if isinstance(started, Entry):
                    calls[self._calls.submit(self._send, steps[place], started, stop)] = place
                else:
                    results[place] = started
            pending = set(calls)
            while pending:
                done, pending = wait(pending, timeout=NOTED_WITHIN)
                ended = {calls[one]: one.result() for one in done if one.exception() is None}
                answers = {place: one for place, one in ended.items() if isinstance(one, _Answer)}
                results |= {place: one for place, one in ended.items() if not isinstance(one, _Answer)}
                results |= dict(zip(answers, self._finish(list(answers.values()), stop), strict=True))
        except BaseException:
            stop.set()
            raise
        finally:
            wait(calls)
        for call in calls:
            call.result()  # raises what nobody has thought of, once the others are noted
        return [results[place] for place in range(len(steps))]

    def _start(self, steps: Sequence[CreditStep], stop: threading.Event) -> list[Entry | Result]:
        """Note that credits leave; why they must not, for those that must not."""
        try:
            started = self._ledger.start_all([step.payload for step in steps])
        except CrmError as error:
            return [_failed(error, stop)] * len(steps)
        for step, one in zip(steps, started, strict=True):
            if isinstance(one, Entry):  # the others are still kept waiting
                step.item.record.waiting_since = None
        return [one if isinstance(one, Entry) else _failed(one, stop) for one in started]

    def _send(self, step: CreditStep, entry: Entry, stop: threading.Event) -> Result | _Answer:
        try:
            return self._send_one(step, entry, stop)
        except CrmError as error:
            return _failed(error, stop)
        except BaseException:
            stop.set()
            raise

    def _send_one(self, step: CreditStep, entry: Entry, stop: threading.Event) -> Verdict | _Answer:
        # An answer may have shown what becomes of decimals since the row was planned.
        if stop.is_set() or self._decimals.refuses(entry.credit.amount):
            self._ledger.unsend(entry)
            return LATER
        ref = step.item.record.ref

        def still_mine() -> None:
            nonlocal entry
            entry = self._ledger.confirm(entry)

        try:
            answer = self._hook.credit_loyalty(
                amount=entry.credit.amount, email=ref.email, customer_id=ref.customer_id, before=still_mine
            )
        except CrmRequestError as error:
            if error.status is None or error.status < 400:
                # Words of failure in an answer that says success: what it did has to be seen.
                self._ledger.doubt(entry)
            else:
                self._ledger.unsend(entry)
            step.item.record.refusal = error.reason or "refused by the CRM without a reason"
            return LATER
        except (CrmOutcomeUnknownError, CrmRedirectError):
            self._ledger.doubt(entry)
            raise
        except CrmError:
            self._ledger.unsend(entry)  # it did not reach the CRM, or was refused for being too many
            raise
        except BaseException:
            self._ledger.doubt(entry)
            raise
        return self._credited(step, entry, answer)

    def _credited(self, step: CreditStep, entry: Entry, answer: Mapping[str, Line]) -> _Answer:
        line = answer["cagnotte"]
        one = line_id(line)
        if not one:
            self._ledger.doubt(entry)
            raise CrmOutcomeUnknownError(
                "POST /cagnottes was answered without the line's id", call="POST /cagnottes"
            )
        customer_id = str(answer["customer"].get("id") or line.get("customerId") or "") or None
        # Before the ledger takes its time: others may be about to leave.
        amount = self._noted_amount(entry, line)
        return _Answer(entry, one, customer_id, Outcome(step.outcome.ending, crm_id=one, amount=amount))

    def _finish(self, answers: Sequence[_Answer], stop: threading.Event) -> list[Result]:
        """Note that credits are in the CRM."""
        try:
            problems = self._ledger.finish_all([one[:3] for one in answers]) if answers else []
        except CrmError as error:
            return [_failed(error, stop)] * len(answers)
        return [self._noted(one, problem, stop) for one, problem in zip(answers, problems, strict=True)]

    def _noted(
        self, answer: _Answer, problem: LineTakenError | ClaimLostError | None, stop: threading.Event
    ) -> Result:
        """Return how a row ends whose credit was to be noted; what goes wrong with one is none of the others'."""
        try:
            if isinstance(problem, ClaimLostError):
                raise problem
            if problem is not None:
                self._take_line(*answer[:3])
        except CrmError as error:
            return _failed(error, stop)
        return answer.outcome

    def _noted_amount(self, entry: Entry, line: Line) -> Decimal:
        """Return what SPREAD has added, and take note of how it treats decimals."""
        sent, noted = entry.credit.amount, line_amount(line)
        if noted is None:
            return sent
        self._decimals.learn(sent, noted)
        if noted == sent:
            return sent
        log.warning("SPREAD noted %s points in place of %s as line %s", noted, sent, line_id(line))
        return noted

    def _take_line(self, entry: Entry, one: str, customer_id: str | None) -> None:
        """Correct the ledger: another credit, which was in doubt, was taken for applied because of this line."""
        other = self._ledger.take_line(entry, one, customer_id)
        if other is None:
            return
        found = self._doubts.resolve([other])[other.id] if other.credit.customer_id else other
        if found.standing is not Standing.CREDITED:
            log.error(
                "The credit %s was taken for applied and is not, since line %s belongs to %s: run its source again",
                other.credit.key,
                one,
                entry.credit.key,
            )


def _failed(error: CrmError | LaneTakenError, stop: threading.Event) -> Result:
    """Return what is said of a credit that was not sent, or whose outcome is not noted; keep others from being sent
    where it is not about this one alone.
    """
    if isinstance(error, ClaimLostError):
        log.warning("%s", error)
        return LATER
    if isinstance(error, CrmError) and not isinstance(error, CrmOutcomeUnknownError):
        stop.set()
    return error
