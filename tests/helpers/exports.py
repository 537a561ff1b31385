"""Run an export and read its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def export(
    operator: Any, path: Path, context: dict[str, Any] | None = None, **parameters: Any
) -> dict[str, Any]:
    """Run an export to its end; where neither a run nor the parameters say of when, of everything.

    :return: its summary, held against the file.
    """
    if not context and "window" in operator.template_fields:
        parameters = {"window": "all", **parameters}
    task = operator(task_id="export", path=str(path), **parameters)
    summary: dict[str, Any] = task.execute(context or {})
    assert summary["path"] == str(path)
    assert summary["bytes"] == path.stat().st_size
    return summary


def lines(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a file of JSON lines."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]
