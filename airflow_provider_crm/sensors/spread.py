"""Airflow sensors for SPREAD: parameters and templating; what they ask is in the triggers, where it is asked too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Unpack, get_args

from airflow_provider_crm._compat import persons_email
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.parameters import (
    Amount,
    ConnId,
    Count,
    Email,
    Id,
    Time,
    moment,
    one_of,
    the_one_given,
)
from airflow_provider_crm.schemas.spread.cells import ShownStatus, moment_text
from airflow_provider_crm.sensors.base import CrmSensor, SensorArguments
from airflow_provider_crm.triggers.spread import BalanceQuestion, ConsentQuestion, CustomerQuestion
from airflow_provider_crm.values import number_of, number_text


class SpreadConsentSensor(CrmSensor):
    """Wait until people have answered a consent.

    Returns ``{"consent_id" or "consent_tech_name", "status", "created_after", "count"}``; the count is at least
    ``min_count``, and not of all answers there are.

    .. seealso:: The vendor's page "API - Customer Consentement" at help.spreadfamily.fr.

    :param consent_id: the consent, by this or by its technical name. (templated)
    :param consent_tech_name: the consent's technical name, which several consents may share. (templated)
    :param created_after: from when on answers count: a datetime, or text. With a zone it is converted to the CRM's
        local time (Europe/Paris), without one it is taken as such. (templated)
    :param status: only these answers: ``accepted``, ``refused``, ``toBeConfirmed`` or ``unknown``. (templated)
    :param min_count: how many answers to wait for. (templated)
    :param spread_conn_id: the connection. (templated)

    See :class:`~airflow_provider_crm.sensors.base.CrmSensor` for the other parameters.
    """

    template_fields: Sequence[str] = (
        "spread_conn_id",
        "consent_id",
        "consent_tech_name",
        "created_after",
        "status",
        "min_count",
    )

    def __init__(
        self,
        *,
        created_after: Time,
        consent_id: Id | None = None,
        consent_tech_name: Id | None = None,
        status: Annotated[ShownStatus | str, one_of(*get_args(ShownStatus))] | None = None,
        min_count: Count = 1,
        spread_conn_id: ConnId = SpreadHook.default_conn_name,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.created_after = created_after
        self.consent_id = consent_id
        self.consent_tech_name = consent_tech_name
        self.status = status
        self.min_count: Any = min_count
        self.spread_conn_id = spread_conn_id

    def _question(self) -> ConsentQuestion:
        which = the_one_given(consent_id=self.consent_id, consent_tech_name=self.consent_tech_name)
        return ConsentQuestion(
            created_after=moment_text(moment("created_after", self.created_after)),
            status=self.status,
            min_count=self.min_count,
            **which,
        )


class SpreadCustomerSensor(CrmSensor):
    """Wait until there is a customer.

    Returns ``{"id"}``, SPREAD's id of the customer.

    .. seealso:: The vendor's page "Customers" at help.spreadfamily.fr.

    :param email: the customer's e-mail; it, or ``external_id``. (templated)
    :param person_email: the e-mail under another name, for a task that is mapped over it and whose ``default_args``
        have an ``email`` for Airflow. (templated)
    :param external_id: your own id of the customer. (templated)
    :param spread_conn_id: the connection. (templated)

    See :class:`~airflow_provider_crm.sensors.base.CrmSensor` for the other parameters.
    """

    template_fields: Sequence[str] = ("spread_conn_id", "person_email", "external_id")

    def __init__(
        self,
        *,
        person_email: Email | None = None,
        email: Email | None = None,
        external_id: Id | None = None,
        spread_conn_id: ConnId = SpreadHook.default_conn_name,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.person_email = persons_email(email, person_email, kwargs)
        self.external_id = external_id
        self.spread_conn_id = spread_conn_id

    def _question(self) -> CustomerQuestion:
        return CustomerQuestion(**the_one_given(email=self.person_email, external_id=self.external_id))


class SpreadLoyaltyBalanceSensor(CrmSensor):
    """Wait until a customer has so many loyalty points.

    Returns ``{"id", "cagnotteAmount"}``: SPREAD's id of the customer and the balance, as text.

    .. seealso:: The vendor's pages "Customers" and "Cagnotte" at help.spreadfamily.fr.

    :param email: the customer's e-mail; it, or ``customer_id``. (templated)
    :param person_email: the e-mail under another name, for a task that is mapped over it and whose ``default_args``
        have an ``email`` for Airflow. (templated)
    :param customer_id: SPREAD's id of the customer. (templated)
    :param min_amount: the balance to wait for. (templated)
    :param spread_conn_id: the connection. (templated)

    See :class:`~airflow_provider_crm.sensors.base.CrmSensor` for the other parameters.
    """

    template_fields: Sequence[str] = ("spread_conn_id", "person_email", "customer_id", "min_amount")

    def __init__(
        self,
        *,
        min_amount: Amount,
        person_email: Email | None = None,
        email: Email | None = None,
        customer_id: Id | None = None,
        spread_conn_id: ConnId = SpreadHook.default_conn_name,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.min_amount = min_amount
        self.person_email = persons_email(email, person_email, kwargs)
        self.customer_id = customer_id
        self.spread_conn_id = spread_conn_id

    def _question(self) -> BalanceQuestion:
        who = the_one_given(email=self.person_email, customer_id=self.customer_id)
        return BalanceQuestion(min_amount=number_text(number_of(self.min_amount)), **who)
