"""Tells Airflow's metrics what a task has done. Knows no CRM and no rows."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow_provider_crm._compat import stats

log = logging.getLogger(__name__)

#: What a summary may count: name there -> metric, after its prefix.
_COUNTERS = {
    **{
        ending: f"rows.{ending}"
        for ending in ("read", "created", "updated", "unchanged", "skipped", "rejected", "known", "drifted")
    },
    "rows": "rows.exported",
    "credited": "rows.credited",
    "already_credited": "rows.already_credited",
    "bytes": "bytes",
    "requests": "requests",
    "retries": "retries",
}


def emit(system: str, operator: str, summary: Mapping[str, Any], *, dry_run: bool = False) -> None:
    """Emit the counters of a summary and its duration, ``crm.duration``, tagged with system and operator.

    :param system: the connection type, such as ``mindbaz``.
    :param operator: the class of the operator.
    :param summary: what the task returns.
    :param dry_run: nothing was sent: the names begin with ``crm.dry_run.`` in place of ``crm.``, since not every
        store of metrics has tags.
    """
    prefix = "crm.dry_run." if dry_run else "crm."
    tags = {"system": system, "operator": operator}
    try:
        metrics = stats()
        for name, metric in _COUNTERS.items():
            if number := summary.get(name):
                metrics.incr(prefix + metric, int(number), tags=tags)
        metrics.timing(f"{prefix}duration", timedelta(seconds=summary.get("seconds", 0)), tags=tags)
    except Exception as error:
        # The rows are in the CRM: a missing metric must not make the task run again.
        log.warning("The task's metrics could not be emitted: %s", error)
