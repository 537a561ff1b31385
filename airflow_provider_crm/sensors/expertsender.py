"""Airflow sensor for ExpertSender CDP: parameters and templating; what it asks is in the triggers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Unpack, cast, get_args

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.links import ExpertSenderLink
from airflow_provider_crm.parameters import ConnId, Id, one_of
from airflow_provider_crm.schemas.expertsender.cells import AWAITING_CONFIRMATION, GRANTED, REFUSED
from airflow_provider_crm.schemas.expertsender.write import By
from airflow_provider_crm.sensors.base import CrmSensor, SensorArguments
from airflow_provider_crm.triggers.expertsender import CustomerQuestion

ConsentValue = Annotated[str | bool, one_of(GRANTED, REFUSED, AWAITING_CONFIRMATION)]


class ExpertSenderCustomerSensor(CrmSensor):
    """Wait until there is a customer, or until a customer has answered a consent.

    Returns ``{"by"}``, and ``{"consent_id", "consent_value"}`` where it waits for a consent. The CRM does not show its
    own id of a customer.

    .. seealso:: The vendor's page "Klienci - metody API" at help.expertsender.com.

    :param value: what identifies the customer. (templated)
    :param by: what the value is: ``email``, ``id`` (the CRM's own), ``phone`` or ``crmId`` (yours). (templated)
    :param consent_id: the consent, by its id in the account. (templated)
    :param consent_value: the answer to wait for: ``True``, ``False`` or ``AwaitingConfirmation``; None waits for any of
        them. (templated)
    :param expertsender_conn_id: the connection. (templated)

    See :class:`~airflow_provider_crm.sensors.base.CrmSensor` for the other parameters.
    """

    template_fields: Sequence[str] = ("expertsender_conn_id", "value", "by", "consent_id", "consent_value")
    operator_extra_links = (ExpertSenderLink(),)

    def __init__(
        self,
        *,
        value: Id,
        by: Annotated[By | str, one_of(*get_args(By))] = "email",
        consent_id: Id | None = None,
        consent_value: ConsentValue | None = None,
        expertsender_conn_id: ConnId = ExpertSenderHook.default_conn_name,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.value = value
        self.by = by
        self.consent_id: Any = consent_id
        self.consent_value: Any = consent_value
        self.expertsender_conn_id = expertsender_conn_id

    def _question(self) -> CustomerQuestion:
        if self.consent_value is not None and self.consent_id is None:
            raise CrmInputError("`consent_value` says what to wait for, `consent_id` where: it is missing")
        return CustomerQuestion(
            value=str(self.value),
            by=cast(By, self.by),
            consent_id=self.consent_id,
            consent_value=self.consent_value,
        )
