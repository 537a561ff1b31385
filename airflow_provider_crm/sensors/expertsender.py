"""Airflow sensor for ExpertSender CDP: parameters and templating; what it asks is in the triggers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast, get_args

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.links import ExpertSenderLink
from airflow_provider_crm.parameters import one_of, text_or_none
from airflow_provider_crm.schemas.expertsender.cells import AWAITING_CONFIRMATION, GRANTED, REFUSED
from airflow_provider_crm.schemas.expertsender.write import By
from airflow_provider_crm.sensors.base import CrmSensor
from airflow_provider_crm.triggers.expertsender import CustomerQuestion


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
    conn_id_field = "expertsender_conn_id"
    operator_extra_links = (ExpertSenderLink(),)

    def __init__(
        self,
        *,
        value: str | int,
        by: str = "email",
        consent_id: str | int | None = None,
        consent_value: str | bool | None = None,
        expertsender_conn_id: str = ExpertSenderHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.value = value
        self.by = by
        self.consent_id = consent_id
        self.consent_value = consent_value
        self.expertsender_conn_id = expertsender_conn_id

    def _question(self) -> CustomerQuestion:
        one_of("by", self.by, get_args(By))
        value, consent_id = text_or_none(self.value), text_or_none(self.consent_id)
        consent_value = text_or_none(self.consent_value)
        if value is None:
            raise CrmInputError("`value` is empty")
        if consent_value is not None:
            if consent_id is None:
                raise CrmInputError(
                    "`consent_value` says what to wait for, `consent_id` where: it is missing"
                )
            one_of("consent_value", consent_value, (GRANTED, REFUSED, AWAITING_CONFIRMATION))
        return CustomerQuestion(
            value=value, by=cast(By, self.by), consent_id=consent_id, consent_value=consent_value
        )
