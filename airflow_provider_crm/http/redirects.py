"""How far a redirect may be followed: never to another host, never from https to http; with a call that must not be
repeated, only to the same resource at another address. Knows no vendor."""

from __future__ import annotations

from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from airflow_provider_crm.exceptions import CrmRedirectError
from airflow_provider_crm.http.calls import Call
from airflow_provider_crm.http.retry import AttemptError
from airflow_provider_crm.http.urls import origin


def redirect_target(call: Call, url: str, location: str) -> str:
    """Give the address where a call is to be sent instead.

    :raises CrmRedirectError: credentials must not go there.
    :raises AttemptError: the answer may be that of a call that was carried out, and must not be repeated.
    """
    target: SplitResult | None
    try:
        target = urlsplit(urljoin(url, location))
        (scheme, host, port), (to_scheme, to_host, to_port) = origin(url), origin(target.geturl())
    except ValueError:
        target = None  # its message may quote the address
    # Not all libraries agree on which host such an address names.
    if target is None or "@" in target.netloc or "\\" in target.netloc:
        raise CrmRedirectError(f"{call.name} is redirected to something that is no address", call=call.name)
    upgraded = (scheme, port, to_scheme, to_port) == ("http", 80, "https", 443)
    if host != to_host or ((scheme, port) != (to_scheme, to_port) and not upgraded):
        raise CrmRedirectError(
            f"{call.name} is redirected to {to_scheme}://{to_host}:{to_port}, which the connection does not name; "
            f"nothing was sent there. Put the right base URL into the connection",
            call=call.name,
        )
    if not call.repeatable and _resource(target) != _resource(urlsplit(url)):
        # Servers also answer so to what they have carried out: its result, or the next page, is there.
        raise AttemptError(
            f"{call.name} is redirected to another resource", call=call.name, maybe_applied=True
        )
    return urlunsplit(
        (to_scheme, urlsplit(url).netloc if not upgraded else host, target.path, target.query, "")
    )


def _resource(address: SplitResult) -> str:
    return address.path.rstrip("/").rpartition("/")[2]
