"""Airflow sensor for Mindbaz: parameters and templating; what it asks is in the triggers, where it is asked too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from airflow_provider_crm._compat import persons_email
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.links import MindbazLink
from airflow_provider_crm.parameters import text_or_none, the_one_given, whole
from airflow_provider_crm.sensors.base import CrmSensor
from airflow_provider_crm.triggers.mindbaz import SubscriberQuestion


class MindbazSubscriberSensor(CrmSensor):
    """Wait until there is a subscriber, in a certain state.

    Returns ``{"id", "status"}``: Mindbaz' id of the subscriber, and the code in field 7.

    .. seealso:: The vendor's page "Gestion des abonnés" at learn.mindbaz.com, which lists the codes.

    :param email: the subscriber's e-mail, or
    :param client_id: your own id of the subscriber, field 43. (templated)
    :param status: the code in field 7 to wait for, such as 0 (subscribed); a list accepts each of them, None every
        state. (templated)
    :param mindbaz_conn_id: the connection. (templated)

    See :class:`~airflow_provider_crm.sensors.base.CrmSensor` for the other parameters.
    """

    template_fields: Sequence[str] = ("mindbaz_conn_id", "person_email", "client_id", "status")
    conn_id_field = "mindbaz_conn_id"
    operator_extra_links = (MindbazLink(),)

    def __init__(
        self,
        *,
        email: str | None = None,
        client_id: str | int | None = None,
        status: int | str | Iterable[int] | None = None,
        mindbaz_conn_id: str = MindbazHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.person_email = persons_email(email, kwargs)
        self.client_id = client_id
        self.status = status
        self.mindbaz_conn_id = mindbaz_conn_id

    def _question(self) -> SubscriberQuestion:
        who = the_one_given(email=self.person_email, client_id=self.client_id)
        given = self.status
        listed = given if isinstance(given, Iterable) and not isinstance(given, str) else [given]
        statuses = [str(whole("status", code, least=0)) for code in listed if text_or_none(code) is not None]
        if "email" in who:
            return SubscriberQuestion(value=who["email"], by="Email", statuses=statuses)
        return SubscriberQuestion(value=who["client_id"], by="IdClient", statuses=statuses)
