"""A span for each batch, where Airflow traces the task; nothing otherwise. Knows no CRM; spans hold numbers only."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from airflow_provider_crm.bulk.batches import Batch, Ended

Process = Callable[[Batch[Any]], list[Ended]]


def traced(process: Process, attributes: Mapping[str, str]) -> Process:
    """Return a function that does the same within a span, a child of the task's.

    :param process: brings a batch to its end; called from any thread.
    :param attributes: of every span.
    :return: ``process`` itself where the task has no span that is recorded.
    """
    # Whoever traces has imported it, as Airflow 3.3 does, which gives each task a span. It is not loaded for nothing.
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None or not trace.get_current_span().is_recording():
        return process
    task = trace.set_span_in_context(trace.get_current_span())
    tracer = trace.get_tracer("airflow_provider_crm")

    @contextmanager
    def span(batch: Batch[Any]) -> Iterator[Any]:
        # The words of an error, and what its frames hold, may be a person's: its type must do.
        with tracer.start_as_current_span(
            "crm.batch",
            context=task,
            attributes={**attributes, "crm.batch": batch.number},
            record_exception=False,
            set_status_on_exception=False,
        ) as opened:
            try:
                yield opened
            except BaseException as error:
                opened.set_status(trace.Status(trace.StatusCode.ERROR, type(error).__name__))
                raise

    def process_traced(batch: Batch[Any]) -> list[Ended]:
        with span(batch) as opened:
            ended = process(batch)
            opened.set_attributes(_counts(ended))
        return ended

    return process_traced


def _counts(ended: Sequence[Ended]) -> dict[str, int]:
    ends = Counter(row.outcome.ending.value for row in ended)
    return {"crm.rows": len(ended), **{f"crm.rows.{end}": number for end, number in ends.items()}}
