"""A sandbox in another process, controlled over HTTP with the methods of ``Sandbox``. Knows no CRM and no server."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from airflow_provider_crm.sandbox.calls import CallLog, CallRecord
from airflow_provider_crm.sandbox.connections import as_json, as_uri, variable
from airflow_provider_crm.sandbox.faults import Fault, make_fault
from airflow_provider_crm.sandbox.wire import to_json


class RemoteSandbox:
    """A running sandbox, known by its URL.

    :param url: scheme, host and port.
    :param process: the process to end with it, when it is ours.
    """

    def __init__(self, url: str, process: subprocess.Popen[str] | None = None) -> None:
        self.url = url.rstrip("/")
        self._process = process

    @classmethod
    def spawn(
        cls, *, port: int = 0, seed: int = 0, switches: Mapping[str, Mapping[str, Any]] | None = None
    ) -> RemoteSandbox:
        """Start a sandbox in a process of its own and wait until it answers."""
        command = [sys.executable, "-m", "airflow_provider_crm.sandbox.cli", "serve", "--exit-with-parent"]
        command += ["--port", str(port), "--seed", str(seed)]
        for system, values in (switches or {}).items():
            for name, value in values.items():
                command += ["--switch", f"{system}.{name}={to_json(value).decode().strip(chr(34))}"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        first_line = process.stdout.readline()
        if "http://" not in first_line:
            raise RuntimeError(f"The sandbox did not start (exit code {process.wait()})")
        sandbox = cls(first_line[first_line.index("http://") :].strip(), process)
        sandbox.state()
        return sandbox

    def stop(self) -> None:
        """End the process, when it is ours."""
        if self._process is not None:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._process.terminate()
            self._process.wait()
            self._process.stdout.close()
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def connections(self) -> dict[str, str]:
        """Airflow connections by connection id, as JSON texts."""
        return {conn_id: as_json(one) for conn_id, one in self._ask("GET", "connections").items()}

    def uris(self) -> dict[str, str]:
        """Airflow connections by connection id, as URIs."""
        return {conn_id: as_uri(one) for conn_id, one in self._ask("GET", "connections").items()}

    def environ(self) -> dict[str, str]:
        """Return the environment variables that make the connections known to Airflow."""
        return {variable(conn_id): text for conn_id, text in self.connections().items()}

    @property
    def calls(self) -> CallLog:
        """A copy of the calls received so far, oldest first."""
        answer = self._ask("GET", "calls")
        log = CallLog()
        log.records.extend(msgspec.convert(answer["calls"], list[CallRecord]))
        log.counters = Counter(
            {(one["system"], one["method"], one["route"]): one["count"] for one in answer["counters"]}
        )
        return log

    def fault(self, kind: str | Fault, **settings: Any) -> dict[str, Any]:
        """Put a fault in force.

        :raises ValueError: there is no such kind or setting.
        """
        fault = kind if isinstance(kind, Fault) else make_fault({"kind": kind, **settings})
        answer: dict[str, Any] = self._ask("POST", "faults", msgspec.to_builtins(fault))
        return answer

    def faults(self) -> list[dict[str, Any]]:
        """Return the faults in force, with how often each was met and fired."""
        answer: list[dict[str, Any]] = self._ask("GET", "faults")
        return answer

    def clear(self) -> None:
        """Remove all faults."""
        self._ask("DELETE", "faults")

    def switch(self, system: str, **values: Any) -> None:
        """Set switches of a system."""
        self._ask("POST", "switches", {system: values})

    def seed(self, count: int, systems: Iterable[str] | None = None) -> None:
        """Add so many made-up people to the named systems, or to all."""
        self._ask("POST", "seed", {"count": count} | ({} if systems is None else {"systems": list(systems)}))

    def reset(self) -> None:
        """Back to the beginning: no records, no faults, no calls, the initial switches."""
        self._ask("POST", "reset")

    def state(self) -> dict[str, Any]:
        """Return how much of everything there is."""
        answer: dict[str, Any] = self._ask("GET", "state")
        return answer

    def records(self, system: str, kind: str) -> list[Any]:
        """Return all records of a kind, as plain data."""
        text = self._read("GET", f"{system}/records?kind={kind}")
        return msgspec.json.Decoder().decode_lines(text)

    def _ask(self, method: str, name: str, body: Any = None) -> Any:
        return msgspec.json.decode(self._read(method, name, body))

    def _read(self, method: str, name: str, body: Any = None) -> bytes:
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
        try:
            connection.request(method, f"/_sandbox/{name}", None if body is None else to_json(body))
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(content.decode())
        return content
