"""Which fields a Mindbaz site has, and whether the base URL leads to one. Knows no row of a source."""

from __future__ import annotations

from airflow_provider_crm.exceptions import (
    CrmAuthenticationError,
    CrmInputError,
    CrmNotFoundError,
    CrmRequestError,
)
from airflow_provider_crm.hooks.mindbaz.hook import MindbazHook
from airflow_provider_crm.schemas.mindbaz.write import ID, Fields, field_type


def read_fields(hook: MindbazHook, *, names_needed: bool) -> Fields:
    """Read the site's fields, by which names are found and values converted.

    :param names_needed: whether the user names fields; ids alone can do without, when the key may not list them.
    """
    try:
        return Fields(field_type(data) for data in hook.list_fields())
    except CrmNotFoundError:
        if not names_needed and _serves_subscribers(hook):
            return Fields(())
        raise CrmInputError(
            f"Mindbaz has no list of fields for site {hook.site_id}: check base URL and site id of the connection"
        ) from None
    except CrmAuthenticationError:
        # A key that may not list fields may read subscribers; a wrong one may not, and must be said even where no row
        # follows.
        if names_needed or not _serves_subscribers(hook):
            raise
        return Fields(())
    except CrmRequestError:
        if names_needed:
            raise
        return Fields(())


def _serves_subscribers(hook: MindbazHook) -> bool:
    """Return whether the base URL leads to the subscribers of a site: elsewhere everybody would seem unknown."""
    try:
        hook.get_subscribers([0], by="IdSubscriber", field_ids=[ID])
    except CrmRequestError:
        return False
    return True
