"""The Airflow task that exports known subscribers of Mindbaz."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal, Unpack

from airflow_provider_crm.bulk.export import ExportPage
from airflow_provider_crm.hooks.mindbaz.fields import read_fields
from airflow_provider_crm.hooks.mindbaz.hook import By, MindbazHook
from airflow_provider_crm.hooks.mindbaz.lookups import look_up_surely
from airflow_provider_crm.operators.base.people import (
    CrmPeopleExportOperator,
    PeopleExportArguments,
    no_such_field,
)
from airflow_provider_crm.parameters import ConnId, one_of
from airflow_provider_crm.rows.blocks import Column
from airflow_provider_crm.schemas.mindbaz.exports import subscriber_reader, subscriber_row, subscriber_type
from airflow_provider_crm.schemas.mindbaz.write import CLIENT_ID, EMAIL, SYSTEM_FIELDS, FieldType
from airflow_provider_crm.schemas.records import Records

_BY: dict[str, tuple[By, int]] = {"email": ("Email", EMAIL), "client_id": ("IdClient", CLIENT_ID)}


class MindbazExportSubscribersOperator(CrmPeopleExportOperator):
    """Export the state of subscribers whose e-mails or client ids are known: Mindbaz has no list of all.

    .. seealso:: The vendor's page "Gestion des abonnés" at learn.mindbaz.com.

    :param mindbaz_conn_id: the connection. (templated)
    :param by: ``email`` or ``client_id``. (templated)
    :param fields: ids or names of the fields to export; the key's field is always among them. The documented system
        fields when None. (templated)

    See :class:`~airflow_provider_crm.operators.base.people.CrmPeopleExportOperator` for the other parameters.
    """

    template_fields: Sequence[str] = (
        *CrmPeopleExportOperator.template_fields,
        "by",
        "mindbaz_conn_id",
        "fields",
    )
    hook_class = MindbazHook
    resource = "subscribers"
    group_size = 5000

    def __init__(
        self,
        *,
        by: Annotated[Literal["email", "client_id"] | str, one_of(*_BY)] = "email",
        mindbaz_conn_id: ConnId = MindbazHook.default_conn_name,
        fields: Sequence[int | str] | None = None,
        **kwargs: Unpack[PeopleExportArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.by = by
        self.mindbaz_conn_id = mindbaz_conn_id
        self.fields = fields

    def _metadata(self) -> dict[str, str]:
        return {"crm.system": "mindbaz", "crm.resource": "subscribers"}

    def _columns(self, hook: MindbazHook) -> Sequence[Column]:
        self._record_type, self._names = subscriber_type(self._chosen(hook))
        return self._record_type.columns

    def _chosen(self, hook: MindbazHook) -> list[FieldType]:
        wanted: Sequence[int | str] = list(SYSTEM_FIELDS) if self.fields is None else self.fields
        fields = read_fields(hook, names_needed=not all(str(name).isdecimal() for name in wanted))
        chosen: dict[int, FieldType] = {}
        for name in [_BY[self.by][1], *wanted]:
            field = fields.find(name)
            if field is None:
                raise no_such_field(name, fields.names())
            chosen[field.id] = field
        return list(chosen.values())

    def _problem(self, key: str) -> str:
        if "," in key:
            return f"the column {self.by!r} holds a comma, which separates the values of a look-up"
        return super()._problem(key)

    def _pages(
        self, hook: MindbazHook, ahead: int, prepare: Callable[[Records], ExportPage]
    ) -> Iterable[ExportPage]:
        match_by, _ = _BY[self.by]

        def groups() -> Iterator[Any]:
            # One group at a time: its look-ups are side by side already.
            for group in self._groups():
                keys = [key for key, reject in group if reject is None]
                found = look_up_surely(hook, keys, match_by=match_by, field_ids=list(self._names))
                yield (
                    group,
                    {
                        self._normal(key): [subscriber_row(one, self._names) for one in subscribers]
                        for key, subscribers in found.items()
                    },
                )

        return self._looked_up(groups(), subscriber_reader(self._record_type), prepare)
