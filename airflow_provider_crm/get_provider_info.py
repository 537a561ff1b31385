"""What Airflow reads about the package: its modules, connection types and their forms.

Every Airflow process imports this module, so it must import nothing: no Airflow, no hook, no library.
The forms are written here once; ``hooks.base.forms`` derives from them what Airflow before 3.2 wants.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_crm import __version__

# (integration, the vendor's documentation, our module name of it)
_INTEGRATIONS = [
    ("SPREAD", "https://help.spreadfamily.fr/", "spread"),
    ("Mindbaz", "https://learn.mindbaz.com/", "mindbaz"),
    ("ExpertSender CDP", "https://help.expertsender.com/ecdp/api", "expertsender"),
]

# Folder -> its modules for users; each is named after its CRM, and after a kind of work where there are several.
_MODULES = {
    "hooks": ["spread", "mindbaz", "expertsender"],
    "operators": [
        "spread.writes",
        "spread.exports",
        "spread.loyalty",
        "mindbaz.writes",
        "mindbaz.exports",
        "expertsender.writes",
        "expertsender.exports",
    ],
    "sensors": ["spread", "mindbaz", "expertsender"],
    "triggers": ["spread"],
}

_LINKS = ["RejectsFileLink", "MindbazLink", "ExpertSenderLink"]


def get_provider_info() -> dict[str, Any]:
    """Describe the package to Airflow.

    :return: a new mapping in the form of Airflow's ``provider_info.schema.json``, and of
        ``provider.yaml.schema.json`` for the connection forms.
    """
    return {
        "package-name": "airflow-provider-crm",
        "name": "CRM",
        "description": "SPREAD, Mindbaz and ExpertSender CDP marketing CRMs",
        "versions": [__version__],
        "integrations": [
            {"integration-name": name, "external-doc-url": url, "tags": ["service"]}
            for name, url, _ in _INTEGRATIONS
        ],
        **{folder: _modules(folder) for folder in _MODULES},
        "connection-types": [_spread(), _mindbaz(), _expertsender()],
        "extra-links": [f"airflow_provider_crm.links.{link}" for link in _LINKS],
    }


def _modules(folder: str) -> list[dict[str, Any]]:
    listed = []
    for name, _, crm in _INTEGRATIONS:
        own = [module for module in _MODULES[folder] if module.partition(".")[0] == crm]
        if own:
            modules = [f"airflow_provider_crm.{folder}.{module}" for module in own]
            listed.append({"integration-name": name, "python-modules": modules})
    return listed


def _spread() -> dict[str, Any]:
    return {
        "connection-type": "spread",
        "hook-class-name": "airflow_provider_crm.hooks.spread.SpreadHook",
        "hook-name": "SPREAD",
        "ui-field-behaviour": {
            "hidden-fields": ["port", "schema", "extra"],
            "relabeling": {"host": "Base URL", "login": "Public key", "password": "Private key"},
            "placeholders": {"host": "https://social-sb.com/api/v2"},
        },
        "conn-fields": {
            **_common_fields(),
            "write_api": {
                "label": "Write API",
                "description": "API version that creates and updates customers; v2 when empty",
                "schema": {"type": ["string", "null"], "enum": ["v2", "v1"]},
            },
        },
    }


def _mindbaz() -> dict[str, Any]:
    return {
        "connection-type": "mindbaz",
        "hook-class-name": "airflow_provider_crm.hooks.mindbaz.MindbazHook",
        "hook-name": "Mindbaz",
        "ui-field-behaviour": {
            "hidden-fields": ["port", "schema", "extra"],
            "relabeling": {
                "host": "Base URL",
                "login": "Login (JWT only)",
                "password": "API key (or password of the JWT account)",
            },
            "placeholders": {"host": "https://api.mindbaz.com/api"},
        },
        "conn-fields": {
            "site_id": {
                "label": "Site id",
                "description": "Number of the Mindbaz database; required",
                "schema": {"type": ["integer", "null"], "minimum": 0},
            },
            "auth": {
                "label": "Authentication",
                "description": "api_key sends the password as API key, jwt logs in with login and password; "
                "api_key when empty",
                "schema": {"type": ["string", "null"], "enum": ["api_key", "jwt"]},
            },
            "token_url": {
                "label": "Token URL",
                "description": "Where a JWT account logs in; Mindbaz's own service when empty",
                "schema": {"type": ["string", "null"], "format": "url"},
            },
            **_common_fields(),
        },
    }


def _expertsender() -> dict[str, Any]:
    return {
        "connection-type": "expertsender_cdp",
        "hook-class-name": "airflow_provider_crm.hooks.expertsender.ExpertSenderHook",
        "hook-name": "ExpertSender CDP",
        "ui-field-behaviour": {
            "hidden-fields": ["port", "schema", "extra", "login"],
            "relabeling": {"host": "Base URL", "password": "API key"},
            "placeholders": {"host": "https://api.ecdp.app"},
        },
        "conn-fields": _common_fields(),
    }


def _common_fields() -> dict[str, Any]:
    """Describe the extras that every CRM's connection has.

    None has a ``default``: a form would store it in the connection and freeze it there.
    """
    return {
        "timeout": {
            "label": "Timeout",
            "description": "Seconds to wait for an answer of the CRM; 60 when empty",
            "schema": {"type": ["number", "null"], "minimum": 1},
        },
        "max_retries": {
            "label": "Retries",
            "description": "Tries of a call after the first one; 10 when empty",
            "schema": {"type": ["integer", "null"], "minimum": 0},
        },
        "concurrency": {
            "label": "Concurrency",
            "description": "Calls in flight of one task; the operator's own default when empty",
            "schema": {"type": ["integer", "null"], "minimum": 1},
        },
        "requests_per_minute": {
            "label": "Requests a minute",
            "description": "Most calls a minute of one task, or of all workers together where a rate limit "
            "connection is named; no limit of our own when empty",
            "schema": {"type": ["integer", "null"], "minimum": 1},
        },
        "rate_limit_conn_id": {
            "label": "Rate limit connection",
            "description": "Id of a Redis connection through which all workers share the limit",
            "schema": {"type": ["string", "null"]},
        },
        # Text, because of Airflow 2's form: it stores false for every checkbox that nobody touched.
        "verify": {
            "label": "Verify TLS",
            "description": "true, false, or the path of a CA bundle on the worker; true when empty",
            "schema": {"type": ["string", "null"]},
        },
        "allow_http": {
            "label": "Allow plain http",
            "description": "Accept a base URL with http:// although credentials then travel unencrypted",
            "schema": {"type": ["boolean", "null"]},
        },
    }
