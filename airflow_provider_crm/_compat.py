"""The only module that knows which Airflow is installed.

Everything else imports Airflow's names from here; a feature that some versions lack is asked of the
object itself (the context, the trigger), never of a version number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn, Required, TypedDict, TypeVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from airflow.configuration import conf
    from airflow.sdk import (
        BaseHook,
        BaseNotifier,
        BaseOperator,
        BaseOperatorLink,
        BaseSensorOperator,
        Connection,
        Context,
        ObjectStoragePath,
        PokeReturnValue,
        RetryDecision,
        RetryPolicy,
    )
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSkipException,
        AirflowTaskTimeout,
        TaskAwaitingInput,
        TaskDeferred,
    )
    from airflow.triggers.base import BaseEventTrigger
    from airflow.triggers.shared_stream import SharedStreamProducer

    #: Whether plugins have pages of their own in Airflow's menu.
    HAS_PAGES: bool
else:
    try:
        from airflow.sdk import BaseHook, Connection

        HAS_PAGES = True
    except ImportError:  # before 3.1
        from airflow.hooks.base import BaseHook
        from airflow.models.connection import Connection

        HAS_PAGES = False
    try:
        from airflow.sdk import (
            BaseOperator,
            BaseOperatorLink,
            BaseSensorOperator,
            Context,
            ObjectStoragePath,
            PokeReturnValue,
        )
    except ImportError:  # before 3.0
        from airflow.io.path import ObjectStoragePath
        from airflow.models.baseoperator import BaseOperator
        from airflow.models.baseoperatorlink import BaseOperatorLink
        from airflow.sensors.base import BaseSensorOperator, PokeReturnValue
        from airflow.utils.context import Context
    try:
        from airflow.sdk.exceptions import (
            AirflowException,
            AirflowFailException,
            AirflowNotFoundException,
            AirflowSkipException,
            AirflowTaskTimeout,
            TaskDeferred,
        )
    except ImportError:  # before 3.2
        from airflow.exceptions import (
            AirflowException,
            AirflowFailException,
            AirflowNotFoundException,
            AirflowSkipException,
            AirflowTaskTimeout,
            TaskDeferred,
        )
    try:
        from airflow.sdk.configuration import conf
    except ImportError:  # before 3.2
        from airflow.configuration import conf
    try:
        from airflow.triggers.base import BaseEventTrigger
    except ImportError:  # before 3.0

        class BaseEventTrigger(BaseTrigger):
            def __init__(self, **kwargs):
                raise AirflowException(
                    "Event triggers need Airflow 3.0 or later. Schedule the DAG by time, and let a sensor wait"
                )

    try:
        from airflow.triggers.shared_stream import SharedStreamProducer
    except ImportError:  # before 3.3
        SharedStreamProducer = object
    try:
        from airflow.sdk.exceptions import TaskAwaitingInput
    except ImportError:  # before 3.3
        TaskAwaitingInput = TaskDeferred
    try:
        from airflow.sdk import BaseNotifier
    except ImportError:  # before 3.0
        from airflow.notifications.basenotifier import BaseNotifier
    try:
        from airflow.sdk import RetryDecision, RetryPolicy
    except ImportError:  # before 3.3
        RetryDecision = RetryPolicy = object

T = TypeVar("T")

#: What is raised when a task lets go of its worker and will go on: no end of its run.
PAUSES = (TaskDeferred, TaskAwaitingInput)

Callbacks = Callable[..., Any] | list[Callable[..., Any]] | None


class AirflowArguments(TypedDict, total=False):
    """Airflow's own parameters of an operator: a name that is neither here nor ours is a slip of the pen.

    Without ``email``, which some of our tasks need for a person; Airflow's own goes into ``default_args``.
    """

    task_id: Required[str]
    allow_nested_operators: bool
    default_args: dict[str, Any] | None
    dag: Any
    depends_on_past: bool
    do_xcom_push: bool
    doc: str | None
    doc_json: str | None
    doc_md: str | None
    doc_rst: str | None
    doc_yaml: str | None
    email_on_failure: bool
    email_on_retry: bool
    end_date: datetime | None
    execution_timeout: timedelta | None
    executor: str | None
    executor_config: dict[str, Any] | None
    ignore_first_depends_on_past: bool
    inlets: Any
    logger_name: str | None
    map_index_template: str | None
    max_active_tis_per_dag: int | None
    max_active_tis_per_dagrun: int | None
    max_retry_delay: timedelta | float | None
    multiple_outputs: bool
    on_execute_callback: Callbacks
    on_failure_callback: Callbacks
    on_retry_callback: Callbacks
    on_skipped_callback: Callbacks
    on_success_callback: Callbacks
    outlets: Any
    owner: str
    params: MutableMapping[str, Any] | None
    pool: str | None
    pool_slots: int
    post_execute: Callable[..., Any] | None
    pre_execute: Callable[..., Any] | None
    priority_weight: int
    queue: str
    render_template_as_native_obj: bool | None
    resources: dict[str, Any] | None
    retries: int | None
    retry_delay: timedelta | float
    retry_exponential_backoff: float
    retry_policy: Any
    run_as_user: str | None
    sla: timedelta | None
    start_date: datetime | None
    task_display_name: str | None
    task_group: Any
    trigger_rule: str
    wait_for_downstream: bool
    wait_for_past_depends_before_skipping: bool
    weight_rule: Any


class AirflowSensorArguments(AirflowArguments, total=False):
    """Airflow's own parameters of a sensor."""

    exponential_backoff: bool
    max_wait: timedelta | float | None
    mode: str
    never_fail: bool
    poke_interval: timedelta | float
    silent_fail: bool
    soft_fail: bool
    timeout: timedelta | float


