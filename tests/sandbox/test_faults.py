"""Every fault, for real: what the caller sees, and what the state says of it."""

from __future__ import annotations

import socket
import time
from email.utils import parsedate_to_datetime
from typing import Any, get_args

import pytest
import requests

from airflow_provider_crm.sandbox.cli import main
from airflow_provider_crm.sandbox.faults import Fault, Kind, parse_fault
from airflow_provider_crm.sandbox.remote import RemoteSandbox
from airflow_provider_crm.sandbox.server import Sandbox
from tests.helpers.waits import patience, wait_until

POST = {"system": "mindbaz", "method": "POST", "path": "/Subscribers"}
ONE = [{"fields": [{"idField": 1, "value": "a@example.fr"}]}]


def write(mindbaz, **kwargs):
    return mindbaz("POST", "/Subscribers", json=ONE, **kwargs)


def applied(crm_sandbox):
    return len(crm_sandbox.mindbaz.subscribers)


def raw_exchange(sandbox, body=b"[]"):
    """Send one call over a bare socket and return all that comes back, and how it ends."""
    host, port = sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as sock:
        head = f"POST /mindbaz/api/3/Subscribers HTTP/1.1\r\nHost: {host}\r\nX-API-KEY: demo-key\r\n"
        sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        received = b""
        while True:
            try:
                chunk = sock.recv(65536)
            except ConnectionResetError:
                return received, "reset"
            if not chunk:
                return received, "closed"
            received += chunk


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(("kind", "rows"), [("drop_before", 0), ("drop_after", 1)])
def test_a_dropped_connection(crm_sandbox, mindbaz, kind, rows, reset):
    crm_sandbox.fault(kind, **POST, reset=reset, times=2)
    with pytest.raises(requests.ConnectionError):
        write(mindbaz)
    assert applied(crm_sandbox) == rows
    assert raw_exchange(crm_sandbox) == (b"", "reset" if reset else "closed")
    assert [call.status for call in crm_sandbox.calls] == [0, 0]
    assert mindbaz("GET", "/fields/quota").status_code == 200


@pytest.mark.parametrize("reset", [False, True])
def test_a_body_cut_in_the_middle(crm_sandbox, mindbaz, reset):
    crm_sandbox.fault("truncate", **POST, reset=reset, fraction=0.5)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        write(mindbaz)
    assert applied(crm_sandbox) == 1
    received, end = raw_exchange(crm_sandbox)
    head, _, body = received.partition(b"\r\n\r\n")
    announced = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    assert len(body) == announced // 2
    assert end == ("reset" if reset else "closed")


@pytest.mark.parametrize(
    ("kind", "status", "rows"),
    [("error_before", 503, 0), ("error_after", 500, 1), ("html_before", 200, 0), ("html_after", 200, 1)],
)
def test_another_answer_before_or_after_the_change(crm_sandbox, mindbaz, kind, status, rows):
    crm_sandbox.fault(kind, **POST)
    answer = write(mindbaz)
    assert answer.status_code == status
    assert "text/html" in answer.headers["content-type"]
    assert applied(crm_sandbox) == rows


def test_an_answer_of_your_own(crm_sandbox, mindbaz):
    crm_sandbox.fault("answer_after", **POST, status=502, body='{"sorry": true}')
    answer = write(mindbaz)
    assert (answer.status_code, answer.json()) == (502, {"sorry": True})
    assert applied(crm_sandbox) == 1


def test_too_many_requests_with_and_without_retry_after(crm_sandbox, mindbaz):
    crm_sandbox.fault("rate_limited", times=1)
    crm_sandbox.fault("rate_limited", times=1, retry_after=7)
    crm_sandbox.fault("rate_limited", times=1, retry_after=7, retry_after_form="date")
    answers = [write(mindbaz) for _ in range(4)]
    assert [one.status_code for one in answers] == [429, 429, 429, 200]
    assert "Retry-After" not in answers[0].headers
    assert answers[1].headers["Retry-After"] == "7"
    announced = parsedate_to_datetime(answers[2].headers["Retry-After"]).timestamp() - time.time()
    assert 5 < announced < 8


