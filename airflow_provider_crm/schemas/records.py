"""What a record of an export is made of: named, typed columns, and how an answer's rows are read into them.

Knows no CRM and no file format. Rows that fit are decoded some hundreds at a time, without a Python object for a row
but the typed one; where one among them does not fit, they are read once more, row by row.
"""

from __future__ import annotations

import datetime as dt
import keyword
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from operator import attrgetter, itemgetter
from typing import Annotated, Any

import msgspec

from airflow_provider_crm.exceptions import CrmUnreadableAnswerError
from airflow_provider_crm.http.answers import UnreadableError
from airflow_provider_crm.schemas.envelopes import Envelope
from airflow_provider_crm.schemas.mending import TEXTUAL, Aware, Kind, mended, plain_text, plain_texts
from airflow_provider_crm.schemas.slices import find_rows

#: Different unknown fields that are taken up; a CRM with more of them answers something else than records.
MOST_UNKNOWN_FIELDS = 200


_WIRE_TYPES: dict[str, Any] = {
    "text": str | None,
    "boolean": bool | None,
    "integer": Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None,
    "decimal": str | None,
    "moment": Annotated[dt.datetime, msgspec.Meta(tz=True)] | None,
    "local_moment": str | None,
    "date": dt.date | None,
    "texts": list[str] | str | None,
    "named_values": Any,
    "map": dict[str, str | None] | None,
}


# Whatever a row holds, exactly: amounts are texts by then, so that a Decimal can only be a foreign number.
_decode_any = msgspec.json.Decoder(float_hook=Decimal).decode


_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
_first_group: Callable[[Any], bytes] = itemgetter(1)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an export.

    :param name: the vendor's own name of the field, or ours for a column that the CRM says elsewhere.
    :param meaning: for people.
    :param required: whether a record without it is none.
    """

    name: str
    kind: Kind
    meaning: str
    required: bool = False

    @property
    def attribute(self) -> str:
        """Return the name of a record's attribute, which cannot be any text."""
        plain = self.name.isidentifier() and not keyword.iskeyword(self.name)
        return self.name if plain else f"column_{self.name.encode().hex()}"


@dataclass(frozen=True, slots=True)
class Misfit:
    """A row of an answer that is no record.

    :param position: its place among the rows that were read with it, from 0.
    :param key: its own id, where it has one.
    :param reason: without the row's values.
    :param data: the row as the CRM gave it.
    """

    position: int
    key: str | None
    reason: str
    data: Any


@dataclass(slots=True)
class Records:
    """The records of a page, or of a part of it.

    :param values: typed structures, whose fields are the columns and then the unknown fields.
    :param keys: the own id of every row, those included that do not fit.
    """

    values: list[Any]
    keys: list[str]
    unknown: tuple[str, ...] = ()
    misfits: list[Misfit] = field(default_factory=list)


class RecordType:
    """The columns of one resource, and the structure that its rows are decoded into.

    :param name: of the resource, such as ``customers``.
    :param key: the column that is a record's own id.
    """

    def __init__(self, name: str, columns: Sequence[Column], *, key: str) -> None:
        self.name = name
        self.columns = tuple(columns)
        self.key = key
        self.kinds: dict[str, Kind] = {column.name: column.kind for column in columns}

    def structure(
        self, unknown: Sequence[str], about: Mapping[str, Any], loose: Collection[str] = ()
    ) -> type[msgspec.Struct]:
        """Return the structure.

        :param unknown: names of further fields, which are kept as they come.
        :param about: what columns hold where a row says nothing of them.
        :param loose: names of columns that take whatever comes.
        """
        fields: list[tuple[str, Any, Any]] = [
            (
                column.attribute,
                Any if column.name in loose else str if column.required else _WIRE_TYPES[column.kind],
                msgspec.field() if column.required else about.get(column.name),
            )
            for column in self.columns
        ]
        attributes = {f"unknown_{number}": name for number, name in enumerate(unknown)}
        fields += [(attribute, Any, msgspec.UNSET) for attribute in attributes]
        renamed = attributes | {column.attribute: column.name for column in self.columns}
        return msgspec.defstruct(
            self.name, fields, rename=renamed, forbid_unknown_fields=True, kw_only=True, gc=False
        )


def _holds_number(value: Any) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else (value,)
    return any(plain_text(one) is not one for one in inside)


Finish = Callable[[Sequence[Any]], None]


"""Completes decoded rows in place."""


