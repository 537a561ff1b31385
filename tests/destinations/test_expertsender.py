"""Upserts and deletes of ExpertSender customers over real HTTP, whatever the vendor does that no page says."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tenacity

from airflow_provider_crm.bulk import settle
from airflow_provider_crm.exceptions import (
    CrmAuthenticationError,
    CrmInputError,
    CrmRejectsError,
    CrmTransientError,
)
from airflow_provider_crm.hooks import retry
from airflow_provider_crm.operators.expertsender import (
    ExpertSenderDeleteCustomersOperator,
    ExpertSenderUpsertCustomersOperator,
)
from airflow_provider_crm.sandbox.server import Sandbox

AWAITING = "AwaitingConfirmation"
#: The faults that a call can meet once; with those of the lower row it may have been applied.
FAULTS: dict[str, dict[str, Any]] = {
    "rate_limited": {"kind": "rate_limited"},
    "error_before": {"kind": "error_before"},
    "drop_before": {"kind": "drop_before"},
    "html_before": {"kind": "html_before"},
    "error_after": {"kind": "error_after"},
    "drop_after": {"kind": "drop_after", "reset": True},
    "truncate": {"kind": "truncate"},
    "html_after": {"kind": "html_after"},
}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry._Wait, "_backoff", tenacity.wait_none())
    monkeypatch.setattr(settle, "FIRST_WAIT", 0.0)


class Run:
    """Runs operators against the sandbox and looks at what became of it."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.results_path = folder / "results.jsonl"
        self.rejects_path = folder / "rejects.jsonl"

    def upsert(self, rows: list[dict[str, Any]], **options: Any) -> Counter[str]:
        return self._run(ExpertSenderUpsertCustomersOperator, rows, options)

    def delete(self, rows: list[dict[str, Any]], **options: Any) -> Counter[str]:
        return self._run(ExpertSenderDeleteCustomersOperator, rows, options)

    def _run(self, operator: Any, rows: list[dict[str, Any]], options: dict[str, Any]) -> Counter[str]:
        self.sandbox.calls.clear()
        task = operator(
            task_id="task",
            source=rows,
            results_path=str(self.results_path),
            rejects_path=str(self.rejects_path),
            **{"max_rejects": 1.0, **options},
        )
        summary = task.execute({})
        ends = self.ends()
        assert sorted(ends) == list(range(1, len(rows) + 1)), "each row ends once"
        counts = Counter(ends.values())
        assert {name: summary[name] for name in counts} == counts
        assert summary["read"] == len(rows)
        return counts

    def ends(self) -> dict[int, str]:
        lines = [json.loads(line) for line in self.results_path.read_text().splitlines()]
        assert len({line["row"] for line in lines}) == len(lines)
        return {line["row"]: line["outcome"] for line in lines}

    def reasons(self) -> dict[int, str]:
        lines = [json.loads(line) for line in self.rejects_path.read_text().splitlines()]
        return {line["row"]: f"{line['stage']}: {line['reason']}" for line in lines}

    def customer(self, email: str) -> dict[str, Any]:
        found = self.sandbox.expertsender.by_email(email)
        assert found is not None, f"{email} is not there"
        return found.show()

    def emails(self) -> set[str]:
        return {one["email"] for one in self.sandbox.records("expertsender", "customers")}

    def mailbox(self) -> Counter[tuple[str, int]]:
        mails = self.sandbox.records("expertsender", "mailbox")
        return Counter((mail["email"], mail["consent_id"]) for mail in mails)

    def posts(self) -> list[int]:
        return [call.rows for call in self.sandbox.calls if call.method == "POST"]

    def switch(self, **values: Any) -> None:
        self.sandbox.switch("expertsender", **values)

    def fault(self, kind: str, method: str = "POST", **settings: Any) -> Any:
        return self.sandbox.fault(
            kind, **{"system": "expertsender", "method": method, "times": 1, **settings}
        )


@pytest.fixture
def run(crm_sandbox: Sandbox, tmp_path: Path) -> Run:
    return Run(crm_sandbox, tmp_path)


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


