"""From the extras of a connection to the bound on its calls a minute: of this process, or of all workers by a Redis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from airflow_provider_crm._compat import Connection
from airflow_provider_crm.exceptions import CrmConnectionError
from airflow_provider_crm.hooks.base.settings import Extras
from airflow_provider_crm.http.shared_pace import shared_pacer
from airflow_provider_crm.http.throttle import EvenPacer, Pacer, Unpaced

_TLS_EXTRAS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")


def pacer_of(
    extras: Extras, *, look_up: Callable[[str], Connection], whose: Sequence[str], now: Callable[[], float]
) -> Pacer:
    """Return the pacer that the extras of a connection ask for.

    :param look_up: gives the connection that the extra ``rate_limit_conn_id`` names.
    :param whose: what a shared limit is on, such as system, URL and key.
    :param now: the time in seconds.
    :raises CrmConnectionError: the Redis connection cannot be used.
    """
    if not extras.requests_per_minute:
        return Unpaced()
    if not extras.rate_limit_conn_id:
        return EvenPacer(extras.requests_per_minute, now)
    return shared_pacer(
        redis_arguments(look_up(extras.rate_limit_conn_id)),
        per_minute=extras.requests_per_minute,
        whose=whose,
        called=f"Redis connection {extras.rate_limit_conn_id!r}",
    )


def redis_arguments(connection: Connection) -> dict[str, Any]:
    """Read what an Airflow connection says about a Redis.

    :param connection: of Airflow's type ``redis``: host, port, login, password, the database's number as schema or
        extra ``db``, and the extras ``ssl``, ``ssl_cert_reqs``, ``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile``,
        ``ssl_check_hostname``.
    :return: what the Redis library takes.
    :raises CrmConnectionError: it is none to a Redis.
    """
    if connection.conn_type not in ("redis", "rediss"):
        raise CrmConnectionError(
            f"Connection {connection.conn_id!r}, which an extra `rate_limit_conn_id` names, is not of type redis"
        )
    extras = connection.extra_dejson
    database = str(extras.get("db") or connection.schema or 0)
    if not database.isdecimal():
        raise CrmConnectionError(f"Connection {connection.conn_id!r}: the database of a Redis is a number")
    arguments: dict[str, Any] = {
        "host": connection.host or "localhost",
        "port": connection.port or 6379,
        "db": int(database),
        "username": connection.login or None,
        "password": connection.password or None,
    }
    if connection.conn_type == "rediss" or str(extras.get("ssl", "")).lower() in ("true", "1"):
        arguments["ssl"] = True
        arguments |= {name: extras[name] for name in _TLS_EXTRAS if extras.get(name) is not None}
    return arguments
