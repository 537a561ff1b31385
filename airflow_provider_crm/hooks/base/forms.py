"""The connection forms of Airflow before 3.2, derived from the metadata that later ones read.

Knows the form libraries, and imports them only when a form is asked for: a worker may lack them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_crm.get_provider_info import get_provider_info


def add_form(hook_class: type) -> None:
    """Add to a hook class the methods by which Airflow before 3.2 asks for its form; later ones read the metadata."""
    # In the class itself: these versions overlook inherited methods.
    for name, function in _FORM_METHODS.items():
        setattr(hook_class, name, classmethod(function))


def connection_form_widgets(conn_type: str) -> dict[str, Any]:
    """Return the form fields of the extras of a connection type.

    Airflow asks a hook class for them by ``get_connection_form_widgets()``.

    :param conn_type: a connection type of this package, such as ``spread``.
    :return: the extra's name -> its WTForms field.
    :raises ImportError: when the form libraries are not installed; Airflow does without the form then.
    """
    # Imported at each call, because Airflow 3.0 and 3.1 patch these names to read the fields off.
    from flask_babel import lazy_gettext

    return {
        name: _form_field(lazy_gettext(field["label"]), field.get("description", ""), field["schema"])
        for name, field in _metadata(conn_type)["conn-fields"].items()
    }


def ui_field_behaviour(conn_type: str) -> dict[str, Any]:
    """Say which standard fields a connection type hides, and what the others are called.

    :param conn_type: a connection type of this package, such as ``spread``.
    :return: ``{"hidden_fields": [...], "relabeling": {...}, "placeholders": {...}}``, what Airflow asks
        a hook class for by ``get_ui_field_behaviour()``.
    """
    behaviour = _metadata(conn_type)["ui-field-behaviour"]
    return {
        "hidden_fields": behaviour["hidden-fields"],
        "relabeling": behaviour["relabeling"],
        "placeholders": behaviour["placeholders"],
    }


_FORM_METHODS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "get_connection_form_widgets": lambda hook: connection_form_widgets(hook.conn_type),
    "get_ui_field_behaviour": lambda hook: ui_field_behaviour(hook.conn_type),
}


def _metadata(conn_type: str) -> dict[str, Any]:
    entries: list[dict[str, Any]] = get_provider_info()["connection-types"]
    return next(entry for entry in entries if entry["connection-type"] == conn_type)


def _form_field(label: object, description: str, schema: dict[str, Any]) -> Any:
    """Return one form field. It accepts to be empty: Airflow 2 submits the fields of all types at once."""
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
    from wtforms import BooleanField, IntegerField, StringField
    from wtforms.validators import NumberRange, Optional, Regexp, any_of

    kind = schema["type"][0]
    if kind == "boolean":
        return BooleanField(label, description=description)

    validators = [Optional()]
    if "enum" in schema:
        validators.append(any_of(schema["enum"]))
    if kind == "integer":
        validators.append(NumberRange(min=schema.get("minimum"), max=schema.get("maximum")))
    if kind == "number":  # Airflow accepts no field for decimals: checked text
        validators.append(Regexp(r"\d+(\.\d+)?$", message="Not a number."))
    field = IntegerField if kind == "integer" else StringField
    return field(label, validators, description=description, widget=BS3TextFieldWidget())
