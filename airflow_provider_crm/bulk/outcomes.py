"""How a row can end, and what the engine and a CRM's destination say to each other about it. Knows no CRM."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Generic, Literal, Protocol, TypeVar

import msgspec

from airflow_provider_crm.rows.sources import Row

R = TypeVar("R")
C = TypeVar("C")
C_contra = TypeVar("C_contra", contravariant=True)

Stage = Literal["read", "validate", "crm"]


Changes = Mapping[str, Mapping[str, Any]]
"""By field, what it is changed ``from`` and ``to``."""


class RowKey(msgspec.Struct, frozen=True, gc=False):
    """What a row is about, mostly a person.

    :param text: names it, in reports too.
    :param merges: of several rows with this text only the last one counts; otherwise each is on its own.
    :param locks: what the row holds while it is in flight; no two rows in flight hold the same. The text when empty.
    :param noted: the row is noted before it is sent, alone: no look may tell afterwards whether it was.
    """

    text: str
    merges: bool = True
    locks: tuple[str, ...] = ()
    noted: bool = False


class InvalidRowError(ValueError):
    """A row that cannot be sent, although something is known of it.

    :param key: what it is about, for the report; None where that cannot be told.
    :param said: what it opts out of, as :meth:`OptOuts.find` gives it.
    """

    def __init__(self, reason: str, key: str | None, said: Any = None) -> None:
        super().__init__(reason)
        self.key = key
        self.said = said


class Ending(enum.StrEnum):
    """The five ways in which a row ends; each row ends in exactly one."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    """The CRM already holds it."""
    SKIPPED = "skipped"
    """There was nothing to do."""
    REJECTED = "rejected"
    """It cannot be done; the reason says why."""


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """How a row ended.

    :param reason: why, for a row that was skipped or rejected; may hold the vendor's words in clear.
    :param crm_id: the CRM's own id of the record, where it is known.
    :param stage: where a row was rejected.
    :param amount: what the row has added, where rows add something.
    :param changes: what it would change, where somebody wants to see that.
    """

    ending: Ending
    reason: str = ""
    crm_id: str | int | None = None
    stage: Stage | None = None
    amount: Decimal | None = None
    changes: Changes | None = None


def rejected(stage: Stage, reason: str, crm_id: str | int | None = None) -> Outcome:
    """Return the outcome of a row that cannot be done."""
    return Outcome(Ending.REJECTED, reason, crm_id, stage)


class Refused(msgspec.Struct, frozen=True, gc=False):
    """The CRM refused this very row.

    It has not ended yet: somebody else may have written the same person, or the call may have been applied after
    all. It is planned again, and rejected when that leads to the same call.

    :param reason: the vendor's words.
    :param payload: what was sent; filled in by the settler.
    :param settle_seconds: how long the CRM may go on to show what contradicts the refusal: it is believed only then.
    """

    reason: str
    payload: Any = None
    settle_seconds: float = 0.0


class Open(enum.Enum):
    """A call that does not tell how a row ended; it is planned again."""

    UNSAID = enum.auto()
    """The call was accepted, and its answer does not speak of the row."""
    LATER = enum.auto()
    """Nothing was sent for the row, and nothing is wrong with it."""


#: Seconds for which a call that got no answer may go on in the CRM, or may not be shown yet, where a task has no
#: parameter for it.
SETTLE_SECONDS = 10.0

UNSAID, LATER = Open.UNSAID, Open.LATER

Verdict = Outcome | Refused | Open
"""What a call says about one of its rows."""


class Item(msgspec.Struct, Generic[R], gc=False):
    """One valid row on its way into the CRM. A destination reads the last ones, and engine and settler write them.

    :param key: what the row is about, mostly a person.
    :param record: the row in the destination's terms.
    :param retried: an earlier try of the task may have sent it.
    :param maybe_applied: an earlier call that held it may have been applied by the CRM.
    :param was_absent: an earlier look-up did not find the person; see :func:`.upserts.decide`.
    :param refused: the latest refusal of this very row; None when there was none.
    :param in_doubt_until: until then what the CRM does not show may be there all the same.
    :param may_create: whether it may create somebody who is absent, where others of its kind do.
    :param rejected: how the row ends, where its opt-out alone is on its way; None otherwise.
    :param mark: what a snapshot knows of the row.
    :param locks: what it holds while it is in flight; see :class:`RowKey`.
    :param noted: see :class:`RowKey`.
    :param trace: of a row that is noted, what the look before it was sent has shown; what JSON can express.
    """

    row: Row
    key: str
    record: R
    retried: bool = False
    maybe_applied: bool = False
    was_absent: bool = False
    refused: Refused | None = None
    in_doubt_until: float = 0.0
    may_create: bool = True
    rejected: Outcome | None = None
    mark: Any = None
    locks: tuple[str, ...] = ()
    noted: bool = False
    trace: Any = None

    @property
    def checked(self) -> bool:
        """Whether it is looked up only to see whether others have changed the person."""
        return self.mark is not None and self.mark.checked


class Step(msgspec.Struct, Generic[R], frozen=True, gc=False):
    """What is to be done with an item.

    :param outcome: how the row ends once the CRM has applied it.
    :param payload: what the destination sends for it; equal ones are the same call.
    :param settle_seconds: how long an earlier such call may take to be seen, before this one is sent: for what must
        not be done twice. 0 where repeating it changes nothing.
    :param held: what the look-up has found of the person; None where nobody is there, or was looked up.
    """

    item: Item[R]
    outcome: Outcome
    payload: Any = None
    settle_seconds: float = 0.0
    held: Any = None


#: Ends that are concluded from what a look does not show.
_UNSEEN = (Ending.SKIPPED, Ending.REJECTED)


def is_open(item: Item[R], plan: Outcome | Step[R], looked_at: float) -> bool:
    """Return whether a plan goes by what the CRM does not show, and may show in a moment.

    :param looked_at: before this moment nobody had asked the CRM.
    """
    seen = isinstance(plan, Outcome) and plan.ending not in _UNSEEN
    return not seen and item.in_doubt_until > looked_at


class OptOutRule(Protocol[C_contra]):
    """What a row says about a person who does not want to be written to: no later row of the source undoes it."""

    def find(self, record: C_contra) -> Any:
        """Return what the row opts out of, as something that JSON can express; empty when it does not."""

    def keep(self, record: C_contra, said: Any) -> None:
        """Write into a record what an earlier row of the same person has opted out of.

        :param said: what :meth:`find` gave for the earlier row.
        """


class OptOuts(OptOutRule[C], Protocol[C]):
    """Opt-outs that are carried out by themselves where the rest of their row cannot be."""

    def alone(self, key: str, said: Any) -> C:
        """Return a record that opts somebody out and does nothing else; an item of it has ``may_create`` False.

        :param key: whom.
        :param said: of what, from :meth:`find`.
        """


class Destination(Protocol[R]):
    """One kind of write into one CRM. The engine calls :meth:`plan` and :meth:`apply` from several threads."""

    batch_size: int
    """Rows a call takes at most."""

    @property
    def opt_outs(self) -> OptOuts[R] | None:
        """What in a person's rows wins over all others of them; None where rows hold no such thing."""

    def read(self, data: Mapping[str, Any]) -> tuple[RowKey, R]:
        """Return what a row is about, and the row in the CRM's terms, without any call. Called once a row.

        :raises ValueError: it cannot be sent; the message names the field and says what is allowed. An
            :class:`InvalidRowError` where it is known whom it is about.
        """

    # A destination may also have `read_many(rows)`, which returns the texts of the rows' keys and the rows in its
    # terms; None where they have to be read one by one. It is for rows that merge, hold no locks and are not noted.

    def plan(self, items: Sequence[Item[R]]) -> Sequence[Outcome | Step[R]]:
        """Decide what to do with each item, with calls that read only.

        Called again after a call whose outcome is unknown (the items are then ``maybe_applied``) and after a
        refusal (``refused``): it must find out what was applied.

        :return: one for each item, in their order. A step with the very payload that was refused is not carried
            out: its row is rejected.
        """

    def apply(self, steps: Sequence[Step[R]]) -> Sequence[Verdict]:
        """Carry the steps out in one writing call.

        :return: what the call says about each, in their order.
        :raises CrmOutcomeUnknownError: some, all or none may have been applied.
        :raises CrmTooLargeError: fewer rows may pass.
        :raises CrmRequestError: the CRM stopped at one of them; some may have been applied.
        """
