"""What every operator shares: its parameters are checked, its hook is made and closed once a task. Knows no CRM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from airflow_provider_crm._compat import AirflowArguments, BaseOperator
from airflow_provider_crm.hooks.base.hook import CrmHook
from airflow_provider_crm.operators.base.mapped import check_files
from airflow_provider_crm.parameters import CheckedParameters

if TYPE_CHECKING:
    from airflow_provider_crm._compat import Context


class CrmBaseOperator(CheckedParameters, BaseOperator):
    """An operator that works through the hook of one CRM.

    Subclasses declare their parameters and the class of the hook, which names the parameter of its connection.
    """

    hook_class: ClassVar[type[CrmHook[Any]]]
    #: Calls in flight where neither the task nor the connection says; the hook's own default otherwise.
    default_concurrency: ClassVar[int | None] = None
    #: Calls in flight, where the task has a parameter for it.
    concurrency: Any = None
    #: Parameters that do not make it another task, so that a retry with another value goes on where the try before
    #: has stopped. All others do: one that is forgotten here costs some work, never a row.
    not_in_fingerprint: ClassVar[frozenset[str]] = frozenset()
    _stop: Callable[[], None] | None = None

    def __init__(self, **kwargs: Unpack[AirflowArguments]) -> None:
        # Airflow takes the defaults of a mapped task from each class on the way: one without an `__init__` of its own
        # would seem to set `retries=0` and `inlets=None`.
        super().__init__(**kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Do the work.

        :return: the summary, which is JSON and names no person.
        :raises CrmInputError: a parameter cannot be used; nothing was written.
        """
        self.check_parameters()
        check_files(self, context, self.parameters())
        with closing(self._hook()) as hook:
            self._stop = hook.close
            return self._run(context, hook)

    def _run(self, context: Context, hook: Any) -> dict[str, Any]:
        raise NotImplementedError

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

    def on_kill(self) -> None:
        """Let calls that wait give up."""
        if self._stop is not None:
            self._stop()
