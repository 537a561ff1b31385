"""What every writing operator shares: its parameters, and the way from a source through the engine to a summary.

Knows Airflow and the engine; which CRM it is, and what a row means to it, is said by a subclass.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, Required, Unpack

from airflow_provider_crm._compat import BaseOperatorLink
from airflow_provider_crm.bulk.checkpoint import Checkpoint, fingerprint
from airflow_provider_crm.bulk.engine import BulkEngine, DryRun
from airflow_provider_crm.bulk.outcomes import Destination, Ending
from airflow_provider_crm.bulk.prepass import AtLeast, Check, NearUsual, look_through
from airflow_provider_crm.bulk.preview import Preview
from airflow_provider_crm.bulk.report import Report
from airflow_provider_crm.bulk.snapshot import Snapshot
from airflow_provider_crm.bulk.suppression import Suppressible, Suppressing
from airflow_provider_crm.hooks.base.hook import CrmHook
from airflow_provider_crm.links import REJECTS_KEY, RejectsFileLink, run_links
from airflow_provider_crm.operators.base.approved import ApprovalArguments, CrmApprovedOperator
from airflow_provider_crm.operators.base.lineage import DataSet, crm_list, rows_of
from airflow_provider_crm.operators.base.metrics import emit
from airflow_provider_crm.operators.base.noted import NotedRun, usual_rows_of
from airflow_provider_crm.operators.base.suppression import read_suppression_list
from airflow_provider_crm.parameters import (
    Concurrency,
    FieldMap,
    MaxRejects,
    MinRows,
    Nulls,
    Path,
    Share,
    YesOrNo,
)
from airflow_provider_crm.rows.parameter import Source as SourceParameter
from airflow_provider_crm.rows.sources import Source, open_source
from airflow_provider_crm.rows.templates import SourceField

if TYPE_CHECKING:
    from airflow_provider_crm._compat import Context


class RowArguments(ApprovalArguments, total=False):
    """What every writing operator takes, wherever its rows are from, see :class:`CrmWriteOperator`."""

    rejects_path: Path | None
    reject_data: YesOrNo
    results_path: Path | None
    max_rejects: MaxRejects
    min_rows: MinRows | None
    max_deviation: Share | None
    nulls: Nulls
    concurrency: Concurrency | None
    dry_run: YesOrNo


class WriteArguments(RowArguments, total=False):
    """What every operator takes that writes rows of a source, see :class:`CrmBulkOperator`."""

    source: Required[SourceParameter]


class SuppressibleArguments(WriteArguments, total=False):
    """What operators that write to people take, see :class:`CrmSuppressibleOperator`."""

    suppression_source: SourceParameter | None


class MappedArguments(SuppressibleArguments, total=False):
    """What operators with a map of columns take, see :class:`CrmMappedOperator`."""

    field_map: FieldMap | None


class CrmWriteOperator(CrmApprovedOperator):
    """Writes rows into a CRM and accounts for each of them.

    :param rejects_path: path or URI of a JSON-lines file that takes the rejected rows. (templated)
    :param reject_data: whether the rows themselves are written there too. (templated)
    :param results_path: path or URI of a JSON-lines file that takes the end of every row. (templated)
    :param max_rejects: fail when more rows are rejected: a number, or a float as share of the rows. (templated)
    :param min_rows: fail before anything is sent when the source has fewer rows. (templated)
    :param max_deviation: fail before anything is sent when the rows of the source differ by more than this share, such
        as 0.5, from the median of the last seven successful runs of this task, which needs the history. Fewer
        than three runs let it pass. (templated)
    :param nulls: ``skip`` leaves empty values out, ``send`` sends them. (templated)
    :param concurrency: calls in flight of the whole task; the connection's extra and then 8 otherwise.
        (templated)
    :param dry_run: do everything but the calls that write, and report what they would have done. (templated)

    See :class:`~airflow_provider_crm.operators.base.approved.CrmApprovedOperator` for ``approval``.
    """

    template_fields: Sequence[str] = (
        *CrmApprovedOperator.template_fields,
        "rejects_path",
        "reject_data",
        "results_path",
        "max_rejects",
        "min_rows",
        "max_deviation",
        "nulls",
        "concurrency",
        "only_plan",
    )
    ui_color = "#e8f0fe"
    operator_extra_links: Sequence[BaseOperatorLink] = run_links(RejectsFileLink())
    # The rows are compared one by one. The others say whether the task may begin or ends well, and how fast it is.
    not_in_fingerprint = CrmApprovedOperator.not_in_fingerprint | {
        "source",
        "max_rejects",
        "min_rows",
        "max_deviation",
        "concurrency",
        "dry_run",
    }

    def __init__(
        self,
        *,
        rejects_path: Path | None = None,
        reject_data: YesOrNo = True,
        results_path: Path | None = None,
        max_rejects: MaxRejects = 0,
        min_rows: MinRows | None = None,
        max_deviation: Share | None = None,
        nulls: Nulls = "skip",
        concurrency: Concurrency | None = None,
        dry_run: YesOrNo = False,
        **kwargs: Unpack[ApprovalArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.rejects_path: Any = rejects_path
        self.reject_data: Any = reject_data
        self.results_path: Any = results_path
        self.max_rejects: Any = max_rejects
        self.min_rows: Any = min_rows
        self.max_deviation: Any = max_deviation
        self.nulls = nulls
        self.concurrency = concurrency
        self.only_plan: Any = dry_run  # `dry_run` is a method of Airflow's own operator
        self._report: Report | None = None
        self._sent_to = ""
        #: What else counts rows than their report: a snapshot, a preview.
        self._counting: Sequence[Any] = ()

    # What a subclass adds

    #: The list of the CRM that is written to, as its exports call it, such as ``customers``.
    resource: ClassVar[str]

    def _destination(self, hook: Any, source: Source) -> Destination[Any]:
        """Return the destination; checks everything that can be checked before the first row."""
        raise NotImplementedError

    def _guarded(self, context: Context, destination: Destination[Any]) -> Destination[Any]:
        """Return the destination with what keeps it from sending some of the rows."""
        return destination

    def _summary(self, report: Report) -> dict[str, Any]:
        """Return the counts of the rows, and where the rejects are."""
        return report.summary()

    def _erased_as(self) -> str | None:
        """Return what the results call a person who was erased; None where nobody is."""
        return None

    def _checks(self) -> list[Check]:
        """Return what has to be true of the source before anything is sent."""
        return [AtLeast(self.min_rows)] if self.min_rows else []

    def _opened_snapshot(
        self, context: Context, hook: Any, destination: Any, guarded: Destination[Any]
    ) -> AbstractContextManager[Snapshot[Any] | None]:
        """Open what the CRM has accepted before, where the task keeps that.

        :param guarded: the destination with what keeps it from sending some of the rows.
        """
        return nullcontext()

    def _preview_of(self, destination: Any) -> Preview[Any] | None:
        """Return what shows a person what the task would do, where they want to see that."""
        return None

    def _counts(self) -> dict[str, Any]:
        """Return what else is counted than how rows end."""
        return {name: count for one in self._counting for name, count in one.counts.items()}

    def _run(self, context: Context, hook: Any) -> dict[str, Any]:
        """Process the source.

        :return: counts of the rows by their end, of requests and retries, seconds, and the rejects' path.
        :raises CrmRejectsError: more rows were rejected than ``max_rejects``, after all others were processed.
        """
        started = time.monotonic()
        self._sent_to = hook.settings.base_url
        source = self._looked_through or self._source(context, hook)
        self._report = report = Report(
            rejects_path=self.rejects_path,
            reject_data=self.reject_data,
            results_path=self.results_path,
            dry_run=self.only_plan,
            erased_as=self._erased_as(),
        )
        destination = self._destination(hook, source)
        guarded = self._guarded(context, destination)
        preview = self._preview_of(destination)
        with (
            preview.file() if preview else nullcontext(),
            self._opened_snapshot(context, hook, destination, guarded) as snapshot,
        ):
            self._counting = [one for one in (snapshot, preview) if one is not None]
            # Those of the class come last: an erasure's adds people to a file, where no other refuses the source.
            checks = [*self._usual(context), *(snapshot.checks if snapshot else ()), *self._checks()]
            source = look_through(source, checks)
            planned: Destination[Any] = DryRun(guarded) if self.only_plan else guarded
            engine: BulkEngine[Any] = BulkEngine(
                preview.planned(planned) if preview else planned,
                source,
                report,
                None if snapshot else self._checkpoint(context, hook),
                may_repeat=self._may_repeat(context),
                concurrency=hook.concurrency,
                max_retries=hook.settings.extras.max_retries,
                sleep=hook.pause,
                now=hook.clock.now,
                stop=hook.close,
                snapshot=snapshot,
                preview=preview,
                span={"crm.system": hook.conn_type, "crm.operator": type(self).__name__},
            )
            said = "Dry run: looking what would be sent of" if self.only_plan else "Sending"
            self.log.info("%s %s to %s", said, source.description, hook.hook_name)
            try:
                engine.run()
            finally:
                report.close()
            summary = {
                **self._summary(report),
                **self._counts(),
                "requests": hook.counters.requests,
                "retries": hook.counters.retries,
                "seconds": round(time.monotonic() - started, 3),
            }
            emit(hook.conn_type, type(self).__name__, summary, dry_run=self.only_plan)
            report.check_rejects(self.max_rejects)
        return summary

    def _plan(self, context: Context, hook: Any) -> tuple[Report, Mapping[str, Any]]:
        twin = self._twin()
        twin.rejects_path = twin.results_path = None
        twin.max_rejects = 1.0  # they end the run, and do not keep it from beginning
        summary = twin._run(context, hook)
        return twin._report, summary

    def _usual(self, context: Context) -> list[Check]:
        if self.max_deviation is None:
            return []
        usual = usual_rows_of(self.history_conn_id, context)
        return [] if usual is None else [NearUsual(usual, self.max_deviation)]

    def _goes_on(self) -> bool:
        return self._report is not None and self._report.goes_on

    def _account(self) -> dict[str, Any]:
        report = self._report or Report()
        return {
            **self._summary(report),
            **self._counts(),
            **super()._account(),
            "last_row": report.last_row,
            "reasons": report.reasons.told(),
            "rejects_path": self.rejects_path,
            "results_path": self.results_path,
        }

    def _end(self, context: Context, report: dict[str, Any], noted: NotedRun | None) -> None:
        super()._end(context, report, noted)
        if report["state"] == "success":
            ends = ("read", *(ending.value for ending in Ending), "credited", "already_credited", "amount")
            self._announce(context, {end: report[end] for end in ends if end in report})
        # For the link, which Airflow makes for each task: without the XCom it logs an error.
        self._push(context, REJECTS_KEY, (report["rejected"] and self.rejects_path) or "")

    def _data_sets(self) -> tuple[list[DataSet], list[DataSet]]:
        if self._report is None:
            return [], []
        return self._read_sets(self._report.read), [] if self.only_plan else self._written_sets(self._report)

    def _read_sets(self, rows: int) -> list[DataSet]:
        """Return what OpenLineage is told of the rows' origin."""
        raise NotImplementedError

    def _written_sets(self, report: Report) -> list[DataSet]:
        """Return what OpenLineage is told of where the rows went."""
        changed = report.counts[Ending.CREATED] + report.counts[Ending.UPDATED]
        return [crm_list(self._sent_to, self.resource, changed)]

    def _checkpoint(self, context: Context, hook: CrmHook[Any]) -> Checkpoint | None:
        if self.only_plan:
            return None
        store: Any = context.get("task_state_store")
        if store is None:
            self.log.info("This Airflow keeps no state for tasks: a retry starts from the first row")
            return None
        return Checkpoint(store, fingerprint(*self._identity(hook)))

    def _may_repeat(self, context: Context) -> bool:
        """Return whether an earlier try may have sent rows of which Airflow keeps no state."""
        if self.only_plan or context.get("task_state_store") is not None:
            return False
        return (getattr(context.get("ti"), "try_number", None) or 1) > 1


