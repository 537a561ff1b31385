"""The only module that knows which Airflow is installed.

Everything else imports Airflow's names from here; a feature that some versions lack is asked of the
object itself (the context, the trigger), never of a version number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from airflow.configuration import conf
    from airflow.sdk import (
        BaseHook,
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
    )
    from airflow.triggers.base import BaseEventTrigger
    from airflow.triggers.shared_stream import SharedStreamProducer
else:
    try:
        from airflow.sdk import BaseHook, Connection
    except ImportError:  # before 3.1
        from airflow.hooks.base import BaseHook
        from airflow.models.connection import Connection
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
        )
    except ImportError:  # before 3.2
        from airflow.exceptions import (
            AirflowException,
            AirflowFailException,
            AirflowNotFoundException,
            AirflowSkipException,
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
        from airflow.sdk import RetryDecision, RetryPolicy
    except ImportError:  # before 3.3
        RetryDecision = RetryPolicy = object

T = TypeVar("T")


async def with_airflow(function: Callable[[], T]) -> T:
    """Run, off the event loop of a trigger, what asks Airflow for connections.

    In a thread that is tied to the loop: it is the one way that works from 2.11 on. Airflow 3.0 to 3.3.1 talk to the
    triggerer on the loop, which a thread of another kind does not find, and their own asynchronous lookup masks
    secrets with a call that blocks the loop.
    """
    from asgiref.sync import sync_to_async

    return await sync_to_async(function)()


def persons_email(email: str | None, given: Mapping[str, Any]) -> str | None:
    """Tell a person's e-mail from that of Airflow's own parameter of this name, to which it writes about failures.

    An operator must keep it under another name than ``email``: the person would get those messages. And ``email``
    among a DAG's ``default_args`` is meant for Airflow only.

    :param given: the other parameters, with the ``default_args`` that Airflow took it from.
    """
    return None if email is not None and (given.get("default_args") or {}).get("email") is email else email


def stats() -> Any:
    """Give Airflow's metrics: an object with ``incr`` and ``timing``."""
    try:
        from airflow.sdk.observability.stats import Stats
    except ImportError:  # before 3.2
        from airflow.stats import Stats
    return Stats


def xcom_value(key: str, ti_key: Any) -> Any:
    """Read an XCom of a task, from where its links are made: the worker, or the web server of Airflow 2."""
    try:
        from airflow.sdk.execution_time.xcom import XCom
    except ImportError:  # before 3.0
        from airflow.models.xcom import XCom  # type: ignore[no-redef]
    return XCom.get_value(key=key, ti_key=ti_key)


__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSkipException",
    "BaseEventTrigger",
    "BaseHook",
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
    "conf",
    "persons_email",
    "stats",
    "with_airflow",
    "xcom_value",
]
