"""Upserts that go wrong or that no page describes: every row ends as it would have otherwise."""

from __future__ import annotations

import random
from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmOutcomeUnknownError, CrmRejectsError
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook

from .expertsender_runs import AWAITING, FAULTS, Run


def mixed_rows() -> list[dict[str, Any]]:
    """Rows that end in every way: of 20, three are bad for the CRM only."""
    rows: list[dict[str, Any]] = [
        {"email": f"p{n}@x.fr", "firstName": f"P{n}", "customAttributes.Points de fidélité": n}
        for n in range(16)
    ]
    rows[2]["consents.1"] = AWAITING
    rows[3]["consents"] = {"1": AWAITING, "2": True}
    rows[5]["customAttributes.Points de fidélité"] = "many"  # not of its type: the CRM finds out
    rows[9]["customAttributes"] = {"Unknown": "x"}
    rows[12]["email"] = "two..dots@x"  # more than a light check sees
    return [
        *rows,
        {"email": " "},
        {"email": "bad@x.fr", "gender": "?"},
        {"email": "P0@X.fr", "firstName": "Z"},
    ]


BAD = {6, 10, 13}
EARLIER_DUPLICATE, WITHOUT_KEY, WRONG_GENDER = 1, 17, 18


def expect_mixed(run: Run, mode: str) -> None:
    """The mixed rows, when p0, p2 and p4 were there before (row 1 gives way to row 19, both are p0)."""
    ends = run.ends()
    good = {
        "AddOrUpdate": ("updated", "updated"),
        "Add": ("skipped", "created"),
        "Update": ("updated", "skipped"),
    }
    present, absent = good[mode]
    bad_ones = "skipped" if mode == "Update" else "rejected"  # none of them was there
    for row in range(1, 20):
        if row == EARLIER_DUPLICATE:
            expected = "skipped"
        elif row in (WITHOUT_KEY, WRONG_GENDER):
            expected = "rejected"
        elif row in BAD:
            expected = bad_ones
        else:
            expected = present if row in (3, 5, 19) else absent
        assert ends[row] == expected, (row, ends, run.reasons())
    if mode != "Add":
        assert run.customer("p0@x.fr")["firstName"] == "Z"
    if mode != "Update":
        assert run.customer("p15@x.fr")["firstName"] == "P15"
        assert run.emails() == {f"p{n}@x.fr" for n in range(16) if n not in (5, 9, 12)}
    asked = {"AddOrUpdate": {"p2@x.fr", "p3@x.fr"}, "Add": {"p3@x.fr"}, "Update": {"p2@x.fr"}}[mode]
    assert run.mailbox() == {(email, 1): 1 for email in asked}


def prepare(run: Run) -> None:
    for n in (0, 2, 4):
        run.sandbox.expertsender.add_customer(f"p{n}@x.fr", first_name="old")


@pytest.mark.parametrize("mode", ["AddOrUpdate", "Add", "Update"])
@pytest.mark.parametrize("failed_batch", ["none", "good_rows", "up_to_error"])
@pytest.mark.parametrize("errors", ["list", "object", "none"])
def test_a_bad_row_is_rejected_alone(run: Run, mode: str, failed_batch: str, errors: str) -> None:
    run.switch(failed_batch=failed_batch, errors=errors)
    prepare(run)
    run.upsert(mixed_rows(), mode=mode, batch_size=50)
    expect_mixed(run, mode)
    if mode != "Update":
        reasons = run.reasons()
        assert reasons[WITHOUT_KEY] == "validate: email: the e-mail is empty"
        assert reasons[WRONG_GENDER] == "validate: gender: allowed are Male, Female, NotSpecified"
        assert reasons[10].startswith("crm: ")
        if errors != "none":
            assert "attribute Unknown does not exist" in reasons[10]


