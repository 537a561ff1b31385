"""What a task may be given as its source, as far as it can be told before it runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.parameters import StoragePath, is_known, path, text
from airflow_provider_crm.rows.file_source import FileSource
from airflow_provider_crm.rows.sql import SqlSource

#: Ends of names that files have which people take for a file of rows, and folders have not.
_OTHER_FILES = frozenset(
    (
        "avro",
        "bz2",
        "feather",
        "json",
        "ndjson",
        "ods",
        "orc",
        "pkl",
        "tsv",
        "txt",
        "xls",
        "xlsm",
        "xlsx",
        "xml",
    )
)


def source(name: str, value: Any) -> Any:
    """Return a source; what it may be is said by :func:`~airflow_provider_crm.rows.sources.open_source`.

    :raises CrmInputError: it can be none, whatever is there when the task runs.
    """
    if isinstance(value, FileSource):
        _check_file(value)
    elif isinstance(value, SqlSource):
        _check_query(value)
    elif isinstance(value, str | os.PathLike | StoragePath):
        return _rows_path(name, value)
    elif isinstance(value, bool | int | float | bytes | bytearray | Mapping | set | frozenset):
        raise CrmInputError(
            f"`{name}` is a list of dicts, a path, a FileSource or a SqlSource, not a {type(value).__name__}"
        )
    return value


def _rows_path(name: str, value: Any) -> str:
    given = path(name, value)
    suffix = given.lower().rpartition(".")[2]
    if suffix in _OTHER_FILES:
        raise CrmInputError(
            f"`{name}` is of no known format (.{suffix}): a file of rows ends in .csv, .csv.gz, .jsonl, .jsonl.gz "
            f"or .parquet"
        )
    return given


def _check_file(file: FileSource) -> None:
    if is_known(file.path):
        _rows_path("path", file.path)
    if is_known(file.encoding) and is_known(file.delimiter):
        file.text_format()


def _check_query(query: SqlSource) -> None:
    for name, value in (("conn_id", query.conn_id), ("sql", query.sql)):
        if is_known(value):
            text(name, value)
    values = query.parameters
    if not isinstance(values, Mapping | list | tuple | None) and is_known(values):
        raise CrmInputError(f"`parameters` is a dict or a list of values, not a {type(values).__name__}")


Source = Annotated[Any, source]