async def with_airflow(function: Callable[[], T]) -> T:
    """Run, off the event loop of a trigger, what asks Airflow for connections.

    In a thread that is tied to the loop: it is the one way that works from 2.11 on. Airflow 3.0 to 3.3.1 talk to the
    triggerer on the loop, which a thread of another kind does not find, and their own asynchronous lookup masks
    secrets with a call that blocks the loop.
    """
    from asgiref.sync import sync_to_async

    return await sync_to_async(function)()


def persons_email(email: str | None, person_email: str | None, given: Mapping[str, Any]) -> str | None:
    """Return a person's e-mail, told from Airflow's own parameter of this name, to which it writes about failures.

    An operator must keep it under another name than ``email``: the person would get those messages. And ``email``
    among a DAG's ``default_args`` is meant for Airflow only.

    :param given: the other parameters, with the ``default_args`` that Airflow took it from.
    """
    if person_email is not None:
        return person_email  # a mapped task is handed the `email` of the default_args beside it
    return None if email is not None and (given.get("default_args") or {}).get("email") is email else email


def stats() -> Any:
    """Return Airflow's metrics: an object with ``incr`` and ``timing``."""
    try:
        from airflow.sdk.observability.stats import Stats
    except ImportError:  # before 3.2
        from airflow.stats import Stats
    return Stats


def keep_with_run(store: Any, key: str, value: Any) -> None:
    """Set a value of a task's state that is to last as long as its run, whatever Airflow's retention is."""
    try:
        from airflow.sdk.execution_time.context import NEVER_EXPIRE
    except ImportError:  # before 3.3, which has no such state but one that was made for a test
        store.set(key, value)
    else:
        store.set(key, value, retention=NEVER_EXPIRE)


def can_ask_a_person() -> bool:
    """Return whether this Airflow has a human in the loop."""
    try:
        import airflow.sdk.execution_time.hitl  # noqa: F401
    except ImportError:  # before 3.1
        return False
    return True


def ask_a_person(
    task: BaseOperator,
    instance: Any,
    *,
    subject: str,
    body: str,
    options: list[str],
    timeout: timedelta | None,
    method_name: str,
    kwargs: dict[str, Any],
) -> NoReturn:
    """Ask in Airflow, and let go of the worker until somebody has answered or the time is over.

    :param instance: the task instance, in whose name it is asked.
    :param method_name: the task's method that Airflow then calls with the context, ``event`` and
    :param kwargs: what it is to be given besides, as JSON.
    :raises TaskAwaitingInput: always; before Airflow 3.3 ``TaskDeferred``.
    """
    from airflow.sdk.execution_time.hitl import upsert_hitl_detail

    upsert_hitl_detail(ti_id=instance.id, options=options, subject=subject, body=body, params={})
    if not issubclass(TaskAwaitingInput, TaskDeferred):
        raise TaskAwaitingInput(method_name=method_name, kwargs=kwargs, timeout=timeout)
    from airflow.providers.standard.triggers.hitl import HITLTrigger

    until = datetime.now(UTC) + timeout if timeout else None
    trigger = HITLTrigger(ti_id=instance.id, options=options, params={}, timeout_datetime=until)
    raise TaskDeferred(trigger=trigger, method_name=method_name, kwargs=kwargs)


def xcom_value(key: str, ti_key: Any) -> Any:
    """Read an XCom of a task, from where its links are made: the worker, or the web server of Airflow 2."""
    try:
        from airflow.sdk.execution_time.xcom import XCom
    except ImportError:  # before 3.0
        from airflow.models.xcom import XCom  # type: ignore[no-redef]
    return XCom.get_value(key=key, ti_key=ti_key)


__all__ = [
    "HAS_PAGES",
    "PAUSES",
    "AirflowArguments",
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSensorArguments",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "BaseEventTrigger",
    "BaseHook",
    "BaseNotifier",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseSensorOperator",
    "BaseTrigger",
    "Connection",
    "Context",
    "ObjectStoragePath",
    "PokeReturnValue",
    "RetryDecision",
    "RetryPolicy",
    "SharedStreamProducer",
    "TriggerEvent",
    "ask_a_person",
    "can_ask_a_person",
    "conf",
    "keep_with_run",
    "persons_email",
    "stats",
    "with_airflow",
    "xcom_value",
]
