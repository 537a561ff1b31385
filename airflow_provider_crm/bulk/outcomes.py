"""How a row can end, and what the engine and a CRM's destination say to each other about it. Knows no CRM."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Generic, Literal, Protocol, TypeVar

import msgspec

from airflow_provider_crm.rows.sources import Row

R = TypeVar("R")

Stage = Literal["read", "validate", "crm"]

#: How often a row is refused before nobody looks any more whether it may be sent in another way.
MOST_REFUSALS = 3


class RowKey(msgspec.Struct, frozen=True, gc=False):
    """What a row is about, mostly a person.

    :param text: names it, in reports too.
    :param merges: of several rows with this text only the last one counts; otherwise each is on its own.
    :param apart: what two rows that are in flight together must not have in common; the text when empty.
    """

    text: str
    merges: bool = True
    apart: tuple[str, ...] = ()

    @property
    def lanes(self) -> tuple[str, ...]:
        return self.apart or (self.text,)


class Again(enum.Enum):
    """The answer of a destination that wants to plan an item once more."""

    AGAIN = enum.auto()


AGAIN = Again.AGAIN


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
    """

    ending: Ending
    reason: str = ""
    crm_id: str | int | None = None
    stage: Stage | None = None
    amount: Decimal | None = None


def rejected(stage: Stage, reason: str, crm_id: str | int | None = None) -> Outcome:
    """Make the outcome of a row that cannot be done."""
    return Outcome(Ending.REJECTED, reason, crm_id, stage)


class Item(msgspec.Struct, Generic[R]):
    """One valid row on its way into the CRM.

    :param key: what the row is about, mostly a person.
    :param record: the row in the destination's terms.
    :param maybe_applied: an earlier call that held it may have been applied by the CRM.
    :param refusal: why the CRM refused this very row.
    :param sent: the payload of the last call that held it.
    :param refused: the payload that was refused.
    :param refusals: how often the CRM refused this very row.
    :param unsaid: how often a call that held it alone succeeded with an answer that did not speak of it.
    """

    row: Row
    key: str
    record: R
    maybe_applied: bool = False
    refusal: str = ""
    sent: Any = None
    refused: Any = None
    refusals: int = 0
    unsaid: int = 0

    def refuse(self, reason: str) -> Outcome | None:
        """Note that the CRM refused this very row.

        :return: None, since it has to be looked up first: somebody else may have written the same person, or the
            call may have been applied after all. The outcome when that has happened again and again.
        """
        self.refusal = reason or "refused by the CRM without a reason"
        self.refused = self.sent
        self.refusals += 1
        return rejected("crm", self.refusal) if self.refusals >= MOST_REFUSALS else None


class Step(msgspec.Struct, Generic[R], frozen=True):
    """What is to be done with an item.

    :param then: how the row ends once the CRM has applied it.
    :param payload: what the destination sends for it; equal ones are the same call.
    """

    item: Item[R]
    then: Outcome
    payload: Any = None


class Destination(Protocol[R]):
    """One kind of write into one CRM. The engine calls :meth:`plan` and :meth:`apply` from several threads."""

    batch_size: int
    """Rows a call takes at most."""

    def key(self, data: Mapping[str, Any]) -> RowKey:
        """Tell what a row is about.

        :raises ValueError: it does not say; the row is rejected.
        """

    def record(self, data: Mapping[str, Any]) -> R:
        """Check a row and put it into the CRM's terms, without any call.

        :raises ValueError: it cannot be sent; the message names the field and says what is allowed.
        """

    def plan(self, items: Sequence[Item[R]]) -> Sequence[Outcome | Step[R]]:
        """Decide what to do with each item, with calls that read only.

        Called again after a call whose outcome is unknown (the items are then ``maybe_applied``) and after a
        refusal (``refusal``): it must find out what was applied.

        :return: one for each item, in their order. A step with the very payload that was refused is not carried
            out: its row is rejected.
        """

    def apply(self, steps: Sequence[Step[R]]) -> Sequence[Outcome | Again | None]:
        """Carry the steps out in one writing call.

        :return: one for each step, in their order; None where the answer does not tell how the row ended; AGAIN
            where it has to be planned again, and nothing is wrong.
        :raises CrmOutcomeUnknownError: some, all or none may have been applied.
        :raises CrmTooLargeError: fewer rows may pass.
        :raises CrmRequestError: the CRM stopped at one of them; some may have been applied.
        """
