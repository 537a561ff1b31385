"""How rows enter a task: a list, files or a SQL query becomes one stream of numbered rows.

Knows no CRM, and not what the columns mean. Memory does not grow with the rows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable
from urllib.parse import unquote

from airflow_provider_crm._compat import ObjectStoragePath
from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.parameters import name_in_folder, text, whole
from airflow_provider_crm.rows.file_source import PLAIN_TEXT, FileSource, TextFormat
from airflow_provider_crm.rows.files import Location, locate
from airflow_provider_crm.rows.formats import FORMATS, NO_PARTITION, Partition, RowFile, format_of
from airflow_provider_crm.rows.row import (
    MAX_UNPARSED,
    Block,
    Part,
    Row,
    UnreadableRow,
    each_row,
    require_columns,
    warn_of_absent,
)
from airflow_provider_crm.rows.shards import Shards, by_person, one_by_one
from airflow_provider_crm.rows.sql import QuerySource, SqlSource
from airflow_provider_crm.rows.templates import Rows

__all__ = [
    "FileRows",
    "FileSource",
    "Row",
    "Source",
    "SqlSource",
    "UnreadableRow",
    "open_source",
    "split_source",
]

_SUFFIXES = " ".join(FORMATS)
_PATTERN_SIGNS = re.compile(r"[*?\[]")


@runtime_checkable
class Source(Protocol):
    """Numbered rows from somewhere, that can be read again and again.

    :ivar may_change: whether a second reading may give other rows, since somebody is asked for them anew.
    """

    may_change: bool

    @property
    def description(self) -> str:
        """What this is, for a log, such as ``2 CSV files``; holds no one's data."""

    def columns(self) -> list[str] | None:
        """Return the names of the columns as far as they are known: the header, the schema, the query's names, or the
        keys of all rows of a list and of the first 1,000 rows of a JSON-lines file.

        :return: the names in order, or None when nothing tells them.
        :raises CrmInputError: the source cannot be read, or its column names are ambiguous.
        """

    def require(self, columns: Collection[str], optional: Collection[str] = ()) -> None:
        """Check that the source has these columns, before anything is written.

        Every CSV and Parquet file must have them all; for JSON lines and lists, where rows may differ, it is enough
        that one row of :meth:`columns` has each. Where there are no rows there is nothing to check.

        :param optional: columns that may be absent where rows name their own: of a column that is empty that day
            a warehouse writes nothing into JSON. They are as necessary as the others where there is a header.
        :raises CrmInputError: names the missing columns, and those that there are.
        """

    def __iter__(self) -> Iterator[Row | UnreadableRow]:
        """Read from the first row, anew with each call.

        :raises CrmInputError: a file is gone, cut short or damaged as a whole.
        """

    def fraction_read(self) -> float | None:
        """Return how far the latest iteration is, from 0 to 1, or None when nobody knows."""


def open_source(source: Any) -> Source:
    """Open what a task was given as its rows.

    :param source: one of

        - a list of dicts, or another sequence of them, such as Airflow's lazy XComs;
        - a path or URI of a file ``.csv``, ``.jsonl``, ``.parquet``, ``.csv.gz`` or ``.jsonl.gz``; a folder or a
          pattern with ``*``, ``?`` or ``[`` stands for all such files in it, in the order of their paths (hidden
          files, whose names begin with a dot, are left out); folders such as ``dt=2026-01-01`` in it, as Hive and
          Spark write them, are read with their keys as columns of text;
        - a :class:`FileSource` or a :class:`SqlSource`;
        - an open source, which is given back.

    :return: the source. Files are found at once, and opened when they are read.
    :raises CrmInputError: it is none of these, or there is no such file; says what to change.
    """
    if isinstance(source, Rows):
        source = source.items
    if isinstance(source, SqlSource):
        return QuerySource(source)
    if isinstance(source, (str, os.PathLike, ObjectStoragePath)):
        source = FileSource(source)
    if isinstance(source, FileSource):
        return FileRows(find_files(source.path, source.text_format()))
    if isinstance(source, Source):
        return source
    if isinstance(source, Sequence) and not isinstance(source, (bytes, bytearray)):
        return ListSource(source)
    hint = ""
    if type(source).__module__.partition(".")[0] in ("numpy", "pandas", "polars", "pyarrow"):
        hint = " A data frame gives such a list: pandas .to_dict('records'), polars .to_dicts(), Arrow .to_pylist()."
    raise CrmInputError(
        f"A source cannot be a {type(source).__name__}: "
        f"give a list of dicts, a path, a FileSource or a SqlSource.{hint}"
    )


