"""What a process must not share with those that are forked off it: threads that are not there, locks that nobody
releases, sockets that both read from.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """Something that is used in a child process too."""

    def after_fork(self) -> None:
        """Begin anew: called in the child, where the only thread is the one that forked."""


_in_use: WeakSet[Forkable] = WeakSet()


def renew_in_children(thing: Forkable) -> None:
    """Renew something in each process that is forked off while it is in use."""
    _in_use.add(thing)


def _after_fork() -> None:
    for thing in list(_in_use):
        thing.after_fork()


if hasattr(os, "register_at_fork"):  # Windows knows no fork
    os.register_at_fork(after_in_child=_after_fork)
