"""Rows looked up by their keys: how many fit into one query string, which no vendor documents. Knows no vendor."""

from __future__ import annotations

import string
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TypeVar

from airflow_provider_crm.exceptions import (
    CrmRequestError,
    CrmTransientError,
    CrmUnreachableError,
    CrmUnreadableAnswerError,
)
from airflow_provider_crm.http.calls import Call
from airflow_provider_crm.http.forks import renew_in_children
from airflow_provider_crm.http.lists import Page

T = TypeVar("T")
P = TypeVar("P", bound=Page)

#: Characters of a URL below the base URL. A request line may have 8000 (RFC 9112, section 3), and has 8 KiB by default
#: in nginx (`large_client_header_buffers`) and Apache (`LimitRequestLine`); Tomcat and Jetty take it with all headers.
LONGEST = 7680
#: What no server takes for too long: IIS, with the least of the defaults, takes a query of 2048 (`maxQueryString`).
NEVER_TOO_LONG = 500
_AS_IT_IS = f"{string.ascii_letters}{string.digits}-._~@".encode()


class Lookups:
    """Cuts a list of keys into queries: long ones first, shorter ones once the server has refused one.

    :param longest: characters of an encoded list that are tried first, where the URL has room for them.
    """

    def __init__(self, longest: int = LONGEST) -> None:
        self._longest = longest
        self.after_fork()
        renew_in_children(self)

    def after_fork(self) -> None:
        """Renew the lock: a thread that is not here may have held the other."""
        self._lock = threading.Lock()

    def cut(self, keys: Iterable[str], call: Call) -> Iterator[list[str]]:
        """Yield the keys in groups, so that each group's encoded list is as long as the server is known to take.

        :param call: the one that a group goes into, without any key.
        """
        keys = list(keys)
        room = LONGEST - len(call.url_below(""))
        ends = list(accumulate(_sizes(keys)))
        start, before = 0, 0
        while start < len(keys):
            end = max(bisect_right(ends, before + min(self._longest, room), start), start + 1)
            yield keys[start:end]
            start, before = end, ends[end - 1]

    def read(self, group: Sequence[str], fetch: Callable[[Sequence[str]], list[T]]) -> list[T]:
        """Look up one group, in halves when the server refuses it whole, or drops it for its length.

        Some reset the connection in place of an answer (ledgetech/lua-resty-http, issue 116).

        :raises CrmRequestError: a single key is refused.
        :raises CrmTransientError: the server does not answer, be the list long or not.
        """
        try:
            return fetch(group)
        except CrmRequestError:
            if len(group) == 1:
                raise
        except CrmTransientError as error:
            dropped = error.status is None and not isinstance(error, CrmUnreachableError)
            if not dropped or len(group) == 1 or sum(_sizes(group)) <= NEVER_TOO_LONG:
                raise
        middle = len(group) // 2
        found = self.read(group[:middle], fetch) + self.read(group[middle:], fetch)
        # Only now is it sure that the length was at fault, and not one of the keys.
        with self._lock:
            sizes = _sizes(group)
            self._longest = min(self._longest, max(sum(sizes) // 2 + 1, sizes[0]))
        return found

    def read_pages(
        self, group: Sequence[str], fetch: Callable[[Sequence[str]], P], *, call: str, by: str
    ) -> list[P]:
        """Look up one group in as many pages as it takes.

        Those that did not come are asked for again, until none of them comes. So no offset is needed, which rows that
        go away meanwhile would shift.

        :param fetch: gives a page of the rows with these keys, the first one.
        :param call: the call's name, for the error.
        :param by: its parameter that holds the keys.
        :raises CrmUnreadableAnswerError: there are others in it.
        """
        return self.read(group, lambda keys: list(_all_pages(keys, fetch, call, by)))


def _all_pages(keys: Sequence[str], fetch: Callable[[Sequence[str]], P], call: str, by: str) -> Iterator[P]:
    missing = dict.fromkeys(keys)
    while missing:
        page = fetch(list(missing))
        if not page.keys:
            return
        if not missing.keys() >= set(page.keys):
            raise CrmUnreadableAnswerError(
                f"{call} gives other rows than those asked for: it ignores the filter `{by}`", call=call
            )
        yield page
        for key in page.keys:
            missing.pop(key, None)


def _sizes(keys: Iterable[str]) -> list[int]:
    keys = list(keys)
    # Every other byte takes three; a comma follows.
    if not "".join(keys).encode().translate(None, _AS_IT_IS):
        return [len(text) + 1 for text in keys]
    return [len(text) + 2 * len(text.translate(None, _AS_IT_IS)) + 1 for text in map(str.encode, keys)]
