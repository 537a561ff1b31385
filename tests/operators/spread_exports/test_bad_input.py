"""Bad input is told before any row is read, and leaves no file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.operators.spread.exports import (
    SpreadExportConsentsOperator,
    SpreadExportCustomersOperator,
    SpreadExportLoyaltyOperator,
)
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.exports import export

from .exporting import spread_calls


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"consent_id": "1"}, "no consent"),
        ({"consent_tech_name": "Nothing"}, "no consent"),
        ({}, "Give `consent_id`"),
        ({"consent_id": 9876, "consent_tech_name": "NewsEmail"}, "not both"),
        ({"consent_id": 9876, "status": "yes"}, "`status` is one of"),
        ({"consent_id": 9876, "created_after": "2024-02-01", "created_before": "2024-01-01"}, "turned round"),
        ({"consent_id": 9876, "created_after": "yesterday"}, "no time"),
        ({"consent_id": 9876, "timezone": "Europe/Nowhere"}, "no time zone"),
        ({"consent_id": 9876, "page_size": 5001}, "page_size"),
        ({"consent_id": 9876, "window": "week"}, "`window` is one of"),
        ({"source": ["1"], "raw": True}, "do not name the customer"),
        ({"source": [{"email": "x"}]}, "no `customer_id`"),
    ],
    ids=str,
)
def test_bad_parameters(spread: Sandbox, tmp_path: Path, parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(CrmInputError, match=said):
        export(SpreadExportConsentsOperator, tmp_path / "x.jsonl", **parameters)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("least", "most"), [(5, 1), ("10", "9"), ("1e1", "9.5")])
def test_amounts_that_are_turned_round(spread: Sandbox, tmp_path: Path, least: Any, most: Any) -> None:
    with pytest.raises(CrmInputError, match="`min_amount` is more"):
        export(SpreadExportLoyaltyOperator, tmp_path / "x.jsonl", min_amount=least, max_amount=most)
    assert list(tmp_path.iterdir()) == []
    assert spread_calls(spread) == []
    export(SpreadExportLoyaltyOperator, tmp_path / "x.jsonl", min_amount="9", max_amount=10)


@pytest.mark.parametrize("name", ["x.txt", "x", "x.parquet.gz"])
def test_a_path_without_a_known_suffix(spread: Sandbox, tmp_path: Path, name: str) -> None:
    with pytest.raises(CrmInputError, match="known format"):
        export(SpreadExportCustomersOperator, tmp_path / name)
    assert spread_calls(spread) == []


def test_raw_rows_have_no_columns(spread: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(CrmInputError, match="raw"):
        export(SpreadExportCustomersOperator, tmp_path / "x.csv", raw=True)


def test_storage_that_refuses_the_write_is_found_before_paging(spread: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CrmInputError, match="cannot be written to"):
        export(SpreadExportCustomersOperator, tmp_path / "file" / "x.jsonl")
    assert spread_calls(spread) == []
