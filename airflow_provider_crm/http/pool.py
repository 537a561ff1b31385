"""Threads for the calls of one client: many calls at once, none of them after the task has ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from airflow_provider_crm.exceptions import CrmError
from airflow_provider_crm.http.clock import TOO_LATE, Clock

T = TypeVar("T")
S = TypeVar("S")


class Pool:
    """Runs functions in threads, which are started when they are needed.

    :param size: threads at most.
    :param name: what their names begin with.
    :param clock: tells that the task has ended.
    """

    def __init__(self, size: int, *, name: str, clock: Clock) -> None:
        self._clock = clock
        self._local = threading.local()
        self._threads = ThreadPoolExecutor(size, thread_name_prefix=name, initializer=self._join)

    def _join(self) -> None:
        self._local.of_pool = True

    def in_background(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Start a function in a thread.

        :raises CrmError: the task has ended.
        """
        try:
            return self._threads.submit(self._begin, function, *arguments)
        except RuntimeError:  # the executor is shut down
            if not self._clock.ended:
                raise
        raise CrmError(TOO_LATE)

    def _begin(self, function: Callable[..., T], *arguments: Any) -> T:
        if self._clock.ended:
            raise CrmError(TOO_LATE)
        return function(*arguments)

    def side_by_side(self, function: Callable[[S], T], items: Iterable[S]) -> list[T]:
        """Call a function for many items, as many at once as there are threads.

        Nothing of it goes on after it returns or raises: the first failure keeps the rest from being begun.

        :return: the results in the order of the items.
        """
        todo = list(items)
        # A thread of the pool that waited for others of the pool could wait for ever.
        if len(todo) < 2 or getattr(self._local, "of_pool", False):
            return [function(item) for item in todo]
        futures = [self.in_background(function, item) for item in todo]
        _, unfinished = wait(futures, return_when=FIRST_EXCEPTION)
        for future in unfinished:
            future.cancel()
        wait(unfinished)
        for future in futures:
            if not future.cancelled() and (error := future.exception()) is not None:
                raise error
        if any(future.cancelled() for future in futures):
            raise CrmError(TOO_LATE)
        return [future.result() for future in futures]

    def close(self) -> None:
        """Accept no more functions; the threads end once they have nothing left to do."""
        # Without cancelling: whoever waits for a future that is cancelled here would wait for ever.
        self._threads.shutdown(wait=False)
