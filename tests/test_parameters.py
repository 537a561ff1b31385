"""What a parameter may be: checked while the DAG is parsed, understood out of templates, refused by name."""

from __future__ import annotations

import datetime as dt
import inspect
from pathlib import Path
from typing import Any, Unpack, get_type_hints

import airflow
import pytest

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_crm import parameters
from airflow_provider_crm._compat import (
    AirflowArguments,
    AirflowSensorArguments,
    BaseOperator,
    BaseSensorOperator,
    ObjectStoragePath,
)
from airflow_provider_crm.bulk.checkpoint import fingerprint
from airflow_provider_crm.exceptions import CrmInputError
from airflow_provider_crm.operators.base.deletes import CrmDeleteOperator
from airflow_provider_crm.operators.base.upserts import CrmUpsertOperator
from airflow_provider_crm.operators.base.writes import (
    CrmBulkOperator,
    CrmSuppressibleOperator,
)
from airflow_provider_crm.operators.expertsender import (
    ExpertSenderDeleteCustomersOperator,
    ExpertSenderUpsertCustomersOperator,
)
from airflow_provider_crm.operators.mindbaz import (
    MindbazExportSubscribersOperator,
    MindbazUnsubscribeOperator,
    MindbazUpsertSubscribersOperator,
)
from airflow_provider_crm.operators.spread import (
    SpreadAuditLoyaltyOperator,
    SpreadCreateConsentsOperator,
    SpreadCreditLoyaltyOperator,
    SpreadExportConsentsOperator,
    SpreadExportCustomersOperator,
    SpreadExportLoyaltyOperator,
    SpreadUpdateEmailsOperator,
    SpreadUpsertCustomersOperator,
)
from airflow_provider_crm.rows.sources import FileSource, SqlSource
from airflow_provider_crm.sensors.expertsender import ExpertSenderCustomerSensor
from airflow_provider_crm.sensors.mindbaz import MindbazSubscriberSensor
from airflow_provider_crm.sensors.spread import (
    SpreadConsentSensor,
)
from tests.helpers.public import tasks

#: What parameters get that a task cannot do without.
SAMPLES = {
    "source": [],
    "path": "x.csv",
    "certificate_path": "x.jsonl",
    "consents": [{"spread": 1, "mindbaz": True}],
    "value": "zoe@example.fr",
    "created_after": "2026-01-01",
    "min_amount": 5,
}


def needed(kind: Any) -> dict[str, Any]:
    """Return the parameters that a task cannot do without."""
    return {
        name: SAMPLES[name]
        for cls in kind.__mro__
        for name, one in inspect.signature(inspect.unwrap(cls.__init__)).parameters.items()
        if one.kind is one.KEYWORD_ONLY and one.default is one.empty and name in SAMPLES
    }


TASKS: dict[Any, dict[str, Any]] = {kind: needed(kind) for kind in tasks("operators", "sensors")}
WRITES = [kind for kind in TASKS if issubclass(kind, CrmBulkOperator)]


def task(kind: Any, **given: Any) -> Any:
    """Make a task as a DAG file does."""
    return kind(task_id="t", **{**TASKS[kind], **given})


def checked(kind: Any, rule: Any) -> list[str]:
    return [one.name for one in kind.parameters().values() if rule in one.rules]


def name_of(kind: Any) -> str:
    return str(kind.__name__)


each_task = pytest.mark.parametrize("kind", TASKS, ids=name_of)
each_write = pytest.mark.parametrize("kind", WRITES, ids=name_of)
EVERY_YES_OR_NO = [(kind, name) for kind in TASKS for name in checked(kind, parameters.yes_or_no)]
EVERY_PATH = [
    (kind, name)
    for kind in TASKS
    for rule in (parameters.path, parameters.path_or_table)
    for name in checked(kind, rule)
]


# Every parameter


