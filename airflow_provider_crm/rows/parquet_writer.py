"""Parquet files. A page of records becomes a table in the thread that fetched it."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from airflow_provider_crm.rows.arrow_values import load_arrow
from airflow_provider_crm.rows.blocks import EXTRA, Column, extras, values

if TYPE_CHECKING:
    import pyarrow

#: Rows of a row group.
ROW_GROUP = 20_000
#: Bytes of different values in a row group from which on a column gets no dictionary. Arrow waits for eight times as
#: many, which only makes a file of ids and e-mails larger.
LARGEST_DICTIONARY = 128 * 1024


class Table:
    """Records in Arrow's memory."""

    def __init__(self, table: pyarrow.Table) -> None:
        self.table = table

    @property
    def rows(self) -> int:
        return cast(int, self.table.num_rows)

    def without(self, positions: Collection[int]) -> Table:
        import pyarrow

        places = [place for place in range(self.rows) if place not in positions]
        return Table(self.table.take(pyarrow.array(places, pyarrow.int64())))

    def from_record(self, first: int) -> Table:
        return Table(self.table.slice(first))

    def followed_by(self, others: Sequence[Table]) -> Table:
        import pyarrow

        return Table(pyarrow.concat_tables([self.table, *(block.table for block in others)]))


class Parquet:
    """Apache Parquet; needs the extra ``parquet``.

    :param metadata: stands in the file's key-value metadata.
    """

    def __init__(self, columns: Sequence[Column], metadata: Mapping[str, str]) -> None:
        load_arrow()
        import pyarrow

        self._columns = columns
        named = pyarrow.struct([("name", pyarrow.string()), ("value", pyarrow.string())])
        self._moment = pyarrow.timestamp("us", tz="UTC")
        types = {
            "text": pyarrow.string(),
            "boolean": pyarrow.bool_(),
            "integer": pyarrow.int64(),
            "decimal": pyarrow.decimal128(38, 9),
            "moment": self._moment,
            "local_moment": self._moment,
            "date": pyarrow.date32(),
            "texts": pyarrow.list_(pyarrow.string()),
            "named_values": pyarrow.map_(pyarrow.string(), named),
            "map": pyarrow.map_(pyarrow.string(), pyarrow.string()),
        }
        fields = [(column.name, types[column.kind]) for column in columns]
        self._schema = pyarrow.schema([*fields, (EXTRA, pyarrow.string())], metadata=dict(metadata))

    def encode(self, records: Sequence[Any], unknown: Sequence[str]) -> Table:
        import pyarrow

        arrays = []
        for column, data_type in zip(self._columns, self._schema.types[:-1], strict=True):
            cells = values(column, records)
            if column.kind in ("decimal", "local_moment"):  # texts, which Arrow reads faster than Python
                arrays.append(pyarrow.array(cells, pyarrow.string()).cast(data_type))
            elif column.kind in ("named_values", "map"):
                items = [None if value is None else list(value.items()) for value in cells]
                arrays.append(pyarrow.array(items, data_type))
            else:
                arrays.append(pyarrow.array(cells, data_type))
        arrays.append(pyarrow.array(extras(records, unknown), pyarrow.string()))
        return Table(pyarrow.Table.from_arrays(arrays, schema=self._schema))

    def open(self, file: BinaryIO) -> ParquetWriter:
        return ParquetWriter(file, self._schema)


class ParquetWriter:
    """Gathers blocks into row groups of a size that readers like."""

    def __init__(self, file: BinaryIO, schema: pyarrow.Schema) -> None:
        import pyarrow.parquet

        self._parquet = pyarrow.parquet.ParquetWriter(
            file, schema, dictionary_pagesize_limit=LARGEST_DICTIONARY
        )
        self._waiting: list[pyarrow.Table] = []

    def write(self, block: Table) -> None:
        self._waiting.append(block.table)
        if sum(table.num_rows for table in self._waiting) >= ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        import pyarrow

        if self._waiting:
            self._parquet.write_table(pyarrow.concat_tables(self._waiting))
            self._waiting.clear()

    def finish(self) -> None:
        self._flush()
        self._parquet.close()

    def abandon(self) -> None:
        # Arrow completes a file when it is forgotten, and complains in the log where that is closed by then.
        with contextlib.suppress(Exception):
            self._parquet.close()
