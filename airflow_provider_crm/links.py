"""Links from a task to where its story goes on: the page of its run, the file of its rejects, the CRM's web interface.

Airflow 3 makes a link where the task ran, once it has ended, Airflow 2 when somebody looks: both find what the link
needs in an XCom, which is also there when the task has failed.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from airflow_provider_crm._compat import HAS_PAGES, BaseOperatorLink, conf, xcom_value

if TYPE_CHECKING:
    from airflow_provider_crm._compat import BaseOperator

#: The XCom that holds the report of a run.
REPORT_KEY = "crm_report"
#: The XCom that holds where the rejects are.
REJECTS_KEY = "crm_rejects_path"
#: Where the page "CRM syncs" is, below Airflow's own address.
PAGE = "/crm"


class CrmRunLink(BaseOperatorLink):
    """To what the page "CRM syncs" tells of the run."""

    name = "CRM run"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the address; an empty one where the page does not know the run."""
        from airflow_provider_crm.history.store import history_conn_id

        shown = history_conn_id()
        if shown is None or (getattr(operator, "history_conn_id", None) or shown) != shown:
            return ""
        run = {
            "task_id": ti_key.task_id,
            "run_id": ti_key.run_id,
            "map_index": ti_key.map_index,
            "try_number": ti_key.try_number,
        }
        return f"{web_root()}{PAGE}/dags/{quote(ti_key.dag_id, safe='')}/try?{urlencode(run)}"


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


def run_links(*others: BaseOperatorLink) -> tuple[BaseOperatorLink, ...]:
    """Return the links of an operator: to the page of its run, where Airflow has pages, and others."""
    return (CrmRunLink(), *others) if HAS_PAGES else others


def web_root(*, path_only: bool = False) -> str:
    """Return Airflow's own address, as its option ``[api] base_url`` has it, without a slash at the end.

    :param path_only: without scheme and host, which a browser knows.
    """
    address = (conf.get("api", "base_url", fallback="") or "").rstrip("/")
    return urlsplit(address).path if path_only else address


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
