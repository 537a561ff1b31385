"""The sandbox as an object: starts the server, hands out connections, and controls it without HTTP.

Knows no CRM: the stand-ins are listed in :mod:`airflow_provider_crm.sandbox.systems`.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from airflow_provider_crm.sandbox.app import SandboxApp
from airflow_provider_crm.sandbox.calls import CallLog
from airflow_provider_crm.sandbox.connections import as_json, as_uri, variable
from airflow_provider_crm.sandbox.control import Control
from airflow_provider_crm.sandbox.faults import ActiveFault, Fault, describe, make_fault
from airflow_provider_crm.sandbox.state import State
from airflow_provider_crm.sandbox.systems import Systems

if TYPE_CHECKING:
    from airflow_provider_crm.sandbox.remote import RemoteSandbox

DEFAULT_PORT = 8765


class Sandbox(Systems):
    """All stand-ins on one local port, in this process.

    .. code-block:: python

        with Sandbox(seed=100) as sandbox:
            os.environ.update(sandbox.environ())
            sandbox.fault("drop_after", system="mindbaz", method="POST", times=1)

    :param port: 0 takes a free one.
    :param seed: so many made-up people in each stand-in.
    :param switches: by system and name, such as ``{"mindbaz": {"existing_email": "update"}}``.
    :param host: the address to listen on; the sandbox has no protection and is meant for loopback.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        seed: int = 0,
        switches: Mapping[str, Mapping[str, Any]] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        super().__init__()
        self._state = State(self.systems())
        self._control = Control(self._state)
        self._app = SandboxApp(self._state, self._control)
        self._control.set_switches({name: dict(values) for name, values in (switches or {}).items()})
        for system in self.systems():
            system.keep_switches()
        self._address = (host, port)
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.seed(seed)

    @classmethod
    def spawn(
        cls, *, port: int = 0, seed: int = 0, switches: Mapping[str, Mapping[str, Any]] | None = None
    ) -> RemoteSandbox:
        """Run a sandbox in a process of its own, so that a client under test does not share its interpreter lock.

        :return: the same control methods, over HTTP; stop it, or use it in a ``with`` statement.
        """
        from airflow_provider_crm.sandbox.remote import RemoteSandbox

        return RemoteSandbox.spawn(port=port, seed=seed, switches=switches)

    # --- the server ---

    def bind(self) -> str:
        """Open the port; callers can connect from now on and are answered once the server runs.

        :return: the URL.
        """
        if self._socket is None:
            self._socket = socket.create_server(self._address, backlog=1024)
        return self.url

    @property
    def url(self) -> str:
        """Scheme, host and port, without a slash at the end."""
        if self._socket is None:
            raise RuntimeError("The sandbox is not running")
        host, port = self._socket.getsockname()[:2]
        return f"http://{host}:{port}"

    def run(self) -> None:
        """Serve in this thread until told to stop, or until a signal in the main thread."""
        self.bind()
        assert self._socket is not None
        config = uvicorn.Config(
            self._app,
            http=_registering_protocol(self._app.transports),
            ws="none",
            lifespan="off",
            log_config=None,  # the logging of the process is not ours
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=1 << 20,
        )
        self._server = uvicorn.Server(config)
        self._server.run(sockets=[self._socket])

    def start(self) -> Self:
        """Serve in a thread."""
        self.bind()
        self._thread = threading.Thread(target=self.run, name="crm-sandbox", daemon=True)
        self._thread.start()
        while self._server is None or not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("The sandbox did not start")
            time.sleep(0.005)
        return self

    def stop(self) -> None:
        """End the server and free the port."""
        if self._server is not None:
            self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
        if self._socket is not None:
            self._socket.close()
        self._server = self._thread = self._socket = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- connections ---

    def connections(self) -> dict[str, str]:
        """Airflow connections by connection id, as JSON texts."""
        return {conn_id: as_json(one) for conn_id, one in self._control.connections(self.url).items()}

    def uris(self) -> dict[str, str]:
        """Airflow connections by connection id, as URIs."""
        return {conn_id: as_uri(one) for conn_id, one in self._control.connections(self.url).items()}

    def environ(self) -> dict[str, str]:
        """The environment variables that make the connections known to Airflow."""
        return {variable(conn_id): text for conn_id, text in self.connections().items()}

    # --- control ---

    @property
    def lock(self) -> threading.RLock:
        """The lock that every call holds while it changes something."""
        return self._state.lock

    @property
    def calls(self) -> CallLog:
        """The calls received, oldest first."""
        return self._state.calls

    def fault(self, kind: str | Fault, **settings: Any) -> ActiveFault:
        """Put a fault in force.

        :param kind: a kind of :mod:`airflow_provider_crm.sandbox.faults`, or a whole fault.
        :param settings: which calls it is for, when it fires and what it does, see :class:`Fault`.
        :return: the fault, with ``fired`` as the number of times it did.
        :raises ValueError: there is no such kind or setting.
        """
        fault = kind if isinstance(kind, Fault) else make_fault({"kind": kind, **settings})
        return self._state.add_fault(fault)

    def faults(self) -> list[dict[str, Any]]:
        """The faults in force, with how often each was met and fired."""
        return describe(self._state.faults.active)

    def clear(self) -> None:
        """Remove all faults."""
        with self._state.lock:
            self._state.faults.clear()

    def switch(self, system: str, **values: Any) -> None:
        """Set switches of a system.

        :raises ValueError: the system, a name or a value does not exist.
        """
        with self._state.lock:
            self._control.set_switches({system: values})

    def seed(self, count: int, systems: Iterable[str] | None = None) -> None:
        """Add so many made-up people to the named systems, or to all."""
        self._control.seed(count, None if systems is None else list(systems))

    def reset(self) -> None:
        """Back to the beginning: no records, no faults, no calls, the initial switches."""
        self._control.reset()

    def state(self) -> dict[str, Any]:
        """How much of everything there is."""
        return self._control.state()

    def go_by(self, now: Callable[[], float]) -> None:
        """Use another clock for what comes late (``late_commit``, ``late_reads``), until the next reset.

        :param now: gives the time in seconds.
        """
        self._state.delays.now = now

    def records(self, system: str, kind: str) -> list[Any]:
        """All records of a kind, as plain data; what is still on its way has arrived then."""
        with self._state.lock:
            self._state.delays.catch_up(all_of_it=True)
            return list(self._state.systems[system].records(kind))


def _registering_protocol(transports: dict[Any, asyncio.Transport]) -> type[asyncio.Protocol]:
    """Make uvicorn's HTTP protocol note its connections, which is what lets a fault cut one."""

    class RegisteringProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        def connection_made(self, transport: asyncio.Transport) -> None:
            self.access_log = False  # Airflow's logging, when it comes later, switches it on again
            super().connection_made(transport)
            self._peer = tuple(transport.get_extra_info("peername")[:2])
            transports[self._peer] = transport

        def connection_lost(self, error: Exception | None) -> None:
            super().connection_lost(error)
            transports.pop(self._peer, None)

    return RegisteringProtocol
