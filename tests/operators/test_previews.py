"""A preview says of each row what a run would do, field by field, and sends nothing."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmError, CrmInputError
from airflow_provider_crm.operators.expertsender import ExpertSenderUpsertCustomersOperator
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator
from airflow_provider_crm.operators.spread import SpreadUpsertCustomersOperator
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.tasks import TaskRunner, read_lines

Line = dict[str, Any]

UPSERTS = {
    "mindbaz": MindbazUpsertSubscribersOperator,
    "spread": SpreadUpsertCustomersOperator,
    "expertsender": ExpertSenderUpsertCustomersOperator,
}
NAMES = {"mindbaz": "nom", "spread": "lastName", "expertsender": "lastName"}


@pytest.fixture(params=UPSERTS)
def system(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Previews:
    """Runs the upsert of a CRM, mostly without sending anything."""

    def __init__(self, system: str, sandbox: Sandbox, run_task: TaskRunner, folder: Path) -> None:
        self.system = system
        self.sandbox = sandbox
        self.path = folder / "preview.jsonl"
        self._run_task = run_task

    def people(self, *numbers: int, name: str = "Lefèvre") -> list[Line]:
        return [{"email": f"p{number}@example.fr", NAMES[self.system]: name} for number in numbers]

    def send(self, rows: list[Line], **parameters: Any) -> dict[str, Any]:
        return self._run_task(UPSERTS[self.system], rows, **parameters).summary

    def __call__(self, rows: list[Line], **parameters: Any) -> list[Line]:
        """Return the lines of a preview."""
        self.sandbox.clear()
        before = len(self.sandbox.calls)
        given = {"dry_run": True, "preview_path": str(self.path), "rejects_path": None, "results_path": None}
        self.summary = self.send(rows, **given, **parameters)
        self.calls = list(self.sandbox.calls)[before:]
        assert not any(call.method in ("POST", "PUT") for call in self.calls)
        return read_lines(self.path)


@pytest.fixture
def preview(
    system: str, crm_sandbox: Sandbox, run_task: TaskRunner, tmp_path: Path, no_waiting: None
) -> Previews:
    return Previews(system, crm_sandbox, run_task, tmp_path)


def test_each_row_has_its_end_and_what_it_changes(preview: Previews) -> None:
    preview.send(preview.people(1, 2))
    rows = [*preview.people(1), *preview.people(2, name="Martin"), *preview.people(3), {"email": "nobody"}]
    lines = preview(rows)
    assert [line["row"] for line in lines] == [1, 2, 3, 4]
    assert [line["key"] for line in lines] == ["p1@example.fr", "p2@example.fr", "p3@example.fr", None]
    unseen = preview.system == "expertsender"  # whose creations and updates are one call, which does not look
    new = "updated" if unseen else "created"
    assert [line["end"] for line in lines] == [
        "updated" if unseen else "unchanged",
        "updated",
        new,
        "rejected",
    ]
    assert not lines[0]["changes"]
    name = NAMES[preview.system]
    assert lines[1]["changes"] == {name: {"from": "Lefèvre", "to": "Martin"}}
    assert lines[2]["changes"] == {
        "email": {"from": None, "to": "p3@example.fr"},
        name: {"from": None, "to": "Lefèvre"},
    }
    assert lines[3]["reason"]
    assert unseen or lines[1]["crm_id"]
    assert "sample" not in preview.summary


def test_fields_within_fields_have_a_name_each(preview: Previews) -> None:
    if preview.system != "expertsender":
        pytest.skip("tried with ExpertSender, and with SPREAD by the name of the field")
    sent = preview.send([{"email": "p1@example.fr", "consents.1": "True", "customAttributes.Ville": "Nîmes"}])
    assert sent["updated"] == 1
    (line,) = preview([{"email": "p1@example.fr", "consents.1": "False", "customAttributes.Ville": "Lyon"}])
    assert line["changes"] == {
        "consents.1": {"from": "True", "to": "False"},
        "customAttributes.Ville": {"from": "Nîmes", "to": "Lyon"},
    }


def test_a_large_source_is_shown_by_a_sample_that_lies_evenly(preview: Previews) -> None:
    lines = preview([*preview.people(*range(100)), {"email": "nobody"}], preview_rows="10")
    assert lines[-1]["end"] == "rejected", "rows that need no look are all there"
    drawn = [line["row"] for line in lines[:-1]]
    assert len(drawn) == 10
    assert max(after - before for before, after in pairwise(drawn)) <= 20
    assert preview.summary["sample"] == {"rows": 10, "of": 100}
    assert preview.summary["read"] == 11
    asked = [call for call in preview.calls if "ustomers/" in call.path or "email=" in str(call.query)]
    assert len(asked) <= 10


def test_what_is_known_is_not_looked_up_for_a_preview(preview: Previews, tmp_path: Path) -> None:
    kept = {"snapshot": str(tmp_path / "snapshot")}
    preview.send(preview.people(1, 2, 3), **kept)
    lines = preview([*preview.people(1, 2), *preview.people(3, name="Martin")], **kept, preview_rows=1)
    assert [line["reason"] for line in lines[:2]] == ["as it was accepted before"] * 2
    assert list(lines[2]["changes"]) == [NAMES[preview.system]]
    assert preview.summary["known"] == 2


def test_a_preview_that_fails_leaves_no_file(preview: Previews, monkeypatch: pytest.MonkeyPatch) -> None:
    preview.path.write_text("as before")
    monkeypatch.setattr(
        "airflow_provider_crm.bulk.engine.BulkEngine._process",
        lambda *_: (_ for _ in ()).throw(CrmError("no")),
    )
    with pytest.raises(CrmError):
        preview(preview.people(1))
    assert preview.path.read_text() == "as before"
    assert [path.name for path in preview.path.parent.iterdir() if "preview" in path.name] == [
        "preview.jsonl"
    ]


@pytest.mark.parametrize("no", [False, "False"])
def test_a_preview_is_for_a_dry_run(system: str, no: Any) -> None:
    with pytest.raises(CrmInputError, match="`preview_path` is for `dry_run=True` or `approval`"):
        UPSERTS[system](task_id="upsert", source=[], preview_path="preview.jsonl", dry_run=no)


def test_a_run_whose_template_says_that_it_is_no_dry_one_sends_nothing(preview: Previews) -> None:
    task = UPSERTS[preview.system](
        task_id="upsert", source=preview.people(1), preview_path=str(preview.path), dry_run="{{ no }}"
    )
    task.render_template_fields({"no": False})
    before = len(preview.sandbox.calls)
    with pytest.raises(CrmInputError, match="`preview_path`"):
        task.execute({})
    assert not any(call.method in ("POST", "PUT") for call in list(preview.sandbox.calls)[before:])


def test_nobody_is_in_the_log(preview: Previews, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", logger="airflow_provider_crm"):
        preview(preview.people(1, 2), preview_rows=1)
    assert "The preview is a sample: 1 of 2 rows" in caplog.text
    assert "example.fr" not in caplog.text
    assert "example.fr" not in json.dumps(preview.summary)
