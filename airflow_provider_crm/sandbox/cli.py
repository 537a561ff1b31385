"""The command ``crm-sandbox``: serve the stand-ins, or show the package at work. Knows how to print, no CRM."""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import sys
import threading
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    :param argv: the arguments without the command's name; those of the process when left out.
    :return: the exit code.
    """
    parser = argparse.ArgumentParser(
        prog="crm-sandbox", description="Local stand-ins for the CRMs, over real HTTP."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _add_serve_arguments(commands.add_parser("serve", help="serve all stand-ins on one local port"))
    demo_parser = commands.add_parser("demo", help="show the package at work against the stand-ins")
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["demo"]:
        return _demo(parser, demo_parser, arguments)
    return _serve(parser, parser.parse_args(arguments))


def _add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=8765, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="start with N made-up people in each CRM"
    )
    parser.add_argument("--latency-ms", type=float, default=0, metavar="MS", help="delay every call")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="KIND,NAME=VALUE,...",
        help="such as rate_limited,system=spread,every=10,retry_after=2; may be given several times",
    )
    parser.add_argument(
        "--switch",
        action="append",
        default=[],
        metavar="SYSTEM.NAME=VALUE",
        help="undocumented behaviour, such as mindbaz.existing_email=update; may be given several times",
    )
    parser.add_argument("--exit-with-parent", action="store_true", help=argparse.SUPPRESS)


def _serve(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    try:
        from airflow_provider_crm.sandbox.connections import variable
        from airflow_provider_crm.sandbox.faults import parse_fault
        from airflow_provider_crm.sandbox.server import Sandbox
    except ImportError as error:
        print(f"{error}. Install airflow-provider-crm[sandbox].", file=sys.stderr)
        return 2
    try:
        sandbox = Sandbox(
            port=arguments.port,
            host=arguments.host,
            seed=arguments.seed,
            switches=_switches(arguments.switch),
        )
        for text in arguments.fault:
            sandbox.fault(parse_fault(text))
    except ValueError as error:
        parser.error(str(error))
    if arguments.latency_ms:
        sandbox.fault("latency", ms=arguments.latency_ms)
    try:
        url = sandbox.bind()
    except OSError as error:
        print(f"Port {arguments.port}: {error.strerror}. Try --port 0.", file=sys.stderr)
        return 1
    print(f"Sandbox listening on {url}")
    print("\nConnections as JSON:")
    for name, text in sandbox.environ().items():
        print(f"export {name}={shlex.quote(text)}")
    print("\nThe same as URIs:")
    for conn_id, uri in sandbox.uris().items():
        print(f"export {variable(conn_id)}={shlex.quote(uri)}")
    print(f"\nState: {url}/_sandbox/state   Stop: Ctrl-C", flush=True)
    if arguments.exit_with_parent:
        threading.Thread(target=_exit_with_parent, daemon=True).start()
    try:
        sandbox.run()
    except KeyboardInterrupt:
        print()
    return 0


def _demo(parser: argparse.ArgumentParser, demo_parser: argparse.ArgumentParser, argv: list[str]) -> int:
    # The demonstration needs the whole package and its Airflow; serving needs neither.
    demo = importlib.import_module("airflow_provider_crm.sandbox.demo")
    demo.add_arguments(demo_parser)
    return int(demo.run(parser.parse_args(argv)))


def _switches(texts: list[str]) -> dict[str, dict[str, str]]:
    switches: dict[str, dict[str, str]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        system, dot, switch = name.partition(".")
        if not (equals and dot):
            raise ValueError(f"--switch {text}: write SYSTEM.NAME=VALUE")
        switches.setdefault(system, {})[switch] = value
    return switches


def _exit_with_parent() -> None:
    # The parent holds the other end of stdin; it closes when the parent is gone, however it went.
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
