"""The Airflow tasks around SPREAD's loyalty points: crediting them exactly once, and comparing ledger and CRM.

Parameters and wiring; what may be sent when is in the destination, what is remembered in the ledger.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Unpack

from airflow_provider_crm.bulk.report import Report
from airflow_provider_crm.databases.engines import engine_for
from airflow_provider_crm.exceptions import CrmFailError, CrmInputError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.http.client import CONNECT_TIMEOUT
from airflow_provider_crm.loyalty.audit import Audit, AuditWindow
from airflow_provider_crm.loyalty.destination import CreditDestination
from airflow_provider_crm.loyalty.dry_run import ExpectedCredits
from airflow_provider_crm.loyalty.ledger import LoyaltyLedger
from airflow_provider_crm.loyalty.source_rows import CreditFields, CreditReader
from airflow_provider_crm.loyalty.states import Origin
from airflow_provider_crm.loyalty.tables import account_of
from airflow_provider_crm.operators.base.operator import CrmBaseOperator, RunArguments
from airflow_provider_crm.operators.base.writes import CrmSuppressibleOperator, SuppressibleArguments
from airflow_provider_crm.parameters import Column, ConnId, Path, Seconds, Time, YesOrNo, number
from airflow_provider_crm.rows.journal import Journal
from airflow_provider_crm.rows.sources import Source

if TYPE_CHECKING:
    from airflow_provider_crm._compat import Context

LEDGER_CONN = "crm_ledger_default"


@contextmanager
def open_ledger(hook: SpreadHook, ledger_conn_id: str, origin: Origin) -> Iterator[LoyaltyLedger]:
    """Open the ledger of the account that a hook calls.

    :raises CrmInputError: there is no such connection; nothing was sent.
    :raises LedgerError: the database cannot be used; nothing was sent.
    """
    engine = engine_for(ledger_conn_id)
    settings = hook.settings
    try:
        with LoyaltyLedger(
            engine,
            account=account_of(settings.base_url, settings.login),
            origin=origin,
            longest_call=CONNECT_TIMEOUT + settings.extras.timeout,
        ) as ledger:
            yield ledger
    finally:
        engine.dispose()


def origin_of(context: Context) -> Origin:
    """Return which run and task this is; without a task instance, an id of its own."""
    instance: Any = context.get("ti") or context.get("task_instance")
    if instance is None:
        return Origin(run_id=f"manual__{uuid.uuid4().hex}")
    return Origin(
        dag_id=str(instance.dag_id),
        run_id=str(instance.run_id),
        task_id=str(instance.task_id),
        map_index=int(getattr(instance, "map_index", -1)),
    )


class SpreadCreditLoyaltyOperator(CrmSuppressibleOperator):
    """Credit loyalty points in SPREAD, each row exactly once, through retries, kills and runs side by side.

    SPREAD adds points each time it is called and cannot recognise a repeated call. What was sent is therefore noted
    in a ledger before it leaves, and what is in doubt is looked up in SPREAD before it is sent again.

    .. seealso:: ``docs/loyalty.md``: what is guaranteed, and the few things that no client can exclude.

    :param key_field: column with the credit's own reference, unique for each credit for ever. (templated)
    :param email_field: column with the customer's e-mail. (templated)
    :param customer_id_field: column with SPREAD's id of the customer; a row has either. (templated)
    :param amount_field: column with the points. (templated)
    :param spread_conn_id: the connection. (templated)
    :param ledger_conn_id: connection to the SQL database that keeps the ledger. (templated)
    :param settle_seconds: how long after a request ended its line may take to be seen. (templated)
    :param allow_debit: accept negative amounts. (templated)

    The result adds ``credited``, ``already_credited`` and ``amount``, the sum credited as decimal text.
    See :class:`~airflow_provider_crm.operators.base.writes.CrmSuppressibleOperator` for the other parameters.
    """

    template_fields: Sequence[str] = (
        *CrmSuppressibleOperator.template_fields,
        "key_field",
        "email_field",
        "customer_id_field",
        "amount_field",
        "spread_conn_id",
        "ledger_conn_id",
        "settle_seconds",
        "allow_debit",
    )
    hook_class = SpreadHook
    resource = "cagnottes"
    deed = "credited"
    not_in_fingerprint = CrmSuppressibleOperator.not_in_fingerprint | {"settle_seconds"}

    def __init__(
        self,
        *,
        key_field: Column = "credit_key",
        email_field: Column = "email",
        customer_id_field: Column = "customer_id",
        amount_field: Column = "amount",
        spread_conn_id: ConnId = SpreadHook.default_conn_name,
        ledger_conn_id: ConnId = LEDGER_CONN,
        settle_seconds: Seconds = 10,
        allow_debit: YesOrNo = False,
        **kwargs: Unpack[SuppressibleArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.key_field = key_field
        self.email_field = email_field
        self.customer_id_field = customer_id_field
        self.amount_field = amount_field
        self.spread_conn_id = spread_conn_id
        self.ledger_conn_id = ledger_conn_id
        self.settle_seconds: Any = settle_seconds
        self.allow_debit: Any = allow_debit
        self._origin = Origin()
        #: What a run has opened besides the hook, in the order of closing.
        self._opened = ExitStack()

    def _run(self, context: Context, hook: Any) -> dict[str, Any]:
        """Credit the source's rows.

        :raises CrmInputError: the ledger's connection is missing, or the source cannot be used.
        :raises CrmTransientError: the outcome of a row is unknown, or the ledger is out of reach: the next try
            looks first and goes on.
        """
        self._origin = origin_of(context)
        with self._opened:
            return super()._run(context, hook)

    def _destination(self, hook: SpreadHook, source: Source) -> CreditDestination:
        fields = CreditFields(self.key_field, self.email_field, self.customer_id_field, self.amount_field)
        self._check_columns(source, fields)
        ledger = self._opened.enter_context(open_ledger(hook, self.ledger_conn_id, self._origin))
        reader = CreditReader(fields, secret=hook.settings.password, allow_debit=self.allow_debit)
        kind = ExpectedCredits if self.only_plan else CreditDestination
        destination = kind(hook, ledger, reader, settle_seconds=self.settle_seconds)
        return self._opened.enter_context(closing(destination))

    @staticmethod
    def _check_columns(source: Source, fields: CreditFields) -> None:
        columns = source.columns()
        if not columns:
            return
        source.require([fields.key, fields.amount])
        if fields.email not in columns and fields.customer_id not in columns:
            raise CrmInputError(
                f"The source has neither a column {fields.email!r} nor {fields.customer_id!r}; "
                f"it has {', '.join(columns)}"
            )

    def _summary(self, report: Report) -> dict[str, Any]:
        summary = super()._summary(report)
        return {
            **summary,
            "credited": summary["created"],
            "already_credited": summary["unchanged"],
            "amount": f"{report.amount:f}",
        }


class SpreadAuditLoyaltyOperator(CrmBaseOperator):
    """Compare the ledger with SPREAD's loyalty lines, and fail when a credit of the ledger has no line of its
    amount.

    :param created_after: begin of the window, in the CRM's time; UTC in the ledger. (templated)
    :param created_before: end of the window, not in it. (templated)
    :param report_path: JSON-lines file that takes what differs. (templated)
    :param margin_hours: how far the CRM's clock may be from the database's; beyond it, lines are looked for customer by
        customer.
    :param settle_seconds: how long a line may take to be seen.
    :param spread_conn_id: the connection. (templated)
    :param ledger_conn_id: connection to the ledger's database. (templated)

    Lines without a credit (given by hand, by another system) are counted and written, and are no failure.
    """

    template_fields: Sequence[str] = (
        *CrmBaseOperator.template_fields,
        "created_after",
        "created_before",
        "report_path",
        "margin_hours",
        "settle_seconds",
        "spread_conn_id",
        "ledger_conn_id",
    )
    hook_class = SpreadHook

    def __init__(
        self,
        *,
        created_after: Time | None = None,
        created_before: Time | None = None,
        report_path: Path | None = None,
        margin_hours: Annotated[float | str, number(0, 10_000)] = 26,
        settle_seconds: Seconds = 10,
        spread_conn_id: ConnId = SpreadHook.default_conn_name,
        ledger_conn_id: ConnId = LEDGER_CONN,
        **kwargs: Unpack[RunArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.created_after: Any = created_after
        self.created_before: Any = created_before
        self.report_path: Any = report_path
        self.margin_hours: Any = margin_hours
        self.settle_seconds: Any = settle_seconds
        self.spread_conn_id = spread_conn_id
        self.ledger_conn_id = ledger_conn_id
        self._findings: dict[str, int] = {}

    def _run(self, context: Context, hook: Any) -> dict[str, Any]:
        """Compare.

        :return: ``credits``, ``lines``, ``credits_without_line``, ``credits_with_another_amount``,
            ``credits_in_doubt``, ``lines_without_credit``.
        :raises CrmFailError: a credit of the ledger has no line in the CRM, or one of another amount.
        """
        window = AuditWindow.given(self.created_after, self.created_before)
        with open_ledger(hook, self.ledger_conn_id, origin_of(context)) as ledger:
            findings = Audit(
                hook,
                ledger,
                margin=timedelta(hours=self.margin_hours),
                settle_seconds=self.settle_seconds,
            ).compare(window)
        if self.report_path:
            self._write(self.report_path, findings.records())
        self._findings = result = findings.counts()
        if findings.without_line or findings.another_amount:
            where = (
                f", listed in {self.report_path}" if self.report_path else "; set `report_path` to list them"
            )
            raise CrmFailError(
                f"{len(findings.without_line)} credits of the ledger have no line in SPREAD, and "
                f"{len(findings.another_amount)} one of another amount{where}"
            )
        return result

    def _account(self) -> dict[str, Any]:
        return {**self._findings, **super()._account()}

    @staticmethod
    def _write(path: str, records: Sequence[dict[str, Any]]) -> None:
        journal = Journal(path)
        journal.open()
        for record in records:
            journal.append(record)
        journal.close()
