"""Faults that can be put between a caller and a stand-in: which there are, and which fires on which call.

Knows no CRM: a fault that only a CRM can act out (a capped page, an aborted batch) is left in the call as a hint.

==================  ==========================================================================  ====================
kind                what happens                                                                settings
==================  ==========================================================================  ====================
``latency``         the call is handled only after a while                                      ``ms``
``slow_after``      the change is made at once, the answer comes later                          ``ms``
``rate_limited``    429, nothing is changed                                                     ``retry_after``,
                                                                                                ``retry_after_form``
``error_before``    5xx, nothing is changed                                                     ``status``, ``body``
``error_after``     the change is made, the answer is a 5xx                                     ``status``, ``body``
``drop_before``     the connection ends without an answer, nothing is changed                   ``reset``
``drop_after``      the change is made, the connection ends without an answer                   ``reset``
``truncate``        the change is made, the connection ends in the middle of the body           ``fraction``, ``reset``
``html_before``     status 200 with a web page in place of JSON, nothing is changed             ``status``
``html_after``      the change is made, the answer is status 200 with a web page                ``status``
``late_commit``     the answer is a 504, the change is made after a while                       ``ms``, ``status``,
                                                                                                ``body``
``answer_before``   an answer of your own, nothing is changed                                   ``status``, ``body``
``answer_after``    the change is made, the answer is your own                                  ``status``, ``body``
``query_too_long``  calls whose query string is longer than ``limit`` are refused               ``limit``, ``status``
``redirect``        the caller is sent elsewhere: to the path with (``slash``) or without       ``to``, ``status``
                    (``no_slash``) a slash at its end, or to another base URL
``redirect_after``  the change is made, the answer is a redirect to the same address            ``status``
``expire_tokens``   every access token dies before the call is handled                          ``refresh_too``
``page_cap``        a page holds no more rows than this, whatever was asked for                 ``limit``
``next_page_url``   ``nextPageUrl`` in another form, see ``SpreadSwitches.next_page_url``       ``form``
``abort_at``        a batch fails after so many items; what came before stays (Mindbaz)         ``item``
``late_reads``      what is read is as it was a while ago                                       ``ms``
``stale``           what is read is as it was when the fault was put in force                    ``writes``
==================  ==========================================================================  ====================
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import partial
from typing import Any, Literal, get_args

import msgspec

from airflow_provider_crm.sandbox.wire import HTML, JSON, Answer, Break, Call, html_answer

Kind = Literal[
    "latency",
    "slow_after",
    "rate_limited",
    "error_before",
    "error_after",
    "drop_before",
    "drop_after",
    "truncate",
    "html_before",
    "html_after",
    "late_commit",
    "answer_before",
    "answer_after",
    "query_too_long",
    "redirect",
    "redirect_after",
    "expire_tokens",
    "page_cap",
    "next_page_url",
    "abort_at",
    "late_reads",
    "stale",
]


class Fault(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One fault: what happens, on which calls, and when.

    :param kind: one of the table above.
    :param system: the name of a stand-in, such as ``spread``; any when left out.
    :param method: the HTTP method; any when left out.
    :param path: how the resource begins (``/cagnottes``, ``/Subscribers``), or its route, or the full path.
    :param after: let so many matching calls pass first.
    :param every: then fire on each k-th matching call only.
    :param probability: then fire with this chance, drawn from ``seed``.
    :param times: fire so many times at most; without it, until the fault is removed.
    :param ms: milliseconds.
    :param status: the HTTP status, where the kind has one; each kind has its own default.
    :param body: the text of an answer; JSON when it begins with a brace or bracket.
    :param retry_after: seconds to announce in ``Retry-After``; none is sent when left out.
    :param retry_after_form: announce them as a number or as an HTTP date.
    :param reset: end a connection by a TCP reset rather than an orderly close.
    :param fraction: the part of the body that still goes out.
    :param limit: bytes of a query string, or rows of a page.
    :param to: where a redirect leads: ``slash``, ``no_slash`` or a base URL without the path.
    :param refresh_too: refresh tokens die as well.
    :param form: the form of a ``nextPageUrl``.
    :param item: items of a batch that are still applied.
    :param writes: calls that are no GET, with the last of which stale reads end.
    """

    kind: Kind
    system: str | None = None
    method: str | None = None
    path: str | None = None
    after: int = 0
    every: int = 1
    probability: float = 1.0
    seed: int = 0
    times: int | None = None
    ms: float = 0
    status: int | None = None
    body: str | None = None
    retry_after: float | None = None
    retry_after_form: Literal["seconds", "date"] = "seconds"
    reset: bool = False
    fraction: float = 0.5
    limit: int = 0
    to: str = "slash"
    refresh_too: bool = False
    form: str = "foreign"
    item: int = 0
    writes: int = 1


