"""What Airflow reads about the package: its modules, connection types and their forms.

Every Airflow process imports this module, so it must import nothing: no Airflow, no hook, no library.
The forms are written here once; ``hooks.base.forms`` derives from them what Airflow before 3.2 wants.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_crm import __version__


def get_provider_info() -> dict[str, Any]:
    """Describe the package to Airflow.

    :return: a new mapping in the form of Airflow's ``provider_info.schema.json``, and of
        ``provider.yaml.schema.json`` for the connection forms.
    """
    crms = _crms()
    return {
        "package-name": "airflow-provider-crm",
        "name": "CRM",
        "description": f"Marketing CRMs: {', '.join(crm['name'] for crm in crms)}",
        "versions": [__version__],
        "integrations": [
            {"integration-name": crm["name"], "external-doc-url": crm["docs"], "tags": ["service"]}
            for crm in crms
        ],
        **{folder: _modules(folder, crms) for folder in ("hooks", "operators", "sensors", "triggers")},
        "connection-types": [_connection_type(crm) for crm in crms],
        "notifications": ["airflow_provider_crm.notifications.report.CrmReportNotifier"],
        "config": {"crm": _options()},
        "cli": ["airflow_provider_crm.history.cli.commands"],
        "extra-links": [
            "airflow_provider_crm.links.CrmRunLink",
            "airflow_provider_crm.links.RejectsFileLink",
            *(f"airflow_provider_crm.links.{crm['link']}" for crm in crms if "link" in crm),
        ],
    }


def _options() -> dict[str, Any]:
    """Describe the section ``[crm]`` of Airflow's configuration."""
    return {
        "description": "Options of airflow-provider-crm.",
        "options": {
            "history_conn_id": {
                "description": "Connection to the SQL database that keeps the history of runs; none when empty.",
                "version_added": "0.2.0",
                "type": "string",
                "example": "crm_history",
                "default": "",
            },
            "history_days": {
                "description": "For how many days runs are kept in the history.",
                "version_added": "0.2.0",
                "type": "integer",
                "example": None,
                "default": "90",
            },
            "retry_rejects_days": {
                "description": "For how many days an upsert with `retry_rejects=False` leaves alone what was refused.",
                "version_added": "0.2.0",
                "type": "integer",
                "example": None,
                "default": "7",
            },
        },
    }


def _crms() -> list[dict[str, Any]]:
    """List the CRMs: an entry each, which is all that a further one needs here.

    ``package`` is what the CRM is called in each folder; ``folders`` are those where users find something of it. Extras
    of its own come before (``extras_first``) or after (``extras``) those that all CRMs have.
    """
    return [
        {
            "name": "SPREAD",
            "docs": "https://help.spreadfamily.fr/",
            "package": "spread",
            "folders": ("hooks", "operators", "sensors", "triggers"),
            "connection_type": "spread",
            "hook": "SpreadHook",
            "labels": {"host": "Base URL", "login": "Public key", "password": "Private key"},
            "url": "https://social-sb.com/api/v2",
            "extras": {
                "write_api": {
                    "label": "Write API",
                    "description": "API version that creates and updates customers; v2 when empty",
                    "schema": {"type": ["string", "null"], "enum": ["v2", "v1"]},
                },
            },
        },
        {
            "name": "Mindbaz",
            "docs": "https://learn.mindbaz.com/",
            "package": "mindbaz",
            "folders": ("hooks", "operators", "sensors"),
            "connection_type": "mindbaz",
            "hook": "MindbazHook",
            "labels": {
                "host": "Base URL",
                "login": "Login (JWT only)",
                "password": "API key (or password of the JWT account)",
            },
            "url": "https://api.mindbaz.com/api",
            "extras_first": {
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
            },
            "link": "MindbazLink",
        },
        {
            "name": "ExpertSender CDP",
            "docs": "https://help.expertsender.com/ecdp/api",
            "package": "expertsender",
            "folders": ("hooks", "operators", "sensors"),
            "connection_type": "expertsender_cdp",
            "hook": "ExpertSenderHook",
            "hidden": ["login"],
            "labels": {"host": "Base URL", "password": "API key"},
            "url": "https://api.ecdp.app",
            "link": "ExpertSenderLink",
        },
    ]


def _modules(folder: str, crms: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "integration-name": crm["name"],
            "python-modules": [f"airflow_provider_crm.{folder}.{crm['package']}"],
        }
        for crm in crms
        if folder in crm["folders"]
    ]


def _connection_type(crm: dict[str, Any]) -> dict[str, Any]:
    return {
        "connection-type": crm["connection_type"],
        "hook-class-name": f"airflow_provider_crm.hooks.{crm['package']}.{crm['hook']}",
        "hook-name": crm["name"],
        "ui-field-behaviour": {
            # The port is shown although the base URL may hold it: Airflow 3.3.2 refuses to test a stored connection
            # without one, since its form sends 0 where nothing is stored.
            "hidden-fields": ["schema", "extra", *crm.get("hidden", ())],
            "relabeling": {**crm["labels"], "port": "Port (443; Test needs it in Airflow 3.3)"},
            "placeholders": {"host": crm["url"], "port": "443"},
        },
        "conn-fields": {**crm.get("extras_first", {}), **_common_fields(), **crm.get("extras", {})},
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
