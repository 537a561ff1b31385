"""Credits on their way to SPREAD: noted in the ledger before they leave, and again once their answer is there.

Knows what an answer says; which credits may be sent is :mod:`airflow_provider_crm.loyalty.destination`'s.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from decimal import Decimal

from airflow_provider_crm.bulk.outcomes import LATER, Item, Outcome, Step, Verdict
from airflow_provider_crm.exceptions import (
    CrmError,
    CrmOutcomeUnknownError,
    CrmRedirectError,
    CrmRequestError,
)
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.loyalty.claims import ClaimLostError
from airflow_provider_crm.loyalty.decimals import Decimals
from airflow_provider_crm.loyalty.doubts import Doubts
from airflow_provider_crm.loyalty.ledger import LaneTakenError, LineTakenError, LoyaltyLedger
from airflow_provider_crm.loyalty.lines import Line, line_amount, line_id
from airflow_provider_crm.loyalty.source_rows import CreditRecord
from airflow_provider_crm.loyalty.states import Entry, Standing

log = logging.getLogger(__name__)

CreditItem = Item[CreditRecord]
CreditStep = Step[CreditRecord]


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
        # More threads than calls in flight: while some wait for the ledger, others have the line.
        self._threads = ThreadPoolExecutor(
            hook.concurrency + max(2, hook.concurrency // 2), thread_name_prefix="crm-credit"
        )

    def close(self) -> None:
        """End the threads, once what they have begun has come to its end."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def send(self, steps: Sequence[CreditStep]) -> list[Verdict | CrmError | LaneTakenError]:
        """Send credits; nothing of it goes on after this returns or raises.

        :param steps: of different lanes, each with its claimed entry.
        :return: for each, what became of it; what goes wrong with one is returned, so that those side by side with it
            come to their end.
        """
        stop = threading.Event()
        futures = [self._threads.submit(self._send, step, stop) for step in steps]
        try:
            return [future.result() for future in futures]
        finally:
            stop.set()
            wait(futures)

    def _send(self, step: CreditStep, stop: threading.Event) -> Verdict | CrmError | LaneTakenError:
        if stop.is_set():
            return LATER
        try:
            return self._send_one(step)
        except LaneTakenError as error:
            return error
        except ClaimLostError as error:
            log.warning("%s", error)
            return LATER
        except CrmError as error:
            if not isinstance(error, CrmOutcomeUnknownError):
                stop.set()
            return error

    def _send_one(self, step: CreditStep) -> Verdict:
        if self._decimals.refuses(step.payload.credit.amount):
            return LATER  # an answer has shown it since the row was planned
        ref = step.item.record.ref
        entry = self._ledger.start(step.payload, step.payload.baseline)
        step.item.record.waiting_since = None

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

    def _credited(self, step: CreditStep, entry: Entry, answer: Mapping[str, Line]) -> Outcome:
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
        try:
            self._ledger.finish(entry, one, customer_id)
        except LineTakenError:
            self._take_line(entry, one, customer_id)
        return Outcome(step.outcome.ending, crm_id=one, amount=amount)

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
