"""Links from a task to where its story goes on: the file of its rejects, and the CRM's own web interface.

Airflow 3 makes a link where the task ran, once it has ended, Airflow 2 when somebody looks: both find what the link
needs in an XCom, which is also there when the task has failed.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow_provider_crm._compat import BaseOperatorLink, xcom_value

if TYPE_CHECKING:
    from airflow_provider_crm._compat import BaseOperator

#: The XCom that holds the report of a run.
REPORT_KEY = "crm_report"
#: The XCom that holds where the rejects are.
REJECTS_KEY = "crm_rejects_path"


class RejectsFileLink(BaseOperatorLink):
    """To the file of the rejected rows: the console of the store where it has one, the file's own address otherwise."""

    name = "Rejects"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the address; an empty one when there are no rejects."""
        path = xcom_value(REJECTS_KEY, ti_key)
        return web_address(str(path)) if path else ""


class MindbazLink(BaseOperatorLink):
    """To Mindbaz."""

    name = "Mindbaz"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the address, which the vendor's page on API keys names."""
        return "https://my.mindbaz.com"


class ExpertSenderLink(BaseOperatorLink):
    """To ExpertSender CDP."""

    name = "ExpertSender CDP"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the address, which the vendor's page on its API names."""
        return "https://client.ecdp.app"


def web_address(path: str) -> str:
    """Return where a browser finds a file.

    :param path: a path or URI.
    """
    parts = urlsplit(path)
    bucket, key = parts.netloc.rpartition("@")[2], parts.path.lstrip("/")
    if parts.scheme in ("s3", "s3a"):
        return f"https://s3.console.aws.amazon.com/s3/object/{quote(bucket)}?prefix={quote(key)}"
    if parts.scheme in ("gs", "gcs"):
        return f"https://console.cloud.google.com/storage/browser/_details/{quote(bucket)}/{quote(key)}"
    if not parts.scheme and path.startswith("/"):
        return PurePosixPath(path).as_uri()
    return path
