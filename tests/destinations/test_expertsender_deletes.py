"""Deletes of ExpertSender customers over real HTTP: once and for all, and nobody who is not meant."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmInputError

from .expertsender_runs import FAULTS, Run


def people(run: Run, count: int) -> None:
    for n in range(count):
        run.sandbox.expertsender.add_customer(f"p{n}@x.fr", phone=f"+3360000{n}", crm_id=f"C/{n}")


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("by", "value", "fault"),
    [
        ("phone", "+33 6 0000 {}", "drop_after"),
        ("crmId", "C/{}", "error_after"),
        ("id", "1{}", "drop_before"),
        *(("email", " P{}@x.fr", fault) for fault in FAULTS),
    ],
)
def test_people_are_deleted_once_and_for_all(run: Run, by: str, value: str, fault: str) -> None:
    people(run, 6)  # their ids run from 12
    first = 2 if by == "id" else 0
    rows = [{by: value.format(n + first)} for n in range(8)]
    run.fault(**FAULTS[fault], method="DELETE", after=1)
    assert run.delete(rows, by=by, dry_run=True) == {"updated": 6, "skipped": 2}
    assert len(run.emails()) == 6
    assert run.delete(rows, by=by) == {"updated": 6, "skipped": 2}
    assert run.emails() == set()
    assert run.delete(rows, by=by, require_confirmation_count="8") == {"skipped": 8}
    assert run.sandbox.expertsender.anonymized == []


@pytest.mark.parametrize("fault", ["error_before", "drop_before"])
def test_whoever_was_absent_is_not_counted_as_deleted_after_a_fault(run: Run, fault: str) -> None:
    run.fault(**FAULTS[fault], method="DELETE")
    assert run.delete([{"email": "nobody@x.fr"}]) == {"skipped": 1}


@pytest.mark.parametrize("place", ["query", "body"])
def test_people_are_deleted_with_anonymization(run: Run, place: str) -> None:
    run.switch(anonymization_in=place)
    people(run, 2)
    run.delete([{"email": "p0@x.fr"}], with_anonymization=True)
    assert len(run.sandbox.expertsender.anonymized) == 1
    assert run.emails() == {"p1@x.fr"}


def test_rows_that_name_nobody_are_rejected(run: Run) -> None:
    people(run, 1)
    assert run.delete([{"id": "p0@x.fr"}, {"id": ""}, {"id": -12}, {"id": 12}], by="id") == {
        "rejected": 3,
        "updated": 1,
    }
    assert run.reasons()[1] == "validate: id: the id is a whole number"


def test_an_erasure_does_not_depend_on_reads_that_lag_behind(run: Run) -> None:
    run.switch(visible_after=60)
    run.upsert([{"email": "a@x.fr"}])
    assert run.delete([{"email": "a@x.fr"}]) == {"updated": 1}
    assert run.emails() == set()


def test_a_delete_that_does_not_delete_is_no_success(run: Run) -> None:
    people(run, 2)
    run.fault("answer_before", method="DELETE", status=404, times=None)
    assert run.delete([{"email": "p0@x.fr"}, {"email": "c@x.fr"}]) == {"rejected": 1, "skipped": 1}
    assert "answers DELETE with 404" in run.reasons()[1]
    run.sandbox.clear()
    run.fault("answer_before", method="DELETE", status=400, body='{"errors": ["no"]}', times=None)
    assert run.delete([{"email": "p0@x.fr"}, {"email": "c@x.fr"}]) == {"rejected": 1, "skipped": 1}
    assert run.reasons() == {1: "crm: no"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"by": "crm"}, "`by` is one of 'email', 'id', 'phone', 'crmId'"),
        ({"by": "phone"}, "Missing columns in the list: phone"),
        ({"require_confirmation_count": 2}, "1 rows, 2 were announced: nothing was deleted"),
    ],
)
def test_a_bad_delete_fails_before_anybody_is_gone(run: Run, options: dict[str, Any], said: str) -> None:
    people(run, 1)
    with pytest.raises(CrmInputError) as caught:
        run.delete([{"email": "p0@x.fr"}], **options)
    assert said in str(caught.value)
    assert run.emails() == {"p0@x.fr"}


def test_a_text_does_not_anonymise(run: Run) -> None:
    """Such as "False" from a template, which is a text that is true."""
    run.sandbox.expertsender.add_customer("a@x.fr")
    with pytest.raises(CrmInputError, match="with_anonymization"):
        run.delete([{"email": "a@x.fr"}], with_anonymization="no")
    assert run.emails() == {"a@x.fr"}
    run.delete([{"email": "a@x.fr"}], with_anonymization="False")
    assert run.emails() == set()
    assert run.sandbox.expertsender.anonymized == []
