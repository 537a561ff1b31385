"""Who Mindbaz' subscribers are: by e-mail or by client id. Knows no row of a source."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from airflow_provider_crm.hooks.mindbaz.hook import By, MindbazHook
from airflow_provider_crm.schemas.mindbaz.write import CLIENT_ID, EMAIL, ID, Subscriber
from airflow_provider_crm.values import compared_email, key_of, normal_email

#: The field that each way of matching looks at.
KEY_FIELDS: Mapping[str, int] = {"Email": EMAIL, "IdClient": CLIENT_ID}


def key_text(value: Any, match_by: str) -> str:
    """Normalise a match key.

    :raises ValueError: it is empty, no address, or something that the look-up cannot express.
    """
    if match_by == "Email":
        return normal_email(value)
    text = key_of(value)
    if not text:
        raise ValueError("the client id is empty")
    if "," in text:
        raise ValueError("the client id holds a comma, which Mindbaz' look-up cannot express")
    return text


def look_up(
    hook: MindbazHook, keys: Sequence[str], *, match_by: str, field_ids: Sequence[int]
) -> dict[str, list[Subscriber]]:
    """Find subscribers by their keys.

    :return: those found by key; more than one where several share a client id.
    """
    key_field = KEY_FIELDS[match_by]
    found: dict[str, list[Subscriber]] = {}
    seen: set[int] = set()
    written = compared_email if match_by == "Email" else _client_id
    by_case: dict[str, str] = {}
    asked = dict.fromkeys(keys)
    wanted = ",".join(map(str, sorted({ID, key_field, *field_ids})))
    for subscriber in hook.find_subscribers(list(asked), cast(By, match_by), wanted):
        held = subscriber["fields"].get(key_field)
        if held is None and len(keys) == 1:
            key = keys[0]
        else:
            key = held if held.__class__ is str and held in asked else written(held)
        if key not in asked:  # the CRM may compare without case
            by_case = by_case or {written(one).casefold(): one for one in keys}
            key = by_case.get(key.casefold(), "")
        if not key or subscriber["id"] in seen or subscriber["id"] < 0:
            continue
        seen.add(subscriber["id"])
        found.setdefault(key, []).append(subscriber)
    return found


def _client_id(held: Any) -> str:
    try:
        return key_of(held)
    except ValueError:
        return str(held)


def look_up_surely(
    hook: MindbazHook, keys: Sequence[str], *, match_by: str, field_ids: Sequence[int]
) -> dict[str, list[Subscriber]]:
    """Find subscribers where being absent ends a row: nobody is taken for unknown on one answer alone."""
    found = look_up(hook, keys, match_by=match_by, field_ids=field_ids)
    return found | look_again(hook, keys, found, match_by=match_by, field_ids=field_ids)


def look_again(
    hook: MindbazHook,
    keys: Sequence[str],
    found: Collection[str],
    *,
    match_by: str,
    field_ids: Sequence[int],
) -> dict[str, list[Subscriber]]:
    """Find those that a first look-up has left out.

    How many keys a look-up takes is not documented, and public APIs answer for the first ones and keep silent about the
    rest (github.com/nasso/rs621 issue 3: 75 of 100 ids) or find nobody (github.com/tractr/directus-sync pull request
    171, where people who existed were then taken for gone). So those not found are asked for again in the other order,
    and one by one when that finds any of them.
    """
    absent = [key for key in reversed(keys) if key not in found]
    if not absent or len(keys) == 1:
        return {}
    more = look_up(hook, absent, match_by=match_by, field_ids=field_ids)
    if more:
        rest = [key for key in absent if key not in more]
        for one in hook.side_by_side(
            lambda key: look_up(hook, [key], match_by=match_by, field_ids=field_ids), rest
        ):
            more |= one
    return more
