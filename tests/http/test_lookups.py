"""Lists of keys are cut to what a server takes, and no key is lost or asked for needlessly often."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.exceptions import (
    CrmRequestError,
    CrmTooLargeError,
    CrmTransientError,
    CrmUnreachableError,
)
from airflow_provider_crm.http.calls import Call
from airflow_provider_crm.http.lookups import LONGEST, Lookups

keys_lists = st.lists(st.text(min_size=1, max_size=40).filter(lambda key: "," not in key), unique=True)

QUERY = (("fields", "0,1"), ("keys", ""))
CALL = Call("GET", "/people", query=QUERY)


def length(group: Sequence[str]) -> int:
    return len(quote(",".join(group), safe="@,"))


class Server:
    """Takes lists up to a length, and knows every key."""

    def __init__(self, longest: int) -> None:
        self.longest = longest
        self.asked: list[list[str]] = []
        self.refused = 0

    def __call__(self, group: Sequence[str]) -> list[str]:
        if len(group) > 1 and length(group) > self.longest:
            self.refused += 1
            raise CrmTooLargeError("414")
        self.asked.append(list(group))
        return list(group)


def look_up(lookups: Lookups, server: Server, keys: list[str]) -> list[str]:
    return [found for group in lookups.cut(keys, CALL) for found in lookups.read(group, server)]


@pytest.mark.slow
@given(keys=keys_lists, more=keys_lists, longest=st.integers(1, 500))
def test_every_key_is_looked_up_once_whatever_the_server_takes(
    keys: list[str], more: list[str], longest: int
) -> None:
    lookups, server = Lookups(), Server(longest)
    assert look_up(lookups, server, keys) == keys
    assert look_up(lookups, server, more) == more
    assert [key for group in server.asked for key in group] == keys + more


@pytest.mark.slow
@given(keys=st.lists(st.text(min_size=1, max_size=40), unique=True), beside=st.integers(0, 2 * LONGEST))
def test_a_url_is_as_long_as_servers_commonly_take(keys: list[str], beside: int) -> None:
    call = Call("GET", "/people", query=(("fields", "7" * beside), ("keys", "")))
    groups = list(Lookups().cut(keys, call))
    assert [key for group in groups for key in group] == keys
    for number, group in enumerate(groups, 1):
        url = len(call.url_below("")) + length(group)
        assert group
        assert len(group) == 1 or url <= LONGEST
        if number < len(groups):
            assert url + 1 + length(groups[number][:1]) > LONGEST - 1


def test_a_refused_length_is_not_tried_again() -> None:
    keys = [f"someone{number}@example.com" for number in range(2000)]
    lookups, server = Lookups(), Server(2000)
    assert look_up(lookups, server, keys) == keys
    assert 0 < server.refused < 5
    # Halving may overshoot, but by less than half; the last group is what is left.
    assert min(map(length, server.asked[:-1])) > 1000
    server.refused = 0
    assert look_up(lookups, server, keys) == keys
    assert server.refused == 0


def test_a_key_that_is_refused_by_itself_is_an_error_and_no_length() -> None:
    lookups = Lookups()

    def fetch(group: Sequence[str]) -> list[str]:
        if "bad" in group:
            raise CrmRequestError("400")
        return list(group)

    with pytest.raises(CrmRequestError):
        lookups.read(["good", "bad"], fetch)
    keys = [f"key{number}" for number in range(100)]
    assert list(lookups.cut(keys, CALL)) == [keys]


@pytest.mark.parametrize(
    ("error", "keys", "tries"),
    [
        (CrmTransientError("503", status=503), ["a" * 3000, "b" * 3000], 1),
        (CrmUnreachableError("refused"), ["a" * 3000, "b" * 3000], 1),
        (CrmTransientError("dropped"), ["a", "b"], 1),
        (CrmTransientError("dropped"), ["a" * 400, "b" * 400], 2),
    ],
)
def test_failures_that_are_not_about_the_length_cut_nothing(
    error: CrmTransientError, keys: list[str], tries: int
) -> None:
    tried = []

    def fetch(group: Sequence[str]) -> list[str]:
        tried.append(group)
        raise error

    with pytest.raises(CrmTransientError):
        Lookups().read(keys, fetch)
    assert len(tried) == tries


def test_a_server_that_drops_what_is_too_long_gets_less() -> None:
    keys = [f"someone{number}@example.com" for number in range(1000)]
    lookups = Lookups()

    def fetch(group: Sequence[str]) -> list[str]:
        if length(group) > 3000:
            raise CrmTransientError("dropped")
        return list(group)

    assert [found for group in lookups.cut(keys, CALL) for found in lookups.read(group, fetch)] == keys
    assert max(map(length, lookups.cut(keys, CALL))) <= 3500


def test_nothing_to_look_up() -> None:
    assert list(Lookups().cut([], CALL)) == []
