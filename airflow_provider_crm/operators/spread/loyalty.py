"""The Airflow tasks around SPREAD's loyalty points: crediting them exactly once, and comparing ledger and CRM.

Parameters and wiring; what may be sent when is in the destination, what is remembered in the ledger.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_crm._compat import BaseOperator
from airflow_provider_crm.bulk.report import Report
from airflow_provider_crm.exceptions import CrmFailError, CrmInputError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.http.client import CONNECT_TIMEOUT
from airflow_provider_crm.loyalty.baselines import Baselines
from airflow_provider_crm.loyalty.credits import CreditFields, CreditReader
from airflow_provider_crm.loyalty.customers import calls_for
from airflow_provider_crm.loyalty.doubts import Doubts
from airflow_provider_crm.loyalty.ledger import LoyaltyLedger
from airflow_provider_crm.loyalty.lines import (
    CustomerLines,
    is_credit_line,
    line_amount,
    line_id,
    line_pages,
)
from airflow_provider_crm.loyalty.rows import utc_now
from airflow_provider_crm.loyalty.sending import CreditLoyalty, ExpectedCredits
from airflow_provider_crm.loyalty.states import Origin, State, account_of
from airflow_provider_crm.operators.base.writes import CrmBulkOperator
from airflow_provider_crm.rows.journal import Journal
from airflow_provider_crm.rows.sources import Source
from airflow_provider_crm.rows.sql import engine_for

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
    """Tell which run and task this is; without a task instance, an id of its own."""
    instance: Any = context.get("ti") or context.get("task_instance")
    if instance is None:
        return Origin(run_id=f"manual__{uuid.uuid4().hex}")
    return Origin(
        dag_id=str(instance.dag_id),
        run_id=str(instance.run_id),
        task_id=str(instance.task_id),
        map_index=int(getattr(instance, "map_index", -1)),
    )


class SpreadCreditLoyaltyOperator(CrmBulkOperator):
    """Credit loyalty points in SPREAD, each row exactly once, through retries, kills and runs side by side.

    SPREAD adds points each time it is called and cannot recognise a repeated call. What was sent is therefore noted
    in a ledger before it leaves, and what is in doubt is looked up in SPREAD before it is sent again.

    .. seealso:: ``docs/loyalty.md``: what is guaranteed, and the few things that no client can exclude.

    :param key_field: column with the credit's own reference, unique for each credit for ever.
    :param email_field: column with the customer's e-mail.
    :param customer_id_field: column with SPREAD's id of the customer; a row has either.
    :param amount_field: column with the points.
    :param spread_conn_id: the connection. (templated)
    :param ledger_conn_id: connection to the SQL database that keeps the ledger. (templated)
    :param settle_seconds: how long after a request ended its line may take to be seen.
    :param allow_debit: accept negative amounts.

    The result adds ``credited``, ``already_credited`` and ``amount``, the sum credited as decimal text.
    See :class:`~airflow_provider_crm.operators.base.writes.CrmBulkOperator` for the other parameters.
    """

    template_fields: Sequence[str] = (*CrmBulkOperator.template_fields, "spread_conn_id", "ledger_conn_id")

    def __init__(
        self,
        *,
        key_field: str = "credit_key",
        email_field: str = "email",
        customer_id_field: str = "customer_id",
        amount_field: str = "amount",
        spread_conn_id: str = SpreadHook.default_conn_name,
        ledger_conn_id: str = LEDGER_CONN,
        settle_seconds: float = 10,
        allow_debit: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.key_field = key_field
        self.email_field = email_field
        self.customer_id_field = customer_id_field
        self.amount_field = amount_field
        self.spread_conn_id = spread_conn_id
        self.ledger_conn_id = ledger_conn_id
        self.settle_seconds = settle_seconds
        self.allow_debit = allow_debit
        self._ledger: LoyaltyLedger | None = None
        self._credits: CreditLoyalty | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Credit the source's rows.

        :raises CrmInputError: the ledger's connection is missing, or the source cannot be used.
        :raises CrmTransientError: the outcome of a row is unknown, or the ledger is out of reach: the next try
            looks first and goes on.
        """
        with (
            closing(self._hook()) as hook,
            open_ledger(hook, self.ledger_conn_id, origin_of(context)) as ledger,
        ):
            self._ledger = ledger
            try:
                return super().execute(context)
            finally:
                if self._credits is not None:
                    self._credits.close()

    def _hook(self) -> SpreadHook:
        return SpreadHook(self.spread_conn_id, concurrency=self.concurrency)

    def _destination(self, hook: SpreadHook, source: Source) -> CreditLoyalty:
        fields = CreditFields(self.key_field, self.email_field, self.customer_id_field, self.amount_field)
        self._check_columns(source, fields)
        assert self._ledger is not None
        baselines = Baselines(hook, self._ledger, most_calls=calls_for(source, fields.customer_id))
        self._credits = (ExpectedCredits if self.only_plan else CreditLoyalty)(
            hook,
            self._ledger,
            baselines,
            Doubts(hook, self._ledger, baselines, settle_seconds=float(self.settle_seconds)),
            CreditReader(fields, secret=hook.settings.password, allow_debit=self.allow_debit),
        )
        return self._credits

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

    def _parameters(self) -> tuple[Any, ...]:
        return (
            self.spread_conn_id,
            self.ledger_conn_id,
            self.key_field,
            self.email_field,
            self.customer_id_field,
            self.amount_field,
            self.allow_debit,
        )

    def _summary(self, report: Report) -> dict[str, Any]:
        summary = super()._summary(report)
        return {
            **summary,
            "credited": summary["created"],
            "already_credited": summary["unchanged"],
            "amount": f"{report.amount:f}",
        }