class ListSource:
    """The dicts of a list or another sequence."""

    may_change = False

    def __init__(self, items: Sequence[Any]) -> None:
        self._items = items
        self._columns: list[str] | None = None
        self._position = 0

    @property
    def description(self) -> str:
        count = len(self._items)
        return f"a list of {count:,} {'row' if count == 1 else 'rows'}"

    def columns(self) -> list[str] | None:
        if self._columns is None:
            rows = (row for row in self if isinstance(row, Row))
            self._columns = list(dict.fromkeys(key for row in rows for key in row.data))
        return self._columns or None

    def require(self, columns: Collection[str], optional: Collection[str] = ()) -> None:
        present = self.columns()
        if present is not None:
            require_columns(columns, present, "the list")
            warn_of_absent(optional, present, "the list")

    def __iter__(self) -> Iterator[Row | UnreadableRow]:
        for number, item in enumerate(self._items, start=1):
            self._position = number
            if isinstance(item, Mapping) and all(isinstance(key, str) for key in item):
                yield Row(number, dict(item))
            else:
                reason = f"a row must be a dict with texts as keys, this is a {type(item).__name__}"
                yield UnreadableRow(number, reason, {"unparsed": repr(item)[:MAX_UNPARSED]})

    def fraction_read(self) -> float:
        return self._position / max(1, len(self._items))


class FileRows:
    """The rows of one or more files, one file after the other."""

    may_change = False

    def __init__(self, files: Sequence[RowFile]) -> None:
        self.files = files
        self._reading: RowFile | None = None
        self._bytes_before = 0

    @property
    def description(self) -> str:
        formats = sorted({file.format_name for file in self.files})
        files = "file" if len(self.files) == 1 else "files"
        listed = " and ".join([", ".join(formats[:-1]), formats[-1]] if formats[1:] else formats)
        return f"{len(self.files):,} {listed} {files}"

    def columns(self) -> list[str] | None:
        return list(dict.fromkeys(name for file in self.files for name in file.columns())) or None

    def require(self, columns: Collection[str], optional: Collection[str] = ()) -> None:
        for file in self.files:
            if file.has_header:
                require_columns([*columns, *optional], file.columns(), file.location.name)
        sampled = [file for file in self.files if not file.has_header]
        seen = dict.fromkeys(name for file in sampled for name in file.columns())
        if seen:
            where = f"the {len(sampled)} JSONL files" if len(sampled) > 1 else sampled[0].location.name
            require_columns(columns, seen, where)
            warn_of_absent(optional, seen, where)

    def __iter__(self) -> Iterator[Row | UnreadableRow]:
        return each_row(self.parts())

    def parts(self) -> Iterator[Part]:
        """Read as :meth:`__iter__` does, many rows at once where the files are read so."""
        number = 0
        self._bytes_before = 0
        for file in self.files:
            self._reading = file
            for part in file.parts(number + 1):
                number = part.numbers[-1] if isinstance(part, Block) else part.number
                yield part
            self._reading = None
            self._bytes_before += file.size

    def fraction_read(self) -> float:
        reading = self._reading.fraction_read() * self._reading.size if self._reading else 0.0
        return (self._bytes_before + reading) / max(1, sum(file.size for file in self.files))


def find_files(
    path: str | os.PathLike[str] | ObjectStoragePath, text_format: TextFormat = PLAIN_TEXT
) -> list[RowFile]:
    """Find the files that a path, a pattern or a folder stands for.

    :return: their readers, in the order of their paths.
    :raises CrmInputError: there are none, or the file's suffix is not known.
    """
    text = str(path)
    _check_path(text)
    location = locate(path)
    try:
        if location.is_file():
            return [_reader(location, text_format)]
        found = sorted(_members(location, text), key=str)
        files = [file for file in found if not file.name.startswith(".") and format_of(file.name)]
        if files:
            return [_reader(file, text_format) for file in files]
        if partitions := _partitions(location, text_format):
            return partitions
        below = next((file for file in location.child("**").matches() if format_of(file.name)), None)
    except PermissionError as error:
        raise CrmInputError(f"This worker is not allowed to look at {text}.") from error
    suffix = below and next(suffix for suffix in FORMATS if below.name.lower().endswith(suffix))
    hint = f" There are some in subfolders: {text.rstrip('/')}/**/*{suffix} reads them." if suffix else ""
    raise CrmInputError(f"{text} has no file whose name ends in one of {_SUFFIXES}.{hint}")


