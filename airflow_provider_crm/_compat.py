"""The only module that knows which Airflow is installed.

Everything else imports Airflow's names from here; a feature that some versions lack is asked of the
object itself (the context, the trigger), never of a version number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import BaseHook, BaseOperator, Connection, Context, ObjectStoragePath
    from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowNotFoundException
else:
    try:
        from airflow.sdk import BaseHook, Connection
    except ImportError:  # before 3.1
        from airflow.hooks.base import BaseHook
        from airflow.models.connection import Connection
    try:
        from airflow.sdk import BaseOperator, Context, ObjectStoragePath
    except ImportError:  # before 3.0
        from airflow.io.path import ObjectStoragePath
        from airflow.models.baseoperator import BaseOperator
        from airflow.utils.context import Context
    try:
        from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowNotFoundException
    except ImportError:  # before 3.2
        from airflow.exceptions import AirflowException, AirflowFailException, AirflowNotFoundException

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "BaseHook",
    "BaseOperator",
    "Connection",
    "Context",
    "ObjectStoragePath",
]
