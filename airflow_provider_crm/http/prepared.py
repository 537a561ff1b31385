"""Pages that are made slice by slice, for lists of which only the finished pages are wanted. Knows no vendor."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, Self, TypeVar

from airflow_provider_crm.http.lists import Page

S = TypeVar("S")


class JoinablePage(Page, Protocol):
    """A page that is made slice by slice."""

    def followed_by(self, others: Sequence[Self]) -> Self:
        """Return one page with the rows of all."""


P = TypeVar("P", bound=JoinablePage)


class _PreparationError(Exception):
    """What preparing a slice raised, on its way past those who would take it for a fault of the answer."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class PreparedPages(Generic[S, P]):
    """Makes pages of answers, slice by slice and one after the other. Safe to share between threads.

    A page is held twice while it is made, and Python makes one at a time anyway: taking turns lets the others wait as
    the bytes they came in.

    :param slices: reads an answer, at least one slice of it; what it raises is the answer's fault.
    :param prepare: turns a slice into a page, in the thread that fetched the answer.
    """

    def __init__(self, slices: Callable[[bytes], Iterator[S]], prepare: Callable[[S], P]) -> None:
        self._slices = slices
        self._prepare = prepare
        self._turn = threading.Lock()

    def fetch(self, request: Callable[[Callable[[bytes], P]], P]) -> P:
        """Make a call, and return its answer as a page.

        :param request: makes the call, again where its answer cannot be read; gets what reads it.
        :raises Exception: what preparing raises, as it is.
        """
        try:
            return request(self._read)
        except _PreparationError as failed:
            error = failed.error
        raise error

    def _read(self, answer: bytes) -> P:
        pages: list[P] = []
        with self._turn:
            for one in self._slices(answer):
                try:
                    pages.append(self._prepare(one))
                except Exception as error:
                    raise _PreparationError(error) from error
                del one  # before the next one comes, which takes its place in the processor's cache
            return pages[0].followed_by(pages[1:]) if len(pages) > 1 else pages[0]
