"""Why no connection to a server was made: in a word, and whether a later try may pass. Knows no vendor."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator, Mapping

import urllib3.exceptions

from airflow_provider_crm.exceptions import redact

#: What OpenSSL says of a server that another try would not change, and what to do about it.
_LASTING: Mapping[str, str] = {
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted; see `verify`",
    "WRONG_VERSION_NUMBER": "what answers there speaks no TLS; is it a port for http?",
    # The same since OpenSSL 3.4.
    "RECORD_LAYER_FAILURE": "what answers there speaks no TLS; is it a port for http?",
}
_NO_ROUTE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN)
_WORDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (ConnectionRefusedError, "refused"),
    (socket.gaierror, "no such name"),
    ((TimeoutError, urllib3.exceptions.TimeoutError), "timed out"),
    (ConnectionError, "hung up"),
)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """List an error and what it says it came from, the root last; not what was being handled when it was raised."""
    while error is not None:
        yield error
        named = (error.__cause__, getattr(error, "reason", None), *error.args)
        error = next((one for one in named if isinstance(one, BaseException)), None)


def system_error(error: BaseException) -> OSError | None:
    """Return the error of the operating system, or of TLS, that an error of the HTTP library came from.

    :return: the error without what is of no use to anybody who reads it: traceback and further causes.
    """
    *_, root = causes(error)
    if not isinstance(root, OSError):
        return None
    root.__cause__ = None
    return root.with_traceback(None)


def why_unreached(error: BaseException) -> str:
    """Return in a word why no connection was made; where it was one to a proxy, that first."""
    *passed, root = causes(error)
    proxy = "proxy " if any(isinstance(one, urllib3.exceptions.ProxyError) for one in passed) else ""
    if isinstance(root, ssl.SSLError):
        return f"{proxy}TLS: {root.reason or type(root).__name__}"
    for kinds, word in _WORDS:
        if isinstance(root, kinds):
            return proxy + word
    if isinstance(root, OSError):
        if root.errno in _NO_ROUTE:
            return f"{proxy}no route"
        if str(root).startswith("Tunnel connection failed"):
            return f"{proxy}answered {redact(str(root).partition(': ')[2], limit=80)}"
    return proxy + type(root).__name__


def lasting_fault(error: BaseException) -> str | None:
    """Return what is wrong with a server where another try would not change it, and what to do.

    :return: None where a later try may pass.
    """
    *_, root = causes(error)
    return _LASTING.get(root.reason) if isinstance(root, ssl.SSLError) else None
