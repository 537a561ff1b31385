"""Calls a minute of all workers together: places on one line of time that Redis keeps.

Knows a limiter library and Redis, no HTTP and no vendor. The library is an extra of the package, imported only where
such a limit is asked for.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_crm.exceptions import CrmConnectionError
from airflow_provider_crm.http.retry import unreachable

if TYPE_CHECKING:
    from redis import Redis

#: Seconds to wait for Redis, which answers in less than a millisecond when it is well.
REDIS_TIMEOUT = 5.0
#: Calls that may wait for their places at once.
LONGEST_QUEUE = 10_000


class SharedPacer:
    """Gives out places at even distances, each of them once, whichever worker asks.

    The library's own windows are whole seconds, and let all their calls leave at once. So time is cut into slots of
    one call each, every slot is a limit of one hit, and a call takes the first slot to come that nobody has.

    :param redis: where the slots are kept.
    :param name: what the limit is on; whoever gives the same name and rate shares it.
    :param per_minute: calls a minute.
    :param called: how messages name the Redis, such as ``Redis connection 'limits'``.
    :param now: the time in seconds.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        name: str,
        per_minute: float,
        called: str,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        from limits import RateLimitItemPerSecond
        from limits.storage import RedisStorage
        from limits.strategies import FixedWindowRateLimiter

        self._redis = redis
        # Before 5.1 the library lets nobody choose the prefix of its keys: their namespace tells them from others'.
        self._limiter = FixedWindowRateLimiter(
            RedisStorage("redis://", connection_pool=redis.connection_pool)
        )
        self._interval = 60.0 / per_minute
        # Redis forgets a slot once nobody can ask for it any more.
        seconds = math.ceil(LONGEST_QUEUE * self._interval)
        self._one_hit = RateLimitItemPerSecond(1, seconds, f"crm-pace:{name}")
        self._called = called
        self._monotonic = now
        self._lock = threading.Lock()
        self._next = 0
        self._offset: float | None = None

    def reserve(self) -> float:
        """Reserve the next free place.

        :return: how many seconds from now it is.
        :raises CrmTransientError: Redis does not answer: no call leaves without its place.
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
        redis = f"{self._called}, which holds the limit on calls,"
        if refused:
            raise CrmConnectionError(f"{redis} refuses its login, or what it needs to do ({kind})")
        raise unreachable(f"{redis} does not answer ({kind}): the call was not made")

    def _untried(self) -> int:
        """Return the first slot to come for which this process has not asked yet."""
        now = self._now()
        with self._lock:
            slot = max(self._next, math.ceil(now / self._interval))
            self._next = slot + 1
        return slot

    def _now(self) -> float:
        """Return the time by Redis' clock: those of workers differ, and may be set anew meanwhile."""
        if self._offset is None:
            seconds, microseconds = cast(tuple[int, int], self._redis.time())
            self._offset = seconds + microseconds / 1e6 - self._monotonic()
        return self._monotonic() + self._offset


def shared_pacer(
    redis: Mapping[str, Any], *, per_minute: float, whose: Sequence[str], called: str
) -> SharedPacer:
    """Return a pacer that shares its limit through a Redis; it connects at the first call.

    :param redis: what the Redis library takes: ``host``, ``port``, ``db``, ``username``, ``password``, ``ssl`` ...
    :param per_minute: calls a minute.
    :param whose: what the limit is on, such as system, URL and key; Redis gets to see their hash only.
    :param called: how messages name the Redis.
    :raises CrmConnectionError: the library is not installed.
    """
    try:
        import limits  # noqa: F401
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError:
        raise CrmConnectionError(
            "A limit shared by all workers needs a library: install it with "
            "pip install 'airflow-provider-crm[redis]', or let each worker keep a limit of its own"
        ) from None
    client = Redis(
        **redis,
        socket_timeout=REDIS_TIMEOUT,
        socket_connect_timeout=REDIS_TIMEOUT,
        # For connections that were cut while idle; more is up to the tries of the call itself.
        retry=Retry(NoBackoff(), 1),
    )
    name = hashlib.sha256("\n".join([*whose, repr(float(per_minute))]).encode()).hexdigest()[:32]
    return SharedPacer(client, name=name, per_minute=per_minute, called=called)
