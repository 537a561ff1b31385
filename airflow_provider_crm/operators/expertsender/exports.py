"""The Airflow task that exports known customers of ExpertSender CDP."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal, Unpack, get_args

from airflow_provider_crm.bulk.export import ExportPage, Reject
from airflow_provider_crm.exceptions import CrmInputError, CrmRequestError
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.hooks.expertsender.consents import read_consents
from airflow_provider_crm.http.lists import in_order
from airflow_provider_crm.operators.base.people import CrmPeopleExportOperator, PeopleExportArguments
from airflow_provider_crm.parameters import ConnId, YesOrNo, one_of
from airflow_provider_crm.rows.blocks import Column
from airflow_provider_crm.schemas.expertsender.exports import customer_reader, customer_row, customer_type
from airflow_provider_crm.schemas.records import Records

Key = Literal["email", "phone", "crmId", "id"]


class ExpertSenderExportCustomersOperator(CrmPeopleExportOperator):
    """Export customers whose e-mails or ids are known, by one call each, side by side.

    .. seealso:: The vendor's page "Klienci - metody API" at help.expertsender.com.

    :param expertsender_conn_id: the connection. (templated)
    :param by: ``email``, ``phone``, ``crmId`` (yours) or ``id`` (ExpertSender's). (templated)
    :param flatten_consents: a column ``consent_<id>`` for each of the account's consents, in place of one map.
        (templated)

    See :class:`~airflow_provider_crm.operators.base.people.CrmPeopleExportOperator` for the other parameters.
    """

    template_fields: Sequence[str] = (
        *CrmPeopleExportOperator.template_fields,
        "by",
        "expertsender_conn_id",
        "flatten_consents",
    )
    hook_class = ExpertSenderHook
    resource = "customers"
    group_size = 500

    def __init__(
        self,
        *,
        by: Annotated[Key | str, one_of(*get_args(Key))] = "email",
        expertsender_conn_id: ConnId = ExpertSenderHook.default_conn_name,
        flatten_consents: YesOrNo = False,
        **kwargs: Unpack[PeopleExportArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.by = by
        self.expertsender_conn_id = expertsender_conn_id
        self.flatten_consents: Any = flatten_consents

    def _metadata(self) -> dict[str, str]:
        return {"crm.system": "expertsender", "crm.resource": "customers"}

    def _columns(self, hook: ExpertSenderHook) -> Sequence[Column]:
        consents = read_consents(hook, needed=self.flatten_consents)
        self._record_type = customer_type(self.by, consents if self.flatten_consents else None)
        return self._record_type.columns

    def _normal(self, key: str) -> str:
        return "".join(key.split()) if self.by == "phone" else super()._normal(key)

    def _pages(
        self, hook: ExpertSenderHook, ahead: int, prepare: Callable[[Records], ExportPage]
    ) -> Iterable[ExportPage]:
        def look_up(asked: tuple[str, Reject | None]) -> tuple[str, Reject | None, dict[str, Any] | None]:
            key, reject = asked
            customer: dict[str, Any] | None = None
            if reject is None:
                try:
                    customer = hook.get_customer(key, by=self.by)  # type: ignore[arg-type]
                except (CrmInputError, CrmRequestError) as error:  # one key that cannot be asked for
                    reason = error.reason if isinstance(error, CrmRequestError) else str(error)
                    reject = Reject(0, key, reason, {self.by: key})
            return key, reject, customer

        def groups() -> Iterator[Any]:
            group, found = [], {}
            for key, reject, customer in in_order(hook.in_background, look_up, self._each_key(), ahead=ahead):
                group.append((key, reject))
                if customer is not None:
                    row = customer_row(customer, flat=self.flatten_consents)
                    found[self._normal(key)] = [{"id": key, **row} if self.by == "id" else row]
                if len(group) == self.group_size:
                    yield group, found
                    group, found = [], {}
            if group:
                yield group, found

        return self._looked_up(groups(), customer_reader(self._record_type), prepare)
