"""The ids of rows are known again, none is taken for another, and their memory is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.http.known_ids import KnownIds


def test_ids_are_known_again() -> None:
    seen = KnownIds()
    assert seen.add(["5", "7", "70000", "5"]) == [3]
    assert seen.add(["7", "8"]) == [0]
    assert "70000" in seen
    assert "9" not in seen


def test_ids_that_are_no_numbers_are_known_again() -> None:
    seen = KnownIds()
    assert seen.add(["a", "5", "b", "a"]) == [3]
    assert seen.add(["5", "b", "c"]) == [0, 1]
    assert "a" in seen
    assert "c" in seen


@pytest.mark.slow
@given(
    st.lists(
        st.lists(
            st.one_of(
                st.sampled_from(["", "0", "7", "07", "-7", "+7", " 7", "7\n", "7\n8", "1_0", "10", "٧", "a"]),
                st.integers(-(2**70), 2**70).map(str),
                st.integers(1, 9).map(lambda number: str(number) * 5000),
                st.text(max_size=3),
            ),
            max_size=6,
        ),
        max_size=6,
    )
)
def test_no_id_is_taken_for_another(pages: list[list[str]]) -> None:
    seen = KnownIds()
    before: set[str] = set()
    for keys in pages:
        known = [place for place, key in enumerate(keys) if key in before or key in keys[:place]]
        assert [key in seen for key in keys] == [key in before for key in keys]
        assert seen.add(keys) == known
        before.update(keys)


@pytest.mark.slow
def test_memory_for_ids_is_bounded() -> None:
    seen = KnownIds()
    for start in range(0, 40_000 * 9000, 40_000):
        seen.add([str(start)])
    assert len(seen._bits) == KnownIds._STRETCHES
    seen.add([f"x{number}" for number in range(KnownIds._OTHERS + 50)])
    assert len(seen._others) == KnownIds._OTHERS
