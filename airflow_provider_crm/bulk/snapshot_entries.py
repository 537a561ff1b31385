"""What a snapshot notes of a person. Knows neither the rows of a source nor where entries are kept.

An entry is the digest of the row as the source had it, that of what was sent, a byte for how the row ended, and the
run in which it did; of a row that was refused also when, and why.
"""

from __future__ import annotations

import time

import msgspec

from airflow_provider_crm.bulk.batches import Ended
from airflow_provider_crm.bulk.outcomes import Ending, Outcome
from airflow_provider_crm.bulk.reasons import masked_reason
from airflow_provider_crm.bulk.snapshot_digests import DIGEST

#: How a row has to end for the CRM to hold it, and the byte for it.
CODES = {
    ending: bytes([number])
    for number, ending in enumerate((Ending.CREATED, Ending.UPDATED, Ending.UNCHANGED))
}
KNOWN = Outcome(Ending.UNCHANGED, "as it was accepted before")
_EARLIER = {code[0]: Outcome(ending, "in an earlier try") for ending, code in CODES.items()}

_HOW, RUN = 2 * DIGEST, slice(2 * DIGEST + 1, 2 * DIGEST + 5)
#: Of a row that was refused the time in seconds since 1970 follows, and why, without what is the person's.
_REFUSED, WHEN, WHY = bytes([len(CODES)]), slice(RUN.stop, RUN.stop + 4), slice(RUN.stop + 4, None)
#: In place of the digest of the cells where these do not tell the whole row.
UNTOLD = bytes(DIGEST)


class Mark(msgspec.Struct, gc=False):
    """What is known of a row on its way.

    :param cells: the digest of the row as the source has it.
    :param found: the entry of its person; empty when there is none.
    :param entry: what becomes of the person's entry when the row is accepted, but for how.
    :param checked: the row is known, and looked up all the same.
    """

    person: int
    cells: bytes
    found: bytes
    entry: bytes = b""
    checked: bool = False


def as_it_was(entry: bytes, run: bytes) -> Outcome:
    """Return how a row ends that was accepted before.

    :param run: the one that is under way.
    """
    return _EARLIER.get(entry[_HOW], KNOWN) if entry[RUN] == run else KNOWN


def refusal(row: Ended, run: bytes) -> bytes:
    """Return what follows the digests of a row that the CRM has refused just now."""
    why = masked_reason(row.outcome.reason, row.key, row.data).encode(errors="replace")
    return _REFUSED + run + int(time.time()).to_bytes(4, "big") + why
