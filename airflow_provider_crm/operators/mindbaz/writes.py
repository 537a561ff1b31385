"""Airflow tasks for Mindbaz: parameters and templating; what they mean to Mindbaz is in the destinations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, Unpack

from airflow_provider_crm.destinations.mindbaz.unsubscribe import UnsubscribeSubscribers
from airflow_provider_crm.destinations.mindbaz.upserts import UpsertSubscribers
from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.hooks.mindbaz.fields import read_fields
from airflow_provider_crm.hooks.mindbaz.lookups import KEY_FIELDS
from airflow_provider_crm.links import MindbazLink, RejectsFileLink, run_links
from airflow_provider_crm.operators.base.upserts import CrmUpsertOperator, UpsertArguments, UpsertMode
from airflow_provider_crm.operators.base.writes import CrmBulkOperator, WriteArguments
from airflow_provider_crm.parameters import Column, ConnId, YesOrNo, one_of, whole
from airflow_provider_crm.rows.mapping import FieldMapping
from airflow_provider_crm.rows.sources import Source
from airflow_provider_crm.schemas.mindbaz.write import MAX_SUBSCRIBERS, Fields, FieldType

MatchBy = Annotated[Literal["Email", "IdClient"] | str, one_of(*KEY_FIELDS)]


class MindbazUpsertSubscribersOperator(CrmUpsertOperator):
    """Create and update Mindbaz subscribers in bulk, with the end of every row accounted for.

    Look-up by the match key, then creates and updates together in calls of up to 5000. Only what Mindbaz does not hold
    yet is sent, so that the same rows once more change nothing. A subscriber who is not subscribed any more is never
    put back to subscribed unless ``allow_resubscribe`` says so.

    .. seealso:: The vendor's page "Gestion des abonnés" at learn.mindbaz.com.

    :param mindbaz_conn_id: the connection. (templated)
    :param match_by: ``Email`` or ``IdClient``: by which field a row finds its subscriber. (templated)
    :param mode: ``upsert``, ``create`` (those that exist are skipped) or ``update`` (those that do not). (templated)
    :param batch_size: subscribers a call, at most 5000. (templated)
    :param allow_resubscribe: let a row set status 0 on a subscriber whose status is another one. (templated)

    Columns, or the values of ``field_map``, are field ids (``14``), or names as in the site's list of fields.
    See :class:`~airflow_provider_crm.operators.base.upserts.CrmUpsertOperator` for the other parameters.
    """

    template_fields: Sequence[str] = (
        *CrmUpsertOperator.template_fields,
        "mindbaz_conn_id",
        "batch_size",
        "allow_resubscribe",
    )
    hook_class = MindbazHook
    resource = "subscribers"
    key_fields = KEY_FIELDS
    operator_extra_links = run_links(RejectsFileLink(), MindbazLink())

    def __init__(
        self,
        *,
        mindbaz_conn_id: ConnId = MindbazHook.default_conn_name,
        match_by: MatchBy = "Email",
        mode: UpsertMode = "upsert",
        batch_size: Annotated[int | str, whole(1, MAX_SUBSCRIBERS)] = MAX_SUBSCRIBERS,
        allow_resubscribe: YesOrNo = False,
        **kwargs: Unpack[UpsertArguments],
    ) -> None:
        super().__init__(match_by=match_by, mode=mode, **kwargs)
        self.mindbaz_conn_id = mindbaz_conn_id
        self.batch_size: Any = batch_size
        self.allow_resubscribe: Any = allow_resubscribe

    def _fields(self, hook: MindbazHook, names: Iterable[str | int]) -> Fields:
        return read_fields(hook, names_needed=not all(str(name).isdecimal() for name in names))

    def _upserts(
        self, hook: MindbazHook, mapping: FieldMapping[FieldType], key_column: str
    ) -> UpsertSubscribers:
        return UpsertSubscribers(
            hook,
            mapping,
            key_column=key_column,
            match_by=self.match_by,
            mode=self.mode,
            batch_size=self.batch_size,
            allow_resubscribe=self.allow_resubscribe,
        )


class MindbazUnsubscribeOperator(CrmBulkOperator):
    """Unsubscribe people from Mindbaz in bulk, with the date, with the end of every row accounted for.

    Sets status 1 and the unsubscription date. Whoever has opted out already, in whatever way (unsubscribed, also by
    hand or as a group, on the suppression list, complained), is left unchanged with the first date; unknown people
    are skipped.

    .. seealso:: The vendor's page "Gestion des abonnés" at learn.mindbaz.com.

    :param mindbaz_conn_id: the connection. (templated)
    :param match_by: ``Email`` or ``IdClient``: by which field a row finds its subscriber. (templated)
    :param key_field: the column that holds it; to be named when matching by client id. (templated)

    See :class:`~airflow_provider_crm.operators.base.writes.CrmBulkOperator` for the other parameters.
    """

    template_fields: Sequence[str] = (
        *CrmBulkOperator.template_fields,
        "mindbaz_conn_id",
        "match_by",
        "key_field",
    )
    hook_class = MindbazHook
    resource = "subscribers"
    deed = "unsubscribed"
    operator_extra_links = run_links(RejectsFileLink(), MindbazLink())

    def __init__(
        self,
        *,
        mindbaz_conn_id: ConnId = MindbazHook.default_conn_name,
        match_by: MatchBy = "Email",
        key_field: Column = "email",
        **kwargs: Unpack[WriteArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.mindbaz_conn_id = mindbaz_conn_id
        self.match_by = match_by
        self.key_field = key_field

    def _destination(self, hook: MindbazHook, source: Source) -> UnsubscribeSubscribers:
        if self.match_by == "IdClient" and self.key_field == "email":
            # Addresses looked up as client ids would find nobody, and every opt-out would be skipped.
            raise CrmInputError("`key_field` has to name the column that holds the client ids")
        source.require([self.key_field])
        read_fields(hook, names_needed=False)  # elsewhere than at the right site everybody would seem unknown
        return UnsubscribeSubscribers(hook, key_column=self.key_field, match_by=self.match_by)
