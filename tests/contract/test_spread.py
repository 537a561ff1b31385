"""What only SPREAD does, to its destinations."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_crm.exceptions import CrmConnectionError

from . import spread
from .trial import Connect, Trial, by_name, first_modes

with_check = pytest.mark.parametrize(
    "each",
    first_modes((spread.UPSERT, spread.CONSENTS, spread.EMAILS, spread.DELETE)),
    ids=by_name,
    indirect=True,
)


@with_check
def test_a_wrong_base_url_is_not_taken_for_a_crm_without_anybody(trial: Trial, connect: Connect) -> None:
    connect("spread", host=f"{trial.sandbox.url}/spread/api")
    with pytest.raises(CrmConnectionError, match="no list of customers"):
        trial.run()


@pytest.mark.sampled
@with_check
@pytest.mark.parametrize("switches", [{"page_cap": 1}, {"zone": "Europe/Paris"}], ids=str)
def test_a_page_cap_or_zone_changes_no_end(trial: Trial, switches: dict[str, Any]) -> None:
    trial.sandbox.switch("spread", **switches)
    trial.check(trial.run())
    trial.check_again(trial.run())


@pytest.mark.parametrize("each", [(spread.UPSERT, "upsert")], ids=["upsert"], indirect=True)
def test_a_crm_without_anybody_may_call_its_list_not_found(trial: Trial) -> None:
    trial.sandbox.spread.reset()
    trial.fault("answer_before", method="GET", path="/customers", status=404, body="{}")
    ended = trial.run([{"email": f"a{number}@example.fr"} for number in range(3)])
    assert set(ended.ends) == {"created"}
