"""How SPREAD takes credits exactly once: nothing is sent that the ledger does not know of, and nothing in doubt is
sent again before the CRM's lines were read.

Knows the order of these steps; the ledger's states and transactions are :mod:`airflow_provider_crm.loyalty.ledger`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from airflow_provider_crm.bulk.outcomes import (
    LATER,
    Ending,
    InvalidRowError,
    Outcome,
    RowKey,
    Step,
    Verdict,
    rejected,
)
from airflow_provider_crm.bulk.suppression import Identifier
from airflow_provider_crm.exceptions import (
    CrmError,
    CrmOutcomeUnknownError,
    CrmRequestError,
    CrmTransientError,
)
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.loyalty.baselines import Baselines
from airflow_provider_crm.loyalty.claims import ClaimLostError
from airflow_provider_crm.loyalty.customers import Customers, each_alone
from airflow_provider_crm.loyalty.decimals import Decimals
from airflow_provider_crm.loyalty.doubts import MAY_BE_ROUNDED, Doubts
from airflow_provider_crm.loyalty.ledger import LaneTakenError, LoyaltyLedger
from airflow_provider_crm.loyalty.sending import CreditItem, CreditStep, Sender
from airflow_provider_crm.loyalty.source_rows import CreditReader, CreditRecord
from airflow_provider_crm.loyalty.spellings import Spellings, folded
from airflow_provider_crm.loyalty.states import Entry, Standing, State

log = logging.getLogger(__name__)

#: Rows that are claimed and looked up together.
BATCH = 500
#: Seconds between two looks at a credit that another run holds; and how long a run waits for one.
POLL_EVERY = 1.0
WAIT_FOR_OTHERS = 150.0
#: Why a row is rejected that nobody can decide on: its own earlier call, or that of one like it, is in doubt.
UNTRACEABLE = "SPREAD knows no customer with this e-mail any more, and an earlier call may have credited it"


class CreditDestination:
    """Credits each row once.

    :param hook: through which calls are made.
    :param ledger: what may be sent, and what became of it.
    :param reader: reads the rows.
    :param settle_seconds: after a request ended, how long its line may take to be seen.
    """

    batch_size = BATCH
    opt_outs = None

    def __init__(
        self, hook: SpreadHook, ledger: LoyaltyLedger, reader: CreditReader, *, settle_seconds: float
    ) -> None:
        self._hook = hook
        self._ledger = ledger
        self._reader = reader
        self._spellings = Spellings(ledger)
        self._customers = Customers(hook, reader)
        self._baselines = Baselines(hook, ledger)
        self._decimals = Decimals(ledger, self._baselines.lines)
        self._doubts = Doubts(hook, ledger, self._baselines, self._decimals, settle_seconds=settle_seconds)
        self._sender = Sender(hook, ledger, self._doubts, self._decimals)

    def close(self) -> None:
        """End the threads, once what they have begun has come to its end."""
        self._sender.close()

    # Rows

    def read(self, data: Mapping[str, Any]) -> tuple[RowKey, CreditRecord]:
        key = self._reader.key(data)
        try:
            record = self._reader.record(key, data)
        except ValueError as error:
            raise InvalidRowError(str(error), key) from None
        # A second row of one key is no newer version of the first, and is told apart in the ledger.
        locks = (f"credit:{record.credit.lane}", f"key:{folded(key)}")
        return RowKey(key, merges=False, locks=locks), record

    @property
    def identifiers(self) -> Sequence[Identifier[CreditRecord]]:
        return self._reader.identifiers

    def refusal(self, record: CreditRecord) -> None:
        return None

    # Planning: claim, and find out what is in doubt

    def plan(self, items: Sequence[CreditItem]) -> list[Outcome | CreditStep]:
        plans: dict[int, Outcome | CreditStep] = {}
        todo = list(items)
        self._spellings.take_former([item.record for item in todo])
        while todo:
            first = {folded(item.record.credit.key): item for item in reversed(todo)}
            for item, entry in self._settle_doubts(self._learn_emails(self._claim(first.values()))):
                plans[id(item)] = self._plan_one(item, entry)
            # The others wait for the row before them with their key, unless that has ended.
            ended = {key for key, item in first.items() if isinstance(plans[id(item)], Outcome)}
            todo = [
                item for item in todo if id(item) not in plans and folded(item.record.credit.key) in ended
            ]
        return [plans.get(id(item)) or self._wait(item) for item in items]

    def _claim(self, items: Iterable[CreditItem]) -> list[tuple[CreditItem, Entry]]:
        by_key = {item.record.credit.key: item for item in items}
        entries = self._entries(by_key)
        unclear = {
            key: by_key[key] for key, entry in entries.items() if entry.standing is Standing.INCOMPARABLE
        }
        if unclear:
            answers = each_alone(self._hook, self._identify, unclear.values())
            for key, error in zip(list(unclear), answers, strict=True):
                if error is not None:
                    entries[key] = replace(entries[key], reason=error.reason)
                    del unclear[key]
            entries.update(self._entries(unclear))
        return [(by_key[key], entry) for key, entry in entries.items()]

    def _entries(self, by_key: Mapping[str, CreditItem]) -> dict[str, Entry]:
        entries = self._ledger.claim([item.record.credit for item in by_key.values()])
        free = [entry.credit.key for entry in entries if entry.standing is Standing.FREE]
        doubtful = self._spellings.doubtful(free)
        return {
            entry.credit.key: replace(entry, reason=doubtful.get(entry.credit.key, "")) for entry in entries
        }

    def _identify(self, item: CreditItem) -> None:
        self._customers.identify(item.record)

    def _learn_emails(self, claimed: Sequence[tuple[CreditItem, Entry]]) -> list[tuple[CreditItem, Entry]]:
        """Find the e-mails of customers named by id, so that all credits of one have the same lanes."""
        ours = [item.record for item, entry in claimed if entry.standing in (Standing.FREE, Standing.DOUBT)]
        errors = self._customers.learn_emails(ours)
        return [
            (item, replace(entry, reason=errors[who].reason))
            if (who := item.record.credit.customer_id or "") in errors
            else (item, entry)
            for item, entry in claimed
        ]

    def _settle_doubts(self, claimed: Sequence[tuple[CreditItem, Entry]]) -> list[tuple[CreditItem, Entry]]:
        doubts = [
            (item, entry) for item, entry in claimed if entry.standing is Standing.DOUBT and not entry.reason
        ]
        resolved = self._resolve(doubts)
        return [(item, resolved.get(entry.id, entry)) for item, entry in claimed]

    def _plan_one(self, item: CreditItem, entry: Entry) -> Outcome | CreditStep:
        if entry.reason == MAY_BE_ROUNDED and not item.record.put_off:
            item.record.put_off = True  # the answers of others in this batch may show it
            return self._wait(item)
        if entry.reason:
            return self._give_up(entry)
        match entry.standing:
            case Standing.CREDITED if entry.state is State.CREDITED and entry.doubted:
                return Outcome(Ending.CREATED, crm_id=entry.line_id, amount=item.record.credit.amount)
            case Standing.CREDITED:
                return Outcome(Ending.UNCHANGED, "credited before", entry.line_id)
            case Standing.CONFLICT | Standing.INCOMPARABLE:
                return conflict(entry)
            case Standing.BUSY:
                return self._wait_for_others(item)
        return self._plan_send(item, entry)

    def _give_up(self, entry: Entry) -> Outcome:
        """Reject a row that nobody can decide on, and keep nothing of it from others."""
        if entry.standing is Standing.FREE:
            self._ledger.refuse(entry, entry.reason)
        else:
            self._ledger.hand_back(entry)
        return rejected("crm", entry.reason)

    def _plan_send(self, item: CreditItem, entry: Entry) -> Outcome | CreditStep:
        """Send what is not in the CRM; name the customer otherwise when SPREAD did not know them."""
        record = item.record
        if record.refusal:
            try:
                if record.other_refs is None:
                    self._customers.find(record)
            except CrmRequestError as error:
                return self._give_up(replace(entry, reason=error.reason))
            if not record.other_refs:
                return self._give_up(replace(entry, reason=record.refusal))
            record.ref = record.other_refs.pop(0)
            record.refusal = ""  # it was about the other reference
        amount = record.credit.amount
        if self._decimals.refuses(amount):
            reason = "amount: SPREAD keeps whole points only: it has rounded another credit"
            self._ledger.refuse(entry, reason)
            return rejected("validate", reason)
        # The ledger's row may have been written before the e-mail of this id was known.
        entry = replace(entry, credit=replace(entry.credit, customer_hash=record.credit.customer_hash))
        return Step(item, Outcome(Ending.CREATED, amount=amount), entry)

    def _wait_for_others(self, item: CreditItem) -> CreditStep:
        record = item.record
        now = self._hook.clock.now()
        record.waiting_since = record.waiting_since or now
        if now - record.waiting_since > WAIT_FOR_OTHERS:
            raise CrmTransientError(
                "Another run holds a credit of this source for too long; a later try may pass"
            )
        return self._wait(item)

    @staticmethod
    def _wait(item: CreditItem) -> CreditStep:
        return Step(item, Outcome(Ending.UNCHANGED))

    # Doubt

    def _resolve(self, doubts: Sequence[tuple[CreditItem, Entry]]) -> dict[int, Entry]:
        """Find out what became of credits in doubt.

        :param doubts: each with the row that it belongs to, or in whose way it stands.
        :return: by id; one stays in doubt, with the reason, when nobody can tell any more.
        """
        entries: dict[int, Entry] = {}
        look: list[Entry] = []
        found = each_alone(self._hook, self._with_customer, doubts)
        for (item, entry), known in zip(doubts, found, strict=True):
            if isinstance(known, CrmRequestError):
                entries[entry.id] = replace(entry, reason=known.reason)
            elif known.credit.customer_id is not None:
                look.append(known)
            elif item.record.refusal and item.record.credit.key == entry.credit.key:
                # SPREAD has said itself that it knows no such customer.
                entries[entry.id] = replace(known, standing=Standing.FREE)
            else:
                entries[entry.id] = replace(known, reason=UNTRACEABLE)
        entries.update(self._doubts.resolve(look) if look else {})
        return entries

    def _with_customer(self, doubt: tuple[CreditItem, Entry]) -> Entry:
        """Find the id of a credit's customer, once."""
        item, entry = doubt
        if entry.credit.customer_id is None:
            customer_id = self._customers.id_of(item.record)
            if customer_id is not None:
                entry = self._ledger.know_customer(entry, customer_id)
        return entry

    # Sending

    def apply(self, steps: Sequence[CreditStep]) -> list[Verdict]:
        chosen: dict[str, CreditStep] = {}
        sent = [step for step in steps if step.payload is not None]
        # Before the others, one that was in doubt: it keeps them from being sent until it is itself.
        for step in sorted(sent, key=lambda step: not step.payload.doubted):
            chosen.setdefault(step.payload.credit.lane, step)
        todo, verdicts = self._with_baseline(list(chosen.values()))
        results = self._sender.send(todo)
        blocked = []
        errors = []
        for step, result in zip(todo, results, strict=True):
            if isinstance(result, LaneTakenError):
                blocked.append(step)
            elif isinstance(result, CrmError):
                errors.append(result)
            else:
                verdicts[id(step.item)] = result
        verdicts.update(self._clear_the_way(blocked))
        self._raise_first(errors, progress=bool(verdicts))
        if not verdicts and self._hook.pause(POLL_EVERY):
            raise CrmTransientError("The task ended while another run held a credit; a later try goes on")
        return [verdicts.get(id(step.item), LATER) for step in steps]

    def _with_baseline(self, steps: Sequence[CreditStep]) -> tuple[list[CreditStep], dict[int, Verdict]]:
        """Note the lines that are there before anything is sent.

        :return: what is to be sent, and how those have ended whose lines cannot be read, by the item's identity.
        """
        without = [step for step in steps if step.payload.baseline is None]
        if not without:
            return list(steps), {}
        # One for the customer's id, where the row does not say it, and one for their lines.
        calls = sum(1 if step.payload.credit.customer_id else 2 for step in without)
        name = self._baselines.of_account(calls)
        errors: dict[int, CrmRequestError] = {}
        if name is None:
            name, errors = self._baseline_of_customers(without)
        return (
            [
                Step(step.item, step.outcome, replace(step.payload, baseline=step.payload.baseline or name))
                for step in steps
                if id(step.item) not in errors
            ],
            {
                id(step.item): self._give_up(replace(step.payload, reason=errors[id(step.item)].reason))
                for step in without
                if id(step.item) in errors
            },
        )

    def _baseline_of_customers(self, steps: Sequence[CreditStep]) -> tuple[str, dict[int, CrmRequestError]]:
        """Read the lines of the customers of some credits.

        :return: the baseline's name, and the errors of those whose lines cannot be read, by the item's identity.
        """
        ids = each_alone(self._hook, self._customers.id_of, [step.item.record for step in steps])
        # Those who are not there have no lines.
        lines, unread = self._baselines.lines.of([one for one in ids if isinstance(one, str)])
        errors = {
            id(step.item): one if isinstance(one, CrmRequestError) else unread[one]
            for step, one in zip(steps, ids, strict=True)
            if isinstance(one, CrmRequestError) or (one is not None and one in unread)
        }
        return self._baselines.of_lines(lines.values()), errors

    @staticmethod
    def _raise_first(errors: Sequence[CrmError], *, progress: bool) -> None:
        for error in errors:
            if not isinstance(error, CrmOutcomeUnknownError):
                raise error
        if errors and not progress:
            raise errors[0]

    def _clear_the_way(self, blocked: Sequence[CreditStep]) -> dict[int, Verdict]:
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
        undecided: dict[int, str] = {}
        try:
            for entry in self._resolve(doubts).values():
                if entry.standing is Standing.FREE:
                    self._ledger.set_free(entry)
                elif entry.standing is Standing.DOUBT:
                    undecided[entry.id] = entry.reason
        except ClaimLostError as error:
            log.warning("%s", error)
        finally:
            for _, entry in doubts:
                self._ledger.hand_back(entry)
        cleared: dict[int, Verdict] = {}
        for step, holder in found:
            if holder is not None and holder.id in undecided:
                cleared[id(step.item)] = self._give_up(replace(step.payload, reason=undecided[holder.id]))
            elif holder is None or holder.standing is Standing.DOUBT:
                cleared[id(step.item)] = LATER
            else:
                self._wait_for_others(step.item)
        return cleared


def conflict(entry: Entry) -> Outcome:
    """Reject a row whose key was used before, with another amount or for somebody else."""
    verb = "credited" if entry.state is State.CREDITED else "sent"
    return rejected(
        "validate",
        f"this key was {verb} with {entry.credit.amount:f} points for "
        f"customer {entry.credit.customer_id or '(named by e-mail)'}",
    )
