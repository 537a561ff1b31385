"""How SPREAD takes an answer to a consent: a line in a history, where the same call twice makes two lines.

Knows what the call means and what it leaves unsaid; knows neither batches of a source nor retries.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_crm.bulk.opt_outs import OptOutMemory
from airflow_provider_crm.bulk.outcomes import (
    LATER,
    Ending,
    Item,
    Outcome,
    RowKey,
    Step,
    Verdict,
    is_open,
    rejected,
)
from airflow_provider_crm.bulk.suppression import Identifier, by_email
from airflow_provider_crm.destinations.spread.written import Turn, Written, own_line, with_own
from airflow_provider_crm.exceptions import CrmNotFoundError, CrmOutcomeUnknownError, CrmTransientError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.rows.mapping import FieldMapping
from airflow_provider_crm.schemas.spread.cells import (
    ZONE,
    ConsentStatus,
    checked,
    consent_moment,
    consent_status,
    id_of,
    moment_text,
    text_of,
)
from airflow_provider_crm.schemas.spread.read import Record
from airflow_provider_crm.values import comparable, is_empty, normal_email

WHO = ("customer_id", "email")
WHICH = ("consent_id", "consent_tech_name")
NO_TIME = dt.timedelta()
#: How long another row's call is waited for, in moments of about a second.
MOST_MOMENTS = 150
#: What a column, or a value of the field map, may be called.
COLUMNS = (*WHO, *WHICH, "status", "created_at", "ip", "channel_id")


@dataclass(slots=True)
class ConsentRecord:
    """A row in SPREAD's terms.

    :param customer_id: found by the e-mail where the row has none.
    :param consent_id: found by the technical name where the row has none and the name is one consent's alone.
    :param created_at: local time.
    :param refused_at: the newest refusal in the row or in one planned before it; empty when there is none.
    :param seen: track ids of the customer's answers to this consent before the last call; None when nobody looked.
    :param written: number of the last line that the run itself had written to this history before the last call.
    """

    status: ConsentStatus
    created_at: str
    customer_id: str | None = None
    email: str | None = None
    consent_id: str | None = None
    consent_tech_name: str | None = None
    ip: str | None = None
    channel_id: str | None = None
    refused_at: str = ""
    seen: frozenset[str] | None = None
    written: int = 0


class ConsentNames:
    """The consents by their technical names, read once; they are few."""

    def __init__(self, hook: SpreadHook) -> None:
        self._hook = hook
        self._lock = threading.Lock()
        self._ids: dict[str, list[str]] | None = None

    def ids_of(self, tech_name: str) -> list[str]:
        """Find the ids of the consents with this technical name, which need not be one's alone."""
        with self._lock:
            if self._ids is None:
                self._ids = self._read()
        return self._ids.get(_composed(tech_name), [])

    def _read(self) -> dict[str, list[str]]:
        ids: dict[str, list[str]] = {}
        for consent in self._hook.iter_consent_definitions():
            ids.setdefault(_composed(consent.get("consentTechName")), []).append(str(consent.get("id")))
        return ids


class Refusals:
    """The newest refusal of a person and consent: later rows must know of it before the CRM shows it."""

    def find(self, record: ConsentRecord) -> str:
        return record.refused_at

    def keep(self, record: ConsentRecord, said: str) -> None:
        record.refused_at = max(record.refused_at, said)


