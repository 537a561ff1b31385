"""How far credentials may follow a redirect: never to another host, never from https to http. Knows no vendor."""

from __future__ import annotations

from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from airflow_provider_crm.exceptions import CrmRedirectError
from airflow_provider_crm.http.calls import Call
from airflow_provider_crm.http.urls import origin


def target_of(call: Call, url: str, location: str) -> str:
    """Return the address that a redirect leads to.

    :param url: the address that was asked.
    :param location: what the answer says.
    :raises CrmRedirectError: credentials must not go there.
    """
    target: SplitResult | None
    try:
        target = urlsplit(urljoin(url, location))
        (scheme, host, port), (to_scheme, to_host, to_port) = origin(url), origin(target.geturl())
    except ValueError:
        target = None  # its message may quote the address
    # RFC 3986 and the WHATWG's standard for URLs name different hosts where such signs stand.
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
