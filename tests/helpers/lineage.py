"""What OpenLineage's provider takes from a task that has ended."""

from __future__ import annotations

from typing import Any

NOT_INSTALLED = "the OpenLineage provider is not installed"

#: Namespace, name, rows and bytes of a data set.
Told = tuple[str, str, int | None, int | None]


def extracted(task: Any) -> Any:
    """All that OpenLineage is told, as its provider has it."""
    from airflow.providers.openlineage.extractors.base import DefaultExtractor

    return DefaultExtractor(task).extract_on_complete(None)


def told(task: Any) -> tuple[list[Told], list[Told]]:
    """The inputs and the outputs; none where OpenLineage is told nothing."""
    lineage = extracted(task)
    read = [(one, one.inputFacets["inputStatistics"]) for one in lineage.inputs]
    written = [(one, one.outputFacets["outputStatistics"]) for one in lineage.outputs]
    return _told(read), _told(written)


def _told(sets: list[tuple[Any, Any]]) -> list[Told]:
    return [(one.namespace, one.name, facet.rowCount, facet.size) for one, facet in sets]
