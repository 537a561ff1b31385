"""A task's suppression list, read, and compared with what earlier runs of the task have found."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_crm.bulk.suppression import Identifier, SuppressionList
from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows.sources import open_source

if TYPE_CHECKING:
    from airflow_provider_crm._compat import Context

log = logging.getLogger(__name__)

#: The XCom that keeps the number of entries. State of a task goes with its run, and no later one would see it.
KEY = "crm_suppression_entries"


R = TypeVar("R")


def read_suppression_list(
    context: Context, source: Any, identifiers: Sequence[Identifier[R]]
) -> SuppressionList[R]:
    """Return the people of ``suppression_source``, before anything is sent.

    :param identifiers: how rows name a person.
    :raises CrmInputError: the list cannot be read, or is empty and was not before; the error says that it is this list.
    """
    try:
        suppressed = SuppressionList(open_source(source), identifiers)
    except CrmInputError as error:
        raise CrmInputError(f"`suppression_source`: {error}") from error
    _refuse_if_emptied(context, suppressed.entries)
    return suppressed


def _refuse_if_emptied(context: Context, entries: int) -> None:
    """Refuse an empty list where the last run of the task that left a number had entries; leave the number of this one.

    Runs are told apart by their logical date: where they have none, as those that an asset starts, or where Airflow has
    no task instance, nothing is known of earlier ones, and an empty list is a warning.

    :raises CrmInputError: everybody would be written to who was suppressed before.
    """
    instance: Any = context.get("ti")
    if instance is None:
        before = None
    elif entries:
        instance.xcom_push(KEY, entries)
        return
    else:
        before = instance.xcom_pull(
            task_ids=instance.task_id, key=KEY, include_prior_dates=True, map_indexes=instance.map_index
        )
    if before:
        raise CrmInputError(
            f"The suppression list is empty, and had {before:,} entries in an earlier run: nothing was sent. If "
            f"that is right, leave `suppression_source` out until it holds somebody again"
        )
    if not entries:
        log.warning("The suppression list is empty: everybody is written to")