class PageReader(ABC):
    """Turns answers into records, slice by slice. Safe to share between threads.

    :param envelope: where the rows stand in an answer.
    """

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope
        self._decode_around = msgspec.json.Decoder(envelope.around(msgspec.Raw)).decode

    def read(self, body: bytes) -> Iterator[Records] | None:
        """Read an answer, slice by slice.

        :return: at least one slice; None when the answer is of another shape altogether.
        :raises msgspec.DecodeError: while iterating: the list of rows is broken.
        """
        try:
            answer, rows = find_rows(body, self._decode_around, self._envelope.rows_in)
            about = self._envelope.about(answer)
        except (msgspec.MsgspecError, ValueError):
            return None
        return rows.read(lambda some: self._read_list(some, about))

    def slices(self, body: bytes) -> Iterator[Records]:
        """Read an answer as :meth:`read` does.

        :raises UnreadableError: it is of another shape altogether.
        """
        slices = self.read(body)
        if slices is None:
            raise UnreadableError("a list of another shape than documented")
        return slices

    @abstractmethod
    def _read_list(self, rows: bytes, about: Mapping[str, Any]) -> Records:
        """Read a JSON list of rows.

        :raises msgspec.DecodeError: it is no JSON.
        """

    @abstractmethod
    def read_rows(self, rows: Sequence[msgspec.Raw], about: Mapping[str, Any]) -> Records:
        """Read rows one by one, whether they fit or not.

        :param about: what the answer says once for all its rows.
        """


def own_columns(columns: Collection[str], always: Collection[str], *sometimes: str) -> Collection[str]:
    """Return the columns that a CRM alone writes, if a source is an export of it.

    :param columns: the source's.
    :param always: those that each export has: a source with all of them is one.
    :param sometimes: those that an export may have besides.
    """
    return {*always, *sometimes} if set(columns).issuperset(always) else ()


class RecordReader(PageReader):
    """Reads the pages of one list into records.

    :param finish: completes some rows; raises ValueError for a row that is no record.
    :param aware: gives a moment without a zone the vendor's.
    """

    def __init__(self, record_type: RecordType, envelope: Envelope, finish: Finish, aware: Aware) -> None:
        super().__init__(envelope)
        self._type = record_type
        self._finish = finish
        self._aware = aware
        self._key_of = attrgetter(record_type.key)  # a key is always an identifier
        self._lock = threading.Lock()
        self._shape = _Shape(record_type, (), {}, frozenset())

    @property
    def unknown(self) -> tuple[str, ...]:
        """The unknown fields that were met so far."""
        return self._shape.unknown

    def _read_list(self, rows: bytes, about: Mapping[str, Any]) -> Records:
        return self._read_fitting(rows, about) or self.read_rows(_split(rows), about)

    def _read_fitting(self, rows: bytes, about: Mapping[str, Any]) -> Records | None:
        """Read a list of rows that all fit.

        :return: None when they do not.
        """
        shape = self._shape_with(about)
        try:
            values = shape.read(rows)
            self._finish(values)
        except (msgspec.MsgspecError, ValueError):
            return None
        return Records(values, list(map(self._key_of, values)), shape.unknown)

    def read_rows(self, rows: Sequence[msgspec.Raw], about: Mapping[str, Any]) -> Records:
        """Read rows one by one: those that do not fit are mended where that is no guess, and set aside otherwise.

        :param about: what the answer says once for all its rows.
        :raises CrmUnreadableAnswerError: more different fields than records have.
        """
        return self.read_data([_decode_any(row) for row in rows], about)

    def read_data(self, data: Sequence[Any], about: Mapping[str, Any]) -> Records:
        """Read rows that are decoded already, as :meth:`read_rows` does."""
        self._take_up(data)
        shape = self._shape_with(about)
        records = Records([], [], shape.unknown)
        for position, one in enumerate(data):
            key = plain_text(one.get(self._type.key)) if isinstance(one, dict) else None
            try:
                record = shape.convert(one, self._aware)
                self._finish([record])
            except (msgspec.ValidationError, ValueError) as error:
                records.misfits.append(Misfit(position, key, str(error), one))
            else:
                records.values.append(record)
            # A row without an id is told from others by all that it holds.
            records.keys.append(key or repr(one))
        return records

    def _take_up(self, rows: Sequence[Any]) -> None:
        """Learn which fields are not documented, and which texts come as numbers, so that the next pages fit."""
        known = self._type.kinds
        cells = [cell for row in rows if isinstance(row, dict) for cell in row.items()]
        names = dict.fromkeys(name for name, _ in cells if name not in known)
        numbers = {name for name, value in cells if known.get(name) in TEXTUAL and _holds_number(value)}
        with self._lock:
            shape = self._shape
            unknown = tuple(dict.fromkeys((*shape.unknown, *names)))
            if len(unknown) == len(shape.unknown) and numbers <= shape.loose:
                return
            if len(unknown) > MOST_UNKNOWN_FIELDS:
                raise CrmUnreadableAnswerError(
                    f"The CRM answers with more than {MOST_UNKNOWN_FIELDS} fields that are not documented for "
                    f"{self._type.name}: these are no records"
                )
            self._shape = _Shape(self._type, unknown, shape.about, shape.loose | numbers)

    def _shape_with(self, about: Mapping[str, Any]) -> _Shape:
        """Return the structure for rows of which this is said; it is the same for all answers, as a rule."""
        with self._lock:
            if self._shape.about != about:
                self._shape = _Shape(self._type, self._shape.unknown, about, self._shape.loose)
            return self._shape


