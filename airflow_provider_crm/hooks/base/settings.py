"""What an Airflow connection says about a CRM: base URL, credentials, allow-listed extras.

Knows no HTTP and no vendor; a hook names its own defaults and its own extras.
"""

from __future__ import annotations

import json
from typing import Any, Generic, TypeVar
from urllib.parse import SplitResult, urlsplit

import msgspec

from airflow_provider_crm._compat import Connection
from airflow_provider_crm.exceptions import CrmConnectionError
from airflow_provider_crm.http.urls import is_loopback, origin

#: Above any number that makes sense, and below those that the system's timers refuse.
_FAR = 1e6
#: Types of connections that say nothing of what is at the other end.
_ANY_TYPE = ("", "generic", "http", "https")
_SCHEMES = ("http", "https")


class Extras(msgspec.Struct, kw_only=True, frozen=True):
    """The extras every CRM connection may carry; a vendor adds its own in a subclass."""

    timeout: float = 60.0
    """Seconds within which an answer has to be there as a whole, once the call is sent."""
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


def read_settings(
    connection: Connection, *, conn_type: str, default_url: str, extras_type: type[E]
) -> Settings[E]:
    """Check a connection and put its parts into a :class:`Settings`.

    :param connection: as Airflow gives it.
    :param conn_type: the type that it has to have; one of no type in particular has to name its host.
    :param default_url: the vendor's base URL, taken when the connection names no host.
    :param extras_type: which extras are allowed, and their types.
    :raises CrmConnectionError: a connection to something else, an extra that is unknown or of a wrong type, or a host
        that cannot be used.
    """
    _check_type(connection, conn_type, default_url)
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


def _check_type(connection: Connection, conn_type: str, default_url: str) -> None:
    """Refuse a connection to something else, whose password would be sent to the CRM.

    :raises CrmConnectionError: it is of another type, or of none in particular and names no host.
    """
    given = (connection.conn_type or "").replace("-", "_").lower()
    if given == conn_type:
        return
    which = f"Connection {connection.conn_id!r} is of type {given or 'none'!r} and not of {conn_type!r}"
    if given not in _ANY_TYPE:
        raise CrmConnectionError(
            f"{which}: its credentials are not sent to a CRM. Name a connection of type {conn_type!r}"
        )
    if not (connection.host or "").strip():
        raise CrmConnectionError(
            f"{which}, and names no host to which its credentials may be sent. Make it one of type {conn_type!r} (as a "
            f"URI, {conn_type.replace('_', '-')}://...), or give the CRM's base URL as host, such as {default_url}"
        )


def _base_url(connection: Connection, default_url: str, *, allow_http: bool) -> str:
    what = f"The host of connection {connection.conn_id!r}"
    host, schema = (connection.host or "").strip(), (connection.schema or "").strip()
    # Airflow reads the path of a URI as the schema.
    path = "" if schema in _SCHEMES else schema.strip("/")
    default: SplitResult = urlsplit(default_url)
    is_url = "://" in host
    if is_url:
        scheme, _, host = host.partition("://")
        if schema in _SCHEMES and schema != scheme:
            raise CrmConnectionError(f"{what} begins with {scheme}:// while its schema is {schema}")
    else:
        scheme = (
            schema if schema in _SCHEMES else "http" if connection.conn_type == "http" else default.scheme
        )
    if path and not host:
        raise CrmConnectionError(
            f"Connection {connection.conn_id!r} has a schema, or the path of a URI, and no host: write all of the base "
            f"URL into the host, such as {default_url}"
        )
    name, _, own_path = (host or ("" if is_url else default.netloc)).partition("/")
    if own_path.strip("/") and path:
        raise CrmConnectionError(f"{what} has a path, and another one is in its schema: write it once")
    # The scheme's own port is left out: with it the account would seem to be another one.
    port = None if connection.port == (443 if scheme == "https" else 80) else connection.port
    place = check_url(f"{scheme}://{_with_port(name, port)}", allow_http=allow_http, what=what)
    # A host alone means the vendor's path on it; what is written as a URL is all of it, but for the vendor's own host.
    if not is_url or origin(place) == origin(default_url):
        path = path or default.path
    path = own_path.strip("/") or path.strip("/")
    return check_url(f"{place}/{path}", allow_http=allow_http, what=what)


def _with_port(name: str, port: int | None) -> str:
    """Put the connection's port behind a host that names none."""
    if name.count(":") > 1 and not name.startswith("["):
        name = f"[{name}]"  # Airflow takes the brackets of an IPv6 address out of a URI
    has_port = ":" in name.rpartition("]")[2]
    return name if has_port or not port else f"{name}:{port}"


def _extras_of(connection: Connection) -> dict[str, Any]:
    """Return the extras as they are, which Airflow would pass by where they are no JSON.

    :raises CrmConnectionError: they are no JSON object.
    """
    try:
        given = json.loads(connection.extra or "{}") or {}
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise CrmConnectionError(
            f'The extras of connection {connection.conn_id!r} are no JSON object such as {{"timeout": 30}}'
        )
    # Airflow's own reading keeps their values out of its logs.
    return connection.extra_dejson if given else {}


def _read_extras(connection: Connection, extras_type: type[E]) -> E:
    given = {key: value for key, value in _extras_of(connection).items() if value is not None and value != ""}
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