def test_rows_that_ask_nobody_are_not_looked_at(run: Run) -> None:
    run.upsert([{"email": f"p{n}@x.fr", "consents.2": True} for n in range(25)], batch_size=10)
    assert sorted(run.posts()) == [5, 10, 10]
    assert run.sandbox.calls.count("expertsender", "GET", "/customers/{by}/{value}") == 0


def test_a_row_that_only_asks_again_is_unchanged(run: Run) -> None:
    rows = [{"email": "a@x.fr", "consents.1": AWAITING}]
    assert run.upsert(rows) == {"updated": 1}
    assert run.upsert(rows) == {"unchanged": 1}
    assert run.posts() == []


@pytest.mark.parametrize("fault", ["error_after", "drop_after", "truncate", "html_after"])
def test_a_forced_confirmation_is_sent_once_a_run(run: Run, fault: str) -> None:
    rows = [{"email": "a@x.fr", "consents.1": AWAITING, "force": True, "confirmationMessageId": 5}]
    run.fault(fault)
    assert run.upsert(rows) == {"updated": 1}
    assert run.mailbox() == {("a@x.fr", 1): 1}
    assert run.sandbox.expertsender.mailbox[0].message_id == 5
    assert run.upsert(rows) == {"updated": 1}
    assert run.mailbox() == {("a@x.fr", 1): 2}


@pytest.mark.parametrize("failed_batch", ["none", "good_rows", "up_to_error"])
def test_a_forced_confirmation_is_sent_beside_a_bad_row(run: Run, failed_batch: str) -> None:
    run.switch(failed_batch=failed_batch)
    rows: list[dict[str, Any]] = [{"email": f"p{n}@x.fr", "consents.1": AWAITING} for n in range(6)]
    run.upsert(rows)
    rows = [{**row, "force": True} for row in rows]
    rows[3]["customAttributes"] = {"Unknown": "x"}
    assert run.upsert(rows) == {"updated": 5, "rejected": 1}
    assert run.mailbox() == {(f"p{n}@x.fr", 1): 1 if n == 3 else 2 for n in range(6)}


def test_a_forced_confirmation_is_sent_once_where_reads_lag_behind(run: Run) -> None:
    run.switch(visible_after=60)
    run.fault("drop_after")
    assert run.upsert([{"email": "a@x.fr", "consents.1": AWAITING, "force": True}]) == {"updated": 1}
    assert run.posts() == [1, 1]
    assert run.mailbox() == {("a@x.fr", 1): 1}


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


def test_a_call_that_is_too_large_is_halved_and_the_size_remembered(run: Run) -> None:
    run.switch(batch_limit=7)
    assert run.upsert([{"email": f"p{n}@x.fr"} for n in range(120)], concurrency=1) == {"updated": 120}
    posts = run.posts()
    assert max(posts[5:]) <= 7
    assert len(posts) < 30


@pytest.mark.parametrize(
    ("said", "sizes"),
    [
        ("Too many customers in one request", [4, 4, 4, 4]),
        ("The field Data must be an array with a maximum length of '5'.", [4, 4, 4, 4]),
        ("Something else", [4, 4, 8]),
    ],
)
def test_a_refusal_in_words_of_size_is_remembered_too(run: Run, said: str, sizes: list[int]) -> None:
    run.fault("answer_before", status=400, body=json.dumps({"title": "Bad", "errors": [said]}))
    rows = [{"email": f"p{n}@x.fr"} for n in range(16)]
    assert run.upsert(rows, batch_size=8, concurrency=1) == {"updated": 16}
    assert run.posts()[1:] == sizes


def test_a_row_too_long_is_no_matter_of_size(run: Run) -> None:
    said = "data[1].customAttributes: maximum length exceeded, at most 3 items"
    run.fault("answer_before", status=400, body=json.dumps({"errors": [said]}))
    assert run.upsert([{"email": f"p{n}@x.fr"} for n in range(16)], batch_size=8, concurrency=1) == {
        "updated": 16
    }
    assert run.posts()[1:] == [7, 1, 8]


@pytest.mark.parametrize("match_by", ["GUID", "CrmId"])
def test_another_match_by_than_the_accounts_own_fails_at_once(run: Run, match_by: str) -> None:
    run.switch(default_match_by="Email")
    rows = [{"email": f"p{n}@x.fr", "crmId": f"C{n}", "visitorId": f"V{n}"} for n in range(50)]
    with pytest.raises(CrmInputError, match="match_by") as caught:
        run.upsert(rows, match_by=match_by, batch_size=5, concurrency=1)
    assert "Default matching mode" in str(caught.value)
    assert len(run.posts()) <= 2
    assert run.emails() == set()


