"""Spans: one a batch where the task is traced, with numbers and without anybody's data; none otherwise."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmTransientError
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
from airflow_provider_crm.sandbox.server import Sandbox

pytest.importorskip("opentelemetry.sdk", reason="this Airflow brings no OpenTelemetry")

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

ROWS = [{"email": f"anna{number}@example.fr", "status": "0"} for number in range(5)] + [{"email": "nobody's"}]


@pytest.fixture(scope="module")
def exporter() -> Iterator[InMemorySpanExporter]:
    """What Airflow does where `[traces] otel_on` is set; a process can do it once."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    yield exporter
    provider.shutdown()


def upsert(**parameters: Any) -> dict[str, Any]:
    task = MindbazUpsertSubscribersOperator(
        task_id="task", source=ROWS, field_map={"email": 1, "status": 7}, batch_size=2, **parameters
    )
    summary: dict[str, Any] = inspect.unwrap(type(task).execute)(task, {})
    return summary


def traced(exporter: InMemorySpanExporter, **parameters: Any) -> tuple[Any, list[ReadableSpan]]:
    """Run within the task's span, as Airflow does; return it, and those of the batches."""
    exporter.clear()
    try:
        with trace.get_tracer("airflow").start_as_current_span("worker.task", record_exception=False) as task:
            upsert(**parameters)
    finally:
        spans = sorted(
            (one for one in exporter.get_finished_spans() if one.name == "crm.batch"),
            key=lambda one: one.attributes["crm.batch"],
        )
    return task, spans


def test_a_span_a_batch(exporter: InMemorySpanExporter, crm_sandbox: Sandbox) -> None:
    task, spans = traced(exporter, max_rejects=1)
    assert {one.parent.span_id for one in spans if one.parent} == {task.get_span_context().span_id}
    assert [dict(one.attributes or {}) for one in spans] == [
        {
            "crm.system": "mindbaz",
            "crm.operator": "MindbazUpsertSubscribersOperator",
            "crm.batch": number,
            **{f"crm.{name}": count for name, count in counts.items()},
        }
        for number, counts in enumerate(
            (
                {
                    "rows": 3,
                    "rows.created": 2,
                    "rows.rejected": 1,
                },  # the row that cannot be read waits for nobody
                {"rows": 2, "rows.created": 2},
                {"rows": 1, "rows.created": 1},
            ),
            start=1,
        )
    ]


def test_a_batch_that_fails_says_so_without_words(
    exporter: InMemorySpanExporter, crm_sandbox: Sandbox, no_waiting: None
) -> None:
    crm_sandbox.fault("error_before", system="mindbaz", method="POST")
    with pytest.raises(CrmTransientError):
        traced(exporter, concurrency=1)
    failed = [
        one for one in exporter.get_finished_spans() if one.name == "crm.batch" and not one.status.is_ok
    ]
    assert failed
    said = {one.status.description for one in failed}
    assert "CrmOutcomeUnknownError" in said
    assert all(one and one.isidentifier() for one in said), said
    assert not any(one.events for one in failed)


def test_nobody_is_named(exporter: InMemorySpanExporter, crm_sandbox: Sandbox) -> None:
    traced(exporter, max_rejects=1)
    said = "".join(one.to_json() for one in exporter.get_finished_spans())
    assert "crm.batch" in said
    assert "anna" not in said
    assert "nobody" not in said


def test_a_task_that_is_not_traced_makes_no_span(
    exporter: InMemorySpanExporter, crm_sandbox: Sandbox
) -> None:
    exporter.clear()
    assert upsert(max_rejects=1)["created"] == 5
    not_sampled = trace.NonRecordingSpan(trace.INVALID_SPAN_CONTEXT)
    with trace.use_span(not_sampled):
        assert upsert(max_rejects=1)["unchanged"] == 5
    assert not [one for one in exporter.get_finished_spans() if one.name == "crm.batch"]
