"""Calls a minute of all workers together: places on one line of time that Redis keeps.

Knows a limiter library and an Airflow connection to Redis, no HTTP and no vendor. The library is an extra of the
package, imported only where a connection asks for it.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_crm._compat import Connection
from airflow_provider_crm.exceptions import CrmConnectionError
from airflow_provider_crm.http.retry import AttemptError

if TYPE_CHECKING:
    from redis import Redis

#: Seconds to wait for Redis, which answers in less than a millisecond when it is well.
REDIS_TIMEOUT = 5.0
#: Calls that may wait for their places at once.
LONGEST_QUEUE = 10_000
_TLS_EXTRAS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")


class SharedPacer:
    """Gives out places at even distances, each of them once, whichever worker asks.

    The library's own windows are whole seconds, and let all their calls leave at once. So time is cut into slots of
    one call each, every slot is a limit of one hit, and a call takes the first slot to come that nobody has.

    :param redis: where the slots are kept.
    :param name: what the limit is on; whoever gives the same name and rate shares it.
    :param per_minute: calls a minute.
    :param conn_id: the Redis connection, for messages.
    """

    def __init__(self, redis: Redis, *, name: str, per_minute: float, conn_id: str) -> None:
        from limits import RateLimitItemPerSecond
        from limits.storage import RedisStorage
        from limits.strategies import FixedWindowRateLimiter

        self._redis = redis
        self._limiter = FixedWindowRateLimiter(
            RedisStorage("redis://", connection_pool=redis.connection_pool, key_prefix="crm-pace")
        )
        self._interval = 60.0 / per_minute
        # Redis forgets a slot once nobody can ask for it any more.
        self._one_hit = RateLimitItemPerSecond(1, math.ceil(LONGEST_QUEUE * self._interval), name)
        self._conn_id = conn_id
        self._lock = threading.Lock()
        self._next = 0
        self._offset: float | None = None

    def reserve(self) -> float:
        """Take the next free place and tell how many seconds from now it is.

        :raises AttemptError: Redis does not answer: no call leaves without its place.
        :raises CrmConnectionError: Redis refuses the login.
        """
        from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

        # Messages of Redis may quote what was sent: only their kinds are shown.
        try:
            while True:
                slot = self._untried()
                if self._limiter.hit(self._one_hit, str(slot)):
                    return max(slot * self._interval - self._now(), 0.0)
        except (AuthenticationError, NoPermissionError) as error:
            refused, kind = True, type(error).__name__
        except (RedisError, OSError) as error:
            refused, kind = False, type(error).__name__
        redis = f"Redis connection {self._conn_id!r}, which holds the limit on calls,"
        if refused:
            raise CrmConnectionError(f"{redis} refuses its login, or what it needs to do ({kind})")
        raise AttemptError(f"{redis} does not answer ({kind}): the call was not made", maybe_applied=False)

    def _untried(self) -> int:
        """Give the first slot to come for which this process has not asked yet."""
        now = self._now()
        with self._lock:
            slot = max(self._next, math.ceil(now / self._interval))
            self._next = slot + 1
        return slot

    def _now(self) -> float:
        """Tell the time by Redis' clock: those of workers differ, and may be set anew meanwhile."""
        if self._offset is None:
            seconds, microseconds = cast(tuple[int, int], self._redis.time())
            self._offset = seconds + microseconds / 1e6 - time.monotonic()
        return time.monotonic() + self._offset


def shared_pacer(connection: Connection, *, per_minute: float, whose: Sequence[str]) -> SharedPacer:
    """Make the pacer that a Redis connection stands for; it connects at the first call.

    :param connection: of Airflow's type ``redis``: host, port, login, password, the database's number as schema or
        extra ``db``, and the extras ``ssl``, ``ssl_cert_reqs``, ``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile``,
        ``ssl_check_hostname``.
    :param per_minute: calls a minute.
    :param whose: what the limit is on, such as system, URL and key; Redis gets to see their hash only.
    :raises CrmConnectionError: the library is not installed, or the connection is none to a Redis.
    """
    try:
        import limits  # noqa: F401
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError:
        raise CrmConnectionError(
            "A limit shared by all workers needs a library: install it with "
            "pip install 'airflow-provider-crm[redis]', or remove the extra `rate_limit_conn_id`"
        ) from None
    redis = Redis(
        **_redis_arguments(connection),
        socket_timeout=REDIS_TIMEOUT,
        socket_connect_timeout=REDIS_TIMEOUT,
        # For connections that were cut while idle; more is up to the tries of the call itself.
        retry=Retry(NoBackoff(), 1),
    )
    name = hashlib.sha256("\n".join([*whose, repr(float(per_minute))]).encode()).hexdigest()[:32]
    return SharedPacer(redis, name=name, per_minute=per_minute, conn_id=connection.conn_id or "")


def _redis_arguments(connection: Connection) -> dict[str, Any]:
    """Read what an Airflow connection says about a Redis."""
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
