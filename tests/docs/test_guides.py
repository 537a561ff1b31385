"""The guides: each operator has one, which names all its parameters, and shows results as they are."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.notifications.report import CrmReportNotifier
from airflow_provider_crm.sandbox.server import Sandbox
from airflow_provider_crm.triggers.spread import SpreadConsentEventTrigger, SpreadCustomerEventTrigger
from tests.docs.messages import is_said, names, quotations
from tests.docs.scenes import SCENES
from tests.helpers.public import tasks

sys.path.insert(0, str(Path(__file__).parents[2] / "docs/_site"))

import parameters as shown

GUIDES = Path(__file__).parents[2] / "docs/guides"
#: What is measured, and is another one each time.
MEASURED = ("seconds", "bytes", "requests")
TOLD = [
    *tasks("operators", "sensors"),
    SpreadConsentEventTrigger,
    SpreadCustomerEventTrigger,
    CrmReportNotifier,
]


@pytest.mark.parametrize("thing", TOLD, ids=lambda thing: thing.__name__)
def test_a_guide_names_each_parameter(thing: Any) -> None:
    asked = {
        shown.find(path): guide.name
        for guide in GUIDES.glob("*.md")
        for path in re.findall(r"<!-- parameters: ([\w.]+) -->", guide.read_text())
    }
    assert thing in asked, "no guide has its table of parameters"
    assert shown.parameters(thing)
    for one in shown.parameters(thing):
        assert one.meaning, f"no docstring says what `{one.name}` is"


def _blocks(guide: str, language: str) -> list[Any]:
    found = re.findall(rf"```{language}\n(.*?)```", (GUIDES / f"{guide}.md").read_text(), re.DOTALL)
    return [json.loads(block) for block in found]


def _comparable(result: dict[str, Any]) -> dict[str, Any]:
    return {name: "..." if name in MEASURED else value for name, value in result.items()}


@pytest.mark.sampled
@pytest.mark.parametrize("guide", SCENES)
def test_the_results_in_a_guide_are_those_of_a_run(
    guide: str,
    crm_sandbox: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_waiting: None,
) -> None:
    ledger = json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")})
    monkeypatch.setenv("AIRFLOW_CONN_CRM_LEDGER_DEFAULT", ledger)
    result, rejects = SCENES[guide].run(crm_sandbox, tmp_path)
    assert [_comparable(block) for block in _blocks(guide, "json")] == [_comparable(result)]
    assert _blocks(guide, "jsonl") == rejects[:1]


@pytest.mark.slow
@pytest.mark.parametrize("guide", sorted(GUIDES.glob("*.md")), ids=lambda guide: guide.stem)
def test_what_a_guide_quotes_is_what_the_package_says(guide: Path) -> None:
    parameters = {one.name for thing in TOLD for one in shown.parameters(thing)}
    counts = {"absent", "still_there", "credits_in_doubt"}
    known = names() | parameters | counts | {"mode"}
    quoted = list(quotations(guide.read_text(), "What goes wrong"))
    assert quoted
    assert [one for one in quoted if one not in known and not is_said(one)] == []


@pytest.mark.slow
def test_each_line_of_the_index_stands_in_the_source() -> None:
    page = (GUIDES.parent / "at-night.md").read_text()
    headings = [
        heading
        for heading in re.findall(r"^## (.+)$", page, re.MULTILINE)
        if "| line |" in page.partition(heading)[2]
    ]
    indexed = [line for heading in headings for line in quotations(page, heading)]
    assert len(indexed) >= 45
    assert [line for line in indexed if not is_said(line)] == []