def _partitions(folder: Location, text_format: TextFormat) -> list[RowFile]:
    """Find the files in folders such as ``dt=2026-01-01``, as Hive and Spark write them."""
    depth = len(_segments(folder))
    files: list[RowFile] = []
    for file in sorted(folder.child("*=*").child("**").matches(), key=str):
        keys = [part.partition("=") for part in _segments(file)[depth:-1]]
        if all(equals and not name.startswith(("_", ".")) for name, equals, _ in keys) and format_of(
            file.name
        ):
            values = {name: None if text == NO_PARTITION else unquote(text) for name, _, text in keys}
            files.append(Partition(_reader(file, text_format), values))
    return files


def _segments(location: Location) -> list[str]:
    """Return the parts of a path, which stores write with more or fewer slashes in front."""
    text = str(location)
    return (text.partition("://")[2] or text).strip("/").split("/")


def _reader(location: Location, text_format: TextFormat) -> RowFile:
    reader = format_of(location.name)
    if reader is None:
        raise CrmInputError(
            f"{location.name} is of no known format: its name must end in one of {_SUFFIXES}."
        )
    return reader(location, text_format)


def _members(location: Location, text: str) -> list[Location]:
    if location.is_folder():
        return location.files()
    if _PATTERN_SIGNS.search(text):
        return location.matches()
    raise CrmInputError(
        f"There is no file or folder {text}. Check the path, and that this worker can reach it."
    )


def _check_path(text: str) -> None:
    if not text.strip():
        raise CrmInputError("The source is an empty text: it must be the path of a file.")
    if text.lstrip().startswith(("[{", "[]", "{'", '{"')):
        raise CrmInputError(
            "The source is the text of a list, not a list: hand over the task's output itself (source=task.output), "
            "or set render_template_as_native_obj=True on the DAG."
        )


def split_source(
    source: Any, rows_per_shard: int, folder: str, prefix: str = "shard", key: str | None = None
) -> list[str]:
    """Cut a large source into JSON-lines files, one per mapped task.

    The shards are ``{prefix}-000000.jsonl`` and so on. A later call with the same folder and prefix overwrites them,
    and removes those that it does not need. An empty source gives one empty shard, so that a mapped task runs and
    reports (or refuses) its zero rows. An unreadable row becomes a line of a rejects file, and is as unreadable in
    its shard. Rows count anew in each shard. JSON has no decimals or dates: they become text.

    Mapped tasks do not know each other's rows. Name the column that says whom a row is about as ``key``: all rows
    of a person then go into one shard, in their order. Only so the last row wins, and an opt-out over every other
    row of the person. Without ``key`` the shards hold the rows in the order of the source.

    :param source: as for :func:`open_source`; not the folder that the shards go to.
    :param rows_per_shard: at most so many rows go into a shard; only one person's rows are never cut apart. Airflow
        maps over at most ``[core] max_map_length`` shards (1,024 unless configured).
    :param folder: a path or URI; created when absent.
    :param key: the column that holds the task's match key, such as ``email``. The rows are sorted on this worker's
        disk, which takes about twice their size for the time being.
    :return: the paths of the shards, in order, for ``expand(source=...)``.
    :raises CrmInputError: the source or a parameter cannot be used.
    :raises CrmFileError: a disk is full, or the store is away.
    """
    rows_per_shard = whole(1)("rows_per_shard", rows_per_shard)
    prefix = name_in_folder("prefix", prefix)
    opened = open_source(source)
    if key is not None:
        opened.require([text("key", key)])
    shards = Shards(locate(folder), prefix, rows_per_shard)
    for file in opened.files if isinstance(opened, FileRows) else ():
        if shards.is_one(file.location):
            raise CrmInputError(
                f"{file.location.name} is a shard in the very folder to split into: choose another folder."
            )
    groups = one_by_one(opened) if key is None else by_person(opened, key)
    return [str(shard) for shard in shards.write(groups)]
