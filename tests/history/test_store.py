"""What runs write into the history is what is read of it, in each database."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
import sqlalchemy as sa

from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.history import reading
from airflow_provider_crm.history.runs import Reason, RunFilter, TaskTry
from airflow_provider_crm.history.store import History, HistoryError

from .conftest import STARTED, a_report, a_try


def test_a_run_that_has_begun_is_there(history):
    logical_date = dt.datetime(2026, 11, 20, 1, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    task = TaskTry("dag", "sync", "scheduled__1", 3, 2, logical_date)
    number = history.begin(task, system="spread", operator="Operator", started_at=STARTED)
    (run,) = history.page().runs
    assert (run.id, run.task, run.state) == (number, task, "running")
    assert (run.system, run.operator, run.started_at) == ("spread", "Operator", STARTED)
    assert (run.ended_at, run.read, run.rows, run.deviation) == (None, None, None, None)


def test_a_run_that_has_ended_says_all_that_its_report_does(history, add):
    number = add(report=a_report(credited=4, amount="12.50"))
    run = history.run(number)
    assert (run.read, run.created, run.updated, run.unchanged, run.skipped, run.rejected) == (
        10,
        4,
        3,
        1,
        1,
        1,
    )
    assert (run.requests, run.retries, run.seconds, run.last_row) == (7, 2, 2.5, 10)
    assert (run.rejects_path, run.results_path, run.amount) == ("/tmp/rejects.jsonl", None, "12.50")
    assert (run.ended_at - run.started_at).total_seconds() in (2, 3, 2.5)  # MySQL keeps whole seconds
    assert run.reasons == (
        Reason("rejected", "crm", "<email> is no address", 1),
        Reason("skipped", None, "row 3 is about the same person", 1),
    )
    assert run.more == {"credited": 4}
    assert (run.rows, run.rows_per_second, run.error_type) == (10, 4.0, None)
    assert history.page().runs == (replace(run, reasons=()),)


def test_an_export_has_records_and_a_file(history, add):
    export = {"rows": 50, "bytes": 2**40, "path": "s3://bucket/été.csv"}
    writes = ("read", "created", "updated", "unchanged", "skipped", "rejected", "last_row")
    report = {key: value for key, value in a_report().items() if key not in writes} | export
    run = history.run(add(report=report))
    assert (run.rows, run.exported, run.bytes, run.path) == (50, 50, 2**40, "s3://bucket/été.csv")
    assert run.read is None


def test_an_error_is_kept_and_cut_to_what_fits(history, add):
    error = {"type": "CrmTransientError", "message": "POST /x: 503 " + "é" * 2000}
    run = history.run(add(report=a_report("failed", error=error)))
    assert (run.state, run.error_type, len(run.error_message)) == ("failed", "CrmTransientError", 1000)


def test_a_killed_worker_leaves_a_run_without_an_end(history, monkeypatch):
    number = history.begin(a_try(), system="spread", operator="Operator", started_at=STARTED)
    monkeypatch.setattr(reading, "SILENCE", -60.0)  # as if a minute more than the longest silence had passed
    assert history.run(number).state == "no_end_known"
    assert [run.id for run in history.page(RunFilter(state="no_end_known")).runs] == [number]
    assert history.page(RunFilter(state="running")).runs == ()
    assert history.days()[0].bad == 1


def test_a_sign_of_life_counts(history):
    number = history.begin(a_try(), system="spread", operator="Operator", started_at=STARTED)
    before = history.run(number).seen_at
    history.seen(number)
    assert history.run(number).seen_at >= before
    assert [run.id for run in history.page(RunFilter(state="running")).runs] == [number]


def test_a_next_try_shows_that_the_one_before_has_ended(history):
    first = history.begin(a_try(), system="spread", operator="Operator", started_at=STARTED)
    other = history.begin(a_try("manual__2"), system="spread", operator="Operator", started_at=STARTED)
    second = history.begin(a_try(try_number=2), system="spread", operator="Operator", started_at=STARTED)
    assert {number: history.run(number).state for number in (first, other, second)} == {
        first: "no_end_known",
        other: "running",
        second: "running",
    }
    assert [run.id for run in history.tries(a_try())] == [second, first]


def test_an_end_that_comes_late_counts(history):
    """The worker was only slow: what it reports is what has happened."""
    first = history.begin(a_try(), system="spread", operator="Operator", started_at=STARTED)
    history.begin(a_try(try_number=2), system="spread", operator="Operator", started_at=STARTED)
    history.end(first, a_report("stopped"))
    assert history.run(first).state == "stopped"


def test_an_end_that_is_told_twice_has_its_reasons_once(history, add):
    number = add()
    history.end(number, a_report())
    assert len(history.run(number).reasons) == 2


def test_a_try_that_goes_on_counts_the_rows_of_those_before(history, add):
    add(report=a_report("failed", read=6, created=6))
    second = add(a_try(try_number=2), report=a_report(read=10, created=10), goes_on=True)
    assert [run.continued for run in history.tries(a_try())] == [False, True]
    (day,) = history.days()
    assert (day.runs, day.bad, day.read, day.created) == (2, 1, 10, 10)
    assert history.run(second).continued is False


def test_old_runs_are_swept_with_their_reasons(history, add, url):
    today = dt.datetime.now(dt.UTC)
    add(started_at=today - dt.timedelta(days=91))
    kept = add(a_try("manual__2"), started_at=today - dt.timedelta(days=89))
    assert history.sweep(90) == 1
    assert [run.id for run in history.page().runs] == [kept]
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        rows = connection.execute(sa.text("select distinct crm_run_id from crm_run_reason")).scalars().all()
    engine.dispose()
    assert rows == [kept]


def test_a_history_out_of_reach_is_said_without_its_password():
    pytest.importorskip("psycopg2")
    engine = sa.create_engine("postgresql+psycopg2://user:hidden@127.0.0.1:9/db")
    with History(engine) as history, pytest.raises(HistoryError) as caught:
        history.page()
    assert "The history of CRM runs cannot be used" in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_a_history_is_opened_by_its_connection(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_RUNS", '{"conn_type": "sqlite", "host": "%s"}' % (tmp_path / "h.db"))
    with History.at("runs") as history:
        assert history.page().runs == ()
    with pytest.raises(CrmInputError, match="AIRFLOW_CONN_NO_RUNS"):
        History.at("no_runs")


def test_the_tables_suit_mysql():
    from airflow_provider_crm.history.tables import metadata

    said = []
    mock = sa.create_mock_engine(
        "mysql://", lambda statement, *_: said.append(str(statement.compile(dialect=mock.dialect)))
    )
    metadata.create_all(mock, checkfirst=False)
    assert "AUTO_INCREMENT" in "\n".join(said)


@pytest.mark.parametrize(("given", "seconds"), [("", 10), ("?connect_timeout=3", 3)])
def test_a_database_that_does_not_answer_is_given_up_soon_and_once(given, seconds):
    pytest.importorskip("psycopg2")
    engine = sa.create_engine(f"postgresql+psycopg2://me@127.0.0.1/crm{given}")
    history = History(engine)
    asked = []

    def refuse(dialect, record, arguments, parameters):
        asked.append(int(parameters["connect_timeout"]))
        raise sa.exc.OperationalError("connect", {}, Exception("timeout expired"))

    sa.event.listen(engine, "do_connect", refuse)
    with pytest.raises(HistoryError):
        history.page()
    assert asked == [seconds]
