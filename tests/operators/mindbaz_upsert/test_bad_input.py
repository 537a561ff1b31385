"""Bad input and bad connections fail at once, and nothing is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmFailError, CrmInputError

from .upserting import Row, Upsert

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown mode": ({"mode": "merge"}, "'upsert'"),
    "unknown key": ({"match_by": "Phone"}, "'IdClient'"),
    "unknown nulls": ({"nulls": "keep"}, "'skip'"),
    "batch too large": ({"batch_size": 5001}, "5000"),
    "batch too small": ({"batch_size": 0}, "between 1"),
    "batch as a text": ({"batch_size": "many"}, "between 1"),
    "batch of True": ({"batch_size": True}, "between 1"),
    "a text that is true": ({"allow_resubscribe": "no"}, "True or False"),
    "rejects as NaN": ({"max_rejects": float("nan")}, "max_rejects"),
    "half a row": ({"min_rows": 1.5}, "min_rows"),
    "no thread": ({"concurrency": 0}, "between 1"),
    "a thread for everybody": ({"concurrency": 10**9}, "between 1"),
    "a number as path": ({"rejects_path": 5}, "path or a URI"),
    "a blank path": ({"results_path": " "}, "path or a URI"),
    "a path with NUL": ({"results_path": "a\0b.jsonl"}, "path or a URI"),
    "no mode": ({"mode": "None"}, "`mode` is missing"),
    "no connection": ({"mindbaz_conn_id": None}, "`mindbaz_conn_id` is missing"),
    "a map turned round": ({"field_map": {1: "email"}}, "which column goes into which field"),
    "rejects as a text": ({"max_rejects": "few"}, "max_rejects"),
    "rejects beyond all": ({"max_rejects": 1.5}, "at most 1.0"),
    "rejects below none": ({"max_rejects": -1}, "max_rejects"),
    "rows as a text": ({"min_rows": "many"}, "min_rows"),
    "too few rows": ({"min_rows": 2}, "fewer than min_rows"),
    "unknown field": ({"field_map": {"email": 1, "nom": "surname"}}, "'surname' is no field"),
    "unknown id": ({"field_map": {"email": 1, "nom": 999}}, "'999' is no field"),
    "the CRM's own field": ({"field_map": {"email": 1, "nom": 0}}, "given by Mindbaz"),
    "missing column": ({"field_map": {"email": 1, "name": 14}}, "name"),
    "one field twice": ({"field_map": {"email": 1, "nom": "email"}}, "already fills"),
    "map without the key": ({"field_map": {"nom": 14}}, "match key"),
    "key not in the source": ({"match_by": "IdClient"}, "match key"),
    "a list as map": ({"field_map": ["email"]}, "mapping"),
    "no folder": ({"rejects_path": "/dev/null/rejects.jsonl"}, "cannot be written"),
    "no folder for results": ({"results_path": "/dev/null/results.jsonl"}, "cannot be written"),
    "a folder as file": ({"rejects_path": "/tmp"}, "cannot be written"),
    "one file for two": (
        {"rejects_path": "/tmp/../tmp/one.jsonl", "results_path": "/tmp/one.jsonl"},
        "same file",
    ),
    "no such source": ({"source": "/no/such/people.csv"}, "no file"),
    "no known format": ({"source": __file__}, "format"),
    "a text as list": ({"source": "[{'email': 'zoe@example.fr'}]"}, "list"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_fails_at_once_and_writes_nothing(upsert: Upsert, csv: Path, case: str) -> None:
    parameters, words = BAD[case]
    with pytest.raises(CrmInputError) as raised:
        upsert(**{"source": str(csv), **parameters})
    assert words in str(raised.value)
    assert isinstance(raised.value, CrmFailError)
    assert upsert.writes() == []


@pytest.mark.parametrize("content", ["", "\n\n", "email,email\na@example.fr,b\n"])
def test_files_without_rows_to_take(upsert: Upsert, csv: Path, content: str) -> None:
    csv.write_text(content)
    with pytest.raises(CrmInputError):
        upsert(str(csv))
    csv.write_text("email\n")
    with pytest.raises(CrmInputError, match="0 rows"):
        upsert(str(csv), min_rows=1)
    assert upsert.writes() == []
    assert upsert(str(csv))["read"] == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"extra": {"site_id": "3", "retries": 5}}, "unknown extra(s) retries"),
        ({"extra": {}}, "site_id"),
        ({"extra": {"site_id": "4"}}, "403"),
        ({"password": "wrong-key"}, "401"),
        ({"password": ""}, "API key"),
        ({"host": "http://example.com/api"}, "plain http"),
    ],
)
def test_a_bad_connection_fails_at_once(
    upsert: Upsert, monkeypatch: pytest.MonkeyPatch, change: Row, words: str
) -> None:
    connection = json.loads(upsert.sandbox.connections()["mindbaz_default"])
    monkeypatch.setenv("AIRFLOW_CONN_MINDBAZ_DEFAULT", json.dumps({**connection, **change}))
    with pytest.raises(CrmFailError) as raised:
        upsert([{"email": "zoe@example.fr"}])
    assert words in str(raised.value)
    assert upsert.writes() == []


@pytest.mark.parametrize("as_pattern", [False, True])
def test_the_source_is_not_written_over(upsert: Upsert, tmp_path: Path, as_pattern: bool) -> None:
    upsert([{"email": "zoe"}])
    repaired = upsert.rejects_path.read_text().replace('"zoe"', '"zoe@example.fr"')
    upsert.rejects_path.write_text(repaired)
    with pytest.raises(CrmInputError, match="overwritten"):
        upsert(str(tmp_path / "rej*.jsonl") if as_pattern else f"{tmp_path}/./rejects.jsonl")
    assert upsert.rejects_path.read_text() == repaired
