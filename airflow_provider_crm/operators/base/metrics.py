"""Tells Airflow's metrics what a task has done. Knows no CRM and no rows."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow_provider_crm._compat import stats

log = logging.getLogger(__name__)

#: What a summary may count: name there -> metric.
_COUNTERS = {
    **{
        ending: f"crm.rows.{ending}"
        for ending in ("read", "created", "updated", "unchanged", "skipped", "rejected", "known", "drifted")
    },
    "rows": "crm.rows.exported",
    "credited": "crm.rows.credited",
    "already_credited": "crm.rows.already_credited",
    "bytes": "crm.bytes",
    "requests": "crm.requests",
    "retries": "crm.retries",
}


def emit(system: str, operator: str, summary: Mapping[str, Any]) -> None:
    """Emit the counters of a summary and its duration, ``crm.duration``, tagged with system and operator.

    :param system: the connection type, such as ``mindbaz``.
    :param operator: the class of the operator.
    :param summary: what the task returns.
    """
    tags = {"system": system, "operator": operator}
    try:
        metrics = stats()
        for name, metric in _COUNTERS.items():
            if number := summary.get(name):
                metrics.incr(metric, int(number), tags=tags)
        metrics.timing("crm.duration", timedelta(seconds=summary.get("seconds", 0)), tags=tags)
    except Exception as error:
        # The rows are in the CRM: a missing metric must not make the task run again.
        log.warning("The task's metrics could not be emitted: %s", error)
