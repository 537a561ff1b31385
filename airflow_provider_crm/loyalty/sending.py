"""How SPREAD takes credits exactly once: nothing is sent that the ledger does not know of, and nothing in doubt is
sent again before the CRM's lines were read.

Knows the order of these steps; the ledger's states and transactions are :mod:`airflow_provider_crm.loyalty.ledger`'s.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

from airflow_provider_crm.bulk.outcomes import (
    LATER,
    Ending,
    InvalidRowError,
    Item,
    Open,
    Outcome,
    RowKey,
    Step,
    Verdict,
    rejected,
)
from airflow_provider_crm.exceptions import (
    CrmError,
    CrmOutcomeUnknownError,
    CrmRedirectError,
    CrmRequestError,
    CrmTransientError,
)
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.loyalty.baselines import Baselines
from airflow_provider_crm.loyalty.credits import CreditReader, CreditRecord, Way
from airflow_provider_crm.loyalty.customers import emails_of
from airflow_provider_crm.loyalty.doubts import Doubts
from airflow_provider_crm.loyalty.ledger import ClaimLostError, LaneTakenError, LineTakenError, LoyaltyLedger
from airflow_provider_crm.loyalty.lines import Line, line_amount, line_id
from airflow_provider_crm.loyalty.states import Entry, Standing, State

log = logging.getLogger(__name__)

#: Rows that are claimed and looked up together.
BATCH = 500
#: Seconds between two looks at a credit that another run holds; and how long a run waits for one.
POLL_EVERY = 1.0
WAIT_FOR_OTHERS = 150.0
#: Why a row is rejected that nobody can decide on: its own earlier call, or that of one like it, is in doubt.
UNTRACEABLE = "SPREAD knows no customer with this e-mail any more, and an earlier call may have credited it"
#: Earlier keys that a dry run remembers.
REMEMBERED = 50_000

CreditItem = Item[CreditRecord]
Plan = Outcome | Step[CreditRecord]


class _BlockedError(Exception):
    """Another credit of the same customer and amount is on its way or in doubt; nothing was sent."""


class CreditLoyalty:
    """Credits each row once.

    :param hook: through which calls are made.
    :param ledger: what may be sent, and what became of it.
    :param baselines: which lines were there before.
    :param doubts: looks for what may have been sent.
    :param reader: reads the rows.
    """

    batch_size = BATCH
    opt_outs: None = None

    def __init__(
        self,
        hook: SpreadHook,
        ledger: LoyaltyLedger,
        baselines: Baselines,
        doubts: Doubts,
        reader: CreditReader,
    ) -> None:
        self._hook = hook
        self._ledger = ledger
        self._baselines = baselines
        self._doubts = doubts
        self._reader = reader
        # More threads than calls in flight: while some wait for the ledger, others have the line.
        self._senders = ThreadPoolExecutor(
            hook.concurrency + max(2, hook.concurrency // 2), thread_name_prefix="crm-credit"
        )

    def close(self) -> None:
        """End the threads, once what they have begun has come to its end."""
        self._senders.shutdown(wait=True, cancel_futures=True)

    # Rows

    def read(self, data: Mapping[str, Any]) -> tuple[RowKey, CreditRecord]:
        text = self._reader.key(data)
        try:
            record = self._reader.record(data, text)
        except ValueError as error:
            raise InvalidRowError(str(error), text) from None
        # A second row of one key is no newer version of the first, and is told apart in the ledger.
        return RowKey(text, merges=False, locks=(f"credit:{record.credit.lane}", f"key:{text}")), record

    # Planning: claim, and find out what is in doubt

    def plan(self, items: Sequence[CreditItem]) -> list[Plan]:
        plans: dict[int, Plan] = {}
        todo = list(items)
        while todo:
            first = {item.record.credit.key: item for item in reversed(todo)}
            claimed = self._claim(list(first.values()))
            self._learn_emails(claimed)
            doubts = [(item, entry) for item, entry in claimed if entry.standing is Standing.DOUBT]
            resolved = self._resolve(doubts)
            for item, entry in claimed:
                plans[id(item)] = self._plan_one(item, resolved.get(entry.id, entry))
            # The others wait for the row before them with their key, unless that has ended.
            ended = {key for key, item in first.items() if isinstance(plans[id(item)], Outcome)}
            todo = [item for item in todo if id(item) not in plans and item.record.credit.key in ended]
        return [plans.get(id(item)) or self._wait(item) for item in items]

    def _claim(self, items: Sequence[CreditItem]) -> list[tuple[CreditItem, Entry]]:
        entries = self._ledger.claim([item.record.credit for item in items])
        unclear = [item for item, entry in zip(items, entries, strict=True) if entry.standing is Standing.WHO]
        if unclear:
            self._hook.side_by_side(self._learn_who, unclear)
            again = self._ledger.claim([item.record.credit for item in unclear])
            by_key = {entry.credit.key: entry for entry in (*entries, *again)}
            entries = [by_key[item.record.credit.key] for item in items]
        return list(zip(items, entries, strict=True))

    def _learn_who(self, item: CreditItem) -> None:
        """Find the customer's id and e-mail, so that a credit can be compared with one that names them otherwise."""
        record = item.record
        if record.credit.customer_id is None:
            customer = self._find(record)
            if customer is not None:
                record.credit = replace(record.credit, customer_id=str(customer["id"]))
            return
        customer = self._hook.get_customer(record.credit.customer_id)
        self._know(record, str(customer.get("email") or "").strip() if customer else "")

    def _learn_emails(self, claimed: Sequence[tuple[CreditItem, Entry]]) -> None:
        """Find the e-mails of customers named by id: other rows, or other runs, may name the same ones by e-mail."""
        unknown = [
            item
            for item, entry in claimed
            if entry.standing in (Standing.FREE, Standing.DOUBT) and not item.record.known
        ]
        if unknown:
            emails = emails_of(
                self._hook, dict.fromkeys(item.record.credit.customer_id or "" for item in unknown)
            )
            for item in unknown:
                self._know(item.record, emails.get(item.record.credit.customer_id or "", ""))

    def _know(self, record: CreditRecord, email: str) -> None:
        record.known = True
        record.other_ways = [Way(email=email)] if email else []
        if email:
            record.email = email
            record.credit = replace(record.credit, customer_hash=self._reader.hash(email))

    def _find(self, record: CreditRecord) -> Mapping[str, Any] | None:
        """Find the customer of an e-mail, once; and how else to name her."""
        customer = self._hook.find_customer(email=record.email)
        if customer is not None:
            spelled = str(customer.get("email") or "").strip()
            ways = [Way(email=spelled), Way(customer_id=str(customer["id"]))]
            record.other_ways = [way for way in ways if way != record.way]
        return customer

    def _plan_one(self, item: CreditItem, entry: Entry) -> Plan:
        match entry.standing:
            case Standing.CREDITED if entry.state is State.CREDITED and entry.doubted:
                return Outcome(Ending.CREATED, crm_id=entry.line_id, amount=item.record.credit.amount)
            case Standing.CREDITED:
                return Outcome(Ending.UNCHANGED, "credited before", entry.line_id)
            case Standing.OTHER | Standing.WHO:
                verb = "credited" if entry.state is State.CREDITED else "sent"
                return rejected(
                    "validate",
                    f"this key was {verb} with {entry.credit.amount:f} points for "
                    f"customer {entry.credit.customer_id or '(named by e-mail)'}",
                )
            case Standing.BUSY:
                return self._wait_for_others(item)
            case Standing.DOUBT:
                self._ledger.hand_back(entry)  # for others in whose way it stands
                return rejected("crm", UNTRACEABLE)
        return self._plan_send(item, entry)

    def _plan_send(self, item: CreditItem, entry: Entry) -> Plan:
        """Send what is not in the CRM; name the customer otherwise when SPREAD did not know her."""
        record = item.record
        if record.refusal:
            if record.other_ways is None:
                self._find(record)
            if not record.other_ways:
                self._ledger.refuse(entry, record.refusal)
                return rejected("crm", record.refusal)
            record.way = record.other_ways.pop(0)
            record.refusal = ""  # it was about the other way
        amount = record.credit.amount
        if self._doubts.keeps_decimals is False and amount != amount.to_integral_value():
            reason = "amount: SPREAD keeps whole points only: it has rounded another credit"
            self._ledger.refuse(entry, reason)
            return rejected("validate", reason)
        # The ledger's row may have been written before the e-mail of this id was known.
        entry = replace(entry, credit=replace(entry.credit, customer_hash=record.credit.customer_hash))
        return Step(item, Outcome(Ending.CREATED, amount=amount), entry)

    def _wait_for_others(self, item: CreditItem) -> Step[CreditRecord]:
        record = item.record
        now = time.monotonic()
        record.waiting_since = record.waiting_since or now
        if now - record.waiting_since > WAIT_FOR_OTHERS:
            raise CrmTransientError(
                "Another run holds a credit of this source for too long; a later try may pass"
            )
        return self._wait(item)

    @staticmethod
    def _wait(item: CreditItem) -> Step[CreditRecord]:
        return Step(item, Outcome(Ending.UNCHANGED))

    # Doubt

    def _resolve(self, doubts: Sequence[tuple[CreditItem, Entry]]) -> dict[int, Entry]:
        """Find out what became of credits in doubt.

        :return: by id; one stays in doubt when nobody can tell any more whose it was.
        """
        if not doubts:
            return {}
        entries: dict[int, Entry] = {}
        look: list[Entry] = []
        for entry, (item, _) in zip(
            self._hook.side_by_side(self._with_customer, doubts), doubts, strict=True
        ):
            if entry.credit.customer_id is not None:
                look.append(entry)
            elif item.record.refusal and item.record.credit.key == entry.credit.key:
                # SPREAD has said itself that it knows no such customer.
                entries[entry.id] = replace(entry, standing=Standing.FREE)
            else:
                entries[entry.id] = entry
        entries.update(self._doubts.resolve(look) if look else {})
        return entries

    def _with_customer(self, doubt: tuple[CreditItem, Entry]) -> Entry:
        """Find the id of a credit's customer, once."""
        item, entry = doubt
        record = item.record
        if entry.credit.customer_id is None:
            customer_id = record.credit.customer_id
            if customer_id is None:
                customer = self._find(record)
                customer_id = None if customer is None else str(customer["id"])
            if customer_id is not None:
                entry = self._ledger.know_customer(entry, customer_id)
        return entry

    # Sending

    def apply(self, steps: Sequence[Step[CreditRecord]]) -> list[Verdict]:
        chosen: dict[str, Step[CreditRecord]] = {}
        sent = [step for step in steps if step.payload is not None]
        # Before the others, one that was in doubt: it keeps them from being sent until it is itself.
        for step in sorted(sent, key=lambda step: not step.payload.doubted):
            chosen.setdefault(step.payload.credit.lane, step)
        todo = self._with_baseline(list(chosen.values()))
        results = self._send_all(todo)
        answers: dict[int, Outcome | Open] = {
            id(step.item): result
            for step, result in zip(todo, results, strict=True)
            if isinstance(result, Outcome)
        }
        blocked = [
            step for step, result in zip(todo, results, strict=True) if isinstance(result, _BlockedError)
        ]
        cleared = self._clear_the_way(blocked)
        answers.update(cleared)
        progress = bool(answers) or LATER in results
        self._raise_first([result for result in results if isinstance(result, CrmError)], progress=progress)
        if not progress and self._hook.pause(POLL_EVERY):
            raise CrmTransientError("The task ended while another run held a credit; a later try goes on")
        return [answers.get(id(step.item), LATER) for step in steps]

    def _with_baseline(self, steps: Sequence[Step[CreditRecord]]) -> list[Step[CreditRecord]]:
        """Take note of the lines that are there before anything is sent."""
        without = [step for step in steps if step.payload.baseline is None]
        if not without:
            return list(steps)
        by_key = {step.payload.credit.key: step.item.record for step in without}
        name = self._baselines.name(
            [step.payload.credit for step in without],
            lambda credits_: self._ids([by_key[credit.key] for credit in credits_]),
        )
        return [
            Step(step.item, step.outcome, replace(step.payload, baseline=step.payload.baseline or name))
            for step in steps
        ]

    def _ids(self, records: Sequence[CreditRecord]) -> list[str]:
        def id_of(record: CreditRecord) -> str | None:
            if record.credit.customer_id is not None:
                return record.credit.customer_id
            customer = self._find(record)
            return None if customer is None else str(customer["id"])

        return [one for one in self._hook.side_by_side(id_of, records) if one is not None]

    @staticmethod
    def _raise_first(errors: Sequence[CrmError], *, progress: bool) -> None:
        for error in errors:
            if not isinstance(error, CrmOutcomeUnknownError):
                raise error
        if errors and not progress:
            raise errors[0]

    def _send_all(
        self, steps: Sequence[Step[CreditRecord]]
    ) -> list[Outcome | Open | CrmError | _BlockedError]:
        """Send credits side by side; nothing of it goes on after this returns or raises."""
        stop = threading.Event()
        futures = [self._senders.submit(self._send, step, stop) for step in steps]
        try:
            return [future.result() for future in futures]
        finally:
            stop.set()
            wait(futures)

    def _send(
        self, step: Step[CreditRecord], stop: threading.Event
    ) -> Outcome | Open | CrmError | _BlockedError:
        """Send one credit; what goes wrong is returned, so that those side by side with it come to their end."""
        if stop.is_set():
            return LATER
        try:
            return self._send_one(step)
        except LaneTakenError:
            return _BlockedError()
        except ClaimLostError as error:
            log.warning("%s", error)
            return LATER
        except CrmError as error:
            if not isinstance(error, CrmOutcomeUnknownError):
                stop.set()
            return error

    def _send_one(self, step: Step[CreditRecord]) -> Outcome | Open:
        way = step.item.record.way
        entry = self._ledger.start(step.payload, step.payload.baseline)
        step.item.record.waiting_since = None

        def still_mine() -> None:
            nonlocal entry
            entry = self._ledger.confirm(entry)

        try:
            answer = self._hook.credit_loyalty(
                amount=entry.credit.amount, email=way.email, customer_id=way.customer_id, before=still_mine
            )
        except CrmRequestError as error:
            return self._refused(step.item, entry, error)
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

    def _refused(self, item: CreditItem, entry: Entry, error: CrmRequestError) -> Open:
        """Plan the row again: the customer may be named in another way, or the row is rejected then."""
        item.record.refusal = error.reason or "refused by the CRM without a reason"
        if error.status is None or error.status < 400:
            # Words of failure in an answer that says success: what it did has to be seen.
            self._ledger.doubt(entry)
        else:
            self._ledger.unsend(entry)
        return LATER

    def _credited(self, step: Step[CreditRecord], entry: Entry, answer: Mapping[str, Line]) -> Outcome | Open:
        line = answer["cagnotte"]
        one = line_id(line)
        if not one:
            self._ledger.doubt(entry)
            raise CrmOutcomeUnknownError(
                "POST /cagnottes was answered without the line's id", call="POST /cagnottes"
            )
        customer_id = str(answer["customer"].get("id") or line.get("customerId") or "") or None
        try:
            self._ledger.finish(entry, one, customer_id)
        except LineTakenError:
            self._take_line(entry, one, customer_id)
        return Outcome(step.outcome.ending, crm_id=one, amount=self._noted_amount(entry, line))

    def _noted_amount(self, entry: Entry, line: Line) -> Any:
        """Tell what SPREAD has added, and take note of how it treats decimals."""
        sent, noted = entry.credit.amount, line_amount(line)
        if noted is None:
            return sent
        if sent != sent.to_integral_value():
            self._doubts.keeps_decimals = noted == sent
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

    def _clear_the_way(self, blocked: Sequence[Step[CreditRecord]]) -> dict[int, Outcome | Open]:
        """Settle other credits of the same customers and amounts that were left in doubt.

        :return: by the item's identity, those that go on or have ended; the others' way is taken by what is itself
            under way, and has to be waited for.
        """
        found = [(step, self._ledger.in_the_way(step.payload)) for step in blocked]
        doubts = [
            (step.item, entry)
            for step, entry in found
            if entry is not None and entry.standing is Standing.DOUBT
        ]
        untraceable: set[int] = set()
        try:
            for entry in self._resolve(doubts).values():
                if entry.standing is Standing.FREE:
                    self._ledger.set_free(entry)
                elif entry.standing is Standing.DOUBT:
                    untraceable.add(entry.id)
        except ClaimLostError as error:
            log.warning("%s", error)
        finally:
            for _, entry in doubts:
                self._ledger.hand_back(entry)
        cleared: dict[int, Outcome | Open] = {}
        for step, holder in found:
            if holder is not None and holder.id in untraceable:
                self._ledger.refuse(step.payload, UNTRACEABLE)
                cleared[id(step.item)] = rejected("crm", UNTRACEABLE)
            elif holder is None or holder.standing is Standing.DOUBT:
                cleared[id(step.item)] = LATER
            else:
                self._wait_for_others(step.item)
        return cleared


