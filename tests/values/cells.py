"""What cells of every type become in every kind of field: what the tests hold, and ``docs/values.md`` shows.

``python tests/values/cells.py`` writes the tables into the page.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import itertools
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa

from airflow_provider_crm import values

PAGE = Path(__file__).parents[2] / "docs" / "values.md"
BEGIN, END = "<!-- the tables begin -->\n", "<!-- the tables end -->\n"
PARIS = ZoneInfo("Europe/Paris")
A_UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")

KINDS: dict[str, Callable[[Any], Any]] = {
    "text": values.text_of,
    "whole number": values.whole_number,
    "yes or no": values.yes_or_no,
    "day": values.day_of,
    "moment": values.moment_of,
    "e-mail": values.normal_email,
    "id": values.key_of,
    "phone": values.phone_of,
    "reference": values.reference_of,
}
#: In the tables "key", where they become the same.
KEYS = {"id", "phone", "reference"}
EMPTY, REJECTED = "empty", "rejected"


class Cell(NamedTuple):
    """A cell, and what it becomes.

    :param becomes: what it becomes in each kind of field, as the page shows it; the kinds left out reject it. EMPTY
        where it is nothing in every field.
    """

    source: str
    written: str
    value: Any
    becomes: dict[str, str] | str


def arrow(kind: Any, value: Any) -> Any:
    """Hand a value over as Parquet does."""
    return (
        pa.array([value]).cast(kind).to_pylist()[0]
        if not isinstance(value, pa.Array)
        else value.to_pylist()[0]
    )


def outcome(value: Any, kind: str) -> str:
    """Tell what a cell becomes."""
    if values.is_empty(value):
        return EMPTY
    try:
        return shown(KINDS[kind](value))
    except ValueError:
        return REJECTED


def shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value.isoformat(" ") if isinstance(value, dt.datetime) else str(value)


CELLS: tuple[Cell, ...] = (
    Cell("Python", "None", None, EMPTY),
    Cell("Python", '"Zoé"', "Zoé", {"text": "Zoé", "id": "Zoé", "phone": "Zoé", "reference": "Zoé"}),
    Cell("Python", "True", True, {"text": "true", "whole number": "1", "yes or no": "yes"}),
    Cell("Python", "False", False, {"text": "false", "whole number": "0", "yes or no": "no"}),
    Cell("Python", "5", 5, {"text": "5", "whole number": "5", "id": "5", "phone": "5", "reference": "5"}),
    Cell(
        "Python",
        "0",
        0,
        {"text": "0", "whole number": "0", "yes or no": "no", "id": "0", "phone": "0", "reference": "0"},
    ),
    Cell(
        "Python",
        "33612345678",
        33612345678,
        {
            "text": "33612345678",
            "whole number": "33612345678",
            "id": "33612345678",
            "phone": "33612345678",
            "reference": "33612345678",
        },
    ),
    Cell("Python", "5.0", 5.0, {"text": "5", "whole number": "5", "id": "5", "phone": "5", "reference": "5"}),
    Cell("Python", "0.5", 0.5, {"text": "0.5", "id": "0.5", "phone": "0.5", "reference": "0.5"}),
    Cell("Python", 'float("nan")', float("nan"), EMPTY),
    Cell("Python", 'float("inf")', float("inf"), {}),
    Cell("Python", "1e16", 1e16, {"text": "10000000000000000", "whole number": "10000000000000000"}),
    Cell(
        "Python",
        'Decimal("5.000000000")',
        Decimal("5.000000000"),
        {"text": "5", "whole number": "5", "id": "5", "phone": "5", "reference": "5"},
    ),
    Cell(
        "Python",
        'Decimal("12.50")',
        Decimal("12.50"),
        {"text": "12.50", "id": "12.5", "phone": "12.5", "reference": "12.5"},
    ),
    Cell("Python", 'Decimal("NaN")', Decimal("NaN"), EMPTY),
    Cell(
        "Python",
        'Decimal("1E+3")',
        Decimal("1E+3"),
        {"text": "1000", "whole number": "1000", "id": "1000", "phone": "1000", "reference": "1000"},
    ),
    Cell(
        "Python",
        "date(1990, 5, 17)",
        dt.date(1990, 5, 17),
        {"text": "1990-05-17", "day": "1990-05-17", "moment": "1990-05-17 00:00:00"},
    ),
    Cell(
        "Python",
        "datetime(1990, 5, 17)",
        dt.datetime(1990, 5, 17),
        {"text": "1990-05-17 00:00:00", "day": "1990-05-17", "moment": "1990-05-17 00:00:00"},
    ),
    Cell(
        "Python",
        "datetime(1990, 5, 17, 14, 30)",
        dt.datetime(1990, 5, 17, 14, 30),
        {"text": "1990-05-17 14:30:00", "day": "1990-05-17", "moment": "1990-05-17 14:30:00"},
    ),
    Cell(
        "Python",
        "datetime(1990, 5, 17, tzinfo=PARIS)",
        dt.datetime(1990, 5, 17, tzinfo=PARIS),
        {"text": "1990-05-17 00:00:00+02:00", "day": "1990-05-17", "moment": "1990-05-17 00:00:00+02:00"},
    ),
    Cell("Python", "time(14, 30)", dt.time(14, 30), {"text": "14:30:00"}),
    Cell("Python", "timedelta(days=1)", dt.timedelta(days=1), {}),
    Cell(
        "Python",
        'b"a@x.fr"',
        b"a@x.fr",
        {"text": "a@x.fr", "e-mail": "a@x.fr", "id": "a@x.fr", "phone": "a@x.fr", "reference": "a@x.fr"},
    ),
    Cell("Python", 'b"\\xff\\xfe"', b"\xff\xfe", {}),
    Cell(
        "Python",
        'memoryview(b"123")',
        memoryview(b"123"),
        {"text": "123", "whole number": "123", "id": "123", "phone": "123", "reference": "123"},
    ),
    Cell(
        "Python",
        'UUID("12345678-...")',
        A_UUID,
        {
            "text": "12345678-1234-5678-1234-567812345678",
            "id": "12345678-1234-5678-1234-567812345678",
            "phone": "12345678-1234-5678-1234-567812345678",
            "reference": "12345678-1234-5678-1234-567812345678",
        },
    ),
    Cell("Python", "[]", [], EMPTY),
    Cell("Python", '["a"]', ["a"], {}),
    Cell("Python", "{}", {}, EMPTY),
    Cell("Python", '{"a": 1}', {"a": 1}, {}),
    Cell("Python", "object()", object(), {}),
    Cell(
        "NumPy",
        "int64(5)",
        np.int64(5),
        {"text": "5", "whole number": "5", "id": "5", "phone": "5", "reference": "5"},
    ),
    Cell(
        "NumPy",
        "float64(5.0)",
        np.float64(5.0),
        {"text": "5", "whole number": "5", "id": "5", "phone": "5", "reference": "5"},
    ),
    Cell(
        "NumPy",
        "float32(0.1)",
        np.float32(0.1),
        {"text": "0.1", "id": "0.1", "phone": "0.1", "reference": "0.1"},
    ),
    Cell("NumPy", 'float64("nan")', np.float64("nan"), EMPTY),
    Cell("NumPy", "bool_(True)", np.bool_(True), {"text": "true", "whole number": "1", "yes or no": "yes"}),
    Cell(
        "NumPy",
        'str_("Zoé")',
        np.str_("Zoé"),
        {"text": "Zoé", "id": "Zoé", "phone": "Zoé", "reference": "Zoé"},
    ),
    Cell(
        "NumPy",
        'bytes_(b"a@x.fr")',
        np.bytes_(b"a@x.fr"),
        {"text": "a@x.fr", "e-mail": "a@x.fr", "id": "a@x.fr", "phone": "a@x.fr", "reference": "a@x.fr"},
    ),
    Cell(
        "NumPy",
        'datetime64("1990-05-17")',
        np.datetime64("1990-05-17"),
        {"text": "1990-05-17", "day": "1990-05-17", "moment": "1990-05-17 00:00:00"},
    ),
    Cell(
        "NumPy",
        'datetime64("1990-05-17T14:30", "ns")',
        np.datetime64("1990-05-17T14:30", "ns"),
        {"text": "1990-05-17 14:30:00", "day": "1990-05-17", "moment": "1990-05-17 14:30:00"},
    ),
    Cell("NumPy", 'datetime64("NaT")', np.datetime64("NaT"), EMPTY),
    Cell("NumPy", 'timedelta64(5, "ns")', np.timedelta64(5, "ns"), {}),
    Cell("NumPy", 'array(["a"])', np.array(["a"]), {}),
    Cell("NumPy", "array([])", np.array([]), EMPTY),
    Cell("pandas", "NA", pd.NA, EMPTY),
    Cell("pandas", "NaT", pd.NaT, EMPTY),
    Cell(
        "pandas",
        'Timestamp("1990-05-17")',
        pd.Timestamp("1990-05-17"),
        {"text": "1990-05-17 00:00:00", "day": "1990-05-17", "moment": "1990-05-17 00:00:00"},
    ),
    Cell(
        "pandas",
        'Timestamp("1990-05-17 14:30", tz="UTC")',
        pd.Timestamp("1990-05-17 14:30", tz="UTC"),
        {"text": "1990-05-17 14:30:00+00:00", "day": "1990-05-17", "moment": "1990-05-17 14:30:00+00:00"},
    ),
    Cell("pandas", "Timedelta(days=1)", pd.Timedelta(days=1), {}),
    Cell(
        "Arrow",
        "int64 5",
        arrow(pa.int64(), 5),
        {"text": "5", "whole number": "5", "id": "5", "phone": "5", "reference": "5"},
    ),
    Cell(
        "Arrow",
        "double 5.0",
        arrow(pa.float64(), 5.0),
        {"text": "5", "whole number": "5", "id": "5", "phone": "5", "reference": "5"},
    ),
    Cell(
        "Arrow",
        "decimal128(38, 9) 5",
        arrow(pa.decimal128(38, 9), Decimal(5)),
        {"text": "5", "whole number": "5", "id": "5", "phone": "5", "reference": "5"},
    ),
    Cell(
        "Arrow",
        "bool true",
        arrow(pa.bool_(), True),
        {"text": "true", "whole number": "1", "yes or no": "yes"},
    ),
    Cell(
        "Arrow",
        'string "Zoé"',
        arrow(pa.string(), "Zoé"),
        {"text": "Zoé", "id": "Zoé", "phone": "Zoé", "reference": "Zoé"},
    ),
    Cell(
        "Arrow",
        'binary "a@x.fr"',
        arrow(pa.binary(), b"a@x.fr"),
        {"text": "a@x.fr", "e-mail": "a@x.fr", "id": "a@x.fr", "phone": "a@x.fr", "reference": "a@x.fr"},
    ),
    Cell(
        "Arrow",
        "date32 1990-05-17",
        arrow(pa.date32(), dt.date(1990, 5, 17)),
        {"text": "1990-05-17", "day": "1990-05-17", "moment": "1990-05-17 00:00:00"},
    ),
    Cell(
        "Arrow",
        "timestamp(us) 1990-05-17 14:30",
        arrow(pa.timestamp("us"), dt.datetime(1990, 5, 17, 14, 30)),
        {"text": "1990-05-17 14:30:00", "day": "1990-05-17", "moment": "1990-05-17 14:30:00"},
    ),
    Cell(
        "Arrow",
        "timestamp(us, UTC) 1990-05-17 14:30",
        arrow(pa.timestamp("us", "UTC"), dt.datetime(1990, 5, 17, 14, 30, tzinfo=dt.UTC)),
        {"text": "1990-05-17 14:30:00+00:00", "day": "1990-05-17", "moment": "1990-05-17 14:30:00+00:00"},
    ),
    Cell("Arrow", "time64(us) 14:30", arrow(pa.time64("us"), dt.time(14, 30)), {"text": "14:30:00"}),
    Cell("Arrow", "duration(us) 1 day", arrow(pa.duration("us"), dt.timedelta(1)), {}),
    Cell("Arrow", "null", arrow(pa.null(), None), EMPTY),
    Cell("Arrow", 'list ["a"]', arrow(pa.list_(pa.string()), ["a"]), {}),
    Cell(
        "Arrow",
        'map {"a": "1"}',
        arrow(None, pa.array([[("a", "1")]], pa.map_(pa.string(), pa.string()))),
        {},
    ),
    Cell(
        "SQL",
        "char(8) 'Zoé     '",
        "Zoé     ",
        {"text": "Zoé", "id": "Zoé", "phone": "Zoé", "reference": "Zoé"},
    ),
    Cell(
        "SQL",
        "numeric(38, 9) 5",
        Decimal("5.000000000"),
        {"text": "5", "whole number": "5", "id": "5", "phone": "5", "reference": "5"},
    ),
    Cell("SQL", "bit(1) 1 (MySQL)", b"\x01", {"yes or no": "yes"}),
    Cell("SQL", "bit(1) 0 (MySQL)", b"\x00", {"yes or no": "no"}),
    Cell(
        "SQL",
        "binary(8) 'a@x.fr' (MySQL)",
        b"a@x.fr\0\0",
        {"text": "a@x.fr", "e-mail": "a@x.fr", "id": "a@x.fr", "phone": "a@x.fr", "reference": "a@x.fr"},
    ),
    Cell(
        "SQL",
        "bytea (PostgreSQL)",
        memoryview(b"a@x.fr"),
        {"text": "a@x.fr", "e-mail": "a@x.fr", "id": "a@x.fr", "phone": "a@x.fr", "reference": "a@x.fr"},
    ),
    Cell(
        "SQL",
        "uuid (PostgreSQL)",
        A_UUID,
        {
            "text": "12345678-1234-5678-1234-567812345678",
            "id": "12345678-1234-5678-1234-567812345678",
            "phone": "12345678-1234-5678-1234-567812345678",
            "reference": "12345678-1234-5678-1234-567812345678",
        },
    ),
    Cell(
        "SQL",
        "inet (PostgreSQL)",
        ipaddress.ip_address("192.0.2.7"),
        {"text": "192.0.2.7", "id": "192.0.2.7", "phone": "192.0.2.7", "reference": "192.0.2.7"},
    ),
    Cell("SQL", "interval (PostgreSQL)", dt.timedelta(days=1), {}),
    Cell(
        "SQL",
        "timestamptz",
        dt.datetime(1990, 5, 17, tzinfo=dt.timezone(dt.timedelta(hours=9))),
        {"text": "1990-05-17 00:00:00+09:00", "day": "1990-05-17", "moment": "1990-05-17 00:00:00+09:00"},
    ),
    Cell("text", '"" or blanks', " ", EMPTY),
    Cell("text", '" Zoé "', " Zoé ", {"text": "Zoé", "id": "Zoé", "phone": "Zoé", "reference": "Zoé"}),
    Cell("text", '"5"', "5", {"text": "5", "whole number": "5", "id": "5", "phone": "5", "reference": "5"}),
    Cell(
        "text",
        '"5.0"',
        "5.0",
        {"text": "5.0", "whole number": "5", "id": "5", "phone": "5", "reference": "5.0"},
    ),
    Cell(
        "text",
        '"5.000000000"',
        "5.000000000",
        {"text": "5.000000000", "whole number": "5", "id": "5", "phone": "5", "reference": "5.000000000"},
    ),
    Cell("text", '"5.5"', "5.5", {"text": "5.5", "id": "5.5", "phone": "5.5", "reference": "5.5"}),
    Cell(
        "text",
        '"1001.0"',
        "1001.0",
        {"text": "1001.0", "whole number": "1001", "id": "1001", "phone": "1001", "reference": "1001.0"},
    ),
    Cell(
        "text",
        '"007"',
        "007",
        {"text": "007", "whole number": "7", "id": "007", "phone": "007", "reference": "007"},
    ),
    Cell(
        "text", '"1_000"', "1_000", {"text": "1_000", "id": "1_000", "phone": "1_000", "reference": "1_000"}
    ),
    Cell(
        "text",
        '"true" or "VRAI"',
        "VRAI",
        {"text": "VRAI", "yes or no": "yes", "id": "VRAI", "phone": "VRAI", "reference": "VRAI"},
    ),
    Cell(
        "text",
        '"Oui", "Y", "t"',
        "Oui",
        {"text": "Oui", "yes or no": "yes", "id": "Oui", "phone": "Oui", "reference": "Oui"},
    ),
    Cell(
        "text",
        '"Non", "N", "f"',
        "N",
        {"text": "N", "yes or no": "no", "id": "N", "phone": "N", "reference": "N"},
    ),
    Cell(
        "text",
        '"1990-05-17"',
        "1990-05-17",
        {
            "text": "1990-05-17",
            "day": "1990-05-17",
            "moment": "1990-05-17 00:00:00",
            "id": "1990-05-17",
            "phone": "1990-05-17",
            "reference": "1990-05-17",
        },
    ),
    Cell(
        "text",
        '"1990/05/17 14:30"',
        "1990/05/17 14:30",
        {
            "text": "1990/05/17 14:30",
            "day": "1990-05-17",
            "moment": "1990-05-17 14:30:00",
            "id": "1990/05/17 14:30",
            "phone": "1990/05/17 14:30",
            "reference": "1990/05/17 14:30",
        },
    ),
    Cell(
        "text",
        '"1990-05-17T00:00:00+09:00"',
        "1990-05-17T00:00:00+09:00",
        {
            "text": "1990-05-17T00:00:00+09:00",
            "day": "1990-05-17",
            "moment": "1990-05-17 00:00:00+09:00",
            "id": "1990-05-17T00:00:00+09:00",
            "phone": "1990-05-17T00:00:00+09:00",
            "reference": "1990-05-17T00:00:00+09:00",
        },
    ),
    Cell(
        "text",
        '"1990-05-17 14:30:00 UTC"',
        "1990-05-17 14:30:00 UTC",
        {
            "text": "1990-05-17 14:30:00 UTC",
            "day": "1990-05-17",
            "moment": "1990-05-17 14:30:00+00:00",
            "id": "1990-05-17 14:30:00 UTC",
            "phone": "1990-05-17 14:30:00 UTC",
            "reference": "1990-05-17 14:30:00 UTC",
        },
    ),
    Cell(
        "text",
        '"19900517"',
        "19900517",
        {
            "text": "19900517",
            "whole number": "19900517",
            "id": "19900517",
            "phone": "19900517",
            "reference": "19900517",
        },
    ),
    Cell(
        "text",
        '"1710121501000"',
        "1710121501000",
        {
            "text": "1710121501000",
            "whole number": "1710121501000",
            "id": "1710121501000",
            "phone": "1710121501000",
            "reference": "1710121501000",
        },
    ),
    Cell(
        "text",
        '"0000-00-00"',
        "0000-00-00",
        {"text": "0000-00-00", "id": "0000-00-00", "phone": "0000-00-00", "reference": "0000-00-00"},
    ),
    Cell(
        "text",
        '"17/05/1990"',
        "17/05/1990",
        {"text": "17/05/1990", "id": "17/05/1990", "phone": "17/05/1990", "reference": "17/05/1990"},
    ),
    Cell(
        "text",
        '" Zoé@X.FR "',
        " Zoé@X.FR ",
        {
            "text": "Zoé@X.FR",
            "e-mail": "zoé@x.fr",
            "id": "Zoé@X.FR",
            "phone": "Zoé@X.FR",
            "reference": "Zoé@X.FR",
        },
    ),
    Cell(
        "text",
        '"\\u200ba@x.fr\\ufeff"',
        "\u200ba@x.fr\ufeff",
        {
            "text": "\u200ba@x.fr\ufeff",
            "e-mail": "a@x.fr",
            "id": "a@x.fr",
            "phone": "a@x.fr",
            "reference": "a@x.fr",
        },
    ),
    Cell(
        "text",
        '"a\\u00ad@x\\u202c.fr\\0"',
        "a\u00ad@x\u202c.fr\0",
        {
            "text": "a\xad@x\u202c.fr\x00",
            "e-mail": "a@x.fr",
            "id": "a@x.fr",
            "phone": "a@x.fr",
            "reference": "a@x.fr",
        },
    ),
    Cell(
        "text",
        '"mailto:a@x.fr"',
        "mailto:a@x.fr",
        {
            "text": "mailto:a@x.fr",
            "e-mail": "a@x.fr",
            "id": "mailto:a@x.fr",
            "phone": "mailto:a@x.fr",
            "reference": "mailto:a@x.fr",
        },
    ),
    Cell(
        "text",
        '"<a@x.fr>"',
        "<a@x.fr>",
        {
            "text": "<a@x.fr>",
            "e-mail": "a@x.fr",
            "id": "<a@x.fr>",
            "phone": "<a@x.fr>",
            "reference": "<a@x.fr>",
        },
    ),
    Cell(
        "text",
        '"\\"a@x.fr\\""',
        '"a@x.fr"',
        {
            "text": '"a@x.fr"',
            "e-mail": "a@x.fr",
            "id": '"a@x.fr"',
            "phone": '"a@x.fr"',
            "reference": '"a@x.fr"',
        },
    ),
    Cell(
        "text",
        '"Zoé <a@x.fr>"',
        "Zoé <a@x.fr>",
        {"text": "Zoé <a@x.fr>", "id": "Zoé <a@x.fr>", "phone": "Zoé <a@x.fr>", "reference": "Zoé <a@x.fr>"},
    ),
    Cell(
        "text",
        '"İZEL@X.FR"',
        "\u0130ZEL@X.FR",
        {
            "text": "İZEL@X.FR",
            "e-mail": "izel@x.fr",
            "id": "İZEL@X.FR",
            "phone": "İZEL@X.FR",
            "reference": "İZEL@X.FR",
        },
    ),
    Cell(
        "text",
        '"a b@x.fr"',
        "a b@x.fr",
        {"text": "a b@x.fr", "id": "a b@x.fr", "phone": "a b@x.fr", "reference": "a b@x.fr"},
    ),
    Cell(
        "text",
        '"=\\"0612345678\\""',
        '="0612345678"',
        {"text": '="0612345678"', "id": "0612345678", "phone": "0612345678", "reference": "0612345678"},
    ),
    Cell(
        "text",
        '"tel:+33612345678"',
        "tel:+33612345678",
        {
            "text": "tel:+33612345678",
            "id": "tel:+33612345678",
            "phone": "+33612345678",
            "reference": "tel:+33612345678",
        },
    ),
    Cell(
        "text",
        '"+33 6 12 34 56 78"',
        "+33 6 12 34 56 78",
        {
            "text": "+33 6 12 34 56 78",
            "id": "+33 6 12 34 56 78",
            "phone": "+33 6 12 34 56 78",
            "reference": "+33 6 12 34 56 78",
        },
    ),
    Cell(
        "text",
        '"33612345678.0"',
        "33612345678.0",
        {
            "text": "33612345678.0",
            "whole number": "33612345678",
            "id": "33612345678",
            "phone": "33612345678",
            "reference": "33612345678.0",
        },
    ),
    Cell(
        "text",
        '"3.3612345678E+10"',
        "3.3612345678E+10",
        {
            "text": "3.3612345678E+10",
            "id": "33612345678",
            "phone": "33612345678",
            "reference": "3.3612345678E+10",
        },
    ),
    Cell("text", '"3.36123E+10"', "3.36123E+10", {"text": "3.36123E+10", "reference": "3.36123E+10"}),
    Cell("text", "half a character", "\ud83d", {}),
)


def markdown() -> str:
    """Write the tables of the page."""
    return "".join(_lines())


def _lines() -> Iterator[str]:
    for source, cells in itertools.groupby(CELLS, key=lambda cell: cell.source):
        yield f"\n### {source[0].upper()}{source[1:]}\n\n| cell | becomes |\n|---|---|\n"
        for cell in cells:
            yield f"| {_code(cell.written)} | {_becomes(cell.becomes)} |\n"


def _becomes(becomes: dict[str, str] | str) -> str:
    if isinstance(becomes, str):
        return becomes
    if not becomes:
        return "–"
    kinds = dict(becomes)
    if kinds.keys() >= KEYS and len({kinds[kind] for kind in KEYS}) == 1:
        kinds["key"] = kinds["id"]
        kinds = {kind: value for kind, value in kinds.items() if kind not in KEYS}
    of_value: dict[str, list[str]] = {}
    for kind, value in kinds.items():
        of_value.setdefault(value, []).append(kind)
    return "; ".join(f"{', '.join(kinds)} {_code(value)}" for value, kinds in of_value.items())


def _code(text: str) -> str:
    visible = "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape", "surrogatepass").decode()
        for sign in text
    )
    return f"`{visible}`".replace("|", "\\|")


def write_page() -> None:
    """Bring the page's tables up to date."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}{markdown()}\n{END}{after}")


if __name__ == "__main__":
    write_page()