@pytest.mark.parametrize(
    ("match_by", "column", "value"),
    [
        ("PhoneNumber", "phone", "+33 6 00 00 0{}"),
        ("CrmId", "crmId", "a/b {}?"),
        ("VisitorId", "visitorId", "V{}"),
    ],
)
def test_customers_are_matched_by_other_keys(run: Run, match_by: str, column: str, value: str) -> None:
    rows = [{column: value.format(n), "firstName": f"P{n}", "consents.1": AWAITING} for n in range(4)]
    run.fault("drop_after")
    assert run.upsert(rows, match_by=match_by) == {"updated": 4}
    assert len(run.sandbox.expertsender.mailbox) == 4
    seen = match_by != "VisitorId"
    assert run.upsert(rows, match_by=match_by, mode="Add") == {"skipped" if seen else "rejected": 4}
    assert len(run.sandbox.expertsender.customers) == 4


def test_add_by_a_key_that_cannot_be_read_goes_row_by_row(run: Run) -> None:
    run.switch(failed_batch="good_rows")
    rows = [{"visitorId": f"V{n}", "customAttributes.VIP": n != 3 or "?"} for n in range(6)]
    assert run.upsert(rows, match_by="VisitorId", mode="Add") == {"created": 5, "rejected": 1}
    assert run.posts() == [1] * 6
    run.fault("drop_after")
    assert run.upsert([{"visitorId": "W"}], match_by="VisitorId", mode="Add") == {"rejected": 1}
    assert "an earlier call, whose answer was lost, may have added the customer" in run.reasons()[1]


def test_nulls_are_sent_when_asked_for(run: Run) -> None:
    run.switch(null_value="clear")
    run.sandbox.expertsender.add_customer("a@x.fr", first_name="A", attributes={"Ville": "Nîmes"})
    rows = [{"email": "a@x.fr", "firstName": "", "customAttributes.Ville": None, "consents.1": ""}]
    run.upsert(rows)
    assert run.customer("a@x.fr")["firstName"] == "A"
    run.upsert(rows, nulls="send")
    assert run.customer("a@x.fr")["firstName"] is None
    assert run.customer("a@x.fr")["customAttributes"] == []


@pytest.mark.parametrize("mode", ["AddOrUpdate", "Add", "Update"])
def test_a_dry_run_only_reads(run: Run, mode: str) -> None:
    prepare(run)
    run.upsert(mixed_rows(), mode=mode, dry_run=True)
    assert run.posts() == []
    wanted = {"AddOrUpdate": "updated", "Add": "created", "Update": "skipped"}[mode]
    assert run.ends()[4] == wanted


@pytest.mark.parametrize(
    ("options", "row", "said"),
    [
        ({"mode": "upsert"}, {"email": "a@x.fr"}, "`mode` is one of 'AddOrUpdate', 'Add', 'Update'"),
        ({"match_by": "email"}, {"email": "a@x.fr"}, "`match_by` is one of 'Email', 'PhoneNumber'"),
        ({"match_by": "CrmId"}, {"email": "a@x.fr"}, "No column holds the match key 'crmId'"),
        ({}, {"e-mail": "a@x.fr"}, "'e-mail' is no field of the CRM"),
        ({}, {"email": "a@x.fr", "consents.Nope": "True"}, "'consents.Nope' is no field of the CRM"),
        ({"field_map": {"mail": "email"}}, {"email": "a@x.fr"}, "Missing columns in the list: mail"),
        (
            {"field_map": {"a": "consents.1", "b": "consents.newsletter subscription", "c": "email"}},
            {"a": 1},
            "fills",
        ),
        ({"batch_size": 0}, {"email": "a@x.fr"}, "`batch_size` is at least 1"),
        ({"min_rows": 5}, {"email": "a@x.fr"}, "fewer than min_rows=5"),
    ],
)
def test_bad_input_fails_before_anything_is_sent(
    run: Run, options: dict[str, Any], row: dict[str, Any], said: str
) -> None:
    with pytest.raises(CrmInputError) as caught:
        run.upsert([row], **options)
    assert said in str(caught.value)
    assert run.posts() == []