class CreateConsents:
    """Records answers to consents.

    :param mapping: which column is which of :data:`COLUMNS`.
    :param only_changes: leave out what the CRM holds already, and consents older than a refusal.
    :param settle_seconds: how long an answer may take to be seen after a call for it has ended.
    """

    batch_size = 1
    opt_outs: None = None

    def __init__(
        self, hook: SpreadHook, mapping: FieldMapping[str], *, only_changes: bool, settle_seconds: float
    ) -> None:
        self._hook = hook
        self._mapping = mapping
        self._only_changes = only_changes
        self._settle_seconds = settle_seconds
        self._names = ConsentNames(hook)
        self._refusals = OptOutMemory(Refusals())
        self._written = Written(settle_seconds, hook.clock.now)
        self._lock = threading.Lock()
        self.identifiers: Sequence[Identifier[ConsentRecord]] = (
            Identifier[ConsentRecord](
                names=("customer_id",), normal=id_of, of=lambda item: (item.record.customer_id,)
            ),
            by_email(lambda item: (item.record.email,)),
        )

    def read(self, data: Mapping[str, Any]) -> tuple[RowKey, ConsentRecord]:
        given = {name: value for name, value in self._mapping.fields(data) if not is_empty(value)}
        for names in (WHO, WHICH):
            if not given.keys() & set(names):
                raise ValueError(f"{' and '.join(names)} are both empty")
        for name in ("status", "created_at"):
            if name not in given:
                raise ValueError(f"{name} is empty")
        record = ConsentRecord(
            **{name: checked(name, _CHECKS.get(name, text_of), value) for name, value in given.items()}
        )
        if record.status == "refused":
            record.created_at = record.refused_at = _at_the_latest(record.created_at)
        who = record.customer_id or record.email
        which = record.consent_id or record.consent_tech_name
        text = f"{who}|{which}|{record.created_at}|{record.status}"
        if record.channel_id:
            text = f"{text}|{record.channel_id}"
        # One person's answers to one consent go in one after the other, in the order of the source.
        # The history names no channel: it does not tell such an answer from one for all of them.
        return RowKey(text, locks=(f"{who}|{which}",), noted=record.channel_id is not None), record

    def refusal(self, record: ConsentRecord) -> ConsentRecord | None:
        return record if record.status == "refused" else None

    def plan(self, items: Sequence[Item[ConsentRecord]]) -> list[Outcome | Step[ConsentRecord]]:
        return [self._plan_one(item) for item in items]

    def _plan_one(self, item: Item[ConsentRecord]) -> Outcome | Step[ConsentRecord]:
        if problem := self._find(item.record):
            return problem
        self._remember(item.record)
        record = item.record
        looked_at = self._hook.clock.now()
        record.written, own = self._written.read(_history_of(record))
        plan = self._plan_found(item, own)
        if isinstance(plan, Outcome) and not is_open(item, plan, looked_at):
            line = (
                own_line(record.status, record.created_at, plan.crm_id)
                if plan.ending is Ending.CREATED
                else None
            )
            self._written.end_turn(_history_of(record), item.row.number, line)
        return plan

    def _plan_found(self, item: Item[ConsentRecord], own: Sequence[Record]) -> Outcome | Step[ConsentRecord]:
        if item.maybe_applied or item.retried or self._only_changes or item.record.channel_id:
            try:
                history = with_own(self._history(item.record), own)
            except CrmNotFoundError as error:  # an id that nobody has
                return rejected("crm", error.reason)
            if known := self._known(item, history):
                return known
        return Step(item, Outcome(Ending.CREATED), _arguments(item.record), self._settle_seconds)

    def _find(self, record: ConsentRecord) -> Outcome | None:
        """Find the ids behind an e-mail and a technical name."""
        if record.customer_id is None:
            customer = self._hook.find_customer(email=record.email)
            if customer is None:
                return rejected("crm", "no customer has this e-mail")
            record.customer_id = customer["id"]
        if record.consent_id is None and record.consent_tech_name is not None:
            ids = self._names.ids_of(record.consent_tech_name)
            if len(ids) > 1:
                return rejected(
                    "crm", f"consents {', '.join(ids)} share this technical name: give a consent_id"
                )
            record.consent_id = ids[0] if ids else None
        return None

    def _remember(self, record: ConsentRecord) -> None:
        """Note at each row the refusals before it, by whichever names they say whose and of what they are."""
        with self._lock:
            self._refusals.apply(_history_of(record), record)

    def _history(self, record: ConsentRecord) -> list[Record]:
        """Read the customer's answers to this consent.

        That the CRM heeds the filter is not taken for granted: another consent's answers would decide on this one's.
        Public APIs ignore filters without a word (github.com/planningcenter/developers issue 1439).
        """
        if record.consent_id is not None:
            field, wanted = "consentId", record.consent_id
        else:
            field, wanted = "consentTechName", record.consent_tech_name or ""
        rows = self._hook.iter_customer_consents(
            record.customer_id or "",
            consent_id=record.consent_id,
            consent_tech_name=record.consent_tech_name if record.consent_id is None else None,
        )
        return [row for row in rows if _composed(row.get(field, wanted)) == _composed(wanted)]

    def _known(self, item: Item[ConsentRecord], history: Sequence[Record]) -> Outcome | None:
        """Return whether the CRM's history already says how the row ends."""
        record = item.record
        if item.maybe_applied and (made := _made(item, history)):
            return Outcome(Ending.CREATED, crm_id=made[-1].get("trackId"))
        record.seen = frozenset(str(row.get("trackId")) for row in history)
        item.trace = len(_exact(record, history))
        if not self._only_changes:
            # The very answer that a try before this one may have sent is its own.
            sent = _exact(record, history) if item.retried and not item.noted else []
            return Outcome(Ending.UNCHANGED, crm_id=sent[0].get("trackId")) if sent else None
        # The history does not say for which channel an answer was: one for a single channel may always be new.
        if record.channel_id is None and (same := _same(record, history)):
            return Outcome(Ending.UNCHANGED, crm_id=same.get("trackId"))
        if record.status != "accepted":
            return None
        newer = (row for row in history if _is(row, "refused") and _answered(row) >= record.created_at)
        if any(row.get("shown", True) for row in newer):
            return Outcome(Ending.SKIPPED, "a refusal that is as new or newer is in SPREAD")
        if record.refused_at >= record.created_at:
            return Outcome(Ending.SKIPPED, "a refusal that is as new or newer is in an earlier row")
        return None

    def apply(self, steps: Sequence[Step[ConsentRecord]]) -> list[Verdict]:
        return [self._apply_one(step) for step in steps]

    def _apply_one(self, step: Step[ConsentRecord]) -> Verdict:
        record, row = step.item.record, step.item.row.number
        history = _history_of(record)
        moments = 0
        while (turn := self._written.take_turn(history, row, record.written)) is Turn.BUSY:
            moments += 1
            if self._hook.clock.ended or moments > MOST_MOMENTS:
                raise CrmTransientError(
                    "It is not known what became of another answer of the same person; a later try looks again"
                )
        if turn is Turn.LOOK_AGAIN:
            return LATER
        try:
            customer = self._hook.create_consent(**step.payload).get("customer")
        except CrmOutcomeUnknownError:
            raise  # a line of another row would be taken for this one's
        except BaseException:
            self._written.end_turn(history, row)
            raise
        track_id = customer.get("trackId") if isinstance(customer, dict) else None
        self._written.end_turn(history, row, own_line(record.status, record.created_at, track_id))
        return Outcome(Ending.CREATED, crm_id=track_id)


