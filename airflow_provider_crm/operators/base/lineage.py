"""What OpenLineage is told of a task: which data sets it has read and written, and how many rows. Knows no CRM.

The packages of OpenLineage are imported where they are used: they are there where its provider is, which calls this.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_crm._compat import BaseHook, ObjectStoragePath
from airflow_provider_crm.exceptions import redact
from airflow_provider_crm.rows.file_source import FileSource
from airflow_provider_crm.rows.sql import SqlSource

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set, by the names that OpenLineage's naming rules give it.

    :param rows: how many of its rows were read, or written; None where nobody knows.
    :param size: likewise, in bytes.
    """

    namespace: str
    name: str
    rows: int | None = None
    size: int | None = None


def crm_list(base_url: str, resource: str, rows: int | None) -> DataSet:
    """Return a list of a CRM, such as its customers."""
    url = urlsplit(base_url)
    return DataSet(f"{url.scheme}://{url.netloc}", f"{url.path}/{resource}".lstrip("/"), rows)


def files_at(path: Any, rows: int | None, size: int | None = None) -> DataSet:
    """Return what is at a path: a file, or all files of a folder or a pattern."""
    url = urlsplit(str(path))
    if url.scheme and url.scheme != "file":
        # A URI may name Airflow's connection in front of the bucket.
        return DataSet(f"{url.scheme}://{url.netloc.rpartition('@')[2]}", url.path.lstrip("/"), rows, size)
    return DataSet("file", url.path, rows, size)


def rows_of(source: Any, rows: int | None) -> list[DataSet]:
    """Return where the rows of a task come from; nothing for a list, which is in nobody's store.

    :param source: what the task was given as ``source``.
    """
    if isinstance(source, SqlSource):
        tables = list(_tables(source))
        # Of a join nobody knows how many rows it has read of which table.
        return [DataSet(namespace, name, rows if len(tables) == 1 else None) for namespace, name in tables]
    if isinstance(source, FileSource):
        source = source.path
    if isinstance(source, str | PathLike | ObjectStoragePath):
        return [files_at(source, rows)]
    return []


def _tables(source: SqlSource) -> Iterator[tuple[str, str]]:
    """Return the tables that a query reads, named as Airflow's own SQL operators name them.

    The query itself, which may hold people's data, stays out.
    """
    from openlineage.common.sql import parse

    try:
        connection: Any = BaseHook.get_connection(source.conn_id)
        hook = connection.get_hook()
        info = hook.get_openlineage_database_info(connection)
        if info is None:  # a database for which Airflow's hook has no rule, such as SQLite
            database, schema = None, None
            namespace = f"{connection.conn_type}://{connection.host or ''}"
        else:
            database, schema = info.database, hook.get_openlineage_default_schema()
            namespace = f"{info.scheme}://{info.authority}" if info.authority else info.scheme
        found = parse([source.sql], hook.get_openlineage_database_dialect(connection), schema)
    except Exception as error:
        # Any provider's hook may run here, after the task's work is done.
        log.warning("OpenLineage is not told which tables were read: %s", redact(error))
        return
    for table in found.in_tables if found else ():
        name = ".".join(filter(None, (table.database or database, table.schema, table.name)))
        yield namespace, name.upper() if info is not None and info.is_uppercase_names else name


def lineage(read: Sequence[DataSet], written: Sequence[DataSet]) -> Any:
    """Return data sets as OpenLineage's provider takes them from an operator."""
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset, OutputDataset
    from openlineage.client.facet_v2 import input_statistics_input_dataset as of_input
    from openlineage.client.facet_v2 import output_statistics_output_dataset as of_output

    return OperatorLineage(
        inputs=[
            InputDataset(one.namespace, one.name, inputFacets={"inputStatistics": facet})
            for one in read
            for facet in [of_input.InputStatisticsInputDatasetFacet(rowCount=one.rows, size=one.size)]
        ],
        outputs=[
            OutputDataset(one.namespace, one.name, outputFacets={"outputStatistics": facet})
            for one in written
            for facet in [of_output.OutputStatisticsOutputDatasetFacet(rowCount=one.rows, size=one.size)]
        ],
    )
