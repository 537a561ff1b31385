"""What SPREAD's exports share: the window, the watermark, and which rows of a page belong to it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Unpack
from zoneinfo import ZoneInfo

import msgspec

from airflow_provider_crm.bulk.checkpoint import fingerprint
from airflow_provider_crm.bulk.export import Exported, ExportPage
from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.hooks.spread import SpreadHook
from airflow_provider_crm.hooks.spread.wire import MAX_PAGE
from airflow_provider_crm.operators.base.exports import CrmExportOperator, ExportArguments, rejects_of
from airflow_provider_crm.operators.base.mapped import as_written, is_mapped
from airflow_provider_crm.operators.base.watermarks import RunStretch, Stretch, Watermark
from airflow_provider_crm.operators.base.windows import (
    SETTLING,
    Window,
    interval_of,
    local_time,
    next_start,
    zone_named,
)
from airflow_provider_crm.parameters import ConnId, Time, YesOrNo, is_known, moment, one_of, whole
from airflow_provider_crm.rows.blocks import Column, Format
from airflow_provider_crm.rows.templates import Rows
from airflow_provider_crm.rows.writers import check_suffix
from airflow_provider_crm.schemas.records import Records, RecordType

if TYPE_CHECKING:
    from airflow_provider_crm._compat import Context


def _time_zone(name: str, value: Any) -> str:
    zone_named(value)
    return str(value)


WhichWindow = Annotated[Literal["data_interval", "all"] | str, one_of("data_interval", "all")]
TimeZone = Annotated[str, _time_zone]
PageSize = Annotated[int | str, whole(1, MAX_PAGE)]


class SpreadExportArguments(ExportArguments, total=False):
    """What every export of a list of SPREAD takes, see :class:`CrmSpreadExportOperator`."""

    spread_conn_id: ConnId
    created_after: Time | None
    created_before: Time | None
    window: WhichWindow
    incremental: YesOrNo
    timezone: TimeZone
    raw: YesOrNo
    page_size: PageSize


class CrmSpreadExportOperator(CrmExportOperator):
    """Exports a list of SPREAD.

    Without any date filter the window is the run's data interval, its start included and its end not; a run without
    one is refused, unless ``window="all"`` says that everything is meant.

    :param spread_conn_id: the connection. (templated)
    :param created_after: bound of the window: a datetime, or text. With a zone it is converted to ``timezone``,
        without one it is sent as it is. (templated)
    :param created_before: the other bound. (templated)
    :param window: ``all`` exports everything although the run has a data interval. (templated)
    :param incremental: go on where the last export ended; needs Airflow 3.3 and exactly one outlet asset. (templated)
    :param timezone: the zone of the CRM's local times. (templated)
    :param raw: write the CRM's rows untouched; JSON lines only. (templated)
    :param page_size: rows a call, at most 5000. (templated)

    See :class:`~airflow_provider_crm.operators.base.exports.CrmExportOperator` for the other parameters.
    """

    template_fields: Sequence[str] = (
        *CrmExportOperator.template_fields,
        "spread_conn_id",
        "created_after",
        "created_before",
        "window",
        "incremental",
        "timezone",
        "raw",
        "page_size",
    )
    hook_class = SpreadHook
    record_type: RecordType
    #: The column that the window is about.
    created: str
    #: Filters that make a window of their own.
    other_windows: Sequence[str] = ()
    #: What else says which rows are exported, besides the account and the window.
    selects: Sequence[str] = ()

    def __init__(
        self,
        *,
        spread_conn_id: ConnId = SpreadHook.default_conn_name,
        created_after: Time | None = None,
        created_before: Time | None = None,
        window: WhichWindow = "data_interval",
        incremental: YesOrNo = False,
        timezone: TimeZone = "Europe/Paris",
        raw: YesOrNo = False,
        page_size: PageSize = MAX_PAGE,
        **kwargs: Unpack[ExportArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.spread_conn_id = spread_conn_id
        self.created_after = created_after
        self.created_before = created_before
        self.window = window
        self.incremental: Any = incremental
        self.timezone = timezone
        self.raw: Any = raw
        self.page_size: Any = page_size
        self._zone = ZoneInfo("UTC")
        self._covers = Window()
        self._watermark: Watermark | None = None
        self._stretch: Stretch | None = None
        self._run_stretch = RunStretch(None, "")

    def _columns(self, hook: SpreadHook) -> Sequence[Column]:
        return self.record_type.columns

    def _metadata(self) -> dict[str, str]:
        return {"crm.system": "spread", "crm.resource": self.record_type.name, "crm.timezone": self.timezone}

    def _filters(self) -> dict[str, Any]:
        """Return the filters besides the window."""
        raise NotImplementedError

    def _plan(self, context: Context, hook: Any) -> None:
        if self.raw and check_suffix(self.path) != ".jsonl":
            raise CrmInputError("`raw` rows go to .jsonl or .jsonl.gz only: they have no columns")
        self._zone = zone_named(self.timezone)
        if self.incremental:
            self._covers = self._since_watermark(context, hook)
        else:
            self._covers = Window.given(self.created_after, self.created_before, self._zone)
            own = any(getattr(self, name) is not None for name in self.other_windows)
            if self._covers == Window() and not own and self.window != "all":
                self._covers = self._interval(context)

    def _interval(self, context: Context) -> Window:
        window = interval_of(context, self._zone)
        if window is None:
            # Each day's file would hold everything: Airflow 3 gives a plain cron schedule runs that are moments.
            raise CrmInputError(
                "The run has no data interval to export: schedule the DAG with a CronDataIntervalTimetable (a plain "
                "cron schedule of Airflow 3 has runs without one), give `created_after` or `created_before`, or say "
                'window="all" to export everything'
            )
        return window

    def _since_watermark(self, context: Context, hook: Any) -> Window:
        if self.raw:
            raise CrmInputError("`incremental` cannot be had with `raw`: the rows are not looked into")
        dag_id = getattr(context.get("dag"), "dag_id", "")
        rows = fingerprint(
            dag_id, self.task_id, hook.account, self.resource, self.timezone, self._selection()
        )
        self._watermark = Watermark.of(context, self.outlets, f"crm_export.{self.task_id}.{rows}")
        self._run_stretch = RunStretch(context.get("task_state_store"), f"crm_export_window.{rows}")
        start = self._watermark.get()
        if start is None:
            start = self._taken_over(context, self._watermark, f"crm_export.{dag_id}.{self.task_id}")
        kept = self._run_stretch.get()
        self._stretch = self._new_stretch(start) if kept is None else kept.from_watermark(start)
        if kept is None:
            self._run_stretch.set(self._stretch)
        else:
            self.log.info("Exporting the window that this run has had before")
        return Window.from_to(self._stretch.start, self._stretch.end)

    def _new_stretch(self, start: dt.datetime | None) -> Stretch:
        given = Window.given(self.created_after, self.created_before, self._zone)
        if start is None and given.after:
            start = moment("created_after", given.after)
        if given.before:
            end = moment("created_before", given.before)
        else:
            end = local_time(dt.datetime.now(dt.UTC) - SETTLING, self._zone)
        return Stretch(start, max(end, start) if start else end)

    def _selection(self) -> list[tuple[str, Any]]:
        """Return what tells the rows of this task from others of the account, the same for the same rows."""
        given = ((name, getattr(self, name)) for name in self.selects)
        return [
            (name, sorted(map(str, value)) if isinstance(value, list | tuple | set | Rows) else str(value))
            for name, value in given
            if value is not None
        ]

    def _taken_over(self, context: Context, watermark: Watermark, key: str) -> dt.datetime | None:
        """Return the watermark of an earlier version, which was kept for the task, whatever it had exported."""
        start = watermark.former(key)
        if start is None:
            return None
        written = as_written(self, context)
        deciding = ("spread_conn_id", "timezone", *self.selects)
        if is_mapped(context) or not all(is_known(getattr(written, name, None)) for name in deciding):
            self.log.warning(
                "The watermark %s, kept under %r, is not used: a task that is mapped, or that takes what it exports "
                "from a template, may have read other rows up to it. Exporting from `created_after` on, if it is "
                "given",
                start,
                key,
            )
            return None
        self.log.info("Going on from the watermark %s that was kept under %r", start, key)
        watermark.take_over(key)
        return start

    def _after(self, exported: Exported) -> None:
        if self._watermark is None or self._stretch is None:
            return
        # In this order: a run of which the rows are passed by must know them for its own when it runs again.
        self._run_stretch.set(msgspec.structs.replace(self._stretch, exported=True))
        if exported.newest is not None:
            self._watermark.advance(next_start(exported.newest, self._zone))

    def _announcement(self) -> dict[str, Any]:
        return {"window": self._covers.described()}

    def _window_filters(self) -> dict[str, Any]:
        return self._covers.described()

    def _prepare(self, file_format: Format) -> Callable[[Records], ExportPage]:
        if self.raw or not (self._covers.end or self.incremental):
            return super()._prepare(file_format)
        holds = self._covers.holds

        def prepare(records: Records) -> ExportPage:
            times = [self._local_time(getattr(record, self.created)) for record in records.values]
            kept = [place for place, time in enumerate(times) if holds(time)]
            absent = {misfit.position for misfit in records.misfits}
            present = [place for place in range(len(records.keys)) if place not in absent]
            known = [times[place] for place in kept]
            return ExportPage(
                records.keys,
                file_format.encode([records.values[place] for place in kept], records.unknown),
                rejects=rejects_of(records),
                left_out=set(present) - {present[place] for place in kept},
                newest=max((time for time in known if time is not None), default=None),
            )

        return prepare

    def _local_time(self, value: dt.datetime | str | None) -> dt.datetime | None:
        """Return a record's local time, in seconds."""
        if value is None:
            return None
        if isinstance(value, str):
            return dt.datetime.fromisoformat(value[:19])
        return local_time(value, self._zone).replace(microsecond=0)
