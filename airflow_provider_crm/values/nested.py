"""Which list or map a cell holds."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from airflow_provider_crm.values.cells import plain

# Numbers of a cell's JSON stay exact.
_decode = msgspec.json.Decoder(float_hook=Decimal).decode


def parsed(value: Any) -> Any:
    """Return the list or map that a cell holds, which may be JSON text; other values are returned as they are.

    :raises ValueError: a text that begins as JSON and is none.
    """
    if isinstance(value, str):
        text = value.strip()
        if text[:1] not in ("[", "{"):
            return value
        try:
            return _decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise ValueError("this is no JSON") from None
    return plain(value)


def pairs_of(value: Any) -> list[tuple[Any, Any]] | None:
    """Return the pairs of a map, which Parquet hands out as a list of pairs; None for anything else."""
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, list) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        return value
    return None
