"""How far a redirect may be followed: never to another host, never from https to http. Knows no vendor."""

from __future__ import annotations

from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from airflow_provider_crm.exceptions import CrmRedirectError
from airflow_provider_crm.hooks.calls import Call
from airflow_provider_crm.hooks.settings import origin


def redirect_target(call: Call, url: str, location: str) -> str:
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
    return urlunsplit(
        (to_scheme, urlsplit(url).netloc if not upgraded else host, target.path, target.query, "")
    )
