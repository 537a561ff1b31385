"""What a snapshot asks of the place where its entries are kept. Knows neither rows nor how they end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol


class SnapshotStore(Protocol):
    """Where entries are kept, by a number for each person: see :mod:`.snapshot_entries`."""

    @property
    def salt(self) -> bytes:
        """Makes digests of no use for another snapshot."""

    @property
    def run(self) -> bytes:
        """Names this run, the same for all of its tries."""

    @property
    def killed(self) -> bool:
        """Whether a run was killed so lately that the CRM may still be at its last calls: nobody must write yet."""

    @property
    def unfinished(self) -> bool:
        """Whether an earlier try, or the run before, did not end well."""

    may_find_later: bool
    """Whether somebody who is not found may be found later in the run, since what is put in can be."""

    def find(self, people: Sequence[int]) -> Mapping[int, bytes]:
        """Return the entries of those who have one."""

    def find_meanwhile(self, people: Sequence[int]) -> Callable[[], Mapping[int, bytes]]:
        """Begin to find entries, where that goes on beside other work.

        :return: waits for what :meth:`find` returns.
        """

    def take_out(self, people: Sequence[int]) -> None:
        """Remove the entries of these people, so that not even the loss of the machine brings them back."""

    def put_in(self, accepted: Iterable[tuple[int, bytes]]) -> None:
        """Put entries in; of several of one person the last one counts. May be lost with the process."""

    def complete(self) -> None:
        """Say that the run is over: another one of its name is to do everything anew."""

    def close(self) -> None:
        """Close it; what was put in lasts."""