class ActiveFault:
    """A fault in force, and how often it was met and fired.

    :param before: the stand-ins as they were when it was put in force, for stale reads.
    """

    def __init__(self, fault: Fault, before: Mapping[str, Any] | None = None) -> None:
        self.fault = fault
        self.before = before
        self.matched = 0
        self.fired = 0
        self.writes = 0
        self._random = random.Random(fault.seed)

    def matches(self, call: Call) -> bool:
        """Whether the fault is meant for this call at all."""
        fault = self.fault
        if fault.system not in (None, call.system):
            return False
        self.writes += call.method != "GET"
        if fault.method is not None and fault.method.upper() != call.method:
            return False
        if fault.path is not None:
            start = fault.path.lower()
            if not any(p.lower().startswith(start) for p in (call.resource, call.route, call.raw_path)):
                return False
        if fault.kind == "stale":
            return call.method == "GET" and self.writes < fault.writes
        condition = CONDITIONS.get(fault.kind)
        return condition is None or condition(fault, call)

    def due(self) -> bool:
        """Count a matching call, and say whether the fault fires on it."""
        fault = self.fault
        if fault.times is not None and self.fired >= fault.times:
            return False
        self.matched += 1
        if self.matched <= fault.after or (self.matched - fault.after) % fault.every:
            return False
        if fault.probability < 1.0 and self._random.random() >= fault.probability:
            return False
        self.fired += 1
        return True


@dataclass(slots=True)
class CallFaults:
    """What is going to happen to one call.

    :param wait_before: seconds before the call is handled.
    :param wait_after: seconds between the change and the answer.
    :param instead: the answer in place of handling the call at all.
    :param spoil: makes of the answer after the change the one that goes out.
    :param before: the stand-ins that answer in place of those of today.
    :param commit_late: seconds between the answer and the change.
    :param read_late: seconds ago of which a read shows the state.
    """

    kinds: list[str] = field(default_factory=list)
    wait_before: float = 0.0
    wait_after: float = 0.0
    instead: Answer | None = None
    spoil: Callable[[Answer], Answer] | None = None
    expire: Fault | None = None
    before: Mapping[str, Any] | None = None
    commit_late: float | None = None
    read_late: float | None = None


class FaultBox:
    """The faults in force, oldest first."""

    def __init__(self) -> None:
        self.active: list[ActiveFault] = []

    def add(self, fault: Fault, before: Mapping[str, Any] | None = None) -> ActiveFault:
        """Put a fault in force."""
        self.active.append(ActiveFault(fault, before))
        return self.active[-1]

    def has(self, kind: Kind) -> bool:
        """Whether a fault of this kind is in force."""
        return any(active.fault.kind == kind for active in self.active)

    def clear(self) -> None:
        """Remove all faults."""
        self.active.clear()

    def met_by(self, call: Call) -> CallFaults:
        """Decide what happens to a call: delays add up, hints gather, and one fault at most decides its end.

        A fault that would end a call whose end is already decided is not counted as met.
        """
        met = CallFaults()
        for active in self.active:
            fault = active.fault
            ends_call = fault.kind in BEFORE or fault.kind in AFTER
            if ends_call and (met.instead is not None or met.spoil is not None):
                continue
            if not active.matches(call) or not active.due():
                continue
            met.kinds.append(fault.kind)
            if fault.kind in BEFORE:
                met.instead = BEFORE[fault.kind](fault, call)
            elif fault.kind in AFTER:
                met.spoil = partial(AFTER[fault.kind], fault, call)
                if fault.kind == "late_commit":
                    met.commit_late = fault.ms / 1000
            elif fault.kind == "late_reads":
                met.read_late = fault.ms / 1000
            elif fault.kind == "latency":
                met.wait_before += fault.ms / 1000
            elif fault.kind == "slow_after":
                met.wait_after += fault.ms / 1000
            elif fault.kind == "expire_tokens":
                met.expire = fault
            elif fault.kind == "stale":
                met.before = active.before
            else:
                call.hints[fault.kind] = HINTS[fault.kind](fault)
        return met


def parse_fault(text: str) -> Fault:
    """Read a fault as given on a command line: ``drop_after,system=spread,method=POST,path=/cagnottes,times=1``.

    :raises ValueError: there is no such kind or setting.
    """
    first, *rest = [part.strip() for part in text.split(",") if part.strip()]
    values: dict[str, str] = {"kind": first.removeprefix("kind=")}
    for part in rest:
        name, _, value = part.partition("=")
        values[name.strip()] = value.strip()
    return make_fault(values)


