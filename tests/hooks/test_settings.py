"""What is read from a connection, and what is refused in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests_mock as requests_mock_module

from airflow_provider_crm._compat import Connection
from airflow_provider_crm.exceptions import CrmConnectionError
from airflow_provider_crm.hooks.base.settings import Extras, Settings, read_settings
from airflow_provider_crm.hooks.expertsender import ExpertSenderHook
from airflow_provider_crm.hooks.mindbaz import MindbazExtras, MindbazHook
from airflow_provider_crm.hooks.spread import SpreadExtras, SpreadHook

VENDOR = "https://api.example.com/api/v2"


def read(extras_type: type[Any] = Extras, **parts: Any) -> Settings[Any]:
    if isinstance(parts.get("extra"), dict):
        parts["extra"] = json.dumps(parts["extra"])
    try:
        connection = Connection(conn_id="crm", **{"conn_type": "spread", **parts})
    except ValueError:
        pytest.skip("this Airflow itself refuses such a connection")
    return read_settings(connection, conn_type="spread", default_url=VENDOR, extras_type=extras_type)


# The base URL


@pytest.mark.parametrize(
    ("parts", "url"),
    [
        ({}, VENDOR),
        ({"host": "  "}, VENDOR),
        ({"host": "https://other.example.com/crm/"}, "https://other.example.com/crm"),
        ({"host": " https://other.example.com "}, "https://other.example.com"),
        ({"host": "https://other.example.com:8443/crm"}, "https://other.example.com:8443/crm"),
        ({"host": "https://other.example.com/crm", "port": 8443}, "https://other.example.com:8443/crm"),
        ({"host": "https://other.example.com:1/crm", "port": 8443}, "https://other.example.com:1/crm"),
        ({"host": "http://[::1]/crm", "port": 8765}, "http://[::1]:8765/crm"),
        # A bare host stands in for the vendor's, path included.
        ({"host": "other.example.com"}, "https://other.example.com/api/v2"),
        ({"host": "other.example.com", "port": 8443}, "https://other.example.com:8443/api/v2"),
        ({"host": "other.example.com:9000", "port": 8443}, "https://other.example.com:9000/api/v2"),
        ({"host": "other.example.com/crm"}, "https://other.example.com/crm"),
        ({"host": "localhost", "port": 8765, "schema": "http"}, "http://localhost:8765/api/v2"),
        ({"host": "other.example.com", "schema": "https"}, "https://other.example.com/api/v2"),
        ({"host": "other.example.com/"}, "https://other.example.com/api/v2"),
        ({"host": "https://other.example.com", "schema": "https"}, "https://other.example.com"),
        # The path of a URI comes as the schema.
        ({"host": "other.example.com", "schema": "crm/v3/"}, "https://other.example.com/crm/v3"),
        ({"host": "https://other.example.com", "schema": "crm/v3"}, "https://other.example.com/crm/v3"),
        # The vendor's own host is no API without its path.
        ({"host": "https://api.example.com"}, VENDOR),
        ({"host": "https://API.example.com:443/"}, "https://API.example.com:443/api/v2"),
        ({"host": "api.example.com"}, VENDOR),
        ({"port": 443}, VENDOR),
        ({"host": "https://other.example.com/crm", "port": 443}, "https://other.example.com/crm"),
        ({"host": "http://127.0.0.1/crm", "port": 80}, "http://127.0.0.1/crm"),
        ({"port": 8443}, "https://api.example.com:8443/api/v2"),
        # An IPv6 address, of which Airflow takes the brackets out of a URI.
        ({"host": "::1"}, "https://[::1]/api/v2"),
        ({"host": "::1", "port": 8765, "schema": "crm"}, "https://[::1]:8765/crm"),
        ({"host": "[::1]:8765/crm", "schema": "http"}, "http://[::1]:8765/crm"),
        # Plain http: this machine only, unless it is allowed.
        ({"host": "http://127.0.0.1:8765/spread/api/v2"}, "http://127.0.0.1:8765/spread/api/v2"),
        ({"host": "http://localhost:8765"}, "http://localhost:8765"),
        ({"host": "http://crm.intra", "extra": {"allow_http": True}}, "http://crm.intra"),
        ({"host": "http://crm.intra", "extra": {"allow_http": "true"}}, "http://crm.intra"),
    ],
)
def test_base_url(parts: dict[str, Any], url: str) -> None:
    assert read(**parts).base_url == url


@pytest.mark.parametrize(
    "parts",
    [
        {"host": "http://crm.intra"},
        {"host": "crm.intra", "schema": "http"},
        {"host": "http://127.0.0.1.example.com"},
        {"host": "http://localhost.example.com"},
        {"host": "http://10.0.0.1", "extra": {"allow_http": False}},
        {"host": "ftp://crm.example.com"},
        {"host": "https://"},
        {"host": "https://crm.example.com:port"},
        {"host": "https://crm.example.com:99999"},
        {"host": "https://[::1"},
        {"host": "https://user:password@crm.example.com"},
        {"host": "https://crm.example.com/?key=1"},
        {"host": "https://crm.example.com/#top"},
        {"host": "::1:2:3:4:5:6:7:8:9"},
        {"host": "fe80::g"},
        {"schema": "api/v2"},
        {"host": "https://crm.example.com/crm", "schema": "api/v2"},
        {"host": "crm.example.com/crm", "schema": "api/v2"},
        {"host": "crm.example.com", "schema": "api/v2?key=1"},
        {"host": "http://127.0.0.1", "schema": "https"},
        {"host": "https://a b.example.com"},
        {"host": "https://crm\n.example.com"},
        {"host": "https://evil.example\\@crm.example.com"},
        {"host": "crm.example.com\\.evil.example"},
    ],
)
def test_a_host_that_cannot_be_used(parts: dict[str, Any]) -> None:
    with pytest.raises(CrmConnectionError, match="'crm'"):
        read(**parts)


URIS = [
    ("spread://k:p@social-sb.com/api/v2", "https://social-sb.com/api/v2"),
    ("spread://k:p@social-sb.com/other%2Fv2", "https://social-sb.com/other/v2"),
    ("spread://k:p@https%3A%2F%2Fsocial-sb.com%2Fapi%2Fv2/?timeout=3", "https://social-sb.com/api/v2"),
    ("spread://https://k:p@social-sb.com/api/v2", "https://social-sb.com/api/v2"),
    ("spread://k:p@social-sb.com", "https://social-sb.com/api/v2"),
    ("spread://k:p@", "https://social-sb.com/api/v2"),
    ("spread://k:p@127.0.0.1:8765/http", "http://127.0.0.1:8765/api/v2"),
    ("spread://k:p@[::1]:8765/spread/api/v2", "https://[::1]:8765/spread/api/v2"),
    ("https://k:p@crm.example.com/api/v2", "https://crm.example.com/api/v2"),
    ("http://k:p@127.0.0.1:8765/spread/api/v2", "http://127.0.0.1:8765/spread/api/v2"),
]


@pytest.mark.parametrize(("uri", "url"), URIS)
def test_a_connection_that_is_written_as_a_uri(monkeypatch: pytest.MonkeyPatch, uri: str, url: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SPREAD_DEFAULT", uri)
    settings = SpreadHook().settings
    assert (settings.base_url, settings.login, settings.password) == (url, "k", "p")


def test_a_type_with_an_underscore_in_a_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_EXPERTSENDER_CDP_DEFAULT", "expertsender-cdp://:classified@/?timeout=5")
    settings = ExpertSenderHook().settings
    assert (settings.base_url, settings.password, settings.extras.timeout) == (
        "https://api.ecdp.app",
        "classified",
        5.0,
    )
    # No scheme of a URI has an underscore: Airflow takes all of it for a path.
    monkeypatch.setenv("AIRFLOW_CONN_EXPERTSENDER_CDP_DEFAULT", "expertsender_cdp://:classified@api.ecdp.app")
    works, sentence = ExpertSenderHook().test_connection()
    assert not works
    assert "as a URI, expertsender-cdp://" in sentence
    assert "classified" not in sentence


# The type

EACH_HOOK = [SpreadHook, MindbazHook, ExpertSenderHook]


@pytest.mark.parametrize("hook_class", EACH_HOOK)
@pytest.mark.parametrize(
    ("conn_type", "host"),
    [
        ("snowflake", ""),
        ("snowflake", "acme.snowflakecomputing.com"),
        ("postgres", "db.example.com"),
        ("crm", "crm.example.com"),
        *((nothing, "") for nothing in ("", None, "http", "https", "generic")),
    ],
)
def test_the_password_of_another_system_is_not_sent(
    make: Any, requests_mock: Any, hook_class: Any, conn_type: str | None, host: str
) -> None:
    requests_mock.register_uri("ANY", requests_mock_module.ANY, json={})
    hook = make(hook_class, conn_type=conn_type, host=host, login="user", password="classified")
    works, sentence = hook.test_connection()
    assert not works
    assert f"{hook_class.default_conn_name!r} is of type {conn_type or 'none'!r}" in sentence
    assert f"of type {hook_class.conn_type!r}" in sentence
    assert "classified" not in sentence
    assert not requests_mock.called


def test_the_types_of_other_crms_are_others(make: Any, requests_mock: Any) -> None:
    for hook_class in EACH_HOOK:
        for other in EACH_HOOK:
            if other is not hook_class:
                _, sentence = make(hook_class, conn_type=other.conn_type, password="key").test_connection()
                assert "credentials are not sent" in sentence
    assert not requests_mock.called


@pytest.mark.parametrize("conn_type", ["spread", "SPREAD", "", None, "http", "https", "generic"])
def test_a_type_that_says_nothing_is_taken_with_a_host(conn_type: str | None) -> None:
    assert read(conn_type=conn_type, host="https://crm.example.com").base_url == "https://crm.example.com"


def test_credentials_are_trimmed() -> None:
    settings = read(login=" key\n", password="\tsecret ")
    assert (settings.login, settings.password) == ("key", "secret")
    settings = read()
    assert (settings.login, settings.password) == ("", "")


# Extras


def test_extras_as_a_form_sends_them() -> None:
    settings = read(
        MindbazExtras,
        extra={
            "site_id": "3",
            "timeout": "2.5",
            "max_retries": "0",
            "concurrency": None,
            "requests_per_minute": "",
            "verify": "false",
            "auth": "jwt",
        },
    )
    assert settings.extras == MindbazExtras(site_id="3", timeout=2.5, max_retries=0, verify=False, auth="jwt")


@pytest.mark.parametrize(
    ("given", "verify"),
    [(True, True), (False, False), ("True", True), ("FALSE", False), ("/ca.pem", "/ca.pem"), ("", True)],
)
def test_verify(given: Any, verify: bool | str) -> None:
    assert read(extra={"verify": given}).extras.verify == verify


@pytest.mark.parametrize("extra", [None, "", "{}", "[]", "null"])
def test_no_extras(extra: str | None) -> None:
    assert read(extra=extra).extras == Extras()


@pytest.mark.parametrize("extra", ['["classified"]', '"classified"', "3", "password=classified", "{"])
def test_extras_that_are_no_object(extra: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(
        CrmConnectionError, match=r"'crm' are no JSON object such as \{\"timeout\": 30\}"
    ) as caught:
        read(extra=extra)
    assert "classified" not in f"{caught.value}{caplog.text}"
    assert not caplog.records


def test_an_unknown_extra_is_named_and_not_its_value() -> None:
    with pytest.raises(
        CrmConnectionError, match=r"unknown extra\(s\) tiemout.*allowed are .*timeout"
    ) as caught:
        read(extra={"tiemout": "classified"})
    assert "classified" not in str(caught.value)


@pytest.mark.parametrize(
    "extra",
    [
        {"timeout": "soon"},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": "nan"},
        {"timeout": "inf"},
        {"timeout": [1]},
        {"max_retries": -1},
        {"max_retries": 1.5},
        {"concurrency": 0},
        {"requests_per_minute": 0},
        {"requests_per_minute": "inf"},
        {"allow_http": "perhaps"},
        {"write_api": "v3"},
    ],
)
def test_an_extra_that_cannot_be_used(extra: dict[str, Any]) -> None:
    with pytest.raises(CrmConnectionError, match=next(iter(extra))):
        read(SpreadExtras, extra=extra)


def test_both_write_apis_are_accepted() -> None:
    assert read(SpreadExtras).extras.write_api == "v2"
    assert read(SpreadExtras, extra={"write_api": "v1"}).extras.write_api == "v1"


# What a hook makes of them


@pytest.mark.parametrize(
    ("hook_class", "parts", "missing"),
    [
        (SpreadHook, {}, "public key"),
        (SpreadHook, {"login": "public"}, "private key"),
        (SpreadHook, {"password": "private"}, "public key"),
        (SpreadHook, {"login": "public", "password": " "}, "private key"),
        (ExpertSenderHook, {}, "API key"),
        (MindbazHook, {"extra": {"site_id": 3}}, "API key"),
        (MindbazHook, {"password": "key"}, "site_id"),
        (MindbazHook, {"password": "key", "extra": {"site_id": "../4"}}, "site_id"),
        (MindbazHook, {"password": "key", "extra": {"site_id": 3, "auth": "jwt"}}, "login"),
    ],
)
def test_missing_credentials(make: Any, hook_class: Any, parts: dict[str, Any], missing: str) -> None:
    works, sentence = make(hook_class, **parts).test_connection()
    assert not works
    assert missing in sentence
    assert hook_class.default_conn_name in sentence


def test_nothing_is_looked_up_before_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SpreadHook, "get_connection", None)
    SpreadHook()


def test_a_connection_that_is_not_defined() -> None:
    works, sentence = SpreadHook("crm_that_nobody_defined").test_connection()
    assert not works
    assert "'crm_that_nobody_defined' is not defined" in sentence


def test_a_connection_from_the_environment(monkeypatch: pytest.MonkeyPatch, requests_mock: Any) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_SPREAD_DEFAULT",
        json.dumps(
            {
                "conn_type": "spread",
                "host": "http://127.0.0.1:8765/spread/api/v2",
                "login": "demo-public",
                "password": "demo-private",
                "extra": {"concurrency": 2},
            }
        ),
    )
    requests_mock.get("http://127.0.0.1:8765/spread/api/v2/customers", json={"customers": []})
    hook = SpreadHook()
    assert hook.test_connection() == (True, "Connected to SPREAD")
    assert hook.concurrency == 2


@pytest.mark.parametrize(
    "key", ["line\nbreak-key", "cl\u00e9-secrete", "zero\0key-key", "\U0001f511-key-key"]
)
def test_a_key_that_no_header_can_carry_is_not_quoted(make: Any, requests_mock: Any, key: str) -> None:
    requests_mock.get("https://api.ecdp.app/customerconsents", json={"status": 0, "data": []})
    with pytest.raises(CrmConnectionError, match="characters that HTTP cannot carry") as caught:
        make(ExpertSenderHook, password=key).list_consents()
    assert caught.value.__context__ is None
    assert not requests_mock.called


def test_a_ca_bundle_that_is_missing_is_said_at_once(make: Any, requests_mock: Any) -> None:
    hook = make(ExpertSenderHook, password="key", extra={"verify": "/nowhere/ca.pem"})
    with pytest.raises(CrmConnectionError, match="verify"):
        hook.list_consents()