class CrmBulkOperator(CrmWriteOperator):
    """Writes every row of a source into a CRM and accounts for each of them.

    :param source: a list of dicts, a path or URI (``.csv``, ``.jsonl``, ``.parquet``, also ``.gz``; a glob or a
        folder reads all), a :class:`~airflow_provider_crm.rows.sources.FileSource` or a
        :class:`~airflow_provider_crm.rows.sources.SqlSource`. (templated, but for rows, which are never rendered)

    See :class:`CrmWriteOperator` for the other parameters.
    """

    source = SourceField()
    template_fields: Sequence[str] = ("source", *CrmWriteOperator.template_fields)

    def __init__(self, *, source: SourceParameter, **kwargs: Unpack[RowArguments]) -> None:
        super().__init__(**kwargs)
        self.source = source

    def _source(self, context: Context, hook: Any) -> Source:
        return open_source(self.source)

    def _read_sets(self, rows: int) -> list[DataSet]:
        return rows_of(self.source, rows)


class CrmSuppressibleOperator(CrmBulkOperator):
    """A bulk operator that writes to people, and to nobody on a list.

    :param suppression_source: people who are not to be written to: a source as ``source``, with a column named as the
        match key, or ``email`` with addresses or their MD5, SHA-1 or SHA-256 hashes. It is read before anything is
        sent, and the task fails when it cannot be read. The rows of these people end as skipped, with the reason
        ``suppressed``; only opt-outs in them are carried out. (templated)
    """

    suppression_source = SourceField()
    template_fields: Sequence[str] = (*CrmBulkOperator.template_fields, "suppression_source")
    # What is still to be sent is held against the list of this try.
    not_in_fingerprint = CrmBulkOperator.not_in_fingerprint | {"suppression_source"}

    def __init__(
        self, *, suppression_source: SourceParameter | None = None, **kwargs: Unpack[WriteArguments]
    ) -> None:
        super().__init__(**kwargs)
        self.suppression_source = suppression_source

    def _destination(self, hook: Any, source: Source) -> Suppressible[Any]:
        raise NotImplementedError

    def _guarded(self, context: Context, destination: Any) -> Destination[Any]:
        if self.suppression_source is None:
            return super()._guarded(context, destination)
        suppressed = read_suppression_list(context, self.suppression_source, destination.identifiers)
        return Suppressing(destination, suppressed)


class CrmMappedOperator(CrmSuppressibleOperator):
    """A bulk operator whose columns are mapped to the CRM's fields.

    :param field_map: column to the CRM's field; without it the columns are the CRM's own field names. (templated)
    """

    template_fields: Sequence[str] = (*CrmSuppressibleOperator.template_fields, "field_map")
    template_fields_renderers = {"field_map": "json"}

    def __init__(self, *, field_map: FieldMap | None = None, **kwargs: Unpack[SuppressibleArguments]) -> None:
        super().__init__(**kwargs)
        self.field_map = field_map
