"""The ASGI application: reads a call, lets faults have their way, hands it to a stand-in and sends what comes of it.

Knows no CRM. State changes in one place only, ``System.handle``, under one lock, so that threads that look at the
state of a sandbox never see half a change.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from airflow_provider_crm.sandbox.control import Control
from airflow_provider_crm.sandbox.faults import CallFaults
from airflow_provider_crm.sandbox.state import State
from airflow_provider_crm.sandbox.system import System
from airflow_provider_crm.sandbox.wire import Answer, Break, Call, html_answer

CONTROL = "_sandbox"


class SandboxApp:
    """All stand-ins behind one door.

    :param state: what it answers from.
    :param control: answers the calls below ``/_sandbox/``.
    """

    def __init__(self, state: State, control: Control) -> None:
        self._state = state
        self._control = control
        self.transports: dict[Any, asyncio.Transport] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            return
        try:
            call = await read_call(Request(scope, receive))
        except ClientDisconnect:
            return
        if call.segments[:1] == [CONTROL]:
            await self._deliver(self._control.handle(call), scope, receive, send)
        else:
            await self._serve(call, scope, receive, send)

    async def _serve(self, call: Call, scope: Scope, receive: Receive, send: Send) -> None:
        system = self._state.systems.get(call.segments[0] if call.segments else "")
        with self._state.lock:
            if system is not None:
                call.system = system.name
                system.find_route(call)
            epoch = self._state.epoch
            record = self._state.calls.begin(call)
            met = self._state.faults.met_by(call)
            record.faults = met.kinds
        answer = html_answer(500, "The sandbox has a bug")
        try:
            if met.wait_before:
                await asyncio.sleep(met.wait_before)
            answer = met.instead or self._handle(system, call, met, epoch)
            if met.wait_after:
                await asyncio.sleep(met.wait_after)
        finally:
            # Before the answer goes out: whoever has the answer must find it in the log.
            with self._state.lock:
                self._state.calls.end(record, call, answer.status)
        await self._deliver(answer, scope, receive, send)

    def _handle(self, system: System | None, call: Call, met: CallFaults, epoch: int) -> Answer:
        if system is None:
            return html_answer(404, "Not Found")
        with self._state.lock:
            # A call that slept through a reset belongs to an earlier test and must not touch the fresh state.
            if epoch != self._state.epoch:
                return html_answer(503, "The sandbox was reset")
            if met.expire is not None:
                system.expire_tokens(refresh_too=met.expire.refresh_too)
            delays = self._state.delays
            now = delays.catch_up()
            if met.commit_late is not None:
                delays.later(now + met.commit_late, lambda at: self._change(system, call, at))
                answer = Answer()
            elif call.method == "GET":
                before = met.before or {}
                if met.read_late is not None:
                    before = delays.before(now - met.read_late)
                shown = before.get(system.name, system)
                shown.find_route(call)
                answer = shown.handle(call)
            else:
                answer = self._change(system, call, now)
            return answer if met.spoil is None else met.spoil(answer)

    def _change(self, system: System, call: Call, at: float) -> Answer:
        if self._state.faults.has("late_reads"):
            self._state.delays.keep(system, at)
        return system.handle(call)

    async def _deliver(self, answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
        if answer.breaks is None:
            # Passing the type as a header keeps Starlette from adding a charset to it.
            headers = {"Content-Type": answer.content_type, **answer.headers}
            await Response(answer.body, answer.status, headers)(scope, receive, send)
        else:
            await self._break(answer, answer.breaks, scope, receive, send)

    async def _break(self, answer: Answer, breaks: Break, scope: Scope, receive: Receive, send: Send) -> None:
        if breaks.at >= 0:
            headers = {
                "content-type": answer.content_type,
                "content-length": str(len(answer.body)),
                **answer.headers,
            }
            raw = [
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
            ]
            await send({"type": "http.response.start", "status": answer.status, "headers": raw})
            await send({"type": "http.response.body", "body": answer.body[: breaks.at], "more_body": True})
        transport = self.transports.get(tuple(scope["client"]))
        if transport is None:
            return
        if breaks.reset:
            # What was written must reach the peer before the reset does, or the reset overtakes it.
            await asyncio.sleep(0.01 if breaks.at >= 0 else 0)
            linger_never(transport)
            transport.abort()
        else:
            transport.close()
        await receive()  # returns when the connection is gone, which spares the server's complaint about it


async def read_call(request: Request) -> Call:
    """Read a request to its end."""
    scope = request.scope
    return Call(
        method=scope["method"],
        raw_path=scope["raw_path"].decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        body=await request.body(),
    )


def linger_never(transport: asyncio.Transport) -> None:
    """Make the operating system send a reset, not an orderly end, when this connection is closed."""
    sock = transport.get_extra_info("socket")
    # One second argument for both halves of struct linger: on, and zero seconds.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