class _Shape:
    """The structure as far as it is known, and what decodes into it.

    :param loose: columns of texts that come as numbers.
    """

    def __init__(
        self,
        record_type: RecordType,
        unknown: tuple[str, ...],
        about: Mapping[str, Any],
        loose: frozenset[str],
    ) -> None:
        self.unknown = unknown
        self.about = about
        self.loose = loose
        self._kinds = record_type.kinds
        self._loose = [
            (column.attribute, column.kind, str if column.required else _WIRE_TYPES[column.kind])
            for column in record_type.columns
            if column.name in loose
        ]
        self._structure: Any = record_type.structure(unknown, about)
        read_as: Any = record_type.structure(unknown, about, loose) if loose else self._structure
        self._decode = msgspec.json.Decoder(list[read_as], strict=False, float_hook=Decimal).decode

    def read(self, rows: bytes) -> list[Any]:
        """Read a JSON list of rows that all fit.

        :raises msgspec.ValidationError: one does not.
        """
        values = self._decode(rows)
        for attribute, kind, wanted in self._loose:
            for record in values:
                value = getattr(record, attribute)
                if value.__class__ is not str:
                    setattr(record, attribute, msgspec.convert(plain_texts(kind, value), wanted))
        return values

    def convert(self, row: Any, aware: Aware) -> Any:
        """Turn a decoded row into the structure.

        :raises ValueError: it cannot be without guessing.
        """
        if not isinstance(row, dict):
            raise ValueError("something else than a record")
        plain = {
            name: mended(self._kinds[name], value, aware) if name in self._kinds else value
            for name, value in row.items()
        }
        return msgspec.convert(plain, self._structure, strict=False)


class RawReader(PageReader):
    """Reads the pages of one list as they are: only the rows' own ids are looked at.

    :param key: the field that is a row's own id.
    """

    def __init__(self, key: str, envelope: Envelope) -> None:
        super().__init__(envelope)
        only_key: Any = msgspec.defstruct(
            "Row", [("key", str | int | None, None)], rename={"key": key}, gc=False
        )
        self._decode_key = msgspec.json.Decoder(only_key).decode
        # Ids are numbers in quotes near the beginning, behind plain values only: reading them there takes half of
        # decoding a row.
        plain = r'"[^"\\]*": ?(?:"[^"\\]*"|[\w.+-]+), ?'
        self._match_key = re.compile(rf'\{{(?:{plain}){{,3}}?"{re.escape(key)}": ?"(\d+)"'.encode()).match

    def _read_list(self, rows: bytes, about: Mapping[str, Any]) -> Records:
        rows.decode()  # a text that is not decoded is not checked
        if b"\n" in rows or b"\r" in rows:
            rows = msgspec.json.format(rows, indent=-1)  # or one row would be several lines
        return self._read_lines(_split(rows))

    def read_rows(self, rows: Sequence[msgspec.Raw], about: Mapping[str, Any]) -> Records:
        """Return rows as they are."""
        return self._read_lines([msgspec.Raw(msgspec.json.format(bytes(row), indent=-1)) for row in rows])

    def _read_lines(self, lines: list[msgspec.Raw]) -> Records:
        try:
            # All at once, which takes two thirds of what one after the other does.
            keys = b"\n".join(map(_first_group, map(self._match_key, lines))).decode().splitlines()
        except TypeError:  # there is one that is not found so
            keys = [
                found[1].decode() if (found := self._match_key(line)) else self._key(line) for line in lines
            ]
        return Records(lines, keys)

    def _key(self, line: msgspec.Raw) -> str:
        try:
            key = self._decode_key(line).key
        except msgspec.ValidationError:
            key = None
        # A row without an id is told from others by all that it holds.
        return bytes(line).decode() if key is None else str(key)
