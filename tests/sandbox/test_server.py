"""The sandbox itself: how it is started, controlled, connected to, and used from pytest."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack

import pytest
import requests

from airflow_provider_crm.sandbox import cli
from airflow_provider_crm.sandbox.remote import RemoteSandbox
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.waits import patience

pytest_plugins = ["pytester"]

SYSTEMS = ("spread", "mindbaz", "expertsender")


def control(sandbox, method, name, **kwargs):
    return requests.request(method, f"{sandbox.url}/_sandbox/{name}", timeout=5, **kwargs)


# --- connections ---


@pytest.mark.slow
def test_airflow_reads_the_connections_alike_from_json_and_uri(crm_sandbox):
    from airflow.models import Connection  # every supported Airflow has it here

    expected = {
        "spread_default": ("spread", f"{crm_sandbox.url}/spread/api/v2", "demo-public", "demo-private", {}),
        "mindbaz_default": ("mindbaz", f"{crm_sandbox.url}/mindbaz/api", None, "demo-key", {"site_id": "3"}),
        "expertsender_cdp_default": (
            "expertsender_cdp",
            f"{crm_sandbox.url}/expertsender",
            None,
            "demo-key",
            {},
        ),
    }
    texts, uris = crm_sandbox.connections(), crm_sandbox.uris()
    assert set(texts) == set(uris) >= set(expected)
    for conn_id, fields in expected.items():
        for one in (Connection.from_json(texts[conn_id]), Connection(uri=uris[conn_id])):  # noqa: AIR311
            assert (one.conn_type, one.host, one.login or None, one.password, one.extra_dejson) == fields
            assert one.port is None


def test_airflow_3_reads_them_too(crm_sandbox, monkeypatch):
    sdk = pytest.importorskip("airflow.sdk")
    one = sdk.Connection.get("mindbaz_default")
    assert (one.host, one.password, one.extra_dejson) == (
        f"{crm_sandbox.url}/mindbaz/api",
        "demo-key",
        {"site_id": "3"},
    )
    for conn_id, uri in crm_sandbox.uris().items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", uri)
    assert sdk.Connection.get("spread_default").login == "demo-public"
    assert sdk.Connection.get("expertsender_cdp_default").host == f"{crm_sandbox.url}/expertsender"


# --- control ---


def test_state_records_and_calls_over_http(crm_sandbox, mindbaz):
    assert control(crm_sandbox, "POST", "seed", json={"count": 3}).status_code == 200
    mindbaz("GET", "/Subscribers", params={"filter.by": "IdClient", "filter.values": "C0000001"})
    state = control(crm_sandbox, "GET", "state").json()
    assert [next(iter(state[name]["records"].values())) for name in SYSTEMS] == [3, 3, 3]
    for name, kind in (("spread", "lines"), ("mindbaz", ""), ("expertsender", "customers")):
        lines = control(crm_sandbox, "GET", f"{name}/records", params={"kind": kind}).text.splitlines()
        assert [type(json.loads(line)) for line in lines] == [dict] * 3
    page = control(crm_sandbox, "GET", "mindbaz/records", params={"start": 1, "limit": 1}).text.splitlines()
    assert json.loads(page[0])["fields"]["43"] == "C0000001"
    log = control(crm_sandbox, "GET", "calls").json()
    assert log["counters"] == [{"system": "mindbaz", "method": "GET", "route": "/Subscribers", "count": 1}]
    assert (log["calls"][0]["status"], log["calls"][0]["rows"]) == (200, 1)
    control(crm_sandbox, "DELETE", "calls")
    assert len(crm_sandbox.calls) == 0


def test_faults_and_switches_over_http(crm_sandbox, mindbaz):
    body = {"kind": "error_before", "system": "mindbaz", "times": 1}
    assert control(crm_sandbox, "POST", "faults", json=body).json()["fired"] == 0
    assert mindbaz("GET", "/thematics").status_code == 503
    assert control(crm_sandbox, "GET", "faults").json()[0]["fired"] == 1
    control(crm_sandbox, "DELETE", "faults")
    assert crm_sandbox.faults() == []
    control(crm_sandbox, "POST", "switches", json={"mindbaz": {"rate_limit": 5}, "spread": {"page_cap": 2}})
    assert control(crm_sandbox, "GET", "switches").json()["mindbaz"]["rate_limit"] == 5
    assert crm_sandbox.spread.switches.page_cap == 2
    control(crm_sandbox, "POST", "reset")
    assert crm_sandbox.spread.switches.page_cap is None


@pytest.mark.parametrize(
    ("method", "name", "body", "status"),
    [
        ("POST", "faults", {"kind": "no such kind"}, 400),
        ("POST", "switches", {"mindbaz": {"no_such_switch": 1}}, 400),
        ("POST", "switches", {"mindbaz": {"existing_email": "explode"}}, 400),
        ("POST", "switches", {"hubspot": {}}, 400),
        ("POST", "seed", {"many": 1}, 400),
        ("GET", "mindbaz/records?kind=nothing", None, 400),
        ("GET", "nothing", None, 404),
    ],
)
def test_a_wrong_control_call_says_so(crm_sandbox, method, name, body, status):
    answer = control(crm_sandbox, method, name, json=body)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_calls_in_flight_are_counted(crm_sandbox, spread):
    from concurrent.futures import ThreadPoolExecutor

    crm_sandbox.fault("latency", ms=100)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: spread("GET", "/customers"), range(6)))
    assert crm_sandbox.state()["spread"]["max_in_flight"] == 3
    assert crm_sandbox.state()["spread"]["in_flight"] == 0
    assert crm_sandbox.calls.count("spread", "GET", "/customers") == 6


# --- processes ---


def check_breaks(sandbox):
    """Cut connections of a sandbox in another process."""
    headers = {"X-API-KEY": "demo-key"}
    url = f"{sandbox.url}/mindbaz/api/3/Subscribers"
    for number, settings in enumerate(
        (
            {"kind": "drop_after"},
            {"kind": "drop_after", "reset": True},
            {"kind": "truncate"},
            {"kind": "truncate", "reset": True},
        )
    ):
        sandbox.clear()
        sandbox.fault(**settings)
        body = [{"fields": [{"idField": 1, "value": f"{number}@example.fr"}]}]
        with pytest.raises(requests.RequestException):
            requests.post(url, json=body, headers=headers, timeout=5)
        assert len(sandbox.records("mindbaz", "subscribers")) == number + 1
    sandbox.clear()


@pytest.mark.slow
def test_a_sandbox_in_its_own_process():
    switches = {"mindbaz": {"denied_site_status": 401, "rate_limit": None, "token_lifetime": 2.5}}
    with Sandbox.spawn(seed=0, switches=switches) as sandbox:
        check_breaks(sandbox)
        sandbox.switch("mindbaz", existing_email="update")
        sandbox.seed(2, ["spread"])
        assert sandbox.state()["spread"]["records"]["customers"] == 2
        assert json.loads(sandbox.connections()["spread_default"])["host"] == f"{sandbox.url}/spread/api/v2"
        assert sandbox.calls.count("mindbaz", "POST") == 4
        assert sandbox.calls[0].route == "/Subscribers"
        with pytest.raises(ValueError, match="no_such"):
            sandbox.switch("mindbaz", no_such=1)
        sandbox.reset()
        assert sandbox.state()["mindbaz"]["records"]["subscribers"] == 0
    with pytest.raises(requests.ConnectionError):
        requests.get(sandbox.url, timeout=1)


@pytest.mark.slow
def test_connections_break_without_the_fast_http_parser_and_loop():
    program = (
        "import sys; sys.modules['httptools'] = sys.modules['uvloop'] = None\n"
        "from airflow_provider_crm.sandbox.cli import main\n"
        "main(['serve', '--port', '0', '--exit-with-parent'])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with RemoteSandbox(process.stdout.readline().rpartition(" ")[2].strip(), process) as sandbox:
        check_breaks(sandbox)


@pytest.mark.slow
def test_serve_prints_what_to_copy():
    command = [
        sys.executable,
        "-m",
        "airflow_provider_crm.sandbox.cli",
        "serve",
        "--port",
        "0",
        "--latency-ms",
        "1",
    ]
    command += [
        "--seed",
        "5",
        "--switch",
        "spread.page_cap=2",
        "--fault",
        "rate_limited,system=spread,after=1,times=1",
    ]
    with ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        stack.callback(process.kill)
        lines = [process.stdout.readline() for _ in range(9)]
        url = lines[0].split()[-1]
        spread = json.loads(lines[3].split("='")[1].rstrip("'\n"))
        assert spread == {
            "conn_type": "spread",
            "host": f"{url}/spread/api/v2",
            "login": "demo-public",
            "password": "demo-private",
        }
        auth = (spread["login"], spread["password"])
        answers = [requests.get(f"{spread['host']}/customers", auth=auth, timeout=5) for _ in range(2)]
        assert answers[0].json()["count"] == 2
        assert answers[1].status_code == 429
        process.terminate()
        process.wait(patience(20))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--fault", "explode"],
        ["--switch", "mindbaz"],
        ["--switch", "mindbaz.no_such=1"],
        ["--switch", "x.y=1"],
    ],
)
def test_serve_refuses_wrong_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["serve", "--port", "0", *arguments])
    assert stopped.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_serve_says_when_the_port_is_taken(crm_sandbox, capsys):
    port = crm_sandbox.url.rpartition(":")[2]
    assert cli.main(["serve", "--port", port]) == 1
    assert port in capsys.readouterr().err


def test_initial_switches_and_seed_come_back_with_a_reset():
    with Sandbox(seed=4, switches={"mindbaz": {"rate_limit": 9}}) as sandbox:
        assert len(sandbox.mindbaz.subscribers) == 4
        sandbox.switch("mindbaz", rate_limit=1)
        sandbox.reset()
        assert sandbox.mindbaz.switches.rate_limit == 9
        assert len(sandbox.mindbaz.subscribers) == 0


# --- pytest ---


@pytest.mark.slow
def test_the_fixture_gives_every_test_a_fresh_sandbox(pytester):
    pytester.makepyfile(
        """
        import os, json, urllib.request, pytest

        @pytest.mark.parametrize("turn", [1, 2])
        def test_fresh(crm_sandbox, turn):
            assert len(crm_sandbox.mindbaz.subscribers) == 0
            assert crm_sandbox.faults() == []
            connection = json.loads(os.environ["AIRFLOW_CONN_MINDBAZ_DEFAULT"])
            request = urllib.request.Request(connection["host"] + "/3/thematics", headers={"X-API-KEY": "demo-key"})
            assert urllib.request.urlopen(request).status == 200
            assert len(crm_sandbox.calls) == 1
            crm_sandbox.mindbaz.insert({1: "a@example.fr"})
            crm_sandbox.fault("error_before")
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2)


@pytest.mark.slow
def test_the_plugin_does_no_harm_without_the_extra(pytester):
    pytester.makeconftest("import sys; sys.modules['uvicorn'] = sys.modules['starlette'] = None")
    pytester.makepyfile(
        """
        import sys

        def test_other():
            assert "airflow_provider_crm.sandbox.server" not in sys.modules

        def test_sandbox(crm_sandbox):
            pass
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*crm_sandbox needs airflow-provider-crm?sandbox?*"])


@pytest.mark.slow
def test_the_sandbox_imports_nothing_of_the_rest():
    program = (
        "import sys, airflow_provider_crm.sandbox.server, airflow_provider_crm.sandbox.cli\n"
        "others = [m for m in sys.modules if m.startswith('airflow') and '.sandbox' not in m]\n"
        "assert others == ['airflow_provider_crm'], others"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
