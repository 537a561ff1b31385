"""What every stand-in has in common: its routes, its state, its switches. Knows no particular CRM."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import msgspec

from airflow_provider_crm.sandbox.wire import Answer, Call, RefusalError

Handler = Callable[[Call], Answer]


class Route:
    """One documented call.

    :param base: the part of the path before the resource, such as ``/api/{site}``.
    :param template: the resource, such as ``/customers/{id}``; matched without regard to case.
    """

    def __init__(self, method: str, base: str, template: str, handler: Handler) -> None:
        self.method = method
        self.template = template
        self.handler = handler
        self.skip = len(_parts(base))
        self.parts = _parts(base) + _parts(template)

    def match(self, segments: list[str]) -> dict[str, str] | None:
        """Return the arguments in the path, or None when the path is another one."""
        if len(segments) != len(self.parts):
            return None
        arguments = {}
        for part, segment in zip(self.parts, segments, strict=True):
            if part.startswith("{"):
                arguments[part[1:-1]] = segment
            elif part.lower() != segment.lower():
                return None
        return arguments


class System(ABC):
    """A stand-in for one CRM.

    :cvar name: the first segment of its paths, and its name in the control interface.
    :cvar switches_type: the dataclass of its switches.
    """

    name: ClassVar[str]
    switches_type: ClassVar[type]

    def __init__(self, switches: Any = None) -> None:
        self.switches = switches if switches is not None else self.switches_type()
        self._initial_switches = copy.copy(self.switches)
        self._routes: list[Route] = []

    def add_route(self, method: str, base: str, template: str, handler: Handler) -> None:
        """Declare one documented call."""
        self._routes.append(Route(method, base, template, handler))

    def find_route(self, call: Call) -> None:
        """Write the route, the resource and the handler into a call; the handler stays None when there is none."""
        segments = call.segments[1:]
        call.resource = "/" + "/".join(segments)
        for route in self._routes:
            arguments = route.match(segments)
            if arguments is None:
                continue
            call.route = route.template
            call.resource = "/" + "/".join(segments[route.skip :])
            if route.method == call.method:
                call.handler = route.handler
                call.arguments = arguments
                return

    def handle(self, call: Call) -> Answer:
        """Do what a call asks: the one place where state changes over HTTP."""
        try:
            headers = self.admit(call)
            handler = call.handler
            answer = self.no_route(call, 405 if call.route else 404) if handler is None else handler(call)
        except RefusalError as refusal:
            return refusal.answer
        answer.headers.update(headers)
        return answer

    def set_switches(self, values: Mapping[str, Any]) -> None:
        """Set switches by name; texts are converted to the type of the switch.

        :raises ValueError: a name or a value does not exist.
        """
        known = set(self.switches_type.__annotations__)
        if unknown := sorted(set(values) - known):
            raise ValueError(
                f"{self.name} has no switch {', '.join(unknown)}; it has {', '.join(sorted(known))}"
            )
        try:
            converted: Any = msgspec.convert(dict(values), self.switches_type, strict=False)
        except msgspec.ValidationError as error:
            raise ValueError(f"{self.name}: {error}") from error
        for name in values:
            setattr(self.switches, name, getattr(converted, name))

    def keep_switches(self) -> None:
        """Make the switches as they are now the ones to go back to."""
        self._initial_switches = copy.copy(self.switches)

    def reset_switches(self) -> None:
        """Put every switch back to what it was at the start."""
        for name in self.switches_type.__annotations__:
            setattr(self.switches, name, getattr(self._initial_switches, name))

    def expire_tokens(self, *, refresh_too: bool = False) -> None:  # noqa: B027 (most systems have no tokens)
        """Expire all access tokens at once, where a system has any."""

    @abstractmethod
    def admit(self, call: Call) -> dict[str, str]:
        """Check the credentials of a call.

        :return: headers that belong on its answer.
        :raises RefusalError: they do not open this door.
        """

    @abstractmethod
    def no_route(self, call: Call, status: int) -> Answer:
        """Return the answer for a path (404) or a method (405) that is not documented."""

    @abstractmethod
    def reset(self) -> None:
        """Forget all records."""

    @abstractmethod
    def seed(self, count: int) -> None:
        """Add that many people, always the same ones."""

    @abstractmethod
    def counts(self) -> dict[str, int]:
        """Return how many records there are, by kind."""

    @abstractmethod
    def records(self, kind: str) -> Iterator[Any]:
        """Return all records of a kind named in :meth:`counts`, for comparisons.

        :raises KeyError: there is no such kind.
        """

    @abstractmethod
    def connection(self, url: str) -> tuple[str, dict[str, Any]]:
        """Return the default connection id of the CRM and what an Airflow connection to this stand-in holds.

        :param url: scheme, host and port of the sandbox.
        """


def _parts(template: str) -> list[str]:
    return [part for part in template.split("/") if part]
