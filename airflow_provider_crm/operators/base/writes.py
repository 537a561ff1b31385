"""What every writing operator shares: its parameters, and the way from a source through the engine to a summary.

Knows Airflow and the engine; which CRM it is, and what a row means to it, is said by a subclass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow_provider_crm._compat import BaseOperator, BaseOperatorLink
from airflow_provider_crm.bulk.checkpoint import Checkpoint, fingerprint
from airflow_provider_crm.bulk.engine import BulkEngine, DryRun, check_min_rows
from airflow_provider_crm.bulk.outcomes import Destination
from airflow_provider_crm.bulk.report import Report, check_max_rejects
from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.hooks.base.hook import CrmHook
from airflow_provider_crm.links import REJECTS_KEY, RejectsFileLink
from airflow_provider_crm.operators.base.metrics import emit
from airflow_provider_crm.rows.sources import Source, open_source
from airflow_provider_crm.rows.templates import SourceField

if TYPE_CHECKING:
    from airflow_provider_crm._compat import Context


class CrmBulkOperator(BaseOperator):
    """Writes every row of a source into a CRM and accounts for each of them.

    :param source: a list of dicts, a path or URI (``.csv``, ``.jsonl``, ``.parquet``, also ``.gz``; a glob or a
        folder reads all), or a :class:`~airflow_provider_crm.rows.sources.SqlSource`. (templated)
    :param rejects_path: path or URI of a JSON-lines file that takes the rejected rows. (templated)
    :param reject_data: whether the rows themselves are written there too.
    :param results_path: path or URI of a JSON-lines file that takes the end of every row. (templated)
    :param max_rejects: fail when more rows are rejected: a number, or a float as share of the rows. (templated)
    :param min_rows: fail before anything is sent when the source has fewer rows. (templated)
    :param nulls: ``skip`` leaves empty values out, ``send`` sends them.
    :param concurrency: calls in flight of the whole task; the connection's extra and then 8 otherwise.
    :param dry_run: do everything but the calls that write, and report what they would have done.
    """

    source = SourceField()
    template_fields: Sequence[str] = (
        "source",
        "rejects_path",
        "results_path",
        "max_rejects",
        "min_rows",
    )
    ui_color = "#e8f0fe"
    operator_extra_links: Sequence[BaseOperatorLink] = (RejectsFileLink(),)

    def __init__(
        self,
        *,
        source: Any,
        rejects_path: str | None = None,
        reject_data: bool = True,
        results_path: str | None = None,
        max_rejects: int | float | str = 0,
        min_rows: int | str | None = None,
        nulls: str = "skip",
        concurrency: int | None = None,
        dry_run: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.rejects_path = rejects_path
        self.reject_data = reject_data
        self.results_path = results_path
        self.max_rejects = max_rejects
        self.min_rows = min_rows
        self.nulls = nulls
        self.concurrency = concurrency
        self.only_plan = dry_run  # `dry_run` is a method of Airflow's own operator
        self._stop: Callable[[], None] | None = None

    # What a subclass adds

    def _hook(self) -> CrmHook[Any]:
        raise NotImplementedError

    def _destination(self, hook: Any, source: Source) -> Destination[Any]:
        """Make the destination; checks everything that can be checked before the first row."""
        raise NotImplementedError

    def _parameters(self) -> tuple[Any, ...]:
        """Give what makes this task another one, besides its rows: a retry with another value starts afresh."""
        raise NotImplementedError

    def _summary(self, report: Report) -> dict[str, Any]:
        """Give the counts of the rows, and where the rejects are."""
        return report.summary()

    def _check_source(self, source: Source) -> None:
        """Refuse a source whose size is not what was expected, before anything is sent.

        :raises CrmInputError: it is not.
        """
        check_min_rows(source, _whole("min_rows", self.min_rows))

    def execute(self, context: Context) -> dict[str, Any]:
        """Process the source.

        :return: counts of the rows by their end, of requests and retries, seconds, and the rejects' path.
        :raises CrmRejectsError: more rows were rejected than ``max_rejects``, after all others were processed.
        """
        started = time.monotonic()
        max_rejects = check_max_rejects(self.max_rejects)
        # A text such as "False" would be true, and write what it was to leave out.
        yes_or_no("reject_data", self.reject_data)
        yes_or_no("dry_run", self.only_plan)
        if self.concurrency is not None and not (type(self.concurrency) is int and self.concurrency > 0):
            raise CrmInputError(f"`concurrency` is a whole number above 0, not {self.concurrency!r}")
        source = open_source(self.source)
        report = Report(
            rejects_path=self.rejects_path, reject_data=self.reject_data, results_path=self.results_path
        )
        with closing(self._hook()) as hook:
            self._stop = hook.close
            destination = self._destination(hook, source)
            self._check_source(source)
            engine: BulkEngine[Any] = BulkEngine(
                DryRun(destination) if self.only_plan else destination,
                source,
                report,
                self._checkpoint(context, hook),
                concurrency=hook.concurrency,
                max_retries=hook.settings.extras.max_retries,
                sleep=hook.pause,
                stop=hook.close,
            )
            self.log.info("Sending %s to %s", source.description, hook.hook_name)
            try:
                engine.run()
            finally:
                report.close()
        summary = {
            **self._summary(report),
            "requests": hook.counters.requests,
            "retries": hook.counters.retries,
            "seconds": round(time.monotonic() - started, 3),
        }
        self.log.info("Done: %s", ", ".join(f"{name} {value}" for name, value in summary.items()))
        emit(hook.conn_type, type(self).__name__, summary)
        if summary["rejected"] and self.rejects_path and "ti" in context:
            context["ti"].xcom_push(REJECTS_KEY, self.rejects_path)  # for the link, also of a task that fails
        report.check_rejects(max_rejects)
        return summary

    def on_kill(self) -> None:
        """Let calls that wait give up."""
        if self._stop is not None:
            self._stop()

    def _checkpoint(self, context: Context, hook: CrmHook[Any]) -> Checkpoint | None:
        if self.only_plan:
            return None
        store: Any = context.get("task_state_store")
        if store is None:
            self.log.info("This Airflow keeps no state for tasks: a retry starts from the first row")
            return None
        parameters = fingerprint(
            type(self).__name__,
            # What went to another CRM or account is not done here.
            hook.settings.base_url,
            hook.settings.login,
            self.rejects_path,
            self.reject_data,
            self.results_path,
            self.nulls,
            *self._parameters(),
        )
        return Checkpoint(store, parameters)


class CrmMappedOperator(CrmBulkOperator):
    """A bulk operator whose columns are mapped to the CRM's fields.

    :param field_map: column to the CRM's field; without it the columns are the CRM's own field names. (templated)
    """

    template_fields: Sequence[str] = (*CrmBulkOperator.template_fields, "field_map")
    template_fields_renderers = {"field_map": "json"}

    def __init__(self, *, field_map: Mapping[str, str | int] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.field_map = field_map


class CrmDeleteOperator(CrmBulkOperator):
    """A bulk operator that erases people.

    :param require_confirmation_count: refuse to start when the source has another number of rows than this one,
        which somebody announced. (templated)
    """

    template_fields: Sequence[str] = (*CrmBulkOperator.template_fields, "require_confirmation_count")

    def __init__(self, *, require_confirmation_count: int | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.require_confirmation_count = require_confirmation_count

    def _check_source(self, source: Source) -> None:
        super()._check_source(source)
        announced = _whole("require_confirmation_count", self.require_confirmation_count)
        if announced is None:
            return
        found = sum(1 for _ in source)
        if found != announced:
            raise CrmInputError(
                f"The source has {found} rows, {announced} were announced: nothing was deleted. "
                f"Check the source, or `require_confirmation_count`"
            )


def _whole(name: str, value: int | str | None) -> int | None:
    if value is None or value == "":
        return None
    try:
        return int(value)
    except ValueError:
        raise CrmInputError(f"`{name}` is a whole number, not {value!r}") from None


def yes_or_no(name: str, value: object) -> None:
    """Refuse a value that is neither True nor False.

    :raises CrmInputError: it is not.
    """
    if not isinstance(value, bool):
        raise CrmInputError(f"`{name}` is True or False, not {value!r}")


def one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse a value that is not among those allowed.

    :raises CrmInputError: it is not.
    """
    if value not in allowed:
        raise CrmInputError(f"`{name}` is one of {', '.join(map(repr, allowed))}, not {value!r}")