def make_fault(values: object) -> Fault:
    """Build a fault from names and values.

    :raises ValueError: there is no such kind or setting.
    """
    if isinstance(values, Mapping) and values.get("kind") not in get_args(Kind):
        raise ValueError(f"Not a fault: {values.get('kind')!r}. The kinds are {', '.join(get_args(Kind))}")
    try:
        return msgspec.convert(values, Fault, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"Not a fault: {error}") from error


def describe(active: Iterable[ActiveFault]) -> list[dict[str, object]]:
    """The faults in force as plain data."""
    return [{**msgspec.to_builtins(one.fault), "matched": one.matched, "fired": one.fired} for one in active]


# What each kind does ---------------------------------------------------------------------------------------------


def _rate_limited(fault: Fault, call: Call) -> Answer:
    answer = _own_answer(fault, fault.status or 429, '{"error": "Too many requests"}')
    if fault.retry_after is not None:
        if fault.retry_after_form == "date":
            value = formatdate(time.time() + fault.retry_after, usegmt=True)
        else:
            value = f"{fault.retry_after:g}"
        answer.headers["Retry-After"] = value
    return answer


def _own_answer(fault: Fault, status: int, default: str) -> Answer:
    body = default if fault.body is None else fault.body
    return Answer(status, body.encode(), JSON if body[:1] in ("{", "[") else HTML)


def _server_error(fault: Fault, default: int) -> Answer:
    status = fault.status or default
    return (
        html_answer(status, "Service Unavailable") if fault.body is None else _own_answer(fault, status, "")
    )


def _login_page(fault: Fault) -> Answer:
    return html_answer(fault.status or 200, "Please sign in")


def _redirect(fault: Fault, call: Call) -> Answer:
    path = call.raw_path
    if fault.to == "slash":
        target = f"{path}/"
    elif fault.to == "no_slash":
        target = path.rstrip("/")
    else:
        target = fault.to.rstrip("/") + path
    return _redirect_to(target, call, fault.status or 301)


def _redirect_to(path: str, call: Call, status: int) -> Answer:
    target = f"{path}?{call.query}" if call.query else path
    return Answer(status, b"", HTML, {"Location": target})


def _refuse_query(fault: Fault, call: Call) -> Answer:
    titles = {414: "Request-URI Too Long", 404: "404 - File or directory not found.", 400: "Bad Request"}
    status = fault.status or 414
    return html_answer(status, titles.get(status, "Request refused"))


def _drop(fault: Fault) -> Answer:
    return Answer(0, breaks=Break(-1, fault.reset))


def _truncate(fault: Fault, call: Call, answer: Answer) -> Answer:
    answer.breaks = Break(int(len(answer.body) * fault.fraction), fault.reset)
    return answer


BEFORE: dict[str, Callable[[Fault, Call], Answer]] = {
    "rate_limited": _rate_limited,
    "error_before": lambda fault, call: _server_error(fault, 503),
    "drop_before": lambda fault, call: _drop(fault),
    "html_before": lambda fault, call: _login_page(fault),
    "answer_before": lambda fault, call: _own_answer(fault, fault.status or 200, "{}"),
    "query_too_long": _refuse_query,
    "redirect": _redirect,
}

AFTER: dict[str, Callable[[Fault, Call, Answer], Answer]] = {
    "error_after": lambda fault, call, answer: _server_error(fault, 500),
    "drop_after": lambda fault, call, answer: _drop(fault),
    "truncate": _truncate,
    "html_after": lambda fault, call, answer: _login_page(fault),
    "late_commit": lambda fault, call, answer: _server_error(fault, 504),
    "answer_after": lambda fault, call, answer: _own_answer(fault, fault.status or 200, "{}"),
    "redirect_after": lambda fault, call, answer: _redirect_to(call.raw_path, call, fault.status or 302),
}

HINTS: dict[str, Callable[[Fault], object]] = {
    "page_cap": lambda fault: fault.limit,
    "next_page_url": lambda fault: fault.form,
    "abort_at": lambda fault: fault.item,
}

# A redirect to the slashed path must not fire on the slashed path again, or the caller would go round in circles.
CONDITIONS: dict[str, Callable[[Fault, Call], bool]] = {
    "query_too_long": lambda fault, call: len(call.query) > fault.limit,
    "redirect": lambda fault, call: (
        fault.to not in ("slash", "no_slash") or call.raw_path.endswith("/") == (fault.to == "no_slash")
    ),
}
