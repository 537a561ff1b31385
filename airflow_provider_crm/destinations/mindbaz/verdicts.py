"""How subscribers are sent to Mindbaz in one call, and what its answer says of each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from airflow_provider_crm.bulk.outcomes import UNSAID, Outcome, Refused, Step, Verdict
from airflow_provider_crm.destinations.mindbaz.opt_outs import Values
from airflow_provider_crm.hooks.mindbaz import MindbazHook
from airflow_provider_crm.schemas.mindbaz.write import EMAIL, SubscriberData
from airflow_provider_crm.values import compared_email


def send(hook: MindbazHook, steps: Sequence[Step[Values]]) -> list[Verdict]:
    """Send subscribers in one call: a POST takes new ones and updates together."""
    payloads: list[SubscriberData] = [step.payload for step in steps]
    updates_only = all(payload.id is not None for payload in payloads)
    return _verdicts(steps, hook.write_subscribers("PUT" if updates_only else "POST", payloads))


def _verdicts(steps: Sequence[Step[Values]], answers: Sequence[SubscriberData]) -> list[Verdict]:
    """Return which answer is whose: by id, else by e-mail, else by place where nothing speaks against it."""
    sent = _emails_of([step.payload for step in steps])
    known, said = {*sent.values()}, _emails_of(answers)
    told = [
        (
            cast(int, answer.id),
            email
            if (email := said.get(place)).__class__ is str and email in known
            else compared_email(email),
        )
        for place, answer in enumerate(answers)
    ]
    by_id = {number: one for one in told if (number := one[0]) >= 0}
    by_email = {email: one for one in told if (email := one[1])}
    updated = {step.payload.id for step in steps}
    unnamed = {number < 0 for number, email in told if not email}
    # Where only some are refused, a place is too little to tell whose they are.
    in_order = len(told) == len(steps) and len(unnamed) == 1
    verdicts: list[Verdict] = []
    for place, step in enumerate(steps):
        number, email = step.payload.id, sent.get(place)
        answer = by_email.get(email or "") if number is None else by_id.get(number)
        if answer is None and in_order and not told[place][1]:
            at_place, _ = told[place]
            if at_place < 0 or (number is None and at_place not in updated):
                answer = told[place]
        verdicts.append(UNSAID if answer is None else _verdict(step, email, *answer))
    return verdicts


def _verdict(step: Step[Values], sent: str | None, number: int, email: str) -> Verdict:
    """Return what an answer says.

    :param sent: the e-mail of the row, where it was sent.
    :param number: the answer's id.
    :param email: its e-mail; empty where it has none.
    """
    if number < 0:
        what = "takes this e-mail address for invalid" if sent else "does not take this subscriber"
        return Refused(f"Mindbaz {what} (it answered with id -1)")
    if sent and email not in ("", sent):
        return Refused("Mindbaz has kept another e-mail address than this one")
    return step.outcome if number == step.outcome.crm_id else Outcome(step.outcome.ending, crm_id=number)


def _emails_of(subscribers: Sequence[SubscriberData]) -> dict[int, Any]:
    """Return the subscribers' e-mails by their place; of several the last one counts, as in a map."""
    return {
        place: field.value
        for place, subscriber in enumerate(subscribers)
        for field in subscriber.fields or ()
        if field.idField == EMAIL
    }
