"""What people ask the history: pages of runs, filters, sums a day, what is usual."""

from __future__ import annotations

import datetime as dt

import pytest
import sqlalchemy as sa

from airflow_provider_crm.history.reading import usual_rows
from airflow_provider_crm.history.runs import RunFilter

from .conftest import STARTED, a_report, a_try

DAY = dt.timedelta(days=1)


def test_an_empty_history(history):
    assert (history.page().runs, history.page().older, history.count()) == ((), None, 0)
    assert history.days() == []
    assert history.run(1) is None
    assert history.choices().dag_ids == ()


def test_sums_of_a_system_are_found_by_their_days(history, add):
    """Its own index would lead to all runs that it ever had."""
    add()
    asked, databases = [], set()

    def note(connection, cursor, statement, parameters, context, executemany):
        databases.add(connection.dialect.name)
        if "GROUP BY" in statement and databases == {"sqlite"}:
            plan = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            asked.append(plan[0][3])

    sa.event.listen(sa.engine.Engine, "before_cursor_execute", note)
    try:
        history.days(RunFilter(system="mindbaz", first_day=STARTED.date(), last_day=STARTED.date()))
    finally:
        sa.event.remove(sa.engine.Engine, "before_cursor_execute", note)
    if databases != {"sqlite"}:
        pytest.skip("other databases choose by what they know of the rows")
    assert len(asked) == 2
    assert all("crm_run_day" in plan for plan in asked), asked


def test_pages_go_from_the_newest_to_the_oldest(history, add):
    numbers = [add(a_try(f"manual__{number}")) for number in range(7)]
    seen, before = [], None
    for size in (3, 3, 1):
        page = history.page(before=before, limit=3)
        assert len(page.runs) == size
        seen += [run.id for run in page.runs]
        before = page.older
    assert seen == numbers[::-1]
    assert before is None
    assert history.count() == 7


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (RunFilter(dag_id="b"), ["2"]),
        (RunFilter(task_id="other"), ["1"]),
        (RunFilter(run_id="3"), ["3"]),
        (RunFilter(map_index=4), ["3"]),
        (RunFilter(system="spread"), ["2"]),
        (RunFilter(state="failed"), ["1"]),
        (RunFilter(state="success"), ["3", "2"]),
        (RunFilter(first_day=(STARTED + DAY).date()), ["3", "2"]),
        (RunFilter(last_day=(STARTED + DAY).date()), ["2", "1"]),
        (RunFilter(first_day=(STARTED + DAY).date(), last_day=(STARTED + DAY).date()), ["2"]),
        (RunFilter(dag_ids=["b", "c"]), ["3", "2"]),
        (RunFilter(dag_ids=["b", "c"], dag_id="a"), []),
        (RunFilter(dag_ids=[]), []),
    ],
)
def test_runs_are_filtered(history, add, wanted, found):
    add(a_try("1", dag_id="a", task_id="other"), report=a_report("failed"))
    add(a_try("2", dag_id="b"), system="spread", started_at=STARTED + DAY)
    add(a_try("3", dag_id="c", map_index=4), started_at=STARTED + 2 * DAY)
    assert [run.task.run_id for run in history.page(wanted).runs] == found
    assert history.count(wanted) == len(found)
    assert sum(day.runs for day in history.days(wanted)) == len(found)


def test_what_there_is_to_choose_from(history, add):
    add(a_try(dag_id="b"), system="spread")
    add(a_try(dag_id="a", task_id="other"))
    choices = history.choices()
    assert choices.dag_ids == ("a", "b")
    assert choices.task_ids == ()
    assert choices.systems == ("mindbaz", "spread")
    add(a_try(dag_id="a", task_id="sync"))
    add(a_try(dag_id="a", task_id="sync"))
    assert history.choices(RunFilter(dag_id="a")).task_ids == ("other", "sync")
    of_a = history.choices(RunFilter(dag_ids=["a"], dag_id="b"))
    assert (of_a.dag_ids, of_a.task_ids, of_a.systems) == (("a",), (), ("mindbaz",))
    assert history.choices(RunFilter(dag_ids=["a", "b", "c"])) == choices
    assert history.choices(RunFilter(dag_ids=[])).systems == ()


def test_the_sums_of_a_day(history, add):
    add(a_try("1"), started_at=STARTED.replace(hour=23, minute=59))
    add(a_try("2"), report=a_report("rejects"))
    add(a_try("3"), report=a_report("dry_run"))
    add(a_try("4"), started_at=STARTED + DAY)
    first, second = history.days()
    assert (first.day, second.day) == (STARTED.date(), (STARTED + DAY).date())
    assert (first.runs, first.bad, first.read, first.created, first.rejected) == (3, 1, 20, 8, 2)
    assert first.rows_per_second == 4.0
    assert (second.runs, second.bad, second.updated) == (1, 0, 3)


def test_the_rows_of_the_last_successful_runs(history, add):
    for number in range(1, 10):
        add(a_try(f"manual__{number}"), report=a_report(read=number))
    add(a_try("manual__10"), report=a_report("failed", read=100))
    add(a_try("manual__11", map_index=0), report=a_report(read=200))
    add(a_try("manual__12", task_id="other"), report=a_report(read=300))
    assert history.last_rows(a_try()) == [9, 8, 7, 6, 5, 4, 3]


def test_what_deviates_is_seen(history, add):
    for number in (100, 300):
        add(a_try(f"manual__{number}"), report=a_report(read=number))
    third = add(a_try("manual__3"), report=a_report(read=110))
    fourth = add(a_try("manual__4"), report=a_report(read=55))
    assert history.run(third).deviation is None  # two runs say nothing
    assert (history.run(fourth).usual, history.run(fourth).deviation) == (110.0, -0.5)


@pytest.mark.parametrize(
    ("rows", "usual"), [([], None), ([1, 2], None), ([5, 1, 9], 5.0), ([1, 2, 3, 4], 2.5)]
)
def test_what_is_usual(rows, usual):
    assert usual_rows(rows) == usual
