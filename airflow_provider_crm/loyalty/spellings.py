"""One reference is one credit, however a warehouse, a file or a data frame writes it.

Knows how references are written; what may be sent is the ledger's to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from airflow_provider_crm.loyalty.claims import Claims
from airflow_provider_crm.loyalty.source_rows import CreditRecord
from airflow_provider_crm.loyalty.states import State

_NUMBER = re.compile(r"-?\d+([.,]\d+)?", re.ASCII)
#: Digits behind the point that a number has as text: a data frame's one, and the scales that decimal columns have.
_SCALES = (1, 2, 3, 4, 6, 8, 9, 10, 12, 18)
#: Digits of a reference that is filled up with zeros, at most: those of a bar code of freight (SSCC), and two more.
_WIDEST = 20


def folded(key: str) -> str:
    """Return what all spellings of a reference have in common, so that no two of them are in flight together."""
    if not _NUMBER.fullmatch(key):
        return key
    whole, _, fraction = key.replace(",", ".").partition(".")
    fraction = fraction.rstrip("0")
    if whole.startswith("0"):
        whole = whole.lstrip("0") or "0"
    return f"{whole}.{fraction}" if fraction else whole


def other_spellings(key: str) -> list[str]:
    """Return how else a reference may stand in the ledger that is a number, or may be one."""
    if not _NUMBER.fullmatch(key):
        return []
    shortest = folded(key)
    whole, _, fraction = shortest.partition(".")
    longer = [f"{whole}.{fraction.ljust(scale, '0')}" for scale in _SCALES if scale > len(fraction)]
    # With a comma, as data frames and spreadsheets of half of Europe write.
    commas = [f"{whole},{fraction or '0'}", f"{whole},{fraction.ljust(2, '0')}"]
    # With the zeros in front that a data frame or a spreadsheet took off.
    padded = [] if fraction else [whole.zfill(width) for width in range(len(whole) + 1, _WIDEST + 1)]
    return [spelling for spelling in dict.fromkeys((shortest, *longer, *commas, *padded)) if spelling != key]


def other_spelling(key: str) -> str:
    """Return why a credit is not sent whose reference may be another spelling of this one."""
    return f"the ledger holds the credit {key}, which may be this one in another spelling"


class Spellings:
    """Finds credits that the ledger keeps in another spelling.

    :param ledger: the ledger.
    """

    def __init__(self, ledger: Claims) -> None:
        self._ledger = ledger

    def take_former(self, records: Iterable[CreditRecord]) -> None:
        """Set the key of records whose cell the ledger knows under a former one."""
        former = {record.credit.key: record for record in records if record.former_keys}
        if not former:
            return
        known = self._ledger.states(
            [*former, *(key for record in former.values() for key in record.former_keys)]
        )
        for key, record in former.items():
            found = next((one for one in record.former_keys if one in known), None)
            if found is not None and key not in known:
                record.credit = replace(record.credit, key=found)

    def doubtful(self, keys: Iterable[str]) -> dict[str, str]:
        """Find the keys that may be another spelling of a credit which was sent, or may be sent by somebody else.

        :return: key to the reason why it must not be sent.
        """
        others = {key: spellings for key in keys if (spellings := other_spellings(key))}
        if not others:
            return {}
        known = self._ledger.states([one for spellings in others.values() for one in spellings])
        standing = {key for key, state in known.items() if state is not State.REFUSED}
        return {
            key: other_spelling(found[0])
            for key, spellings in others.items()
            if (found := [one for one in spellings if one in standing])
        }