def test_too_many_rejects_fail_the_task_after_all_rows(run: Run) -> None:
    with pytest.raises(CrmRejectsError) as caught:
        run.upsert(mixed_rows(), max_rejects=0)
    assert "p5@x.fr" not in str(caught.value)
    assert len(run.emails()) == 13


def test_an_address_that_is_not_expertsender_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an address where everything is 404, everybody would be absent, and every row skipped."""
    host = f"{run.sandbox.url}/mindbaz/api"
    connection = {"conn_type": "expertsender_cdp", "host": host, "password": "demo-key"}
    monkeypatch.setenv("AIRFLOW_CONN_WRONG", json.dumps(connection))
    run.fault("answer_before", method="GET", system="mindbaz", status=404, times=None)
    for task in (
        lambda **options: run.upsert([{"email": "a@x.fr"}], mode="Update", **options),
        run_delete(run),
    ):
        with pytest.raises(CrmInputError, match="check the base URL"):
            task(expertsender_conn_id="wrong")


@pytest.mark.parametrize("mode", ["AddOrUpdate", "Add", "Update"])
def test_a_server_of_customers_alone_will_do(run: Run, mode: str) -> None:
    """The vendor's page on customers knows no list of consents."""
    run.sandbox.expertsender.add_customer("a@x.fr", first_name="old")
    run.fault("answer_before", method="GET", path="/customerconsents", status=404, times=None)
    run.upsert([{"email": "a@x.fr", "firstName": "new"}, {"email": "b@x.fr", "consents.1": True}], mode=mode)
    assert run.emails() == ({"a@x.fr"} if mode == "Update" else {"a@x.fr", "b@x.fr"})
    assert run.customer("a@x.fr")["firstName"] == ("old" if mode == "Add" else "new")
    assert run.delete([{"email": "a@x.fr"}, {"email": "c@x.fr"}]) == {"updated": 1, "skipped": 1}
    with pytest.raises(CrmInputError, match="no list of consents"):
        run.upsert([{"email": "a@x.fr", "consents.SMS marketing": True}])


@pytest.mark.parametrize(
    "wrong",
    [{"batch_size": "5"}, {"batch_size": 2.5}, {"batch_size": True}, {"field_map": ["email"]}],
)
def test_parameters_of_another_kind_are_refused(run: Run, wrong: dict[str, Any]) -> None:
    with pytest.raises(CrmInputError, match=next(iter(wrong))):
        run.upsert([{"email": "a@x.fr"}], **wrong)
    assert run.posts() == []


def test_a_text_does_not_anonymise(run: Run) -> None:
    """Such as "False" from a template: it would be true."""
    run.sandbox.expertsender.add_customer("a@x.fr")
    with pytest.raises(CrmInputError, match="with_anonymization"):
        run.delete([{"email": "a@x.fr"}], with_anonymization="False")
    assert run.emails() == {"a@x.fr"}


def run_delete(run: Run) -> Callable[..., Any]:
    return lambda **options: run.delete([{"email": "a@x.fr"}], **options)


def test_a_key_that_may_not_list_consents_can_use_their_ids(run: Run) -> None:
    run.fault("answer_before", method="GET", path="/customerconsents", status=403, times=None)
    assert run.upsert([{"email": "a@x.fr", "consents.1": True}]) == {"updated": 1}
    with pytest.raises(CrmAuthenticationError):
        run.upsert([{"email": "a@x.fr", "consents.SMS marketing": True}])


def test_a_crm_that_is_down_fails_the_task(run: Run) -> None:
    run.fault("error_before", times=None)
    with pytest.raises(CrmTransientError):
        run.upsert([{"email": "a@x.fr", "consents.1": AWAITING}])
    assert len(run.posts()) > 10
    assert run.reasons() == {}


# Deletes


def people(run: Run, count: int) -> None:
    for n in range(count):
        run.sandbox.expertsender.add_customer(f"p{n}@x.fr", phone=f"+3360000{n}", crm_id=f"C/{n}")


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
        ({"by": "crmid"}, "`by` is one of 'email', 'id', 'phone', 'crmId'"),
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
