"""Whether a base URL leads to SPREAD: elsewhere everybody would seem unknown."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_provider_crm.exceptions import CrmConnectionError, CrmNotFoundError
from airflow_provider_crm.hooks.spread.hook import SpreadHook
from airflow_provider_crm.schemas.spread.read import Record


def check_base_url(hook: SpreadHook) -> None:
    """Read one customer: behind a wrong base URL every look-up would end like that of somebody unknown.

    :raises CrmConnectionError: there is no list of customers, and none of consents, as a server without any customer
        may have it.
    """
    if not _is_there(hook.iter_customers(page_size=1)) and not _is_there(hook.iter_consent_definitions()):
        raise CrmConnectionError(
            f"Connection {hook.conn_id!r}: its host has no list of customers; a base URL of SPREAD is all before the "
            f"resource, such as {hook.default_url}"
        )


def _is_there(rows: Iterator[Record]) -> bool:
    try:
        next(rows, None)
    except CrmNotFoundError:
        return False
    return True
