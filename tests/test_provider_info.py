"""What Airflow is told about the package agrees with the package, and with Airflow's own schemas."""

from __future__ import annotations

import importlib
import json
import re
from importlib.metadata import distribution, entry_points
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import msgspec
import pytest

import airflow_provider_crm
from airflow_provider_crm.get_provider_info import get_provider_info
from airflow_provider_crm.hooks.base.forms import connection_form_widgets, ui_field_behaviour

PACKAGE = Path(airflow_provider_crm.__file__).parent
AIRFLOW = Path(airflow.__file__).parent
INFO = get_provider_info()
CONNECTION_TYPES = {entry["connection-type"]: entry for entry in INFO["connection-types"]}

#: Folder -> what its classes for users are called. Classes named Crm... are the common base of them.
FOLDERS = {
    "hooks": r"^class (?!Crm|_)\w+Hook\b",
    "operators": r"^class (?!Crm|_)\w+Operator\b",
    "sensors": r"^class (?!Crm|_)\w+Sensor\b",
    "triggers": r"^class (?!Crm|_)\w+Trigger\b",
}

each_conn_type = pytest.mark.parametrize("conn_type", CONNECTION_TYPES)


def schema(name: str) -> Any:
    return json.loads((AIRFLOW / name).read_text())


def hook_class(conn_type: str) -> Any:
    module, _, name = CONNECTION_TYPES[conn_type]["hook-class-name"].rpartition(".")
    return getattr(importlib.import_module(module), name)


# The entry point


def test_airflow_finds_it() -> None:
    (entry,) = distribution("airflow-provider-crm").entry_points.select(group="apache_airflow_provider")
    assert entry.load() is get_provider_info
    assert entry in entry_points(group="apache_airflow_provider")


def test_name_and_version_are_the_packages() -> None:
    assert INFO["package-name"] == distribution("airflow-provider-crm").name
    assert INFO["versions"] == [airflow_provider_crm.__version__]


def test_each_call_gives_a_new_mapping() -> None:
    get_provider_info()["connection-types"][0]["conn-fields"].clear()
    assert get_provider_info() == INFO


# Airflow's schemas


def test_the_schema_of_the_runtime_accepts_it() -> None:
    jsonschema.validate(INFO, schema("provider_info.schema.json"))


def test_the_schema_of_the_official_providers_accepts_it() -> None:
    judge = schema("provider.yaml.schema.json")
    if "conn-fields" not in json.dumps(judge):
        pytest.skip("this Airflow's schema knows no connection forms")
    jsonschema.validate({**INFO, "state": "ready", "source-date-epoch": 1}, judge)


@each_conn_type
def test_the_schema_of_old_forms_accepts_the_old_form(conn_type: str) -> None:
    jsonschema.validate(ui_field_behaviour(conn_type), schema("customized_form_field_behaviours.schema.json"))


# The modules


@pytest.mark.parametrize("folder", FOLDERS)
def test_modules_for_users_are_listed_and_listed_modules_exist(folder: str) -> None:
    written = {
        path.relative_to(PACKAGE / folder).parts[0].removesuffix(".py")
        for path in (PACKAGE / folder).rglob("*.py")
        if re.search(FOLDERS[folder], path.read_text(), re.MULTILINE)
    }
    listed = {
        module.removeprefix(f"airflow_provider_crm.{folder}.")
        for entry in INFO.get(folder, [])
        for module in entry["python-modules"]
    }
    assert written == listed


def test_modules_belong_to_a_listed_integration() -> None:
    integrations = {entry["integration-name"] for entry in INFO["integrations"]}
    named = {entry["integration-name"] for folder in FOLDERS for entry in INFO.get(folder, [])}
    assert named <= integrations


# The hooks


@each_conn_type
def test_the_hook_says_the_same_about_itself(conn_type: str) -> None:
    hook = hook_class(conn_type)
    entry = CONNECTION_TYPES[conn_type]
    assert hook.conn_type == conn_type
    assert hook.hook_name == entry["hook-name"]
    assert hook.default_conn_name == f"{conn_type}_default"
    assert hook.conn_name_attr in hook.__init__.__annotations__
    assert hook.default_url == entry["ui-field-behaviour"]["placeholders"]["host"]


@each_conn_type
def test_the_form_has_exactly_the_extras_that_the_hook_allows(conn_type: str) -> None:
    assert set(CONNECTION_TYPES[conn_type]["conn-fields"]) == set(
        hook_class(conn_type).extras_type.__struct_fields__
    )


@each_conn_type
def test_the_form_tells_the_hooks_defaults(conn_type: str) -> None:
    described = CONNECTION_TYPES[conn_type]["conn-fields"]
    for field in msgspec.structs.fields(hook_class(conn_type).extras_type):
        if isinstance(field.default, bool):
            text = "true when empty" if field.default else ""
        elif isinstance(field.default, (int, float, str)):
            text = f"{field.default:g} when empty" if not isinstance(field.default, str) else field.default
        else:
            continue
        assert text in described[field.name]["description"], field.name


# The forms of Airflow before 3.2


class Form:
    """A connection form, in words that fit old and new Airflows."""

    def __init__(self, conn_type: str) -> None:
        self.entry = CONNECTION_TYPES[conn_type]

    def fields(self) -> dict[str, dict[str, Any]]:
        return {
            name: {
                "label": field["label"],
                "description": field["description"],
                # Old forms have no field for decimals.
                "type": {"number": "string"}.get(field["schema"]["type"][0], field["schema"]["type"][0]),
                "choices": field["schema"].get("enum"),
            }
            for name, field in self.entry["conn-fields"].items()
        }

    def behaviour(self) -> dict[str, Any]:
        return {key.replace("-", "_"): value for key, value in self.entry["ui-field-behaviour"].items()}