class ExpectedCredits(CreditLoyalty):
    """Says what would be credited: reads the ledger, claims nothing and calls nothing that writes."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._seen: OrderedDict[str, CreditRecord] = OrderedDict()
        self._lock = threading.Lock()

    def plan(self, items: Sequence[CreditItem]) -> list[Plan]:
        entries = self._ledger.peek([item.record.credit for item in items])
        return [self._expect(item, entry) for item, entry in zip(items, entries, strict=True)]

    def _expect(self, item: CreditItem, entry: Entry | None) -> Plan:
        record = item.record
        with self._lock:
            earlier = self._seen.setdefault(record.credit.key, record)
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        if entry is not None and entry.standing is Standing.WHO:
            self._learn_who(item)
            entry = self._ledger.peek([record.credit])[0]
        if entry is not None and entry.standing in (Standing.CREDITED, Standing.OTHER, Standing.WHO):
            return self._plan_one(item, entry)
        if earlier is record:
            return Outcome(Ending.CREATED, amount=record.credit.amount)
        if earlier.credit.amount == record.credit.amount and earlier.way == record.way:
            return Outcome(Ending.UNCHANGED, "credited by an earlier row")
        return rejected(
            "validate", f"this key was credited with {earlier.credit.amount:f} points by an earlier row"
        )
