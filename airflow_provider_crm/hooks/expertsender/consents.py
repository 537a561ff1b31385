"""Which consents an ExpertSender account has, and whether the base URL leads to one. Knows no row of a source."""

from __future__ import annotations

from typing import Any

from airflow_provider_crm.exceptions import (
    CrmAuthenticationError,
    CrmInputError,
    CrmNotFoundError,
    CrmRequestError,
)
from airflow_provider_crm.hooks.expertsender.hook import ExpertSenderHook


def read_consents(hook: ExpertSenderHook, *, needed: bool) -> list[dict[str, Any]]:
    """Read the account's consents, which also shows that the base URL leads to ExpertSender.

    It must lead there, since elsewhere everybody would seem to be absent.

    :param needed: whether the user names a consent; ids can do without, when the key may not list them.
    """
    try:
        return hook.list_consents()
    except CrmNotFoundError:
        if not needed and hook.serves_customers():
            return []
        raise CrmInputError(
            "ExpertSender has no list of consents at this address: check the base URL of the connection"
        ) from None
    except CrmAuthenticationError as error:
        if needed or error.status != 403:
            raise
    except CrmRequestError:
        if needed:
            raise
    return []
