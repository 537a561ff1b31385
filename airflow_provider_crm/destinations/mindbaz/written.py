"""How fields are written, and which of the written values Mindbaz does not hold yet: told by column, for many rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress
from operator import ne
from typing import Any, NamedTuple

from airflow_provider_crm.destinations.mindbaz.opt_outs import Values
from airflow_provider_crm.rows.mapping import ABSENT
from airflow_provider_crm.values import comparable, is_empty, latin_texts, text_of


class WrittenField(NamedTuple):
    """How a field is written, decided once.

    :ivar is_text: whether a text goes as it is, where it is not longer than ``longest``.
    :ivar write: turns a value into the field's; raises ValueError.
    """

    id: int
    name: str
    is_text: bool
    longest: int
    write: Callable[[Any], Any]


def missing_values(
    rows: Sequence[Values], held: Sequence[Mapping[int, Any]], fields: Iterable[WrittenField]
) -> list[Values]:
    """Return of each row the values that the CRM does not hold yet.

    :param held: what it holds of each row's subscriber.
    :param fields: those that are compared.
    """
    columns = {
        field.id: _differing(
            field, [row.get(field.id, ABSENT) for row in rows], [there.get(field.id) for there in held]
        )
        for field in fields
    }
    if not columns:
        return [{} for _ in rows]
    numbers = list(columns)
    return [
        {number: row[number] for number in compress(numbers, differing)}
        for row, differing in zip(rows, zip(*columns.values(), strict=True), strict=True)
    ]


def _differing(field: WrittenField, wanted: Sequence[Any], held: Sequence[Any]) -> Sequence[bool]:
    """Tell of each wanted value whether the one that is held says something else."""
    if field.is_text and latin_texts(wanted) and latin_texts(held):
        return list(
            map(ne, wanted, map(str.strip, held))
        )  # nothing but blanks around it can make a difference
    write = text_of if field.is_text else field.write
    return [
        value is not ABSENT and there != value and not _same(write, value, there)
        for value, there in zip(wanted, held, strict=True)
    ]


def _same(write: Callable[[Any], Any], wanted: Any, held: Any) -> bool:
    """Return whether the CRM's value, written as ours are, is the one that is wanted."""
    if wanted is None:
        return is_empty(held)
    try:
        written = write(held)
    except ValueError:
        return False
    return bool(written == wanted or _alike(written, wanted))


def _alike(held: Any, wanted: Any) -> bool:
    """Return whether two written values say the same; a field without a known type may show a number as text."""
    if held.__class__ is wanted.__class__ and not isinstance(held, str):
        return bool(held == wanted)
    return comparable(str(held)) == comparable(str(wanted))
