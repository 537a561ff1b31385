"""The control interface below ``/_sandbox/``: what a test or a person asks of the sandbox itself. Knows no CRM.

=======  ===============================  ===========================================================================
GET      ``/_sandbox/state``              records per CRM, calls per CRM, faults in force
GET      ``/_sandbox/{system}/records``   ``?kind=&start=&limit=``: records as JSON lines
GET      ``/_sandbox/faults``             the faults in force, with how often they fired
POST     ``/_sandbox/faults``             put a fault in force: a :class:`Fault` as JSON object
DELETE   ``/_sandbox/faults``             remove all faults
GET      ``/_sandbox/switches``           all switches
POST     ``/_sandbox/switches``           ``{"mindbaz": {"existing_email": "update"}}``
POST     ``/_sandbox/reset``              fresh state, no faults, initial switches, empty log
POST     ``/_sandbox/seed``               ``{"count": 1000, "systems": ["mindbaz"]}``
GET      ``/_sandbox/connections``        Airflow connections by connection id
GET      ``/_sandbox/calls``              ``?start=&limit=``: ``{"calls": [...], "counters": [...]}``
DELETE   ``/_sandbox/calls``              forget the calls
=======  ===============================  ===========================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import msgspec

from airflow_provider_crm.sandbox.faults import describe, make_fault
from airflow_provider_crm.sandbox.state import State
from airflow_provider_crm.sandbox.wire import JSON_LINES, Answer, Call, json_answer, to_json


class Control:
    """Answers the calls of the control interface, and offers the same in Python.

    :param state: what there is to control.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._routes: dict[tuple[str, str], Callable[[Call], Any]] = {
            ("GET", "state"): lambda call: self.state(),
            ("GET", "faults"): lambda call: describe(state.faults.active),
            ("POST", "faults"): self._add_fault,
            ("DELETE", "faults"): lambda call: state.faults.clear(),
            ("GET", "switches"): lambda call: {
                name: system.switches for name, system in state.systems.items()
            },
            ("POST", "switches"): lambda call: self.set_switches(_body(call)),
            ("POST", "reset"): lambda call: self.reset(),
            ("POST", "seed"): lambda call: self.seed(**_body(call)),
            ("GET", "connections"): lambda call: self.connections(f"http://{call.host}"),
            ("GET", "calls"): self._calls,
            ("DELETE", "calls"): lambda call: state.calls.clear(),
        }

    def handle(self, call: Call) -> Answer:
        """Answer one call of the control interface."""
        name = "/".join(call.segments[1:])
        try:
            with self._state.lock:
                if call.method == "GET" and len(call.segments) == 3 and call.segments[2] == "records":
                    return self._records(call)
                action = self._routes.get((call.method, name))
                if action is None:
                    return json_answer({"error": f"No control call {call.method} {name}"}, 404)
                return json_answer(action(call))
        except (ValueError, TypeError, KeyError, msgspec.DecodeError) as error:
            return json_answer({"error": str(error)}, 400)

    def state(self) -> dict[str, Any]:
        """How much of everything there is."""
        calls = self._state.calls
        return {
            name: {
                "records": system.counts(),
                "calls": calls.count(name),
                "in_flight": calls.in_flight[name],
                "max_in_flight": calls.max_in_flight[name],
            }
            for name, system in self._state.systems.items()
        } | {"faults": len(self._state.faults.active)}

    def connections(self, url: str) -> dict[str, dict[str, Any]]:
        """What Airflow connections to this sandbox hold, by connection id.

        :param url: scheme, host and port of the sandbox.
        """
        return dict(system.connection(url) for system in self._state.systems.values())

    def set_switches(self, switches: dict[str, dict[str, Any]]) -> None:
        """Set switches by system and name.

        :raises ValueError: a system, a name or a value does not exist.
        """
        for name, values in switches.items():
            self._system(name).set_switches(values)

    def reset(self) -> None:
        """Back to the beginning: no records, no faults, no calls, the initial switches."""
        state = self._state
        with state.lock:
            state.epoch += 1
            state.faults.clear()
            state.calls.clear()
            state.delays.clear()
            for system in state.systems.values():
                system.reset_switches()
                system.reset()

    def seed(self, count: int, systems: list[str] | None = None) -> None:
        """Add that many people to the named systems, or to all.

        :raises ValueError: a system does not exist.
        """
        with self._state.lock:
            for name in systems or list(self._state.systems):
                self._system(name).seed(count)

    def _system(self, name: str) -> Any:
        if name not in self._state.systems:
            raise ValueError(f"No system {name}; there are {', '.join(self._state.systems)}")
        return self._state.systems[name]

    def _add_fault(self, call: Call) -> Any:
        active = self._state.add_fault(make_fault(_body(call)))
        return describe([active])[0]

    def _records(self, call: Call) -> Answer:
        system = self._system(call.segments[1])
        kind = call.parameters.get("kind") or next(iter(system.counts()))
        start = int(call.parameters.get("start", 0))
        limit = call.parameters.get("limit")
        chosen = islice(system.records(kind), start, None if limit is None else start + int(limit))
        return Answer(body=b"".join(to_json(record) + b"\n" for record in chosen), content_type=JSON_LINES)

    def _calls(self, call: Call) -> Any:
        log = self._state.calls
        start, limit = int(call.parameters.get("start", 0)), call.parameters.get("limit")
        chosen = islice(log.records, start, None if limit is None else start + int(limit))
        counters = [
            {"system": system, "method": method, "route": route, "count": count}
            for (system, method, route), count in log.counters.items()
        ]
        return {"calls": list(chosen), "counters": counters}


def _body(call: Call) -> dict[str, Any]:
    return msgspec.json.decode(call.body or b"{}", type=dict[str, Any])
