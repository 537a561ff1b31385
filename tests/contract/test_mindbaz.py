"""What only Mindbaz does, to its upsert: answers of its own form, aborted batches, tokens, limits."""

from __future__ import annotations

from typing import Any

import pytest

from . import mindbaz
from .trial import Connect, Trial

each_mode = pytest.mark.parametrize(
    "each", [(mindbaz.UPSERT, mode) for mode in ("upsert", "update")], ids=["upsert", "update"], indirect=True
)
upsert = pytest.mark.parametrize("each", [(mindbaz.UPSERT, "upsert")], ids=["upsert"], indirect=True)

NOTHING = '{"success": true, "data": null, "error": null}'
REFUSED = '{"success": false, "data": null, "error": "Something went wrong"}'
FAULTS: list[dict[str, Any]] = [
    {"kind": "drop_after", "method": "POST", "every": 2},
    {"kind": "truncate", "fraction": 0.0, "reset": True, "probability": 0.3, "seed": 3, "times": 10},
    {"kind": "rate_limited", "every": 5},
    *(
        {"kind": kind, "body": body, "method": method, "times": times}
        for kind, body, times in (
            ("answer_after", "", 3),
            ("answer_after", NOTHING, 3),
            ("answer_before", NOTHING, 2),
            ("answer_after", REFUSED, 1),
            ("answer_before", REFUSED, 1),
        )
        for method in ("POST", "PUT")
    ),
    {"kind": "answer_before", "body": REFUSED, "method": "GET", "after": 1, "times": 1},
    *({"kind": "query_too_long", "limit": 80, "status": status} for status in (414, 404, 400)),
    {"kind": "redirect", "to": "slash", "status": 301, "method": "GET"},
    *({"kind": "redirect", "to": "slash", "status": status} for status in (307, 308)),
    *({"kind": "abort_at", "item": item, "times": 3} for item in (0, 1, 2, 3)),
    {"kind": "answer_before", "status": 413, "method": "POST", "times": 2},
]


@pytest.mark.sampled
@each_mode
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: "-".join(map(str, fault.values()))[:60])
def test_a_fault_that_passes_changes_nothing(trial: Trial, fault: dict[str, Any]) -> None:
    active = trial.fault(**fault)
    # One call at a time: which rows a refusal meets, and whether one of them alone, is then always the same.
    trial.check(trial.run(concurrency=1))
    assert active.fired or fault.get("method") == "POST"  # an update has none


@pytest.mark.sampled
@upsert
@pytest.mark.parametrize("switches", [{"lookup_limit": 3}, {"clock_shift": 3600.0}, {"zone": "UTC"}], ids=str)
def test_a_limit_or_clock_that_nobody_knows_changes_nothing(trial: Trial, switches: dict[str, Any]) -> None:
    trial.sandbox.switch("mindbaz", **switches)
    trial.check(trial.run())


@upsert
def test_an_unknown_limit_of_a_look_up_that_drops_the_rest_in_silence(trial: Trial) -> None:
    trial.sandbox.switch("mindbaz", lookup_limit=3, lookup_over_limit="truncate")
    ended = trial.run()
    done = {"created", "updated", "unchanged"}
    assert [end in done for end in ended.ends] == [end in done for end in trial.ends], ended.said
    trial.check_held()


@pytest.mark.sampled
@upsert
@pytest.mark.parametrize("existing_email", ["abort", "minus_one", "update"])
@pytest.mark.parametrize("minus_one_fields", ["echo", "empty", "null"])
@pytest.mark.parametrize("answer_order", ["request", "reversed"])
def test_answers_that_are_hard_to_tell_apart(
    trial: Trial, existing_email: str, minus_one_fields: str, answer_order: str
) -> None:
    trial.sandbox.switch(
        "mindbaz",
        existing_email=existing_email,
        minus_one_fields=minus_one_fields,
        answer_order=answer_order,
    )
    trial.fault("drop_after", method="POST", every=3)
    trial.check(trial.run())


@upsert
def test_tokens_that_expire_on_the_way(trial: Trial, connect: Connect) -> None:
    token_url = f"{trial.sandbox.url}/mindbaz/oauth2/token"
    connect("mindbaz", auth="jwt", login="demo-login", password="demo-password", token_url=token_url)
    for refresh_too in (False, True):
        trial.fault("expire_tokens", after=5, every=7, times=3, refresh_too=refresh_too)
    trial.check(trial.run(batch_size=1, concurrency=1))
    assert trial.sandbox.calls.count("mindbaz", "POST", "/oauth2/token") > 2


@pytest.mark.slow
@upsert
def test_a_limit_of_calls_is_kept(real_time: None, trial: Trial) -> None:
    trial.sandbox.switch("mindbaz", rate_limit=8, rate_limit_window=0.2)
    trial.check(trial.run())
    assert sum(call.status == 429 for call in trial.sandbox.calls) <= 3
