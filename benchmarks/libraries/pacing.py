"""Ask a limiter for 200 calls a second, for three seconds: ``pacing.py WHAT``."""

from __future__ import annotations

import asyncio
import json
import sys
import time

RATE, SECONDS = 200, 3
WHAT = sys.argv[1]


def ours() -> list[float]:
    from airflow_provider_crm.http.throttle import EvenPacer

    pacer = EvenPacer(RATE * 60)

    def take() -> None:
        time.sleep(pacer.reserve())

    return _times(take)


def pyrate() -> list[float]:
    from pyrate_limiter import Duration, Limiter, Rate

    limiter = Limiter(Rate(RATE, Duration.SECOND), max_delay=Duration.HOUR, raise_when_fail=False)
    return _times(lambda: limiter.try_acquire("one"))


def aio() -> list[float]:
    from aiolimiter import AsyncLimiter

    async def go() -> list[float]:
        limiter, found, end = AsyncLimiter(RATE, 1), [], time.monotonic() + SECONDS
        while time.monotonic() < end:
            await limiter.acquire()
            found.append(time.monotonic())
        return found

    return asyncio.run(go())


def _times(take: object) -> list[float]:
    found: list[float] = []
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        take()  # type: ignore[operator]
        found.append(time.monotonic())
    return found


times = {"ours": ours, "pyrate-limiter": pyrate, "aiolimiter": aio}[WHAT]()
most = max(sum(start <= other < start + 0.1 for other in times) for start in times)
print("MEASURED" + json.dumps({"rows": len(times), "seconds": SECONDS, "most": most}))