@each_task
def test_every_parameter_has_a_rule_an_attribute_and_a_name_for_type_checkers(kind: Any) -> None:
    made = task(kind)
    for attribute, parameter in kind.parameters().items():
        assert hasattr(made, attribute), parameter.name
    for cls in kind.__mro__:
        if cls.__module__.startswith("airflow_provider_crm.") and "__init__" in vars(cls):
            init = inspect.unwrap(vars(cls)["__init__"])
            if init.__qualname__ == f"{cls.__qualname__}.__init__":
                assert get_type_hints(init)["kwargs"].__origin__ is Unpack


@each_task
def test_what_a_class_passes_on_is_what_the_classes_above_it_take(kind: Any) -> None:
    first = next(cls for cls in kind.__mro__ if inspect.unwrap(cls.__init__).__module__ == cls.__module__)
    init = inspect.unwrap(first.__init__)
    own = {name for name, one in inspect.signature(init).parameters.items() if one.kind is one.KEYWORD_ONLY}
    (passed_on,) = get_type_hints(init)["kwargs"].__args__
    airflows = AirflowSensorArguments if issubclass(kind, BaseSensorOperator) else AirflowArguments
    known = set(get_type_hints(passed_on)) - set(get_type_hints(airflows))
    assert (own | known) - {"person_email"} == {parameter.name for parameter in kind.parameters().values()}
    assert not own & known


@pytest.mark.skipif(airflow.__version__.startswith("2."), reason="Airflow 2 has parameters that are gone")
def test_airflows_own_parameters_are_known_to_type_checkers() -> None:
    taken = set(inspect.signature(inspect.unwrap(BaseOperator.__init__)).parameters)
    assert taken - {"self", "kwargs", "args", "email"} <= set(get_type_hints(AirflowArguments))
    taken = set(inspect.signature(inspect.unwrap(BaseSensorOperator.__init__)).parameters)
    assert taken - {"self", "kwargs", "args"} <= set(get_type_hints(AirflowSensorArguments))


@each_task
def test_no_class_gives_airflows_parameters_other_defaults(kind: Any) -> None:
    """As one without an `__init__` of its own does: Airflow takes the defaults of mapped tasks from there."""
    own = kind.__mro__[: kind.__mro__.index(BaseOperator)]
    for cls in (cls for cls in own if cls is not BaseSensorOperator and "__init__" in vars(cls)):
        defaults = {
            name
            for name, one in inspect.signature(cls.__init__).parameters.items()
            if one.default is not one.empty
        }
        assert not defaults & {"retries", "inlets", "outlets", "retry_delay", "owner", "pool_slots"}, cls


# A retry resumes its own job only


class _Hook:
    account = ("https://crm.example", "me")


def mark(operator: Any, hook: Any = _Hook) -> str:
    return fingerprint(*operator._identity(hook))


@each_write
def test_each_parameter_makes_another_job_or_is_said_not_to(kind: Any) -> None:
    """Said: by name, in one list; a parameter that somebody adds and forgets counts."""
    made = task(kind)
    before = mark(made)
    for attribute, parameter in kind.parameters().items():
        kept = getattr(made, attribute)
        made.__dict__[attribute] = "another value"
        assert (mark(made) == before) == (parameter.name in kind.not_in_fingerprint), parameter.name
        made.__dict__[attribute] = kept
    assert mark(made) == before


def test_what_does_not_make_another_job() -> None:
    common = {
        "approval",
        "approval_timeout",
        "source",
        "max_rejects",
        "min_rows",
        "max_deviation",
        "concurrency",
        "dry_run",
        "history_conn_id",
    }
    shared = {
        CrmDeleteOperator: {"require_confirmation_count"},
        CrmSuppressibleOperator: {"suppression_source"},
        CrmUpsertOperator: {"preview_path", "preview_rows"},
    }
    settling = {
        SpreadCreditLoyaltyOperator,
        SpreadCreateConsentsOperator,
        ExpertSenderUpsertCustomersOperator,
    }
    for kind in WRITES:
        own = [names for base, names in shared.items() if issubclass(kind, base)]
        own += [{"settle_seconds"}] if kind in settling else []
        assert set(kind.not_in_fingerprint) - common == set().union(*own), kind
    assert all(common <= kind.not_in_fingerprint for kind in WRITES)


