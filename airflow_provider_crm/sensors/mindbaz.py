"""Airflow sensor for Mindbaz: parameters and templating; what it asks is in the triggers, where it is asked too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Unpack

from airflow_provider_crm._compat import persons_email
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.links import MindbazLink
from airflow_provider_crm.parameters import ConnId, Email, Id, several, the_one_given, whole
from airflow_provider_crm.sensors.base import CrmSensor, SensorArguments
from airflow_provider_crm.triggers.mindbaz import SubscriberQuestion


def _codes(name: str, value: Any) -> list[str]:
    return [str(whole(0)(name, code)) for code in several(commas=False)(name, value)]


class MindbazSubscriberSensor(CrmSensor):
    """Wait until there is a subscriber, in a certain state.

    Returns ``{"id", "status"}``: Mindbaz' id of the subscriber, and the code in field 7.

    .. seealso:: The vendor's page "Gestion des abonnés" at learn.mindbaz.com, which lists the codes.

    :param email: the subscriber's e-mail; it, or ``client_id``. (templated)
    :param person_email: the e-mail under another name, for a task that is mapped over it and whose ``default_args``
        have an ``email`` for Airflow. (templated)
    :param client_id: your own id of the subscriber, field 43. (templated)
    :param status: the code in field 7 to wait for, such as 0 (subscribed); a list accepts each of them, None every
        state. (templated)
    :param mindbaz_conn_id: the connection. (templated)

    See :class:`~airflow_provider_crm.sensors.base.CrmSensor` for the other parameters.
    """

    template_fields: Sequence[str] = ("mindbaz_conn_id", "person_email", "client_id", "status")
    operator_extra_links = (MindbazLink(),)

    def __init__(
        self,
        *,
        person_email: Email | None = None,
        email: Email | None = None,
        client_id: Id | None = None,
        status: Annotated[int | str | Iterable[int], _codes] | None = None,
        mindbaz_conn_id: ConnId = MindbazHook.default_conn_name,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.person_email = persons_email(email, person_email, kwargs)
        self.client_id = client_id
        self.status: Any = status
        self.mindbaz_conn_id = mindbaz_conn_id

    def _question(self) -> SubscriberQuestion:
        who = the_one_given(email=self.person_email, client_id=self.client_id)
        statuses = self.status or []
        if "email" in who:
            return SubscriberQuestion(value=who["email"], by="Email", statuses=statuses)
        return SubscriberQuestion(value=who["client_id"], by="IdClient", statuses=statuses)