@each_conn_type
def test_old_labels_are_the_new_ones(conn_type: str) -> None:
    assert ui_field_behaviour(conn_type) == Form(conn_type).behaviour()


@each_conn_type
def test_old_fields_are_the_new_ones(conn_type: str) -> None:
    fields = old_form(connection_form_widgets, conn_type)
    assert {field.short_name: read_field(field) for field in fields} == Form(conn_type).fields()


@each_conn_type
def test_an_old_form_left_empty_is_valid(conn_type: str) -> None:
    """Airflow 2 submits the fields of all connection types with each connection, whatever its type."""
    form = old_form(connection_form_widgets, conn_type, submitted={})
    assert form.validate(), form.errors


@each_conn_type
@pytest.mark.parametrize(
    ("name", "value", "good"),
    [
        ("timeout", "2.5", True),
        ("timeout", "soon", False),
        ("concurrency", "8", True),
        ("concurrency", "0", False),
        ("max_retries", "x", False),
        ("verify", "false", True),
    ],
)
def test_an_old_form_checks_what_is_typed(conn_type: str, name: str, value: str, good: bool) -> None:
    form = old_form(connection_form_widgets, conn_type, submitted={name: value})
    assert form.validate() is good


def test_an_old_form_knows_the_choices() -> None:
    assert not old_form(connection_form_widgets, "mindbaz", submitted={"auth": "basic"}).validate()
    assert old_form(connection_form_widgets, "mindbaz", submitted={"auth": "jwt"}).validate()


def old_form(widgets: Any, conn_type: str, *, submitted: dict[str, str] | None = None) -> Any:
    wtforms = pytest.importorskip("wtforms", reason="this Airflow has forms without WTForms")
    pytest.importorskip("flask_appbuilder")
    datastructures = importlib.import_module("werkzeug.datastructures")
    fields = widgets(conn_type)
    # A browser sends every text field, empty ones too, but no checkbox that is not ticked.
    blank = dict.fromkeys((name for name, field in fields.items() if not is_checkbox(field)), "")
    data = None if submitted is None else datastructures.MultiDict({**blank, **submitted})
    return type("OldForm", (wtforms.Form,), fields)(data)


def is_checkbox(unbound: Any) -> bool:
    return bool(unbound.field_class.__name__ == "BooleanField")


def read_field(field: Any) -> dict[str, Any]:
    types = {"BooleanField": "boolean", "IntegerField": "integer", "StringField": "string"}
    choices = [list(check.values) for check in field.validators if hasattr(check, "values")]
    return {
        "label": str(field.label.text),
        "description": field.description,
        "type": types[type(field).__name__],
        "choices": choices[0] if choices else None,
    }


# What Airflow makes of them


@each_conn_type
def test_airflow_2_shows_the_form(conn_type: str) -> None:
    if not airflow.__version__.startswith("2."):
        pytest.skip("the form of Airflow 2")
    hook_class(conn_type)
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    assert manager.field_behaviours[conn_type] == Form(conn_type).behaviour()
    shown = {
        info.field_name: info.field
        for key, info in manager.connection_form_widgets.items()
        if key.startswith(f"extra__{conn_type}__")
    }
    fields = old_form(lambda _: shown, conn_type)
    assert {field.short_name: read_field(field) for field in fields} == Form(conn_type).fields()


@each_conn_type
def test_airflow_3_shows_the_form(conn_type: str) -> None:
    if airflow.__version__.startswith("2."):
        pytest.skip("the form of Airflow 3")
    hook_class(conn_type)
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    (meta,) = (meta for meta in HookMetaService.hook_meta_data() if meta.connection_type == conn_type)
    assert meta.hook_name == CONNECTION_TYPES[conn_type]["hook-name"]
    assert meta.hook_class_name == CONNECTION_TYPES[conn_type]["hook-class-name"]
    assert standard_fields(meta) == Form(conn_type).behaviour()
    assert meta.extra_fields is not None
    shown = {
        name: {
            "label": field["schema"]["title"],
            "description": field["description"],
            "type": field["schema"]["type"][0],
            "choices": field["schema"].get("enum"),
        }
        for name, field in meta.extra_fields.items()
    }
    expected = Form(conn_type).fields()
    if shown["timeout"]["type"] == "number":  # since 3.2
        expected["timeout"]["type"] = "number"
    assert shown == expected


def standard_fields(meta: Any) -> dict[str, Any]:
    """Bring the answer of Airflow 3's API into the form of the metadata."""
    fields = meta.standard_fields.model_dump()
    fields["schema"] = fields.pop("url_schema")
    told = {name: field for name, field in fields.items() if field}
    return {
        # The API has no word for hiding the extra field.
        "hidden_fields": [
            name
            for name in Form(meta.connection_type).behaviour()["hidden_fields"]
            if name == "extra" or told[name]["hidden"]
        ],
        "relabeling": {name: field["title"] for name, field in told.items() if field["title"]},
        "placeholders": {name: field["placeholder"] for name, field in told.items() if field["placeholder"]},
    }


def test_a_form_needs_no_form_library_until_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(importlib.import_module("sys").modules, "flask_babel", None)
    with pytest.raises(ImportError):
        connection_form_widgets("spread")


@each_conn_type
def test_the_form_can_be_tested_and_saved_when_it_is_left_empty(conn_type: str) -> None:
    """Airflow 3.3.2 compares a hidden port when it tests, and marks a field that may not be null as required."""
    behaviour = CONNECTION_TYPES[conn_type]["ui-field-behaviour"]
    assert "port" not in behaviour["hidden-fields"]
    assert "port" in behaviour["relabeling"]
    for name, field in CONNECTION_TYPES[conn_type]["conn-fields"].items():
        assert "null" in field["schema"]["type"], name