@each_write
def test_another_account_is_another_job(kind: Any) -> None:
    class Other:
        account = ("https://crm.example", "you")

    assert mark(task(kind)) != mark(task(kind), Other)


def test_a_parameter_of_ones_own_makes_another_job() -> None:
    class Mine(MindbazUpsertSubscribersOperator):
        def __init__(self, *, region: str = "fr", **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.region = region

    assert mark(Mine(task_id="t", source=[], region="de")) != mark(Mine(task_id="t", source=[]))


# Text is not truth


@pytest.mark.parametrize(("kind", "name"), EVERY_YES_OR_NO, ids=str)
def test_a_text_is_not_truth(kind: Any, name: str) -> None:
    attribute = kind.kept_as.get(name, name)
    assert getattr(task(kind, **{name: "False"}), attribute) is False
    assert getattr(task(kind, **{name: "True"}), attribute) is True
    for wrong in ("no", "0", 1, 0, [], " "):
        with pytest.raises(CrmInputError, match=f"`{name}` is True or False"):
            task(kind, **{name: wrong})


def test_every_switch_is_among_them() -> None:
    assert {name for _, name in EVERY_YES_OR_NO} == {
        "allow_debit",
        "allow_resubscribe",
        "case_insensitive",
        "csv_escape_formulas",
        "deferrable",
        "dry_run",
        "flatten_consents",
        "full_resync",
        "incremental",
        "only_changes",
        "opt_ins",
        "raw",
        "reject_data",
        "retry_rejects",
        "show_custom_fields",
        "with_anonymization",
    }


def rendered(made: Any, **context: Any) -> Any:
    """Render a task's templates as a worker does."""
    made.render_template_fields(context)
    return made


def test_a_template_is_left_until_it_is_rendered() -> None:
    made = task(
        SpreadCreditLoyaltyOperator,
        allow_debit="{{ debit }}",
        settle_seconds="{{ seconds }}",
        concurrency="{{ calls }}",
        max_rejects="{{ share }}",
        rejects_path="{{ nothing }}",
        key_field="{{ key }}",
    )
    assert made.allow_debit == "{{ debit }}"
    rendered(made, debit=False, seconds=2.5, calls=4, share=0.5, nothing=None, key="reference")
    assert made.allow_debit is False
    assert (made.settle_seconds, made.concurrency, made.max_rejects) == (2.5, 4, 0.5)
    assert (made.rejects_path, made.key_field) == (None, "reference")


def test_a_template_that_gives_something_else_is_refused() -> None:
    with pytest.raises(CrmInputError, match="`allow_debit` is True or False, not 'perhaps'"):
        rendered(task(SpreadCreditLoyaltyOperator, allow_debit="{{ debit }}"), debit="perhaps")


def test_what_still_looks_like_a_template_when_the_task_runs_is_refused() -> None:
    made = task(SpreadCreditLoyaltyOperator, allow_debit="{{ debit }}")
    with pytest.raises(CrmInputError, match="`allow_debit` is True or False"):
        made.check_parameters()


# While the DAG is parsed


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (MindbazUpsertSubscribersOperator, {"mode": "upsrt"}),
        (MindbazUpsertSubscribersOperator, {"batch_size": 50000}),
        (MindbazUpsertSubscribersOperator, {"batch_size": 1.5}),
        (ExpertSenderUpsertCustomersOperator, {"match_by": "mail"}),
        (ExpertSenderDeleteCustomersOperator, {"by": "name"}),
        (SpreadExportConsentsOperator, {"window": "al"}),
        (SpreadExportConsentsOperator, {"path": "out/consents.xlsx"}),
        (SpreadExportConsentsOperator, {"status": "yes"}),
        (SpreadExportConsentsOperator, {"timezone": "Europe/Nowhere"}),
        (SpreadExportLoyaltyOperator, {"min_amount": "much"}),
        (SpreadExportCustomersOperator, {"created_after": "soon"}),
        (SpreadCreditLoyaltyOperator, {"settle_seconds": -1}),
        (SpreadCreditLoyaltyOperator, {"settle_seconds": float("nan")}),
        (SpreadCreditLoyaltyOperator, {"settle_seconds": "x"}),
        (SpreadCreditLoyaltyOperator, {"key_field": None}),
        (SpreadCreditLoyaltyOperator, {"key_field": "a\0b"}),
        (SpreadAuditLoyaltyOperator, {"margin_hours": "day"}),
        (SpreadUpdateEmailsOperator, {"old_field": ""}),
        (MindbazSubscriberSensor, {"status": [0, "gone"]}),
        (SpreadConsentSensor, {"min_count": 0}),
        (SpreadConsentSensor, {"max_consecutive_failures": True}),
    ],
    ids=str,
)
def test_a_known_value_is_checked_while_the_dag_is_parsed(kind: Any, given: dict[str, Any]) -> None:
    with pytest.raises(CrmInputError, match=f"`?{next(iter(given))}`?|known format|timezone"):
        task(kind, **given)


