"""What every operator shares: its parameters are checked, its hook is made and closed once a task. Knows no CRM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from airflow_provider_crm._compat import PAUSES, AirflowArguments, BaseOperator, BaseOperatorLink
from airflow_provider_crm.exceptions import redact
from airflow_provider_crm.hooks.base.hook import CrmHook
from airflow_provider_crm.http.client import Counters
from airflow_provider_crm.links import REPORT_KEY, run_links
from airflow_provider_crm.operators.base.lineage import DataSet, lineage
from airflow_provider_crm.operators.base.mapped import check_files
from airflow_provider_crm.operators.base.noted import NotedRun, note_run
from airflow_provider_crm.operators.base.run import Run, say
from airflow_provider_crm.parameters import CheckedParameters, ConnId

if TYPE_CHECKING:
    from airflow_provider_crm._compat import Context


class RunArguments(AirflowArguments, total=False):
    """What every operator takes, see :class:`CrmBaseOperator`."""

    history_conn_id: ConnId | None


class CrmBaseOperator(CheckedParameters, BaseOperator):
    """An operator that works through the hook of one CRM.

    Subclasses declare their parameters and the class of the hook, which names the parameter of its connection.

    :param history_conn_id: connection to the SQL database that keeps the history of runs; Airflow's option ``[crm]
        history_conn_id`` otherwise. (templated)
    """

    template_fields: Sequence[str] = ("history_conn_id",)
    operator_extra_links: Sequence[BaseOperatorLink] = run_links()

    hook_class: ClassVar[type[CrmHook[Any]]]
    #: Calls in flight where neither the task nor the connection says; the hook's own default otherwise.
    default_concurrency: ClassVar[int | None] = None
    #: Calls in flight, where the task has a parameter for it.
    concurrency: Any = None
    #: Parameters that do not make it another task, so that a retry with another value goes on where the try before
    #: has stopped. All others do: one that is forgotten here costs some work, never a row.
    not_in_fingerprint: ClassVar[frozenset[str]] = frozenset({"history_conn_id"})
    #: Whether nothing is sent, where the task has a parameter for it.
    only_plan: Any = False
    _stop: Callable[[], None] | None = None
    _stopped = False

    def __init__(self, *, history_conn_id: ConnId | None = None, **kwargs: Unpack[AirflowArguments]) -> None:
        # Airflow takes the defaults of a mapped task from each class on the way: one without an `__init__` of its own
        # would seem to set `retries=0` and `inlets=None`.
        super().__init__(**kwargs)
        self.history_conn_id = history_conn_id
        self._counters: Counters | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Do the work, and push the report as XCom ``crm_report``, however it ends.

        :return: the summary, which is JSON and names no person.
        :raises CrmInputError: a parameter cannot be used; nothing was written.
        """
        return self._lead(context)

    def _lead(self, context: Context) -> dict[str, Any]:
        run = Run(self._system(), type(self).__name__, dry_run=self.only_plan is True)
        noted = None
        try:
            self.check_parameters()
            noted = note_run(self.history_conn_id, context, run)
            summary = self._execute(context)
        except PAUSES:
            if noted:
                noted.forget()
            raise
        except BaseException as error:
            report = run.report(self._account(), error, stopped=self._stopped, paths=self._paths())
            self._end(context, report, noted)
            raise
        self._end(context, run.report(self._account(), None, stopped=False), noted)
        return summary

    def _execute(self, context: Context) -> dict[str, Any]:
        check_files(self, context, self.parameters())
        with closing(self._hook()) as hook:
            self._counters = hook.counters
            self._stop = hook.close
            return self._begin(context, hook)

    def _begin(self, context: Context, hook: Any) -> dict[str, Any]:
        """Do the work, or have it approved first."""
        return self._run(context, hook)

    def _account(self) -> dict[str, Any]:
        """Return what has been done so far, by the names of the report. Subclasses add what they count."""
        return {
            "requests": self._counters.requests if self._counters else 0,
            "retries": self._counters.retries if self._counters else 0,
            "last_row": None,
            "reasons": [],
            "rejects_path": None,
            "results_path": None,
        }

    def _paths(self) -> list[str]:
        """Return the paths among the parameters, but for those that name somebody."""
        given = (getattr(self, name, None) for name in self.template_fields)
        paths = (getattr(one, "path", one) for one in given)  # of a source that is a file too
        return [
            path for path in paths if isinstance(path, str) and "/" in path and "<email>" not in redact(path)
        ]

    def _goes_on(self) -> bool:
        """Return whether this try has gone on after the rows of an earlier one, and counts them too."""
        return False

    def _end(self, context: Context, report: dict[str, Any], noted: NotedRun | None) -> None:
        """Report what became of the run; nothing that fails here changes it."""
        say(report)
        self._push(context, REPORT_KEY, report)
        if noted:
            noted.end(report, goes_on=self._goes_on())

    def _announce(self, context: Context, extra: dict[str, Any]) -> None:
        """Say in the events of the outlet assets what was done."""
        events: Any = context.get("outlet_events")
        if events is None:
            return
        for outlet in self.outlets or ():
            if getattr(outlet, "uri", None):  # an asset; an alias has none
                events[outlet].extra.update(extra)

    def _push(self, context: Context, key: str, value: Any) -> None:
        instance: Any = context.get("ti")
        if instance is None:
            return
        try:
            instance.xcom_push(key, value)
        except Exception as error:
            self.log.warning("The XCom %s could not be written: %s", key, redact(error))

    def _run(self, context: Context, hook: Any) -> dict[str, Any]:
        raise NotImplementedError

    def _system(self) -> str:
        """Return what the report calls the CRM."""
        return self.hook_class.conn_type

    def _hook(self) -> Any:
        conn_id = getattr(self, self.hook_class.conn_name_attr)
        hook: CrmHook[Any] = self.hook_class(conn_id, concurrency=self.concurrency)
        if self.default_concurrency is not None:
            hook.default_concurrency = self.default_concurrency
        return hook

    def _identity(self, hook: CrmHook[Any]) -> Sequence[Any]:
        """Return what makes this task the one it is, besides its rows."""
        given = [
            (parameter.name, getattr(self, attribute, None))
            for attribute, parameter in self.parameters().items()
            if parameter.name not in self.not_in_fingerprint
        ]
        # What went to another CRM or account is not done here.
        return [type(self).__name__, hook.account, sorted(given)]

    # For OpenLineage

    def _data_sets(self) -> tuple[list[DataSet], list[DataSet]]:
        """Return what was read and what was written so far; nothing as long as nothing is known."""
        return [], []

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Name what was read and what was written, with the numbers of rows; asked after a failure, too."""
        return lineage(*self._data_sets())  # of nothing too: of None Airflow logs a warning

    def on_kill(self) -> None:
        """End calls that wait."""
        self._stopped = True
        if self._stop is not None:
            self._stop()
