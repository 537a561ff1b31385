"""What an erasure does with a row: what the look-up shows, what was called before, and what a 404 means.

Knows no CRM. A read may lag behind in both directions, so that a look-up alone neither spares nor proves an erasure
(github.com/HubSpot/hubspot-api-php issue 59).
"""

from __future__ import annotations

from typing import Any

from airflow_provider_crm.bulk.outcomes import (
    SETTLE_SECONDS,
    Ending,
    Item,
    Outcome,
    R,
    Refused,
    Step,
    Verdict,
)
from airflow_provider_crm.exceptions import CrmNotFoundError


def plan_erasure(
    item: Item[R],
    crm_id: str | int | None,
    *,
    found: bool,
    absent: str,
    payload: Any = None,
    needs_look: bool = False,
) -> Outcome | Step[R]:
    """Decide what becomes of a row, and note on its item when the person is absent.

    :param crm_id: the CRM's own id of the person, where it is or was known.
    :param found: whether the look-up for this item has found the person.
    :param absent: the reason of a row whose person is absent.
    :param payload: what is sent.
    :param needs_look: whether nothing can be sent without what the look-up finds, such as an id.
    """
    if found:
        return Step(item, Outcome(Ending.UPDATED, crm_id=crm_id), payload)
    called = item.maybe_applied or item.refused is not None
    if called and not item.was_absent:
        # There at first and gone now, after a call of ours: that call did it, whatever it was answered.
        return Outcome(Ending.UPDATED, crm_id=crm_id)
    item.was_absent = True
    skipped = Outcome(Ending.SKIPPED, absent)
    return skipped if needs_look or item.refused else Step(item, skipped, payload)


def settle_not_found(step: Step[Any], error: CrmNotFoundError) -> Verdict:
    """Return what it means for a row that its deletion was answered with 404."""
    if step.outcome.ending is Ending.SKIPPED or step.item.maybe_applied or error.after_unknown:
        return step.outcome
    # A try before this one or somebody else was faster, or the vendor has no such call any more: the next look tells,
    # once the person is no longer shown who is gone.
    reason = f"the CRM shows the person and answers DELETE with 404: {error.reason}"
    return Refused(reason, settle_seconds=SETTLE_SECONDS)