NO_SOURCES = {
    5: "`source` is a list of dicts, a path, a FileSource or a SqlSource, not a int",
    "a dict": "`source` is .* not a dict",
    "feed.xlsx": "known format",
    "s3://bucket/feed/*.JSON": "known format",
    "encoding": "`encoding`",
    "delimiter": "`delimiter`",
    "null_values": "`null_values`",
    "path": "`path`",
    "file.tsv": "known format",
    "conn_id": "`conn_id`",
    "sql": "`sql`",
    "parameters": "`parameters`",
}
MADE: dict[Any, Any] = {
    "a dict": {"email": "a@x.fr"},
    "encoding": FileSource("a.csv", encoding="cp9999"),
    "delimiter": FileSource("{{ path }}", delimiter=";;"),
    "null_values": FileSource("a.csv", null_values="NULL"),
    "path": FileSource(5),
    "file.tsv": FileSource("file.tsv", delimiter="\t"),
    "conn_id": SqlSource("", "SELECT 1"),
    "sql": SqlSource("db", " "),
    "parameters": SqlSource("db", "SELECT 1", "one"),
}


@pytest.mark.parametrize("parameter", ["source", "suppression_source"])
@pytest.mark.parametrize(("given", "said"), NO_SOURCES.items(), ids=map(str, NO_SOURCES))
def test_what_can_be_no_source_is_refused_while_the_dag_is_parsed(
    parameter: str, given: Any, said: str
) -> None:
    with pytest.raises(CrmInputError, match=said.replace("`source`", f"`{parameter}`")) as caught:
        task(MindbazUpsertSubscribersOperator, **{parameter: MADE.get(given, given)})
    assert "a@x.fr" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        "{{ folder }}/feed.xlsx{{ '' }}",
        "exports/v1.2",
        "exports/*",
        FileSource("{{ path }}", encoding="{{ encoding }}"),
        SqlSource("{{ db }}", "{{ sql }}", "{{ parameters }}"),
        [],
    ],
    ids=repr,
)
def test_what_may_be_a_source_is_left_until_the_task_runs(given: Any) -> None:
    task(MindbazUpsertSubscribersOperator, source=given)


def test_the_output_of_a_task_is_not_known_yet() -> None:
    with DAG("d", schedule=None, start_date=dt.datetime(2026, 1, 1)):
        before = SpreadExportCustomersOperator(task_id="before", path="x.csv").output
        made = task(
            SpreadExportConsentsOperator, path=before, status=before, created_after=before, raw=before
        )
    assert (made.path, made.raw) == (before, before)


