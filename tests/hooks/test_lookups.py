"""Lists of keys are cut to what a server takes, and no key is lost or asked for needlessly often."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.exceptions import CrmRequestError, CrmTooLargeError, CrmTransientError
from airflow_provider_crm.hooks.lookups import LONGEST, Lookups

keys_lists = st.lists(st.text(min_size=1, max_size=40).filter(lambda key: "," not in key), unique=True)


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
    return [found for group in lookups.cut(keys) for found in lookups.read(group, server)]


@given(keys=keys_lists, more=keys_lists, longest=st.integers(1, 500))
def test_every_key_is_looked_up_once_whatever_the_server_takes(
    keys: list[str], more: list[str], longest: int
) -> None:
    lookups, server = Lookups(), Server(longest)
    assert look_up(lookups, server, keys) == keys
    assert look_up(lookups, server, more) == more
    assert [key for group in server.asked for key in group] == keys + more


@given(keys=keys_lists)
def test_groups_are_as_long_as_servers_commonly_take(keys: list[str]) -> None:
    groups = list(Lookups().cut(keys))
    assert [key for group in groups for key in group] == keys
    assert all(group and (len(group) == 1 or length(group) <= LONGEST) for group in groups)


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
    assert list(lookups.cut(keys)) == [keys]


def test_other_failures_cut_nothing() -> None:
    tries = []

    def fetch(group: Sequence[str]) -> list[str]:
        tries.append(group)
        raise CrmTransientError("503")

    with pytest.raises(CrmTransientError):
        Lookups().read(["a", "b"], fetch)
    assert tries == [["a", "b"]]


def test_nothing_to_look_up() -> None:
    assert list(Lookups().cut([])) == []