@pytest.mark.slow
def test_latency_and_a_slow_answer_differ_in_when_the_change_is_made(crm_sandbox, mindbaz):
    crm_sandbox.fault("slow_after", **POST, ms=1000 * patience(0.5), times=1)
    with pytest.raises(requests.ReadTimeout):
        write(mindbaz, timeout=0.1)
    assert applied(crm_sandbox) == 1
    crm_sandbox.reset()
    crm_sandbox.fault("latency", **POST, ms=1000 * patience(0.5), times=1)
    with pytest.raises(requests.ReadTimeout):
        write(mindbaz, timeout=0.1)
    assert applied(crm_sandbox) == 0
    wait_until(lambda: applied(crm_sandbox) == 1)  # although the caller gave up


@pytest.mark.slow
def test_a_call_that_sleeps_through_a_reset_changes_nothing(crm_sandbox, mindbaz):
    crm_sandbox.fault("latency", **POST, ms=1000 * patience(0.5))
    with pytest.raises(requests.ReadTimeout):
        write(mindbaz, timeout=0.1)
    crm_sandbox.reset()
    time.sleep(patience(0.5))
    assert applied(crm_sandbox) == 0


def test_tokens_die_in_the_middle_of_a_run(crm_sandbox, mindbaz):
    form = {
        "grant_type": "password",
        "username": "demo-login",
        "password": "demo-password",
        "client_id": "100",
    }
    url = f"{crm_sandbox.url}/mindbaz/oauth2/token"
    token = requests.post(url, data=form).json()
    del mindbaz.session.headers["X-API-KEY"]
    mindbaz.session.headers["Authorization"] = f"Bearer {token['access_token']}"
    crm_sandbox.fault("expire_tokens", system="mindbaz", path="/fields", after=1, times=1, refresh_too=True)
    assert [mindbaz("GET", "/fields/quota").status_code for _ in range(3)] == [200, 401, 401]
    again = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"], "client_id": "100"}
    assert requests.post(url, data=again).status_code == 400


def test_pages_are_capped_and_point_elsewhere(crm_sandbox, spread):
    crm_sandbox.seed(20, ["spread"])
    crm_sandbox.fault("page_cap", system="spread", limit=3)
    crm_sandbox.fault("next_page_url", system="spread", form="foreign")
    page = spread("GET", "/customers", params={"maxResults": 10}).json()
    assert page["count"] == 3
    assert page["nextPageUrl"].startswith("http://elsewhere.example/")


