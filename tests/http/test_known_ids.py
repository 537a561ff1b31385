"""The ids of rows are known again, none is taken for another, and their memory is bounded."""

from __future__ import annotations

from itertools import accumulate

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


#: Pages as those of most lists: ids in their order, close to each other or not, some of them again.
IN_ORDER = st.builds(
    lambda first, steps: [str(number) for number in accumulate(steps, initial=first)],
    st.integers(0, 40),
    st.lists(st.sampled_from([0, 1, 2, 30_000, 65_535, 65_536, 2**40]), max_size=6),
)


def test_ids_in_their_order_are_known_again() -> None:
    seen = KnownIds()
    assert seen.add(["3", "4", "70", "200000"]) == []
    assert seen.add(["200000", "200001", "200001", "200005"]) == [0, 2]
    assert "200005" in seen
    assert "200006" not in seen
    assert "71" not in seen
    assert seen.add(["4", "70", "200002"]) == [0, 1]
    assert seen.add(["200005", "200006"]) == [0]


def test_ids_in_their_order_are_known_however_many_there_are() -> None:
    class FewGaps(KnownIds):
        _GAPS = 100

    seen = FewGaps()
    for start in range(0, 10_000, 60):
        keys = [str(start + number) for number in range(0, 61, 3)]
        assert seen.add(keys) == ([0] if start else [])
    assert len(seen._gaps) <= FewGaps._GAPS
    assert [str(number) in seen for number in range(99)] == [number % 3 == 0 for number in range(99)]


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
        )
        | IN_ORDER,
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
    far_apart = range(40_000 * (KnownIds._STRETCHES + 50), 0, -40_000)
    assert seen.add([str(number) for number in far_apart]) == []
    assert len(seen._bits) == KnownIds._STRETCHES
    assert str(far_apart[50]) in seen
    seen.add([f"x{number}" for number in range(KnownIds._OTHERS + 50)])
    assert len(seen._others) == KnownIds._OTHERS
