"""Keeps URLs, which may hold people's addresses, out of the debug log of the HTTP library while a call is made."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_thread = threading.local()


class _HideUrls(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        # At debug level urllib3 logs the path and query of each request.
        return record.levelno > logging.DEBUG or not getattr(_thread, "calling", False)


logging.getLogger("urllib3.connectionpool").addFilter(_HideUrls())


@contextmanager
def no_urls_in_logs() -> Iterator[None]:
    """Drop the HTTP library's debug lines of this thread meanwhile; other users of the library keep theirs."""
    _thread.calling = True
    try:
        yield
    finally:
        _thread.calling = False
