"""How SPREAD takes credits exactly once: nothing is sent that the ledger does not know of, and nothing in doubt is
sent again before the CRM's lines were read.

Knows what a cagnotte line can tell; the ledger's states and transactions are :mod:`airflow_provider_crm.bulk.ledger`'s.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from airflow_provider_crm.bulk.ledger import (
    Credit,
    Entry,
    LaneTakenError,
    LineTakenError,
    LoyaltyLedger,
    Standing,
    State,
    hash_email,
)
from airflow_provider_crm.bulk.outcomes import AGAIN, Again, Ending, Item, Outcome, RowKey, Step, rejected
from airflow_provider_crm.destinations.spread_baseline import Baselines
from airflow_provider_crm.exceptions import (
    CrmError,
    CrmOutcomeUnknownError,
    CrmRequestError,
    CrmTransientError,
)
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.schemas.people import normal_email

log = logging.getLogger(__name__)

#: Rows that are claimed and looked up together.
BATCH = 200
#: What the vendor's amounts show at most.
MOST_DECIMALS = 2
MOST_DIGITS = 12
LONGEST_KEY = 255
#: Seconds between two looks at a credit that another run holds; and how long a run waits for one.
POLL_EVERY = 1.0
WAIT_FOR_OTHERS = 150.0

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CreditFields:
    """Which columns hold what."""

    key: str = "credit_key"
    email: str = "email"
    customer_id: str = "customer_id"
    amount: str = "amount"


@dataclass(slots=True)
class CreditRecord:
    """A row in the ledger's terms.

    :param email: in clear, for the call only.
    :param send_id: name the customer by id, since the CRM did not know the e-mail as it was written.
    """

    credit: Credit
    email: str | None
    send_id: bool = False
    waiting_since: float | None = None


class CreditLoyalty:
    """Credits each row once.

    :param settle_seconds: after a request ended, how long its line may take to be seen.
    :param allow_debit: accept negative amounts.
    :param secret: the key of the e-mails' hashes.
    :param person_of: tells under which id an e-mail of this source is known, for a source that names people both ways.
    """

    batch_size = BATCH

    def __init__(
        self,
        hook: SpreadHook,
        ledger: LoyaltyLedger,
        baselines: Baselines,
        fields: CreditFields,
        *,
        settle_seconds: float,
        allow_debit: bool,
        secret: str,
        person_of: Callable[[str], str | None],
    ) -> None:
        self._hook = hook
        self._ledger = ledger
        self._baselines = baselines
        self._fields = fields
        self._settle = settle_seconds
        self._allow_debit = allow_debit
        self._secret = secret
        self._person_of = person_of

    # Rows

    def key(self, data: Mapping[str, Any]) -> RowKey:
        text = str(_value(data, self._fields.key)).strip()
        if not text:
            raise ValueError(f"{self._fields.key}: a credit needs a reference of its own")
        if len(text) > LONGEST_KEY:
            raise ValueError(f"{self._fields.key}: at most {LONGEST_KEY} characters")
        try:
            lane = self._credit(text, data).lane
        except ValueError:
            lane = ""  # said when the row is checked
        # A second row of one key is no newer version of the first, and is told apart in the ledger.
        return RowKey(text, merges=False, apart=(f"credit:{lane}", f"key:{text}"))

    def record(self, data: Mapping[str, Any]) -> CreditRecord:
        email = _value(data, self._fields.email)
        credit = self._credit(str(_value(data, self._fields.key)).strip(), data)
        return CreditRecord(credit, normal_email(email) if email != "" else None)

    def _credit(self, key: str, data: Mapping[str, Any]) -> Credit:
        amount = parse_amount(data.get(self._fields.amount), allow_debit=self._allow_debit)
        customer_id = str(_value(data, self._fields.customer_id)).strip() or None
        email = _value(data, self._fields.email)
        if email == "" and customer_id is None:
            raise ValueError(f"{self._fields.email} or {self._fields.customer_id} is required")
        if email == "":
            return Credit(key, amount, customer_id)
        address = normal_email(email)
        return Credit(key, amount, customer_id or self._person_of(address), hash_email(address, self._secret))

    # Planning: claim, and find out what is in doubt

    def plan(self, items: Sequence[Item[CreditRecord]]) -> list[Outcome | Step[CreditRecord]]:
        plans: dict[int, Outcome | Step[CreditRecord]] = {}
        first = {item.record.credit.key: item for item in reversed(items)}
        for item in items:
            if first[item.record.credit.key] is not item:
                plans[id(item)] = self._wait(item)  # for the row before it with this key
        asked = list(first.values())
        doubts: list[tuple[Item[CreditRecord], Entry]] = []
        for item, entry in self._claim(asked):
            if entry.standing is Standing.DOUBT:
                doubts.append((item, entry))
            else:
                plans[id(item)] = self._plan_one(item, entry)
        plans.update(self._plan_doubts(doubts))
        return [plans[id(item)] for item in items]

    def _claim(self, items: Sequence[Item[CreditRecord]]) -> list[tuple[Item[CreditRecord], Entry]]:
        entries = self._ledger.claim([item.record.credit for item in items])
        unclear = [item for item, entry in zip(items, entries, strict=True) if entry.standing is Standing.WHO]
        if not unclear:
            return list(zip(items, entries, strict=True))
        self._hook.side_by_side(self._learn_who, unclear)
        again = self._ledger.claim([item.record.credit for item in unclear])
        by_key = {entry.credit.key: entry for entry in (*entries, *again)}
        return [(item, by_key[item.record.credit.key]) for item in items]

    def _learn_who(self, item: Item[CreditRecord]) -> None:
        """Find the customer's id and e-mail, so that a credit can be compared with one that names them otherwise."""
        record = item.record
        customer = (
            self._hook.find_customer(email=record.email)
            if record.email
            else self._hook.get_customer(record.credit.customer_id or "")
        )
        if customer is None:
            return
        email = str(customer.get("email") or "").strip().lower()
        record.credit = replace(
            record.credit,
            customer_id=record.credit.customer_id or str(customer["id"]),
            customer_hash=record.credit.customer_hash or (hash_email(email, self._secret) if email else None),
        )

    def _plan_one(self, item: Item[CreditRecord], entry: Entry) -> Outcome | Step[CreditRecord]:
        match entry.standing:
            case Standing.CREDITED:
                return Outcome(Ending.UNCHANGED, "credited before", entry.line_id)
            case Standing.OTHER | Standing.WHO:
                verb = "credited" if entry.state is State.CREDITED else "sent"
                return rejected(
                    "validate",
                    f"this key was {verb} with {entry.credit.amount:f} points to "
                    f"customer {entry.credit.customer_id or '(named by e-mail)'}",
                )
            case Standing.BUSY:
                return self._wait(item)
        return self._plan_send(item, entry)

    def _plan_send(self, item: Item[CreditRecord], entry: Entry) -> Outcome | Step[CreditRecord]:
        """Send what is not in the CRM; try a customer by id whose e-mail it did not know as it was written."""
        record = item.record
        if not item.refusal:
            return self._send_step(item, entry)
        if record.email and not record.send_id:
            customer = self._hook.find_customer(email=record.email)
            if customer is not None:
                record.send_id = True
                item.refusal = ""  # it was about the e-mail
                entry = self._ledger.know_customer(entry, str(customer["id"]))
                return self._send_step(item, entry)
        self._ledger.refuse(entry, item.refusal)
        return rejected("crm", item.refusal)

    def _send_step(self, item: Item[CreditRecord], entry: Entry) -> Step[CreditRecord]:
        item.record.waiting_since = None
        return Step(item, Outcome(Ending.CREATED, amount=item.record.credit.amount), entry)

    def _wait(self, item: Item[CreditRecord]) -> Step[CreditRecord]:
        return Step(item, Outcome(Ending.UNCHANGED))

    # Doubt

    def _plan_doubts(
        self, doubts: Sequence[tuple[Item[CreditRecord], Entry]]
    ) -> dict[int, Outcome | Step[CreditRecord]]:
        plans: dict[int, Outcome | Step[CreditRecord]] = {}
        known = self._hook.side_by_side(self._with_customer, doubts)
        open_: list[tuple[Item[CreditRecord], Entry]] = []
        for (item, _), entry in zip(doubts, known, strict=True):
            if entry.credit.customer_id is None:
                reason = item.refusal or "SPREAD knows no customer with this e-mail"
                self._ledger.refuse(entry, reason)
                plans[id(item)] = rejected("crm", reason)
            else:
                open_.append((item, entry))
        found = self.reconcile([entry for _, entry in open_])
        for item, entry in open_:
            line = found[entry.id]
            if line is not None:
                plans[id(item)] = Outcome(Ending.CREATED, crm_id=line, amount=item.record.credit.amount)
            else:
                plans[id(item)] = self._plan_send(item, entry)
        return plans

    def _with_customer(self, doubt: tuple[Item[CreditRecord], Entry]) -> Entry:
        item, entry = doubt
        if entry.credit.customer_id is not None:
            return entry
        customer_id = item.record.credit.customer_id
        if customer_id is None and item.record.email:
            customer = self._hook.find_customer(email=item.record.email)
            customer_id = None if customer is None else str(customer["id"])
        return entry if customer_id is None else self._ledger.know_customer(entry, customer_id)

    def reconcile(self, entries: Sequence[Entry]) -> dict[int, str | None]:
        """Look for the lines of credits in doubt, and note those that are found as credited.

        :param entries: in doubt, claimed for this run, their customers' ids known.
        :return: by entry, its line; None when it certainly was not applied: its line is not there, and it has had
            the time to be seen.
        """
        found = self._look(entries)
        missing = [entry for entry in entries if found[entry.id] is None]
        if missing:
            # One wait for all of them.
            youngest = min(self._ledger.age(entry) for entry in missing)
            if youngest < self._settle:
                self._hook.pause(self._settle - youngest)
                found |= self._look(missing)
        return found

    def _look(self, entries: Sequence[Entry]) -> dict[int, str | None]:
        by_customer: dict[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            by_customer[entry.credit.customer_id or ""].append(entry)
        customers = list(by_customer)
        lines = self._hook.side_by_side(self._lines_of, customers)
        found: dict[int, str | None] = {}
        for customer, held in zip(customers, lines, strict=True):
            for entry in by_customer[customer]:
                found[entry.id] = self._match(entry, held)
        return found

    def _lines_of(self, customer_id: str) -> list[Line]:
        return list(self._hook.iter_loyalty_lines(customer_id=customer_id))

    def _match(self, entry: Entry, lines: Iterable[Line]) -> str | None:
        """Find the line of a credit among its customer's: of its amount, no campaign's, no purchase's, not there before
        it was first sent, and no other credit's."""
        before = self._ledger.baseline(entry.baseline)
        candidates = [
            str(line["cagnotteLineId"])
            for line in lines
            if is_credit_line(line)
            and str(line.get("customerId")) == entry.credit.customer_id
            and line_amount(line) == entry.credit.amount
            and str(line["cagnotteLineId"]) not in before
        ]
        taken = self._ledger.lines_taken(candidates)
        for line_id in candidates:
            if line_id not in taken:
                try:
                    self._ledger.finish(entry, line_id, entry.credit.customer_id)
                except LineTakenError:
                    continue  # another run has just found it
                return line_id
        return None

    # Sending

    def apply(self, steps: Sequence[Step[CreditRecord]]) -> list[Outcome | Again | None]:
        answers: dict[int, Outcome | Again] = {}
        chosen: dict[str, Step[CreditRecord]] = {}
        for step in steps:
            if step.payload is None:
                self._check_patience(step.item.record)
            elif step.payload.lane not in chosen:
                chosen[step.payload.lane] = step
        todo = list(chosen.values())
        if todo:
            before = self._baselines.name([step.payload.credit for step in todo], self._customer_of(todo))
            results = self._hook.side_by_side(lambda step: self._send(step, before), todo)
            for step, result in zip(todo, results, strict=True):
                if isinstance(result, BaseException):
                    continue
                answers[id(step)] = result
            self._raise_first(results, progress=any(isinstance(result, Outcome) for result in results))
        else:
            self._hook.pause(POLL_EVERY)
        return [answers.get(id(step), AGAIN) for step in steps]

    @staticmethod
    def _raise_first(results: Sequence[Outcome | Again | CrmError], *, progress: bool) -> None:
        errors = [result for result in results if isinstance(result, CrmError)]
        for error in errors:
            if not isinstance(error, CrmOutcomeUnknownError):
                raise error
        if errors and not progress:
            raise errors[0]

    def _send(self, step: Step[CreditRecord], baseline: str | None) -> Outcome | Again | CrmError:
        """Send one credit; what goes wrong is returned, so that those side by side with it are not left alone."""
        try:
            return self._send_one(step, baseline)
        except LaneTakenError:
            return self._clear_the_way(step)
        except CrmError as error:
            return error

    def _send_one(self, step: Step[CreditRecord], baseline: str | None) -> Outcome | Again:
        record = step.item.record
        entry = self._ledger.start(step.payload, baseline)
        by_id = record.send_id or not record.email
        try:
            answer = self._hook.credit_loyalty(
                amount=entry.credit.amount,
                email=None if by_id else record.email,
                customer_id=entry.credit.customer_id if by_id else None,
            )
        except CrmOutcomeUnknownError:
            self._ledger.doubt(entry)
            raise
        except CrmRequestError as error:
            return self._refused(step.item, entry, error)
        except CrmError:
            self._ledger.unsend(entry)  # it did not reach the CRM, or was refused for being too many
            raise
        except BaseException:
            self._ledger.doubt(entry)
            raise
        return self._credited(step, entry, answer)

    def _refused(self, item: Item[CreditRecord], entry: Entry, error: CrmRequestError) -> Outcome | Again:
        outcome = item.refuse(error.reason)
        if error.status is None or error.status < 400:
            # Words of failure in an answer that says success: what it did has to be seen.
            self._ledger.doubt(entry)
            return AGAIN
        entry = self._ledger.unsend(entry)
        if outcome is None:
            return AGAIN
        self._ledger.refuse(entry, error.reason)
        return outcome

    def _credited(self, step: Step[CreditRecord], entry: Entry, answer: Mapping[str, Line]) -> Outcome:
        line = answer["cagnotte"]
        line_id = str(line["cagnotteLineId"])
        customer_id = str(answer["customer"].get("id") or line.get("customerId") or "") or None
        if line_amount(line) != entry.credit.amount:
            log.warning("SPREAD noted another amount than was sent for line %s", line_id)
        try:
            self._ledger.finish(entry, line_id, customer_id)
        except LineTakenError:
            other = self._ledger.give_back(line_id)
            self._ledger.finish(entry, line_id, customer_id)
            if other is not None:
                self.reconcile([other])
        return replace(step.then, crm_id=line_id)

    def _clear_the_way(self, step: Step[CreditRecord]) -> Again | CrmError:
        """Settle another run's credit of the same customer and amount that was left in doubt."""
        try:
            entry = self._ledger.in_the_way(step.payload)
            if entry is None or entry.standing is Standing.BUSY:
                self._check_patience(step.item.record)
                self._hook.pause(POLL_EVERY)
                return AGAIN
            entry = self._with_customer((step.item, entry))
            if entry.credit.customer_id is None or self.reconcile([entry])[entry.id] is None:
                self._ledger.set_free(entry)
        except CrmError as error:
            return error
        return AGAIN

    def _customer_of(self, steps: Sequence[Step[CreditRecord]]) -> Callable[[str], str | None]:
        emails = {step.payload.credit.key: step.item.record.email for step in steps}

        def find(key: str) -> str | None:
            email = emails[key]
            customer = self._hook.find_customer(email=email) if email else None
            return None if customer is None else str(customer["id"])

        return find

    @staticmethod
    def _check_patience(record: CreditRecord) -> None:
        now = time.monotonic()
        record.waiting_since = record.waiting_since or now
        if now - record.waiting_since > WAIT_FOR_OTHERS:
            raise CrmTransientError(
                "Another run holds a credit of this source for too long; a later try may pass"
            )


class ExpectedCredits(CreditLoyalty):
    """Says what would be credited: reads the ledger, claims nothing and calls nothing."""

    def plan(self, items: Sequence[Item[CreditRecord]]) -> list[Outcome | Step[CreditRecord]]:
        plans: list[Outcome | Step[CreditRecord]] = []
        seen: dict[str, Credit] = {}
        entries = self._ledger.peek([item.record.credit for item in items])
        for item, entry in zip(items, entries, strict=True):
            credit = item.record.credit
            if entry is not None and entry.standing in (Standing.CREDITED, Standing.OTHER):
                plans.append(self._plan_one(item, entry))
            elif credit == seen.setdefault(credit.key, credit) and seen[credit.key] is not credit:
                plans.append(Outcome(Ending.UNCHANGED, "credited by an earlier row"))
            else:
                plans.append(Outcome(Ending.CREATED, amount=credit.amount))
        return plans


def parse_amount(value: Any, *, allow_debit: bool) -> Decimal:
    """Read an amount of points.

    :raises ValueError: no number, zero, negative without ``allow_debit``, or finer than the CRM keeps.
    """
    if isinstance(value, bool) or value is None:
        raise ValueError("amount: a number is required")
    try:
        amount = Decimal(str(value).strip())
    except InvalidOperation:
        raise ValueError("amount: a number such as 5 or 12.50 is required") from None
    if not amount.is_finite():
        raise ValueError("amount: a finite number is required")
    if amount == 0:
        raise ValueError("amount: zero credits nothing")
    if amount < 0 and not allow_debit:
        raise ValueError("amount: negative; see `allow_debit`")
    amount = amount.normalize()
    exponent = amount.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -MOST_DECIMALS:
        raise ValueError(f"amount: at most {MOST_DECIMALS} decimals")
    if amount.adjusted() >= MOST_DIGITS:
        raise ValueError(f"amount: at most {MOST_DIGITS} digits")
    return amount


def is_credit_line(line: Line) -> bool:
    """Tell whether a line can come from a credit by API: no campaign's, and no voucher's."""
    return not line.get("campaignId") and not line.get("code")


def line_amount(line: Line) -> Decimal | None:
    """Read a line's amount; None when it is no number."""
    try:
        return Decimal(str(line.get("amount")))
    except InvalidOperation:
        return None


def _value(data: Mapping[str, Any], column: str) -> Any:
    value = data.get(column)
    return "" if value is None else value
