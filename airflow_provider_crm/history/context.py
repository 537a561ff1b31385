"""From what Airflow hands a task or a callback to the history: which one it is, and which try this is.

SQLAlchemy is imported where there is a history: few tasks have one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_provider_crm.exceptions import redact

if TYPE_CHECKING:
    from airflow_provider_crm.history.runs import TaskTry
    from airflow_provider_crm.history.store import History

log = logging.getLogger(__name__)


def open_history(conn_id: str | None) -> History | None:
    """Open the history; None where there is none, or where its connection cannot be used, which is a warning."""
    from airflow_provider_crm.history.store import History, history_conn_id

    chosen = conn_id or history_conn_id()
    if chosen is None:
        return None
    try:
        return History.at(chosen)
    except Exception as error:
        log.warning("There is no history of this run: %s", redact(error))
        return None


def task_try(context: Any) -> TaskTry | None:
    """Return which try of which task this is; None outside of Airflow."""
    from airflow_provider_crm.history.runs import TaskTry

    instance = context.get("ti")
    if instance is None:
        return None
    index = getattr(instance, "map_index", None)
    return TaskTry(
        dag_id=str(instance.dag_id),
        task_id=str(instance.task_id),
        run_id=str(instance.run_id),
        map_index=-1 if index is None else int(index),
        try_number=int(getattr(instance, "try_number", None) or 1),
        logical_date=context.get("logical_date"),
    )