class SpreadAuditLoyaltyOperator(BaseOperator):
    """Compare the ledger with SPREAD's loyalty lines, and fail when a credit of the ledger has no line.

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
        "created_after",
        "created_before",
        "report_path",
        "spread_conn_id",
        "ledger_conn_id",
    )

    def __init__(
        self,
        *,
        created_after: datetime | str | None = None,
        created_before: datetime | str | None = None,
        report_path: str | os.PathLike[str] | None = None,
        margin_hours: float = 26,
        settle_seconds: float = 10,
        spread_conn_id: str = SpreadHook.default_conn_name,
        ledger_conn_id: str = LEDGER_CONN,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.created_after = created_after
        self.created_before = created_before
        self.report_path = report_path
        self.margin_hours = margin_hours
        self.settle_seconds = settle_seconds
        self.spread_conn_id = spread_conn_id
        self.ledger_conn_id = ledger_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Compare.

        :return: ``credits``, ``lines``, ``credits_without_line``, ``credits_with_another_amount``,
            ``credits_in_doubt``, ``lines_without_credit``.
        :raises CrmFailError: a credit of the ledger has no line in the CRM.
        """
        after, before = _moment(self.created_after), _moment(self.created_before)
        with (
            closing(SpreadHook(self.spread_conn_id)) as hook,
            open_ledger(hook, self.ledger_conn_id, origin_of(context)) as ledger,
        ):
            credits_ = {
                str(row["line_id"]): row
                for row in ledger.history(states=[State.CREDITED], since=after, until=before)
            }
            in_doubt = sum(1 for _ in ledger.history(states=[State.SENDING, State.UNKNOWN]))
            lines = self._lines(hook, after, before)
            missing = [row for line, row in credits_.items() if line not in lines]
            self._let_settle(hook, missing)
            lines = self._lines_of_customers(hook, missing) | lines
            inside = [one for one, line in lines.items() if _inside(line, after, before)]
            known = credits_.keys() | ledger.lines_taken([one for one in inside if one not in credits_])
        found = {
            "credit without line": [row for line, row in credits_.items() if line not in lines],
            "credit with another amount": [
                row
                for line, row in credits_.items()
                if line in lines and line_amount(lines[line]) != row["amount"]
            ],
            "line without credit": [lines[one] for one in inside if one not in known],
        }
        self._write(found)
        without_line, another_amount, without_credit = map(len, found.values())
        result = {
            "credits": len(credits_),
            "lines": len(inside),
            "credits_without_line": without_line,
            "credits_with_another_amount": another_amount,
            "credits_in_doubt": in_doubt,
            "lines_without_credit": without_credit,
        }
        self.log.info("Audit: %s", result)
        if without_line:
            where = (
                f", listed in {self.report_path}" if self.report_path else "; set `report_path` to list them"
            )
            raise CrmFailError(f"{without_line} credits of the ledger have no line in SPREAD{where}")
        return result

    def _lines(self, hook: SpreadHook, after: datetime | None, before: datetime | None) -> dict[str, Any]:
        """Read the lines of the window and of a margin around it, since the two clocks need not agree."""
        margin = timedelta(hours=self.margin_hours)
        pages = line_pages(
            hook, created_after=after and after - margin, created_before=before and before + margin
        )
        return {line_id(line): line for page in pages for line in page if is_credit_line(line)}

    def _let_settle(self, hook: SpreadHook, rows: Sequence[Any]) -> None:
        """Give the lines of credits that were noted just now the time to be seen."""
        if rows:
            age = (utc_now() - max(row["updated_at"] for row in rows)).total_seconds()
            hook.pause(min(max(float(self.settle_seconds) - age, 0.0), float(self.settle_seconds)))

    @staticmethod
    def _lines_of_customers(hook: SpreadHook, rows: Sequence[Any]) -> dict[str, Any]:
        """Look once more for lines that were not among those of the window: the CRM's clock may be days away."""
        customers = dict.fromkeys(str(row["customer_id"]) for row in rows if row["customer_id"])
        found = CustomerLines(hook, lambda: None).of(customers)
        return {line_id(line): line for lines in found.values() for line in lines if is_credit_line(line)}

    def _write(self, found: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        if not self.report_path:
            return
        journal = Journal(self.report_path)
        journal.open()
        for problem, rows in found.items():
            for row in rows:
                journal.append(
                    {
                        "problem": problem,
                        "credit_key": row.get("credit_key"),
                        "customer_id": row.get("customer_id", row.get("customerId")),
                        "amount": str(row.get("amount")),
                        "line_id": row.get("line_id", row.get("cagnotteLineId")),
                    }
                )
        journal.close()


def _inside(line: Mapping[str, Any], after: datetime | None, before: datetime | None) -> bool:
    """Tell whether a line belongs to the window; one without a date that can be read does."""
    try:
        moment = _moment(str(line.get("cagnotteLineDate") or ""))
    except CrmInputError:
        return True
    return moment is None or ((after is None or moment >= after) and (before is None or moment < before))


def _moment(value: datetime | str | None) -> datetime | None:
    if value is None or value == "":
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value.strip())
    except ValueError:
        raise CrmInputError("A window is given as datetimes or YYYY-MM-DD HH:MM:SS") from None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
