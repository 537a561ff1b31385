"""Airflow tasks for SPREAD: parameters and templating; what they mean to SPREAD is in the destinations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Annotated, Any, Literal, Unpack

from airflow_provider_crm.destinations.spread.consents import COLUMNS, WHICH, WHO, CreateConsents
from airflow_provider_crm.destinations.spread.deletes import DeleteCustomers
from airflow_provider_crm.destinations.spread.emails import UpdateEmails
from airflow_provider_crm.destinations.spread.upserts import UpsertCustomers
from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.hooks.spread.base_url import check_base_url
from airflow_provider_crm.operators.base.deletes import CrmDeleteOperator, DeleteArguments
from airflow_provider_crm.operators.base.upserts import CrmUpsertOperator, UpsertArguments, UpsertMode
from airflow_provider_crm.operators.base.writes import (
    CrmMappedOperator,
    CrmSuppressibleOperator,
    MappedArguments,
    SuppressibleArguments,
)
from airflow_provider_crm.parameters import Column, ConnId, Seconds, YesOrNo, one_of
from airflow_provider_crm.rows.mapping import FieldMapping
from airflow_provider_crm.rows.sources import Source
from airflow_provider_crm.schemas.spread.write import CustomerFields


class SpreadUpsertCustomersOperator(CrmUpsertOperator):
    """Create and update SPREAD customers, with the end of every row accounted for.

    Each row is looked up, and sent only where it brings something new: a second run changes nothing. SPREAD does not
    say whether an update clears the fields that it does not mention; so an update repeats what the CRM holds, with the
    row's values on top. Tags are added to those that are there. Where many rows bring nothing new, pages of all
    customers, read meanwhile, spare most of their look-ups: a row is then taken for unchanged by what SPREAD held at
    most five minutes before.

    .. seealso:: The vendor's page "Customers" at help.spreadfamily.fr.

    :param spread_conn_id: the connection; its extra ``write_api`` chooses the API version that writes. (templated)
    :param match_by: ``email`` or ``externalId``: by which field a row finds its customer. (templated)
    :param mode: ``upsert``, ``create`` (those that exist are skipped) or ``update`` (those that do not). (templated)

    Columns, or the values of ``field_map``, are the vendor's names of the fields: ``email``, ``externalId``,
    ``lastName``, ``firstName``, ``country`` (ISO 3166 alpha-2), ``city``, ``address``, ``address2``, ``address3``,
    ``zip``, ``phone``, ``mobile``, ``lang``, ``birthday`` (YYYY-MM-DD), ``gender`` (male or female), ``isFan``,
    ``isFollow``, ``isFanLinkedin``, ``isBuyer`` (0 or 1; with version 2 only), ``company``, ``fonction``, ``tags``
    (a list, or a text ``a|b``), ``custom_fields`` (a mapping of field id to value, or its JSON text; several choices
    are a list), and ``custom_fields.1234`` for a single one.
    See :class:`~airflow_provider_crm.operators.base.upserts.CrmUpsertOperator` for the other parameters.
    """

    template_fields: Sequence[str] = (*CrmUpsertOperator.template_fields, "spread_conn_id")
    hook_class = SpreadHook
    resource = "customers"
    key_fields = {"email": "email", "externalId": "externalId"}

    def __init__(
        self,
        *,
        spread_conn_id: ConnId = SpreadHook.default_conn_name,
        match_by: Annotated[Literal["email", "externalId"] | str, one_of("email", "externalId")] = "email",
        mode: UpsertMode = "upsert",
        **kwargs: Unpack[UpsertArguments],
    ) -> None:
        super().__init__(match_by=match_by, mode=mode, **kwargs)
        self.spread_conn_id = spread_conn_id

    def _fields(self, hook: SpreadHook, names: Iterable[str | int]) -> CustomerFields:
        return CustomerFields(hook.writable_fields)

    def _upserts(self, hook: SpreadHook, mapping: FieldMapping[str], key_column: str) -> UpsertCustomers:
        check_base_url(hook)
        return UpsertCustomers(
            hook,
            mapping,
            key_column=key_column,
            match_by=self.match_by,
            mode=self.mode,
        )


class SpreadCreateConsentsOperator(CrmMappedOperator):
    """Record answers to consents in SPREAD, each of them once.

    The CRM keeps a history and takes the same answer any number of times. So an answer is sent only where it changes
    something, and an acceptance that is not newer than a refusal in the CRM, or in an earlier row, never: nobody is
    subscribed again by old data. A refusal is always sent, unless the CRM holds it or, as its latest answer, a newer
    one. Of two answers of one moment the refusal counts; and since local time does not tell the hour that October
    repeats from the one before it, a refusal in it is written as its last second, so that no acceptance of these two
    hours lies after it.

    Rows of one person belong in the order of their moments. An acceptance that changed nothing when its row was read
    is not entered again after an older refusal in a later row: the person ends as refused, until the next run.

    .. seealso:: The vendor's page "API - Customer Consentement" at help.spreadfamily.fr.

    :param spread_conn_id: the connection. (templated)
    :param only_changes: read a customer's history first; otherwise every row becomes an entry, and the history is read
        only after a call that was not answered, and in a retry. (templated)
    :param settle_seconds: how long an answer may take to be seen in the history after a call for it has ended: so long
        one in doubt waits before it is sent again. (templated)

    Columns, or the values of ``field_map``, are:

    - ``customer_id`` (SPREAD's) or ``email``; where both are filled the id counts;
    - ``consent_id`` or ``consent_tech_name``; a name that several consents share cannot be used;
    - ``status``: ``accepted``, ``refused``, or ``unknown``, which the CRM takes only after another answer;
    - ``created_at``: a datetime, or text such as ``2018-06-30 09:10:34``; local time unless it has a zone;
    - if wanted, ``ip`` and ``channel_id``. The CRM does not show which channel an answer was for: a row with one is
      sent even if the history has the same answer.

    See :class:`~airflow_provider_crm.operators.base.writes.CrmMappedOperator` for the other parameters.
    """

    template_fields: Sequence[str] = (
        *CrmMappedOperator.template_fields,
        "spread_conn_id",
        "only_changes",
        "settle_seconds",
    )
    not_in_fingerprint = CrmMappedOperator.not_in_fingerprint | {"settle_seconds"}
    hook_class = SpreadHook
    resource = "customers-consents"

    def __init__(
        self,
        *,
        spread_conn_id: ConnId = SpreadHook.default_conn_name,
        only_changes: YesOrNo = True,
        settle_seconds: Seconds = 10,
        **kwargs: Unpack[MappedArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.spread_conn_id = spread_conn_id
        self.only_changes: Any = only_changes
        self.settle_seconds: Any = settle_seconds

    def _destination(self, hook: SpreadHook, source: Source) -> CreateConsents:
        mapping = FieldMapping(
            lambda name: str(name) if name in COLUMNS else None,
            self.field_map,
            nulls=self.nulls,
            known=lambda: COLUMNS,
        )
        for required in ("status", "created_at"):
            mapping.check(source, required)
        names = self.field_map.values() if self.field_map is not None else source.columns()
        for either in (WHO, WHICH):
            _require_one(names, either)
        check_base_url(hook)
        return CreateConsents(
            hook, mapping, only_changes=self.only_changes, settle_seconds=self.settle_seconds
        )


class SpreadUpdateEmailsOperator(CrmSuppressibleOperator):
    """Give SPREAD customers another e-mail; a change that is made already is left alone.

    .. seealso:: The vendor's page "Customers" at help.spreadfamily.fr.

    :param spread_conn_id: the connection. (templated)
    :param old_field: the column with the current e-mail. (templated)
    :param new_field: the column with the new one. (templated)

    See :class:`~airflow_provider_crm.operators.base.writes.CrmSuppressibleOperator` for the other parameters.
    """

    template_fields: Sequence[str] = (
        *CrmSuppressibleOperator.template_fields,
        "spread_conn_id",
        "old_field",
        "new_field",
    )
    hook_class = SpreadHook
    resource = "customers"

    def __init__(
        self,
        *,
        spread_conn_id: ConnId = SpreadHook.default_conn_name,
        old_field: Column = "old_email",
        new_field: Column = "new_email",
        **kwargs: Unpack[SuppressibleArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.spread_conn_id = spread_conn_id
        self.old_field = old_field
        self.new_field = new_field

    def _destination(self, hook: SpreadHook, source: Source) -> UpdateEmails:
        if self.old_field == self.new_field:
            raise CrmInputError("`old_field` and `new_field` are the same column")
        source.require([self.old_field, self.new_field])
        check_base_url(hook)
        return UpdateEmails(hook, old_field=self.old_field, new_field=self.new_field)


class SpreadDeleteCustomersOperator(CrmDeleteOperator):
    """Erase SPREAD customers; one who is absent is skipped, so that a second run succeeds.

    .. seealso:: The vendor's page "Customers" at help.spreadfamily.fr.

    :param spread_conn_id: the connection. (templated)
    :param email_field: the column with the e-mail. (templated)
    :param customer_id_field: the column with SPREAD's id. One of the two columns may be missing, and one of the two
        cells empty; where both are filled they have to be one customer's, or the row is rejected. (templated)

    See :class:`~airflow_provider_crm.operators.base.deletes.CrmDeleteOperator` for the other parameters.
    """

    template_fields: Sequence[str] = (
        *CrmDeleteOperator.template_fields,
        "spread_conn_id",
        "email_field",
        "customer_id_field",
    )
    hook_class = SpreadHook
    resource = "customers"

    def __init__(
        self,
        *,
        spread_conn_id: ConnId = SpreadHook.default_conn_name,
        email_field: Column = "email",
        customer_id_field: Column = "id",
        **kwargs: Unpack[DeleteArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.spread_conn_id = spread_conn_id
        self.email_field = email_field
        self.customer_id_field = customer_id_field

    def _destination(self, hook: SpreadHook, source: Source) -> DeleteCustomers:
        _require_one(source.columns(), (self.customer_id_field, self.email_field))
        check_base_url(hook)
        return DeleteCustomers(hook, email_field=self.email_field, customer_id_field=self.customer_id_field)


def _require_one(columns: Collection[Any] | None, wanted: Sequence[str]) -> None:
    """Refuse columns among which there is none of those wanted; those of a source without rows are not known.

    :raises CrmInputError: there is none.
    """
    if columns is not None and not set(columns) & set(wanted):
        raise CrmInputError(
            f"No column holds {' or '.join(map(repr, wanted))}; there are {', '.join(map(str, columns)) or 'none'}"
        )
