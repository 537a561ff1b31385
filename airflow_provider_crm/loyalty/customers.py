"""Who SPREAD's customers are: by id, by e-mail, or some rows by one and some by the other. Knows no ledger.

Credits of one person must be known to be one person's however the rows name her, so that ids are looked up in bulk.
"""

from __future__ import annotations

from collections.abc import Collection

from airflow_provider_crm.exceptions import CrmUnreadableAnswerError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.rows.sources import Row, Source


def calls_for(source: Source, id_column: str) -> int:
    """Tell how many calls it would take to look every row's customer and lines up one by one."""
    calls = 0
    for row in source:
        if isinstance(row, Row):
            value = row.data.get(id_column)
            calls += 2 if value is None or not str(value).strip() else 1
    return calls


def emails_of(hook: SpreadHook, ids: Collection[str]) -> dict[str, str]:
    """Give customers' e-mails, as SPREAD spells them, by id; without those who have none.

    :param ids: SPREAD's ids.
    """
    try:
        customers = list(hook.iter_customers(ids=ids))
    except CrmUnreadableAnswerError:
        # The server ignores the list of ids.
        customers = [one for one in hook.side_by_side(hook.get_customer, ids) if one is not None]
    wanted = set(ids)
    found = {str(one.get("id")): str(one.get("email") or "").strip() for one in customers}
    return {one: email for one, email in found.items() if email and one in wanted}
