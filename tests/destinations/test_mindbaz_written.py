"""What Mindbaz does not hold yet is the same whether rows are compared together or one by one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.destinations.mindbaz.written import WrittenField, missing_values
from airflow_provider_crm.values import text_of, whole_number

FIELDS = [
    WrittenField(14, "last_name", is_text=True, longest=255, write=text_of),
    WrittenField(50, "points", is_text=False, longest=0, write=whole_number),
]
COMPOSED, DECOMPOSED = "Zo\u00e9", "Zoe\u0301"

TEXTS = st.sampled_from(["a", "A", "Zoe", COMPOSED, "K", "\u0141"])
HELD_TEXTS = TEXTS | st.sampled_from([" a ", "a\t", DECOMPOSED, "\u212a", "", None, 7, "\ud800"])
WANTED = st.fixed_dictionaries(
    {1: st.just("x@y.fr")}, optional={14: TEXTS | st.none(), 50: st.integers(0, 2)}
)
HELD = st.dictionaries(st.sampled_from([14]), HELD_TEXTS) | st.dictionaries(
    st.sampled_from([50]), st.sampled_from([0, 1, "1", "1.0", "one", None])
)


@given(st.lists(st.tuples(WANTED, HELD), max_size=6))
def test_rows_are_compared_together_as_they_are_alone(
    pairs: list[tuple[dict[int, Any], dict[int, Any]]],
) -> None:
    rows, held = [row for row, _ in pairs], [there for _, there in pairs]
    alone = [missing_values([row], [there], FIELDS)[0] for row, there in pairs]
    assert missing_values(rows, held, FIELDS) == alone


@pytest.mark.parametrize(
    "others", [[], ["plain"], ["\u0141ukasz"], [None]], ids=["alone", "latin", "others", "none"]
)
def test_blanks_and_the_way_accents_are_written_are_no_difference(others: list[Any]) -> None:
    held = [f"\u00a0{COMPOSED} ", DECOMPOSED, "\u212a", "zo\u00e9", *others]
    wanted = [COMPOSED, COMPOSED, "K", COMPOSED, *(["other"] * len(others))]
    missing = missing_values([{14: text} for text in wanted], [{14: text} for text in held], FIELDS)
    assert missing == [{}, {}, {}, {14: COMPOSED}, *([{14: "other"}] * len(others))]


def test_of_rows_whose_key_alone_is_known_nothing_is_missing() -> None:
    assert missing_values([{1: "a@b.fr"}, {1: "c@d.fr"}], [{}, {1: "c@d.fr"}], []) == [{}, {}]
