"""The rules of parameters alone: what each understands, what it refuses. In operators: ``test_parameters.py``."""

from __future__ import annotations

import datetime as dt
from typing import Any

import airflow
import pytest

from airflow_provider_crm import parameters
from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.triggers.spread import SpreadConsentEventTrigger


@pytest.mark.parametrize("value", [0, 1, "3", " 3 ", "+3"])
def test_a_whole_number(value: Any) -> None:
    assert parameters.whole(0, 3)("n", value) == int(value)


@pytest.mark.parametrize("value", [True, 1.0, 1.5, "1.5", "", "٣", -1, 4, 10**30, "1e2", None, [1]])
def test_no_whole_number(value: Any) -> None:
    with pytest.raises(CrmInputError, match="`n` is a whole number between 0 and 3"):
        parameters.whole(0, 3)("n", value)


@pytest.mark.parametrize(("value", "read"), [(0, 0), ("5", 5), ("0.5", 0.5), (1.0, 1.0)])
def test_rows_or_a_share(value: Any, read: Any) -> None:
    found = parameters.rows_or_share("n", value)
    assert (found, type(found)) == (read, type(read))


@pytest.mark.parametrize("value", [True, -1, 1.5, "nan", float("nan"), float("inf"), "few", []])
def test_neither_rows_nor_a_share(value: Any) -> None:
    with pytest.raises(CrmInputError, match="`n`"):
        parameters.rows_or_share("n", value)


@pytest.mark.parametrize("value", ["../up", "a/b", "a\\b", "", " ", 5, "a\0"])
def test_no_name_in_a_folder(value: Any) -> None:
    with pytest.raises(CrmInputError, match="`prefix`"):
        parameters.name_in_folder("prefix", value)


def test_several() -> None:
    assert parameters.several(commas=True)("ids", "1, 2,1") == ["1", "2"]
    assert parameters.several(commas=False)("names", "a, b") == ["a, b"]
    assert parameters.several(commas=True)("ids", 9876) == ["9876"]
    assert parameters.several(commas=True)("ids", [1, "2"]) == ["1", "2"]
    with pytest.raises(CrmInputError, match="`ids`"):
        parameters.several(commas=True)("ids", [None])


@pytest.mark.parametrize(
    "value", [dt.date(2026, 1, 1), dt.datetime(2026, 1, 1), "2026-01-01", " 2026-01-01 00:00 ", "2026/01/01"]
)
def test_a_moment(value: Any) -> None:
    assert parameters.moment("m", value) == dt.datetime(2026, 1, 1)


@pytest.mark.parametrize("value", ["tomorrow", 5, "", dt.time(), "1710121501000", "20260101", "2026-W01"])
def test_no_moment(value: Any) -> None:
    with pytest.raises(CrmInputError, match="`m` is no time"):
        parameters.moment("m", value)


def test_a_proxy_of_nothing_is_nothing() -> None:
    class Proxy:
        """As Airflow's, which answers for what it stands for."""

        __class__ = type(None)  # type: ignore[assignment]

    assert parameters.is_nothing(Proxy())
    assert not parameters.is_nothing(0)


has_event_triggers = pytest.mark.skipif(
    airflow.__version__.startswith("2."), reason="event triggers came with Airflow 3.0"
)


@has_event_triggers
@pytest.mark.parametrize(
    "given",
    [
        {"status": "yes"},
        *({"consent_id": wrong} for wrong in (None, True, "", 1.5)),
        *({"poll_interval": seconds} for seconds in (0, 0.5, 86_401, float("nan"), "soon")),
    ],
)
def test_an_event_trigger_refuses_what_it_cannot_use(given: dict[str, Any]) -> None:
    with pytest.raises(CrmInputError, match=next(iter(given))):
        SpreadConsentEventTrigger(**{"consent_id": 9876, **given})


@has_event_triggers
def test_an_event_trigger_takes_a_status_in_any_case() -> None:
    assert SpreadConsentEventTrigger(9876, "Accepted").status == "accepted"
    assert SpreadConsentEventTrigger(9876, "None").status is None
