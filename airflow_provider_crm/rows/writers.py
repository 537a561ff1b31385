"""How records become a file: JSON lines, CSV or Parquet, by the suffix of its name. Knows no CRM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.rows.blocks import Column, Format
from airflow_provider_crm.rows.parquet_writer import Parquet
from airflow_provider_crm.rows.text_writers import Csv, JsonLines


def check_suffix(path: str) -> str:
    """Find the suffix that tells a file's format.

    :return: ``.jsonl``, ``.csv`` or ``.parquet``.
    :raises CrmInputError: the file's name has no known one.
    """
    name = path.lower()
    for suffix in (".jsonl", ".csv", ".parquet"):
        if name.endswith(suffix) or (name.endswith(f"{suffix}.gz") and suffix != ".parquet"):
            return suffix
    raise CrmInputError(
        f"{path.rpartition('/')[2]!r} is of no known format: its name must end in .jsonl, .jsonl.gz, .csv, .csv.gz or "
        f".parquet."
    )


def format_for(
    path: str, columns: Sequence[Column], *, metadata: Mapping[str, str], csv_escape_formulas: bool = False
) -> Format:
    """Choose the format by the suffix of a file's name.

    :param metadata: what a file says about itself, where its format has a place for that.
    :param csv_escape_formulas: put an apostrophe before texts of CSV that a spreadsheet would compute.
    :raises CrmInputError: the suffix is not known, or the format needs something that is not installed.
    """
    suffix = check_suffix(path)
    if suffix == ".parquet":
        return Parquet(columns, metadata)
    compressed = path.lower().endswith(".gz")
    if suffix == ".jsonl":
        return JsonLines(compressed=compressed)
    return Csv(columns, compressed=compressed, escape_formulas=csv_escape_formulas)