@pytest.mark.parametrize("status", [414, 404, 400])
def test_long_query_strings_are_refused(crm_sandbox, mindbaz, status):
    crm_sandbox.fault("query_too_long", limit=100, status=status)
    query = {"filter.by": "Email", "filter.values": "a@example.fr"}
    assert mindbaz("GET", "/Subscribers", params=query).status_code == 200
    answer = mindbaz("GET", "/Subscribers", params=query | {"filter.idFields": "0,1," * 30})
    assert answer.status_code == status
    assert "text/html" in answer.headers["content-type"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_to_the_slashed_path_end_there(crm_sandbox, spread, status):
    crm_sandbox.fault("redirect", system="spread", to="slash", status=status)
    answer = spread("GET", "/customers", params={"email": "a@example.fr"}, allow_redirects=True)
    assert answer.status_code == 200
    assert [one.status_code for one in answer.history] == [status]
    assert [call.path for call in crm_sandbox.calls] == [
        "/spread/api/v2/customers",
        "/spread/api/v2/customers/",
    ]


def test_redirects_to_the_bare_path_and_to_another_host(crm_sandbox, spread):
    crm_sandbox.fault("redirect", to="no_slash", times=1)
    assert spread("GET", "/customers/").headers["Location"] == "/spread/api/v2/customers"
    crm_sandbox.fault("redirect", to="http://elsewhere.example", status=308, times=1)
    location = spread("GET", "/consents", params={"startAt": 1}).headers["Location"]
    assert location == "http://elsewhere.example/spread/api/v2/consents?startAt=1"


def test_a_batch_is_aborted_at_an_item(crm_sandbox, mindbaz):
    crm_sandbox.fault("abort_at", **POST, item=2, times=1)
    batch = [{"fields": [{"idField": 1, "value": f"{n}@example.fr"}]} for n in range(4)]
    assert mindbaz("POST", "/Subscribers", json=batch).json()["success"] is False
    assert applied(crm_sandbox) == 2


def test_what_is_read_lags_behind_until_so_many_calls_have_written(crm_sandbox, mindbaz):
    def seen():
        query = {"filter.by": "Email", "filter.values": "a@example.fr"}
        return len(mindbaz("GET", "/Subscribers", params=query).json()["data"] or ())

    active = crm_sandbox.fault("stale", system="mindbaz", writes=2)
    write(mindbaz)
    assert applied(crm_sandbox) == 1
    assert (seen(), active.fired) == (0, 1)
    mindbaz("PUT", "/Subscribers", json=[])
    assert (seen(), active.fired) == (1, 1)


def fired(crm_sandbox, mindbaz, calls):
    return "".join("x" if mindbaz("GET", "/thematics").status_code == 503 else "." for _ in range(calls))


@pytest.mark.parametrize(
    ("when", "pattern"),
    [
        ({"times": 2}, "xx......"),
        ({"after": 3}, "...xxxxx"),
        ({"after": 1, "times": 1}, ".x......"),
        ({"every": 3}, "..x..x.."),
        ({"every": 2, "after": 1, "times": 2}, "..x.x..."),
    ],
)
def test_when_a_fault_fires(crm_sandbox, mindbaz, when, pattern):
    active = crm_sandbox.fault("error_before", **when)
    assert fired(crm_sandbox, mindbaz, 8) == pattern
    assert active.fired == pattern.count("x")


def test_chance_is_drawn_from_a_seed(crm_sandbox, mindbaz):
    patterns = []
    for seed in (1, 1, 2):
        crm_sandbox.clear()
        crm_sandbox.fault("error_before", probability=0.5, seed=seed)
        patterns.append(fired(crm_sandbox, mindbaz, 20))
    assert patterns[0] == patterns[1] != patterns[2]


def test_which_calls_a_fault_is_for(crm_sandbox, mindbaz, spread):
    crm_sandbox.fault("error_before", system="mindbaz", method="get", path="/fields/")
    assert mindbaz("GET", "/fields/quota").status_code == 503
    assert mindbaz("GET", "/thematics").status_code == 200
    assert spread("GET", "/customers").status_code == 200
    crm_sandbox.fault("error_before", path="/customers/{id}")
    assert spread("GET", "/customers/1").status_code == 503


def test_several_faults_on_one_call(crm_sandbox, mindbaz):
    first = crm_sandbox.fault("error_before", times=1)
    second = crm_sandbox.fault("rate_limited", times=1)
    slow = crm_sandbox.fault("latency", ms=1)
    assert [write(mindbaz).status_code for _ in range(3)] == [503, 429, 200]
    assert (first.fired, second.fired, slow.fired) == (1, 1, 3)
    assert [call.faults for call in crm_sandbox.calls] == [
        ["error_before", "latency"],
        ["rate_limited", "latency"],
        ["latency"],
    ]


def test_faults_are_read_from_text():
    text = "drop_after, system=spread, method=POST, path=/cagnottes, times=1, reset=true, probability=0.5"
    assert parse_fault(text) == Fault(
        kind="drop_after",
        system="spread",
        method="POST",
        path="/cagnottes",
        times=1,
        reset=True,
        probability=0.5,
    )
    for wrong in ("no_such_kind", "latency,no_such_setting=1", "latency,ms=soon"):
        with pytest.raises(ValueError, match="Not a fault"):
            parse_fault(wrong)


@pytest.mark.parametrize("remote", [False, True])
def test_an_unknown_kind_lists_those_that_there_are(crm_sandbox: Sandbox, remote: bool) -> None:
    sandbox: Any = RemoteSandbox(crm_sandbox.url) if remote else crm_sandbox
    with pytest.raises(
        ValueError, match=r"'drop'. The kinds are latency, .*drop_after, .*abort_at"
    ) as caught:
        sandbox.fault("drop", times=1)
    assert all(kind in str(caught.value) for kind in get_args(Kind))


def test_the_command_lists_them_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--port", "0", "--fault", "drop,times=1"])
    said = capsys.readouterr().err
    assert all(kind in said for kind in get_args(Kind))
