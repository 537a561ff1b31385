"""The page as Airflow's web server serves it: who sees what, and what is shown."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_crm.history import reading
from airflow_provider_crm.history.store import History
from tests.history.conftest import STARTED, a_report, a_try
from tests.ui.conftest import counted

pytestmark = pytest.mark.slow

Browse = Callable[..., Any]
Add = Callable[..., int]


def text_of(answer: Any) -> str:
    """What of a page is read."""
    assert answer.status_code == 200, answer.text
    body = answer.text.partition("<main>")[2]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def links_of(answer: Any) -> list[str]:
    return [unescape(href) for href in re.findall(r'href="([^"]*)"', answer.text)]


# Who sees what


def addresses(number: int) -> list[str]:
    return ["/crm/", f"/crm/dags/dag/runs/{number}", "/crm/dags/dag/try?task_id=sync&run_id=manual__1"]


def test_every_address_is_guarded(browse: Browse, add: Add) -> None:
    from airflow_provider_crm.ui.app import make_app

    number = add()
    paths = {route.path for route in make_app().routes}
    assert len(paths) == len(addresses(number)), "a new address belongs into this test"
    for path in addresses(number):
        for accept in ("text/html", "*/*"):
            assert "sync" not in browse(path, None, accept=accept).text
        assert browse(path, None, accept="application/json").status_code == 401
        assert browse(path, "only_other" if "/dags/" in path else "no_role", role="").status_code == 403
        assert browse(path, "admin").status_code in (200, 303)


def test_nobody_is_sent_to_sign_in_and_comes_back(browse: Browse) -> None:
    answer = browse("/crm/?state=failed", None)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/api/v2/auth/login?next=%2Fcrm%2F%3Fstate%3Dfailed"


def test_a_user_sees_the_dags_they_may_read(browse: Browse, add: Add) -> None:
    mine = add(a_try("mine"), started_at=dt.datetime.now(dt.UTC))
    others = add(
        a_try("theirs", dag_id="other", task_id="secret"), started_at=dt.datetime.now(dt.UTC), system="spread"
    )
    page = browse("/crm/", "only_dag")
    assert "dag · sync" in text_of(page)
    for word in ("secret", "other ·", "spread"):
        assert word not in text_of(page)
    assert "10 read" not in page.text
    assert "1 runs" in page.text  # the chart's sums are of their DAGs, too
    assert "secret" in text_of(browse("/crm/", "admin"))
    assert browse(f"/crm/dags/dag/runs/{mine}", "only_dag").status_code == 200
    assert browse(f"/crm/dags/other/runs/{others}", "only_dag").status_code == 403
    assert browse(f"/crm/dags/dag/runs/{others}", "only_dag").status_code == 404
    assert browse("/crm/?dag_id=other", "only_dag").status_code == 403
    assert "secret" not in browse("/crm/?dag_id=~", "only_dag").text
    assert browse("/crm/dags/other/try?task_id=secret&run_id=theirs", "only_dag").status_code == 403


def test_a_dag_that_airflow_does_not_know_is_in_no_list(browse: Browse, add: Add) -> None:
    add(a_try(dag_id="gone", task_id="leftover"))
    assert "leftover" not in browse("/crm/").text


# The list


def test_the_newest_run_comes_first(browse: Browse, add: Add) -> None:
    add(a_try("1", task_id="older"))
    add(a_try("2", task_id="newer", map_index=3, try_number=2))
    text = text_of(browse("/crm/"))
    assert text.index("newer[3] try 2") < text.index("older")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("dag_id=other", {"b"}),
        ("task_id=c&dag_id=dag", {"c"}),
        ("system=spread", {"b"}),
        ("state=failed", {"a"}),
        ("day=2026-11-20", {"a"}),
        ("dag_id=&task_id=&system=&state=&day=&before=", {"a", "b", "c"}),
        ("state=stopped", set()),
    ],
)
def test_runs_are_filtered(browse: Browse, add: Add, query: str, found: set[str]) -> None:
    add(a_try("1", task_id="a"), report=a_report("failed"))
    add(a_try("2", dag_id="other", task_id="b"), system="spread", started_at=STARTED - dt.timedelta(days=1))
    add(a_try("3", task_id="c"), started_at=STARTED - dt.timedelta(days=2))
    text = text_of(browse(f"/crm/?{query}"))
    assert {name for name in "abc" if f"· {name} " in text} == found
    assert ("There is no such run" in text) is (not found)


@pytest.mark.parametrize("query", ["state=x", "day=x", "before=x", "before=-1", f"dag_id={'x' * 251}"])
def test_an_odd_address_is_refused(browse: Browse, query: str) -> None:
    assert browse(f"/crm/?{query}").status_code in (400, 403)


def test_pages_of_fifty(browse: Browse, add: Add) -> None:
    for number in range(101):
        add(a_try(f"manual__{number}", task_id=f"task{number:03}"))
    seen: list[str] = []
    address = "/crm/?state=success"
    for size in (50, 50, 1):
        page = browse(address)
        names = re.findall(r"· (task\d+)", text_of(page))
        assert len(names) == size
        seen += names
        older = [link for link in links_of(page) if "before=" in link]
        assert all("state=success" in link for link in older)
        address = older[0] if older else ""
    assert seen == [f"task{number:03}" for number in range(100, -1, -1)]
    assert not address


def test_what_is_not_well_or_unusual_stands_out(browse: Browse, add: Add) -> None:
    for number in range(3):
        add(a_try(f"manual__{number}"), report=a_report(read=1000))
    add(a_try("manual__3"), report=a_report(read=480))
    aborted = add(a_try("manual__4"), report=a_report("failed", read=100))
    assert "to what is usual" not in browse(f"/crm/dags/dag/runs/{aborted}").text
    page = browse("/crm/").text
    assert re.search(r'<tr class="off">.*?<span class="off-by">−52.%</span>', page, re.DOTALL)
    assert re.search(r'<tr class="bad">\s*<td><span class="state failed">Failed</span>', page)


def test_the_chart_sums_each_day(browse: Browse, add: Add) -> None:
    today = dt.datetime.now(dt.UTC)
    for number in range(2):
        add(a_try(f"manual__{number}"), started_at=today, report=a_report("rejects"))
    page = browse("/crm/")
    day = today.date()
    ends = "2 unchanged, 8 created, 6 updated, 2 skipped, 2 rejected"
    words = f"{day}: 2 runs, 2 of them not well, {ends}, 4 rows a second"
    assert words in " ".join(page.text.split())
    assert f"/crm/?day={day}" in links_of(page)
    assert "a day with runs that did not go well" in text_of(page)


def test_few_queries_serve_a_page(browse: Browse, add: Add, history: History) -> None:
    for number in range(60):
        add(a_try(f"manual__{number}"))
    statements: list[str] = []
    with counted(statements):
        assert browse("/crm/").status_code == 200
    asked = [
        statement
        for statement in statements
        if "sqlite_master" not in statement and "PRAGMA" not in statement
    ]
    assert len(asked) == 5, asked  # a page of runs, two sums of days, DAGs, systems


# One run


def test_a_run_says_all_that_the_history_knows(browse: Browse, add: Add, tmp_path: Path) -> None:
    error = {"type": "CrmRejectsError", "message": "1 of 10 rows were rejected"}
    report = a_report(
        "rejects",
        error=error,
        rejects_path="s3://lake/rejects.jsonl",
        results_path="/data/results.jsonl",
        certificate_path="gs://lake/certificate.jsonl",
        already_credited=7,
        amount="12.50",
        approved_by="zoe",
    )
    page = browse(f"/crm/dags/dag/runs/{add(report=report)}")
    text = text_of(page)
    for words in (
        "dag · sync Rejects",
        "CrmRejectsError 1 of 10 rows were rejected",
        "read 10 created 4 updated 3 unchanged 1 skipped 1 rejected 1 amount 12.50 already credited 7",
        "took 2.5 s rows a second 4 calls 7 calls made again 2 all rows done up to 10",
        "Approved by zoe",
        "rejected crm <email> is no address 1",
        "results /data/results.jsonl",
    ):
        assert words in text
    links = links_of(page)
    assert "https://s3.console.aws.amazon.com/s3/object/lake?prefix=rejects.jsonl" in links
    assert "https://console.cloud.google.com/storage/browser/_details/lake/certificate.jsonl" in links
    assert "/dags/dag/runs/manual__1/tasks/sync?try_number=1" in links


def test_an_export_shows_its_file(browse: Browse, add: Add) -> None:
    export = {"rows": 50, "bytes": 2048, "path": "s3://lake/people.csv"}
    writes = (
        "read",
        "created",
        "updated",
        "unchanged",
        "skipped",
        "rejected",
        "last_row",
        "rejects_path",
        "reasons",
    )
    report = {key: value for key, value in a_report().items() if key not in writes} | export
    text = text_of(browse(f"/crm/dags/dag/runs/{add(report=report)}"))
    assert "exported 50 size 2.05 kB" in text
    assert "export s3://lake/people.csv" in text


def test_tries_lead_to_each_other(browse: Browse, add: Add) -> None:
    first = add(report=a_report("failed"))
    second = add(a_try(try_number=2), goes_on=True)
    page = browse(f"/crm/dags/dag/runs/{second}")
    assert f"/crm/dags/dag/runs/{first}" in links_of(page)
    assert "2 (this one)" in text_of(page)
    assert "counts them too" in text_of(browse(f"/crm/dags/dag/runs/{first}"))


def test_the_link_of_a_task_finds_its_try(browse: Browse, add: Add) -> None:
    first = add()
    second = add(a_try(try_number=2))
    for query, number in (
        ("&try_number=1", first),
        ("&try_number=2", second),
        ("&try_number=9", second),
        ("", second),
    ):
        answer = browse(f"/crm/dags/dag/try?task_id=sync&run_id=manual__1{query}")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/crm/dags/dag/runs/{number}")
    assert browse("/crm/dags/dag/try?task_id=sync&run_id=manual__2").status_code == 404


@pytest.mark.parametrize(
    "path",
    ["runs/{}", "runs/-{}", "try?task_id=t&run_id=r&map_index={}", "try?task_id=t&run_id=r&try_number={}"],
)
def test_a_number_that_no_database_takes_is_not_understood(browse: Browse, path: str) -> None:
    assert browse(f"/crm/dags/dag/{path.format(10**20)}").status_code == 400


def test_a_killed_worker(browse: Browse, history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    number = history.begin(a_try(), system="spread", operator="Operator", started_at=STARTED)
    monkeypatch.setattr(reading, "SILENCE", -60.0)
    text = text_of(browse(f"/crm/dags/dag/runs/{number}"))
    assert "No end known" in text
    assert "Nobody knows how it ended" in text
    assert "No end known" in text_of(browse("/crm/?state=no_end_known"))


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (a_report("dry_run"), "A dry run: nothing was sent"),
        (a_report("refused", approved_by=None), "Not approved: nothing was sent"),
        (a_report("stopped"), "Stopped"),
    ],
)
def test_what_a_state_means(browse: Browse, add: Add, report: dict[str, Any], words: str) -> None:
    assert words in text_of(browse(f"/crm/dags/dag/runs/{add(report=report)}"))


def test_rejected_rows_are_told_without_what_they_hold(browse: Browse, add: Add, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.jsonl"
    lines = [
        {
            "row": 7,
            "key": "zoe@example.fr",
            "stage": "crm",
            "reason": "zoe@example.fr is no address",
            "data": {"n": "Dupont"},
        },
        {"row": 3, "key": None, "stage": "read", "reason": "Dupont is unheard of", "data": {"n": "Dupont"}},
    ]
    rejects.write_text("".join(json.dumps({**line, "data": {"name": "Dupont"}}) + "\n" for line in lines))
    page = browse(f"/crm/dags/dag/runs/{add(report=a_report('rejects', rejects_path=str(rejects)))}")
    assert "3 read told in the file 7 crm <email> is no address" in text_of(page)
    assert "zoe" not in page.text
    assert "Dupont" not in page.text


def test_a_file_that_a_later_run_has_written_is_not_shown(browse: Browse, add: Add, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.jsonl"
    rejects.write_text('{"row": 4711}\n')
    report = a_report("rejects", rejects_path=str(rejects))
    first, second = add(a_try("manual__1"), report=report), add(a_try("manual__2"), report=report)
    page = browse(f"/crm/dags/dag/runs/{first}")
    assert f"/crm/dags/dag/runs/{second}" in links_of(page)
    assert "711" not in text_of(page)
    assert "711" in text_of(browse(f"/crm/dags/dag/runs/{second}"))


def test_what_stands_in_the_history_is_no_html(browse: Browse, add: Add) -> None:
    evil = "<script>alert(1)</script>"
    report = a_report(
        "failed",
        error={"type": evil, "message": evil},
        rejects_path=f"javascript:alert('{evil}')",
        reasons=[{"end": "rejected", "stage": "crm", "reason": evil, "rows": 1}],
        approved_by=evil,
    )
    number = add(a_try(evil, task_id=evil), report=report, system=evil)
    for path in ("/crm/", f"/crm/dags/dag/runs/{number}", f"/crm/?system={evil}&task_id={evil}"):
        page = browse(path)
        assert page.status_code == 200
        assert page.text.count("<script") == 1  # our own
        assert not any(link.startswith("javascript") for link in links_of(page))


# What surrounds it


def test_a_page_asks_nobody_else(browse: Browse, add: Add) -> None:
    number = add()
    for path in addresses(number)[:2]:
        page = browse(path)
        assert not re.search(r'\b(?:src|srcset|action)="(?!/crm/)', page.text)
        assert "@import" not in page.text
        assert "url(" not in page.text
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert page.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/crm/docs", "/crm/redoc", "/crm/openapi.json"])
def test_it_does_not_describe_itself(browse: Browse, path: str) -> None:
    assert browse(path, None).status_code == 404


def test_under_a_prefix_all_addresses_have_it(add: Add, history: History, browse: Browse) -> None:
    """Airflow's ``[api] base_url`` may have a path: the web server is mounted as Airflow mounts it then."""
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from airflow_provider_crm.ui.app import make_app

    number = add()
    page = make_app()
    page.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username="admin", role="admin")
    root = FastAPI(root_path="/team/airflow")
    root.mount("/crm", page)
    client = TestClient(root, follow_redirects=False)
    for path in addresses(number):
        answer = client.get(f"/team/airflow{path}")
        links = links_of(answer) if answer.status_code == 200 else [answer.headers["location"]]
        assert links
        assert all(link.startswith(("/team/airflow/", "https://")) for link in links), links


def test_without_a_history_it_says_how_to_switch_it_on(
    browse: Browse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CRM__HISTORY_CONN_ID", "")
    assert "history_conn_id = crm_history" in text_of(browse("/crm/"))
    assert browse("/crm/", None).status_code == 303


def test_an_empty_history_says_that_it_works(browse: Browse) -> None:
    assert "There are no runs yet" in text_of(browse("/crm/"))


def test_a_history_that_is_down_is_said(browse: Browse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_RUNS", json.dumps({"conn_type": "sqlite", "host": "/nowhere/at/all.db"}))
    answer = browse("/crm/")
    assert answer.status_code == 503
    assert "The history of CRM runs cannot be used" in answer.text
