"""Which column of a source goes into which field of the CRM. Knows no CRM: it is handed the way to find a field."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import Any, Generic, TypeVar

from airflow_provider_crm import parameters
from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows.row import Row, by_column, list_names, show_name
from airflow_provider_crm.rows.sources import Source
from airflow_provider_crm.values import is_empty

F = TypeVar("F")

#: In place of the value of a column that a row does not have.
ABSENT: tuple[()] = ()


class FieldMapping(Generic[F]):
    """Column by column, what of a row is sent.

    :param find: finds the CRM's field by the name that a user writes; None when there is none.
    :param field_map: column to field name; None when the columns already are the CRM's field names.
    :param nulls: ``skip`` leaves an empty value out of the call, ``send`` sends it as null.
    :param known: gives the field names to choose from, for an error.
    :param passed_over: gives, of a source with these columns, those that are no fields and no fault: the CRM's own,
        of a source that is its export.
    :raises CrmInputError: the map names an unknown field, or one field twice.
    """

    def __init__(
        self,
        find: Callable[[str | int], F | None],
        field_map: Mapping[str, str | int] | None,
        *,
        nulls: str = "skip",
        known: Callable[[], Collection[str]] = tuple,
        passed_over: Callable[[Collection[str]], Collection[str]] = lambda columns: (),
    ) -> None:
        if field_map is not None:
            field_map = parameters.field_map("field_map", field_map)
        self._find = find
        self._known = known
        self._find_passed_over = passed_over
        self._no_fields: Collection[str] = ()
        self._passed_over: tuple[str, ...] = ()
        self._explicit = field_map is not None
        #: Whether an empty value is sent.
        self.send_nulls = nulls == "send"
        self._take({column: self._field(name) for column, name in (field_map or {}).items()})

    def check(self, source: Source, key: F | None) -> str:
        """Check a source's columns before anything is sent.

        :param key: the field by which a row is found in the CRM.
        :return: the column that holds the key.
        :raises CrmInputError: a mapped column is missing, a column is no field, or none holds the key.
        """
        if self._explicit:
            columns, _ = self._columns
            keys = [column for column, field in columns.items() if field == key]
            source.require(keys, [column for column in columns if column not in keys])
        else:
            present = source.columns() or ()
            self._no_fields = self._find_passed_over(present)
            self._passed_over = tuple(column for column in present if column in self._no_fields)
            columns = {column: self._field(column) for column in present if column not in self._no_fields}
            self._take(columns)
        for column, field in columns.items():
            if field == key:
                return column
        if not self._explicit and not source.columns():
            return ""  # no rows at all
        raise CrmInputError(
            f"No column holds the match key {getattr(key, 'name', key)!r}; "
            f"the source has {list_names(source.columns() or ())}"
        )

    def values(self, data: Mapping[str, Any]) -> tuple[Mapping[str, F], Sequence[Any]]:
        """Return the columns with their fields, and a row's values in their order.

        :return: the columns, the same map until a row has others; a value is :data:`ABSENT` where the row has none.
        :raises ValueError: a column that is no field, in a row that has other columns than those checked.
        """
        columns, values_of = self._columns
        passed_over = len(self._passed_over)
        if self._explicit or len(data) == len(columns) + passed_over:
            try:
                values = values_of(data)
            except KeyError:
                pass
            else:
                return columns, values[:-passed_over] if passed_over else values
        if not self._explicit:
            for column, value in data.items():
                if (
                    column not in columns
                    and column not in self._no_fields
                    and (self.send_nulls or not is_empty(value))
                ):
                    self._late(column)
            columns, _ = self._columns
        return columns, [data.get(column, ABSENT) for column in columns]

    def columns(self, rows: Sequence[Row]) -> tuple[Mapping[str, F], list[Sequence[Any]]] | None:
        """Return the columns with their fields as :meth:`values` does, and the values of many rows by column.

        :return: None where one of the rows has other columns than those checked.
        """
        columns, values_of = self._columns
        passed_over = len(self._passed_over)
        together = by_column(rows)
        each = [row.data for row in rows] if together is None else [together]
        if not self._explicit and {*map(len, each)} != {len(columns) + passed_over}:
            return None
        try:
            values: list[Any] = [values_of(data) for data in each]
        except KeyError:
            return None
        found = list(zip(*values, strict=True)) if together is None else list(values[0])
        return columns, found[:-passed_over] if passed_over else found

    def fields(self, data: Mapping[str, Any]) -> list[tuple[F, Any]]:
        """Return a row's values by field, None for an empty one that is to be sent.

        :raises ValueError: as :meth:`values` does.
        """
        columns, values = self.values(data)
        fields = columns.values()
        if self.send_nulls:
            return [
                (field, None if is_empty(value) else value)
                for field, value in zip(fields, values, strict=True)
                if value is not ABSENT
            ]
        return [(field, value) for field, value in zip(fields, values, strict=True) if not is_empty(value)]

    def readable(self, data: Mapping[str, Any]) -> Iterator[tuple[F, Any]]:
        """Return a row's values by field as :meth:`fields` does, without the columns that are none."""
        for column in data:
            with suppress(ValueError):
                yield from self.fields({column: data[column]})

    def _late(self, column: str) -> None:
        """Find the field of a column that the rows looked at before did not have."""
        try:
            field = self._field(column)
        except CrmInputError as error:
            raise ValueError(str(error)) from None
        # Another thread may just have found the same column, or be reading a row.
        columns, _ = self._columns
        if any(other != column and known == field for other, known in columns.items()):
            raise ValueError(
                f"column {show_name(column)!r} goes into a field that another column already fills"
            )
        self._take({**columns, column: field})

    def _field(self, name: str | int) -> F:
        field = self._find(name)
        if field is not None:
            return field
        known = sorted(self._known())
        hint = f"; known are {', '.join(known[:60])}" if known else ""
        raise CrmInputError(f"{show_name(name)!r} is no field of the CRM{hint}")

    def _take(self, columns: Mapping[str, F]) -> None:
        seen: list[F] = []
        for column, field in columns.items():
            if field in seen:
                raise CrmInputError(
                    f"Column {show_name(column)!r} goes into a field that another column already fills"
                )
            seen.append(field)
        self._columns = columns, _values_of((*columns, *self._passed_over))


def _values_of(columns: Sequence[str]) -> Callable[[Mapping[str, Any]], Sequence[Any]]:
    """Return what takes the values of these columns out of a row; raises KeyError where one is absent."""
    if len(columns) < 2:
        return lambda data: [data[column] for column in columns]
    return itemgetter(*columns)