@pytest.mark.parametrize("mode", ["AddOrUpdate", "Add", "Update"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_call_may_fail_in_any_way(run: Run, mode: str, fault: str) -> None:
    prepare(run)
    run.fault(**FAULTS[fault], after=1)
    run.upsert(mixed_rows(), mode=mode, batch_size=6)
    expect_mixed(run, mode)


@pytest.mark.parametrize(
    ("mode", "switch"),
    [
        ("Add", {"content_type": "every"}),
        ("Add", {"add_existing": "update"}),
        ("Add", {"add_existing": "ignore"}),
        ("Update", {"update_missing": "ignore"}),
        ("Update", {"update_missing": "create"}),
        ("AddOrUpdate", {"taken_identifier": "move"}),
        ("AddOrUpdate", {"null_value": "clear"}),
        ("AddOrUpdate", {"missing_attributes": "clear"}),
        ("AddOrUpdate", {"missing_consents": "clear"}),
        ("Update", {"missing_consents": "clear"}),
        ("Add", {"email_case": "lower"}),
        ("AddOrUpdate", {"created_body": "empty"}),
        ("AddOrUpdate", {"confirmation": "once"}),
        ("Update", {"confirmation": "once"}),
        ("AddOrUpdate", {"no_consents": "absent"}),
        ("Update", {"no_consents": "absent"}),
        ("Add", {"problem_status": "zero"}),
        ("AddOrUpdate", {"substatus": "always"}),
        ("Update", {"match_by_case": "any"}),
        ("AddOrUpdate", {"default_match_by": "Email"}),
    ],
    ids=str,
)
def test_nothing_depends_on_what_no_page_says(run: Run, mode: str, switch: dict[str, Any]) -> None:
    run.switch(**switch)
    prepare(run)
    run.fault("drop_after", after=1)
    run.upsert(mixed_rows(), mode=mode, batch_size=6)
    expect_mixed(run, mode)
    if "missing_consents" in switch:
        assert {"id": 1, "value": AWAITING} in run.customer("p2@x.fr")["consentsData"]["consents"]


@pytest.mark.parametrize("seed", range(12))
def test_every_row_is_accounted_for_under_faults_without_end(run: Run, seed: int) -> None:
    chance = random.Random(seed)
    run.switch(
        failed_batch=chance.choice(["none", "good_rows", "up_to_error"]),
        errors=chance.choice(["list", "object", "none"]),
        visible_after=chance.choice([0.0, 0.0, 0.05]),
        confirmation=chance.choice(["per_entry", "once"]),
    )
    kinds = chance.sample(list(FAULTS.values()), 3)
    for place, settings in enumerate(kinds):
        run.fault(**{**settings, "method": None, "times": None}, probability=0.15, seed=seed + place)
    mode = chance.choice(["AddOrUpdate", "Add"])
    rows = mixed_rows()
    run.upsert(rows, mode=mode, batch_size=chance.choice([1, 4, 10, 50]))
    expected = dict.fromkeys(range(1, 20), "updated" if mode == "AddOrUpdate" else "created")
    expected |= dict.fromkeys((*BAD, WITHOUT_KEY, WRONG_GENDER), "rejected") | {EARLIER_DUPLICATE: "skipped"}
    assert run.ends() == expected, run.reasons()
    assert run.emails() == {f"p{n}@x.fr" for n in range(16) if n not in (5, 9, 12)}
    assert run.mailbox() == {("p2@x.fr", 1): 1, ("p3@x.fr", 1): 1}


def test_a_second_run_changes_nothing(run: Run) -> None:
    run.upsert(mixed_rows())
    run.sandbox.expertsender.by_email("p2@x.fr").consents[1] = "True"  # the person has confirmed
    before = run.sandbox.records("expertsender", "customers")
    run.upsert(mixed_rows())
    assert run.sandbox.records("expertsender", "customers") == before
    assert run.mailbox() == {("p2@x.fr", 1): 1, ("p3@x.fr", 1): 1}


@pytest.mark.parametrize("fault", ["drop_after", "error_after"])
@pytest.mark.parametrize("failed_batch", ["none", "good_rows"])
def test_an_add_is_not_taken_for_refused_where_reads_lag_behind(
    run: Run, fault: str, failed_batch: str
) -> None:
    run.switch(visible_after=60, failed_batch=failed_batch)
    run.fault(fault)
    rows = [*({"email": f"p{n}@x.fr"} for n in range(9)), {"email": "bad@x"}]
    assert run.upsert(rows, mode="Add") == {"created": 9, "rejected": 1}
    assert len(run.emails()) == 9


@pytest.mark.parametrize("mode", ["AddOrUpdate", "Add", "Update"])
def test_a_dry_run_only_reads(run: Run, mode: str) -> None:
    prepare(run)
    run.upsert(mixed_rows(), mode=mode, dry_run=True)
    assert run.posts() == []
    wanted = {"AddOrUpdate": "updated", "Add": "created", "Update": "skipped"}[mode]
    assert run.ends()[4] == wanted


def test_too_many_rejects_fail_the_task_after_all_rows(run: Run) -> None:
    with pytest.raises(CrmRejectsError) as caught:
        run.upsert(mixed_rows(), max_rejects=0)
    assert "p5@x.fr" not in str(caught.value)
    assert len(run.emails()) == 13


@pytest.mark.parametrize(("theirs", "end"), [({}, "created"), ({"first_name": "Theirs"}, "skipped")])
def test_an_add_without_an_answer_counts_where_the_crm_holds_what_was_sent(
    run: Run, monkeypatch: pytest.MonkeyPatch, theirs: dict[str, Any], end: str
) -> None:
    send = ExpertSenderHook.upsert_customers
    rows = [
        {
            "email": "a@x.fr",
            "firstName": "Ana",
            "dateOfBirth": "1990-05-17",
            "gender": "female",
            "phone": "+33 612",
            "customAttributes.Ville": "Nîmes",
            "consents.2": False,
        }
    ]

    def lose(self: ExpertSenderHook, *args: Any, **how: Any) -> None:
        send(self, *args, **how)
        for name, value in theirs.items():
            setattr(run.sandbox.expertsender.by_email("a@x.fr"), name, value)
        raise CrmOutcomeUnknownError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(ExpertSenderHook, "upsert_customers", lose)
        assert run.upsert(rows, mode="Add") == {end: 1}
