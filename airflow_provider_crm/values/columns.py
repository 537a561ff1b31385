"""Many cells of one column at once: what holds for nearly all cells is told in a few calls for all of them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from airflow_provider_crm.values.cells import UNSEEN
from airflow_provider_crm.values.keys import PLAIN_ADDRESS

_PLAIN_ADDRESSES = re.compile(rf"{PLAIN_ADDRESS.pattern}(?:\n{PLAIN_ADDRESS.pattern})*")


def clean_texts(cells: Sequence[Any], longest: int) -> Sequence[str | None] | None:
    """Return texts without blanks around them, and None for None.

    :param longest: characters that a text may have.
    :return: None where one of the cells is something else, a text of blanks, longer, or holds what has to be looked at.
    """
    kinds = {*map(type, cells)}
    if type(None) in kinds:
        present = clean_texts([cell for cell in cells if cell is not None], longest)
        if present is None:
            return None
        following = iter(present)
        return [None if cell is None else next(following) for cell in cells]
    if not kinds <= {str}:
        return None
    together = "".join(cells)
    # What is printable has no halves of characters, and what can be seen is not empty.
    if not together.isprintable() or not (_is_latin(together) or UNSEEN.isdisjoint(together)):
        return None
    texts = list(map(str.strip, cells))
    return texts if all(texts) and max(map(len, texts), default=0) <= longest else None


def _is_latin(text: str) -> bool:
    """Return True for a text whose signs are all below U+0100, where none is unseen: told without a look at each."""
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


def latin_texts(cells: Sequence[Any]) -> bool:
    """Return True where each cell is a text whose signs are all below U+0100: it has no accents in two ways."""
    return {*map(type, cells)} == {str} and _is_latin("".join(cells))


def are_plain_emails(cells: Sequence[Any], longest: float = math.inf) -> bool:
    """Return True where each cell is an e-mail address that is written as :func:`.normal_email` writes it.

    :param longest: characters that it may have.
    """
    if {*map(type, cells)} != {str} or max(map(len, cells)) > longest:
        return False
    together = "\n".join(cells)
    return together.count("\n") == len(cells) - 1 and _PLAIN_ADDRESSES.fullmatch(together) is not None
