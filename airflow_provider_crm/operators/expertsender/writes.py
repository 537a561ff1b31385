"""Airflow tasks for ExpertSender CDP: parameters and templating; what they mean to it is in the destinations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Unpack, cast, get_args

from airflow_provider_crm.destinations.expertsender.deletes import DeleteCustomers
from airflow_provider_crm.destinations.expertsender.upserts import READ_BY, UpsertCustomers
from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.hooks.expertsender.consents import read_consents
from airflow_provider_crm.links import ExpertSenderLink, RejectsFileLink, run_links
from airflow_provider_crm.operators.base.deletes import CrmDeleteOperator, DeleteArguments
from airflow_provider_crm.operators.base.upserts import CrmUpsertOperator, UpsertArguments
from airflow_provider_crm.parameters import ConnId, Count, Seconds, YesOrNo, one_of
from airflow_provider_crm.rows.mapping import FieldMapping
from airflow_provider_crm.rows.sources import Source
from airflow_provider_crm.schemas.expertsender.write import (
    KEY_FIELDS,
    By,
    CustomerField,
    CustomerFields,
    MatchBy,
    Mode,
    names_a_consent,
)


class ExpertSenderUpsertCustomersOperator(CrmUpsertOperator):
    """Create and update ExpertSender customers in bulk, with the end of every row accounted for.

    Columns, or the values of ``field_map``, are the vendor's fields, in any case of letters:

    - ``email``, ``phone`` (blanks in it are removed), ``crmId``, ``visitorId``, ``firstName``, ``lastName``,
      ``dateOfBirth`` (without a zone it is taken as UTC), ``gender``;
    - ``customAttributes.<name>``, a column for each attribute; or ``customAttributes`` with all of them, as a mapping
      of name to value, a list of ``{"name", "value"}``, or the JSON text of either;
    - ``consents.<id>`` or ``consents.<name>``, a column for each consent, with ``True``, ``False`` (also ``1``, ``0``,
      ``yes``, ``no``) or ``AwaitingConfirmation``; or ``consentsData`` with all of them, as a mapping of id to
      value, the vendor's object, or the JSON text of either;
    - ``force`` and ``confirmationMessageId``, for the row's consents.

    Nobody who has refused a consent (``False``) is given it again, or asked for it, unless ``allow_resubscribe`` says
    so: such a row is rejected. To see who has, rows that set a consent to ``True`` or ``AwaitingConfirmation`` are
    looked up one by one before they are sent; those that only refuse consents, or hold none, are not. Of several rows
    of one person a refusal wins, wherever it stands.

    ``AwaitingConfirmation`` sends a person a real e-mail. It is left out for somebody who already awaits it or has
    confirmed, so that neither a retry nor a second run writes twice; unless the row says ``force``, and then it is
    sent once, in a call of its own: after one whose outcome is unknown, a consent that stands is taken as done.

    The vendor does not say which rows it created: ``AddOrUpdate`` counts all of them as updated. With ``match_by``
    ``GUID`` or ``VisitorId``, which both look at ``visitorId``, there is no way to look a customer up: the vendor's
    word counts, ``Update`` of somebody absent is a refusal of the CRM and not a skipped row, ``Add`` goes row by row,
    and a row that gives a consent is rejected without ``allow_resubscribe``.

    .. seealso:: The vendor's page "Klienci - metody API" at help.expertsender.com.

    :param expertsender_conn_id: the connection. (templated)
    :param match_by: ``Email``, ``PhoneNumber``, ``CrmId``, ``GUID`` or ``VisitorId``; it has to be the account's own
        (Settings > Customers > Default matching mode). (templated)
    :param mode: ``AddOrUpdate``, ``Add`` (those who exist are skipped) or ``Update`` (those who do not). (templated)
    :param batch_size: customers a call; the vendor publishes no limit, and a call that is too large is halved.
        (templated)
    :param allow_resubscribe: let a row give a consent, or ask for it, that the person has refused. (templated)
    :param settle_seconds: how long it may take to be seen that a confirmation was asked for, after a call for it has
        ended: so long a row in doubt waits before it is sent again. (templated)

    See :class:`~airflow_provider_crm.operators.base.upserts.CrmUpsertOperator` for the other parameters.
    """

    template_fields: Sequence[str] = (
        *CrmUpsertOperator.template_fields,
        "expertsender_conn_id",
        "batch_size",
        "allow_resubscribe",
        "settle_seconds",
    )
    not_in_fingerprint = CrmUpsertOperator.not_in_fingerprint | {"settle_seconds"}
    hook_class = ExpertSenderHook
    resource = "customers"
    key_fields = KEY_FIELDS
    operator_extra_links = run_links(RejectsFileLink(), ExpertSenderLink())

    def __init__(
        self,
        *,
        expertsender_conn_id: ConnId = ExpertSenderHook.default_conn_name,
        match_by: Annotated[MatchBy | str, one_of(*get_args(MatchBy))] = "Email",
        mode: Annotated[Mode | str, one_of("AddOrUpdate", "Add", "Update")] = "AddOrUpdate",
        batch_size: Count = 100,
        allow_resubscribe: YesOrNo = False,
        settle_seconds: Seconds = 10,
        **kwargs: Unpack[UpsertArguments],
    ) -> None:
        super().__init__(match_by=match_by, mode=mode, **kwargs)
        self.expertsender_conn_id = expertsender_conn_id
        self.batch_size: Any = batch_size
        self.allow_resubscribe: Any = allow_resubscribe
        self.settle_seconds: Any = settle_seconds

    def _fields(self, hook: ExpertSenderHook, names: Iterable[str | int]) -> CustomerFields:
        return CustomerFields(read_consents(hook, needed=any(map(names_a_consent, names))))

    def _upserts(
        self, hook: ExpertSenderHook, mapping: FieldMapping[CustomerField], key_column: str
    ) -> UpsertCustomers:
        if self.verify and self.match_by not in READ_BY:
            raise CrmInputError(
                f"`verify` needs to look people up, which ExpertSender cannot by {self.match_by}"
            )
        return UpsertCustomers(
            hook,
            mapping,
            key_column=key_column,
            match_by=self.match_by,
            mode=self.mode,
            batch_size=self.batch_size,
            allow_resubscribe=self.allow_resubscribe,
            settle_seconds=self.settle_seconds,
        )


class ExpertSenderDeleteCustomersOperator(CrmDeleteOperator):
    """Delete ExpertSender customers, one call a row; deleted rows count as updated, absent ones as skipped.

    .. seealso:: The vendor's page "Klienci - metody API" at help.expertsender.com.

    :param expertsender_conn_id: the connection. (templated)
    :param by: the source's column, and what it holds: ``email``, ``id`` (the CRM's own number), ``phone`` or ``crmId``.
        (templated)
    :param with_anonymization: anonymise the customer's data as well. (templated)

    See :class:`~airflow_provider_crm.operators.base.deletes.CrmDeleteOperator` for the other parameters.
    """

    template_fields: Sequence[str] = (
        *CrmDeleteOperator.template_fields,
        "expertsender_conn_id",
        "by",
        "with_anonymization",
    )
    hook_class = ExpertSenderHook
    resource = "customers"
    operator_extra_links = run_links(RejectsFileLink(), ExpertSenderLink())

    def __init__(
        self,
        *,
        expertsender_conn_id: ConnId = ExpertSenderHook.default_conn_name,
        by: Annotated[By | str, one_of("email", "id", "phone", "crmId")] = "email",
        with_anonymization: YesOrNo = False,
        **kwargs: Unpack[DeleteArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.expertsender_conn_id = expertsender_conn_id
        self.by = by
        self.with_anonymization: Any = with_anonymization

    def _erased_as(self) -> str:
        return "anonymised" if self.with_anonymization else "deleted"

    def _destination(self, hook: ExpertSenderHook, source: Source) -> DeleteCustomers:
        source.require([self.by])
        read_consents(hook, needed=False)
        return DeleteCustomers(hook, by=cast(By, self.by), with_anonymization=self.with_anonymization)