def _history_of(record: ConsentRecord) -> str:
    """Name the history that an answer goes into."""
    return f"{record.customer_id}|{record.consent_id or record.consent_tech_name}"


def _arguments(record: ConsentRecord) -> dict[str, Any]:
    """Return what the call takes."""
    names = ("customer_id", "status", "created_at", "consent_id", "consent_tech_name", "ip", "channel_id")
    return {name: getattr(record, name) for name in names}


def _made(item: Item[ConsentRecord], history: Sequence[Record]) -> list[Record]:
    """Find the lines of the history that can come from an unanswered call for this row."""
    record = item.record
    if record.seen is None:  # it was a call of an earlier try, which has noted how many such lines there were
        return sorted(_exact(record, history), key=_arrival)[item.trace or 0 :]
    return [row for row in history if _is(row, record.status) and str(row.get("trackId")) not in record.seen]


def _same(record: ConsentRecord, history: Sequence[Record]) -> Record | None:
    """Find the answer that makes the row's needless: the one that holds, or the very same."""
    latest = max(history, key=_order, default=None)
    if record.status == "refused":
        return _refusal(record, history, latest)
    # One that holds until the refusal of an earlier row is seen does not hold.
    if latest is not None and _is(latest, record.status) and _date(latest) > record.refused_at:
        return latest
    return next(iter(_exact(record, history)), None)


def _exact(record: ConsentRecord, history: Sequence[Record]) -> list[Record]:
    """Find the answers of the row's own status and moment."""
    return [row for row in history if _is(row, record.status, record.created_at)]


def _refusal(record: ConsentRecord, history: Sequence[Record], latest: Record | None) -> Record | None:
    """Find the refusal that makes the row's needless: the same, or a newer one that holds.

    Not one after which another answer came in that is no newer: whether SPREAD goes by the date of the answer or by
    the order in which it came is not documented, and the refusal must be the last word in either.
    """
    refusals = [row for row in history if _is(row, "refused", record.created_at)]
    if latest is not None and _is(latest, "refused") and _answered(latest) >= record.created_at:
        refusals.append(latest)
    refusal = max(refusals, key=_arrival, default=None)
    if refusal is None or any(
        not _is(row, "refused") and _arrival(row) > _arrival(refusal) and _date(row) <= _answered(refusal)
        for row in history
    ):
        return None
    return refusal


def _at_the_latest(moment: str) -> str:
    """Return the last second of the hour that October repeats for a moment in it, and any other moment as it is.

    Local time does not say which of the two hours is meant. A refusal is taken to be after all acceptances of both.
    """
    try:
        local = dt.datetime.fromisoformat(moment).replace(tzinfo=ZONE)
    except ValueError:
        return moment
    second = local.replace(fold=1)
    if (local.utcoffset() or NO_TIME) <= (second.utcoffset() or NO_TIME):
        return moment
    return moment_text(local.replace(minute=59, second=59, tzinfo=None))


def _is(row: Record, status: str, created_at: str | None = None) -> bool:
    return row.get("customerConsentStatus") == status and created_at in (None, _date(row))


def _date(row: Record) -> str:
    value = row.get("customerConsentCreatedAt")
    try:
        return consent_moment(value)
    except ValueError:
        return str(value or "")


def _answered(refusal: Record) -> str:
    """Return the moment of a refusal, as one of ours would say it."""
    return _at_the_latest(_date(refusal))


def _order(row: Record) -> tuple[str, int]:
    return _date(row), _arrival(row)


def _arrival(row: Record) -> int:
    track_id = str(row.get("trackId") or "")
    return int(track_id) if track_id.isdecimal() else 0


def _composed(name: Any) -> str:
    """Write a name with accents in the one of its two forms that can be compared."""
    return comparable(str(name or ""))


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "customer_id": id_of,
    "email": normal_email,
    "consent_id": id_of,
    "status": consent_status,
    "created_at": consent_moment,
    "channel_id": id_of,
}
