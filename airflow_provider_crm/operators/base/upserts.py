"""What operators that create and update people share: the match key, the mode, and which column is which field."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Protocol, Unpack

from airflow_provider_crm.bulk.suppression import Suppressible
from airflow_provider_crm.bulk.upserts import MODES
from airflow_provider_crm.operators.base.writes import CrmMappedOperator, MappedArguments
from airflow_provider_crm.parameters import Text, one_of
from airflow_provider_crm.rows.mapping import FieldMapping
from airflow_provider_crm.rows.sources import Source

UpsertMode = Annotated[Literal["upsert", "create", "update"] | str, one_of(*MODES)]


class WritableFields(Protocol):
    """The fields of a CRM that a column can go into."""

    def find(self, name: str | int) -> Any:
        """Find a field by the name that a user writes; None when there is none."""

    def names(self) -> Collection[str]:
        """Return the names to choose from, for an error message."""


class CrmUpsertOperator(CrmMappedOperator):
    """A mapped operator that creates and updates people, whom it finds by a match key.

    A subclass gives ``match_by`` and ``mode`` the values and defaults of its CRM, and passes them on.
    """

    template_fields: Sequence[str] = (*CrmMappedOperator.template_fields, "match_by", "mode")
    #: The name of the field that each value of ``match_by`` looks at.
    key_fields: ClassVar[Mapping[str, str | int]]

    def __init__(self, *, match_by: Text, mode: Text, **kwargs: Unpack[MappedArguments]) -> None:
        super().__init__(**kwargs)
        self.match_by = match_by
        self.mode = mode

    # What a subclass adds

    def _fields(self, hook: Any, names: Iterable[str | int]) -> WritableFields:
        """Return the fields of the CRM.

        :param names: those that the task writes, as far as they are known before the first row.
        """
        raise NotImplementedError

    def _upserts(self, hook: Any, mapping: FieldMapping[Any], key_column: str) -> Suppressible[Any]:
        """Make the destination.

        :param key_column: the column that holds the match key.
        """
        raise NotImplementedError

    def _destination(self, hook: Any, source: Source) -> Suppressible[Any]:
        names = self.field_map.values() if isinstance(self.field_map, Mapping) else source.columns() or ()
        fields = self._fields(hook, names)
        mapping = FieldMapping(fields.find, self.field_map, nulls=self.nulls, known=fields.names)
        key_column = mapping.check(source, fields.find(self.key_fields[self.match_by]))
        return self._upserts(hook, mapping, key_column)
