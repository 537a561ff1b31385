"""The local times of SPREAD's records get their zone: those of a page alike, whatever stands beside them."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_crm.schemas.records import Records
from airflow_provider_crm.schemas.spread.exports import consent_reader, loyalty_reader

PARIS = ZoneInfo("Europe/Paris")


def read(times: list[str | None]) -> list[Any]:
    """Read answers of these times, in one slice.

    :return: each answer's time, or why it is none.
    """
    answers = [
        {"id": "1", "trackId": str(place), "customerConsentCreatedAt": time}
        for place, time in enumerate(times, start=1)
    ]
    body = msgspec.json.encode({"consent": {"id": "5", "customers": answers}})
    [records] = consent_reader(PARIS, "5").slices(body)
    assert len(records.values) + len(records.misfits) == len(times)
    return in_their_order(records)


def in_their_order(records: Records) -> list[Any]:
    reasons = {misfit.position: misfit.reason for misfit in records.misfits}
    values = iter(records.values)
    return [
        reasons[place] if place in reasons else next(values).customerConsentCreatedAt
        for place in range(len(records.keys))
    ]


@pytest.mark.parametrize(
    ("time", "zoned"),
    [
        ("2018-06-11 13:03:05", "2018-06-11T13:03:05+02:00"),
        ("2018-12-31 23:59:59", "2018-12-31T23:59:59+01:00"),
        ("2018-10-28 01:59:59", "2018-10-28T01:59:59+02:00"),
        ("2018-10-28 02:30:00", "2018-10-28T02:30:00+02:00"),  # the first of both
        ("2018-10-28 03:00:00", "2018-10-28T03:00:00+01:00"),
        ("2018-03-25 02:30:00", "2018-03-25T02:30:00+01:00"),  # which no clock shows
        ("2018-03-25 03:00:00", "2018-03-25T03:00:00+02:00"),
        ("1900-01-01 00:00:00", "1900-01-01T00:00:00+00:09:21"),
        ("2018-06-11T13:03:05", "2018-06-11T13:03:05+02:00"),
        ("2018-06-11", "2018-06-11T00:00:00+02:00"),
        ("2018-06-11 13:03:05+00:00", "2018-06-11T13:03:05+00:00"),
        ("0000-00-00 00:00:00", None),
        ("", None),
        (None, None),
    ],
)
@pytest.mark.parametrize("beside", [[], ["2018-07-01 00:00:00"], ["2018-01-01 00:00:00"], [None]])
def test_a_time_gets_its_zone_whatever_stands_beside_it(time, zoned, beside):
    assert read([*beside, time, *beside])[len(beside)] == zoned


@pytest.mark.parametrize(
    "time",
    [
        "2018-06-11 13:60:05",
        "2018-06-11 13:03:60",
        "2018-06-11 13:73:05",
        "2018-06-11 13:03:90",
        "2018-06-11 25:03:05",
        "2018-06-11 24:03:05",
        "2018-06-31 13:03:05",
        "2018-13-11 13:03:05",
        "2018-06-11 13:03:0",
        "2018-06-11 13:03:05\n",
        "2018-06-11 13:03:05\n2018-06-11 13:03:05",
        "٢018-06-11 13:03:05",
        "soon",
    ],
)
@pytest.mark.parametrize(
    "beside", [[], ["2018-06-11 13:03:05"], ["2018-06-11 13:03:05", "2018-01-01 00:00:00"]]
)
def test_what_is_no_time_is_told_whatever_stands_beside_it(time, beside):
    ends = read([*beside, time, *beside])
    assert ends[len(beside)] == "Expected a time as YYYY-MM-DD HH:MM:SS"
    assert ends.count(ends[len(beside)]) == 1


@given(
    st.lists(
        st.datetimes(dt.datetime(1890, 1, 1), dt.datetime(2040, 1, 1)).map(
            lambda time: str(time.replace(microsecond=0))
        )
        | st.datetimes(dt.datetime(2018, 10, 27), dt.datetime(2018, 10, 29)).map(
            lambda time: str(time.replace(microsecond=0))
        )
        | st.sampled_from([None, "", "0000-00-00 00:00:00", "2018-06-11", "2018-06-11 13:03:99", "x"]),
        min_size=1,
        max_size=8,
    )
)
def test_times_are_read_together_as_each_alone(times):
    assert read(times) == [read([time])[0] for time in times]


def test_a_column_that_is_empty_for_some_is_read_as_one_that_is_not():
    lines = [
        {
            "cagnotteLineId": str(number),
            "cagnotteLineDate": f"2018-06-11 13:03:0{number}",
            "cagnotteLineValidationDate": "2018-06-12 00:00:00" if number % 2 else None,
            "amount": "5",
        }
        for number in range(1, 5)
    ]
    [records] = loyalty_reader(PARIS).slices(msgspec.json.encode({"cagnottes": lines}))
    assert [(line.cagnotteLineDate, line.cagnotteLineValidationDate) for line in records.values] == [
        (f"2018-06-11T13:03:0{number}+02:00", "2018-06-12T00:00:00+02:00" if number % 2 else None)
        for number in range(1, 5)
    ]
