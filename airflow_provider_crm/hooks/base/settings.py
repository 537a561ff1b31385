"""What an Airflow connection says about a CRM: base URL, credentials, allow-listed extras.

Knows no HTTP and no vendor; a hook names its own defaults and its own extras.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar
from urllib.parse import SplitResult, urlsplit

import msgspec

from airflow_provider_crm._compat import Connection
from airflow_provider_crm.exceptions import CrmConnectionError
from airflow_provider_crm.http.urls import is_loopback, origin

#: Above any number that makes sense, and below those that the system's timers refuse.
_FAR = 1e6


class Extras(msgspec.Struct, kw_only=True, frozen=True):
    """The extras every CRM connection may carry; a vendor adds its own in a subclass."""

    timeout: float = 60.0
    """Seconds to wait for an answer once the call is sent."""
    max_retries: int = 10
    """Tries after the first, within the hook's time budget."""
    concurrency: int | None = None
    """Calls in flight at once; None leaves it to the operator."""
    requests_per_minute: float | None = None
    """Upper bound shared by all threads of the hook."""
    rate_limit_conn_id: str | None = None
    """A Redis connection through which all workers share the bound; each has to state the same one."""
    verify: bool | str = True
    """Check the server's certificate, or the path of a CA bundle to check it with."""
    allow_http: bool = False
    """Accept a plain-http base URL that is not loopback."""

    def __post_init__(self) -> None:
        for name, low in (
            ("timeout", 0),
            ("requests_per_minute", 0),
            ("concurrency", 0),
            ("max_retries", -1),
        ):
            value = getattr(self, name)
            if value is not None and not low < value < _FAR:
                raise ValueError(f"`{name}` must be greater than {low} and less than {_FAR:.0e}")
        if self.rate_limit_conn_id and not self.requests_per_minute:
            raise ValueError(
                "`rate_limit_conn_id` says where `requests_per_minute` is shared, which is missing"
            )


E = TypeVar("E", bound=Extras)


class Settings(msgspec.Struct, Generic[E], frozen=True):
    """One connection, checked."""

    conn_id: str
    base_url: str
    """Without a slash at its end."""
    login: str
    password: str
    extras: E


def read_settings(connection: Connection, *, default_url: str, extras_type: type[E]) -> Settings[E]:
    """Check a connection and put its parts into a :class:`Settings`.

    :param connection: as Airflow gives it.
    :param default_url: the vendor's base URL, taken when the connection names no host.
    :param extras_type: which extras are allowed, and their types.
    :raises CrmConnectionError: an extra that is unknown or of a wrong type, or a host that cannot be used.
    """
    extras = _read_extras(connection, extras_type)
    return Settings(
        conn_id=connection.conn_id or "",
        base_url=_base_url(connection, default_url, allow_http=extras.allow_http),
        login=(connection.login or "").strip(),
        password=(connection.password or "").strip(),
        extras=extras,
    )


def check_url(url: str, *, allow_http: bool, what: str) -> str:
    """Accept a URL that credentials may be sent to.

    :return: the URL without a slash at its end.
    :raises CrmConnectionError: no http(s) URL with a host, or plain http to another machine.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and origin(url)[2] > 0
    except ValueError:
        usable = False
    # RFC 3986 and the WHATWG's standard for URLs name different hosts where a backslash stands.
    usable = usable and not any(sign.isspace() or sign == "\\" or not sign.isprintable() for sign in url)
    if not usable or parts.query or parts.fragment or parts.username or parts.password:
        raise CrmConnectionError(f"{what} is not a base URL such as https://api.example.com/api")
    if parts.scheme == "http" and not (allow_http or is_loopback(parts.hostname or "")):
        raise CrmConnectionError(
            f"{what} is plain http: credentials would travel in clear. Use https, or set the extra `allow_http`"
        )
    return url.rstrip("/")


def _base_url(connection: Connection, default_url: str, *, allow_http: bool) -> str:
    host = (connection.host or "").strip()
    what = f"The host of connection {connection.conn_id!r}"
    if not host:
        return default_url
    if "://" in host:
        return check_url(_with_port(host, connection.port), allow_http=allow_http, what=what)
    # A bare host name means the vendor's path on another host, as in a connection written as a URI.
    default: SplitResult = urlsplit(default_url)
    name, slash, path = host.partition("/")
    if connection.port and ":" not in name:
        name = f"{name}:{connection.port}"
    schemes = ("http", "https")
    scheme = connection.schema if connection.schema in schemes else default.scheme
    return check_url(f"{scheme}://{name}{slash}{path or default.path}", allow_http=allow_http, what=what)


def _with_port(url: str, port: int | None) -> str:
    """Put the connection's port into a URL that names none."""
    scheme, _, rest = url.partition("://")
    name, slash, path = rest.partition("/")
    has_port = ":" in name.rpartition("]")[2]
    return url if has_port or not port else f"{scheme}://{name}:{port}{slash}{path}"


def _read_extras(connection: Connection, extras_type: type[E]) -> E:
    given: dict[str, Any] = {
        key: value for key, value in connection.extra_dejson.items() if value is not None and value != ""
    }
    allowed = extras_type.__struct_fields__
    if unknown := sorted(set(given) - set(allowed)):
        raise CrmConnectionError(
            f"Connection {connection.conn_id!r} has unknown extra(s) {', '.join(unknown)}; "
            f"allowed are {', '.join(sorted(allowed))}"
        )
    if str(given.get("verify", "")).lower() in ("true", "false"):
        given["verify"] = str(given["verify"]).lower() == "true"
    try:
        return msgspec.convert(given, extras_type, strict=False)
    except msgspec.ValidationError as error:
        problem = str(error)
    raise CrmConnectionError(f"An extra of connection {connection.conn_id!r} cannot be used: {problem}")
