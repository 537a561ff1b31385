"""Keeps URLs, which may hold people's addresses, out of the log of the HTTP library while a call is made."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_thread = threading.local()


class _HideUrls(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        # urllib3 logs the path and query of each request when debugging, and as a warning where an answer's
        # headers are malformed.
        return not getattr(_thread, "calling", False)


# A filter holds for one logger, not for those below it.
for _name in ("connection", "connectionpool", "poolmanager", "response", "util.retry"):
    logging.getLogger(f"urllib3.{_name}").addFilter(_HideUrls())


@contextmanager
def no_urls_in_logs() -> Iterator[None]:
    """Drop the HTTP library's lines of this thread meanwhile; other users of the library keep theirs."""
    _thread.calling = True
    try:
        yield
    finally:
        _thread.calling = False