# Choices


@pytest.mark.parametrize("written", ["Email", "email", "EMAIL"])
def test_a_choice_may_be_in_any_case(written: str) -> None:
    assert task(MindbazUpsertSubscribersOperator, match_by=written).match_by == "Email"
    assert task(MindbazUnsubscribeOperator, match_by=written).match_by == "Email"
    assert task(ExpertSenderUpsertCustomersOperator, match_by=written).match_by == "Email"
    assert task(SpreadUpsertCustomersOperator, match_by=written).match_by == "email"
    assert task(ExpertSenderDeleteCustomersOperator, by=written).by == "email"
    assert task(ExpertSenderCustomerSensor, by=written).by == "email"
    assert task(MindbazExportSubscribersOperator, by=written).by == "email"


# Nothing


@pytest.mark.slow
@each_task
def test_nothing_out_of_a_template_has_one_meaning(kind: Any) -> None:
    """Not given where that is what the parameter is by default, and refused elsewhere."""
    for attribute, parameter in kind.parameters().items():
        if parameter.name == "email":
            continue  # Airflow has one of its own
        for nothing in (None, "", "None"):
            given = {**TASKS[kind], parameter.name: nothing}
            if parameter.may_be_nothing:
                assert getattr(kind(task_id="t", **given), attribute) is None
            else:
                with pytest.raises(CrmInputError, match=f"`{parameter.name}` is missing"):
                    kind(task_id="t", **given)


# Paths


@pytest.mark.parametrize(("kind", "name"), EVERY_PATH, ids=str)
def test_a_path_may_be_an_object_and_is_text_from_then_on(kind: Any, name: str) -> None:
    for given, text in (
        (Path("folder/x.jsonl"), "folder/x.jsonl"),
        (ObjectStoragePath("file:///folder/x.jsonl"), "file:///folder/x.jsonl"),
        (ObjectStoragePath("s3://minio@bucket/x.jsonl"), "s3://minio@bucket/x.jsonl"),
    ):
        others = {"dry_run": True} if name == "preview_path" else {}
        assert getattr(task(kind, **{name: given}, **others), name) == text


def test_every_path_is_among_them() -> None:
    assert {name for _, name in EVERY_PATH} == {
        "absent_path",
        "certificate_path",
        "leavers_path",
        "path",
        "preview_path",
        "rejects_path",
        "report_path",
        "results_path",
        "snapshot",
        "suppression_path",
    }
    assert task(MindbazUnsubscribeOperator, source=Path("people.csv")).source == "people.csv"


# Type checkers


@pytest.mark.slow
def test_a_type_checker_sees_every_parameter(tmp_path: Path) -> None:
    mypy = pytest.importorskip("mypy.api")
    path = tmp_path / "dag.py"
    path.write_text(
        """
from airflow_provider_crm.operators.mindbaz import MindbazUpsertSubscribersOperator as Upsert
from airflow_provider_crm.operators.spread import SpreadExportConsentsOperator as Export
from airflow_provider_crm.sensors.spread import SpreadCustomerSensor as Sensor

Upsert(task_id="t", source=[], mode="create", rejects_path="r.jsonl", retries=2, allow_resubscribe="{{ params.x }}")
Export(task_id="t", path="x.csv", consent_id=1, window="all", concurrency=2)
Sensor(task_id="t", email="zoe@example.fr", deferrable=True, poke_interval=5)
Upsert(task_id="t", sorce=[])
Upsert(task_id="t")
Upsert(task_id="t", source=[], nulls="keep")
Export(task_id="t", path="x.csv", concurency=2)
Sensor(task_id="t", email="zoe@example.fr", retrys=5)
"""
    )
    out, _, _ = mypy.run([str(path), "--no-incremental", "--follow-imports=silent", "--config-file="])
    assert [int(line.split(":")[1]) for line in out.splitlines() if ": error:" in line] == [9, 10, 11, 12, 13]
