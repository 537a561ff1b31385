"""Which column of a source goes into which field of the CRM. Knows no CRM: it is handed the way to find a field."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any, Generic, TypeVar

from airflow_provider_crm import parameters
from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows.row import list_names, show_name
from airflow_provider_crm.rows.sources import Source
from airflow_provider_crm.values import is_empty

F = TypeVar("F")


class FieldMapping(Generic[F]):
    """Column by column, what of a row is sent.

    :param find: finds the CRM's field by the name that a user writes; None when there is none.
    :param field_map: column to field name; None when the columns already are the CRM's field names.
    :param nulls: ``skip`` leaves an empty value out of the call, ``send`` sends it as null.
    :param known: gives the field names to choose from, for an error.
    :raises CrmInputError: the map names an unknown field, or one field twice.
    """

    def __init__(
        self,
        find: Callable[[str | int], F | None],
        field_map: Mapping[str, str | int] | None,
        *,
        nulls: str = "skip",
        known: Callable[[], Collection[str]] = tuple,
    ) -> None:
        if field_map is not None:
            field_map = parameters.field_map("field_map", field_map)
        self._find = find
        self._known = known
        self._columns: dict[str, F] = {}
        self._explicit = field_map is not None
        #: Whether an empty value is sent.
        self.send_nulls = nulls == "send"
        for column, name in (field_map or {}).items():
            self._columns[column] = self._field(name)
        self._refuse_twice()

    def check(self, source: Source, key: F | None) -> str:
        """Check a source's columns before anything is sent.

        :param key: the field by which a row is found in the CRM.
        :return: the column that holds the key.
        :raises CrmInputError: a mapped column is missing, a column is no field, or none holds the key.
        """
        if self._explicit:
            keys = [column for column, field in self._columns.items() if field == key]
            source.require(keys, [column for column in self._columns if column not in keys])
        else:
            for column in source.columns() or ():
                self._columns[column] = self._field(column)
            self._refuse_twice()
        for column, field in self._columns.items():
            if field == key:
                return column
        if not self._explicit and not source.columns():
            return ""  # no rows at all
        raise CrmInputError(
            f"No column holds the match key {getattr(key, 'name', key)!r}; "
            f"the source has {list_names(source.columns() or ())}"
        )

    def fields(self, data: Mapping[str, Any]) -> list[tuple[F, Any]]:
        """Return a row's values by field, None for an empty one that is to be sent.

        :raises ValueError: a column that is no field, in a row that has other columns than those checked.
        """
        if not self._explicit and not data.keys() <= self._columns.keys():
            for column, value in data.items():
                if column not in self._columns and (self.send_nulls or not is_empty(value)):
                    self._late(column)
        columns = self._columns
        if self.send_nulls:
            return [
                (field, None if is_empty(data[column]) else data[column])
                for column, field in columns.items()
                if column in data
            ]
        return [
            (field, value) for column, field in columns.items() if not is_empty(value := data.get(column))
        ]

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
        if any(other != column and known == field for other, known in self._columns.items()):
            raise ValueError(
                f"column {show_name(column)!r} goes into a field that another column already fills"
            )
        self._columns = {**self._columns, column: field}

    def _field(self, name: str | int) -> F:
        field = self._find(name)
        if field is not None:
            return field
        known = sorted(self._known())
        hint = f"; known are {', '.join(known[:60])}" if known else ""
        raise CrmInputError(f"{show_name(name)!r} is no field of the CRM{hint}")

    def _refuse_twice(self) -> None:
        seen: list[F] = []
        for column, field in self._columns.items():
            if field in seen:
                raise CrmInputError(
                    f"Column {show_name(column)!r} goes into a field that another column already fills"
                )
            seen.append(field)
