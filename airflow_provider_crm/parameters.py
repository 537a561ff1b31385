"""Checks of parameters, made when a sensor runs: before that they may still be templates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_crm.exceptions import CrmInputError


def text_or_none(value: Any) -> str | None:
    """Give a parameter as text; an empty template is as none at all."""
    text = "" if value is None else str(value).strip()
    return text or None


def the_one_given(**parameters: Any) -> dict[str, str]:
    """Tell which of several parameters is given.

    :return: its name and its text.
    :raises CrmInputError: none of them is, or more than one.
    """
    given = {name: text for name, value in parameters.items() if (text := text_or_none(value)) is not None}
    if len(given) != 1:
        names = " and ".join(f"`{name}`" for name in parameters)
        raise CrmInputError(f"Exactly one of {names} is required, {len(given)} are given")
    return given


def one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse a value that is not among those allowed.

    :raises CrmInputError: it is not.
    """
    if value not in allowed:
        raise CrmInputError(f"`{name}` is one of {', '.join(map(repr, allowed))}, not {value!r}")


def whole(name: str, value: Any, *, least: int) -> int:
    """Read a whole number.

    :raises CrmInputError: it is none, or too small.
    """
    text = str(value).strip()
    if isinstance(value, bool) or not text.isdecimal() or int(text) < least:
        raise CrmInputError(f"`{name}` is a whole number from {least} on, not {value!r}")
    return int(text)
