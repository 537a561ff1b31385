"""Make many small calls: ``calling.py WHAT URL CALLS``."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from measured import measure

WHAT, BASE, CALLS = sys.argv[1], sys.argv[2], int(sys.argv[3])
WAITS = "20 ms" in WHAT
URL = f"{BASE}/{20 if WAITS else 0}/customers"
if WHAT.startswith("requests"):
    import requests
elif WHAT == "urllib3":
    import urllib3
else:
    import httpx


def job() -> int:
    if WHAT == "requests, a session a call":
        for _ in range(CALLS):
            requests.get(URL).json()
    elif WHAT == "urllib3":
        pool = urllib3.PoolManager()
        for _ in range(CALLS):
            pool.request("GET", URL).json()
    elif WHAT.startswith("httpx"):
        client = httpx.Client()
        for _ in range(CALLS):
            client.get(URL).json()
    else:
        threads = 16 if "16 threads" in WHAT else 1
        calls = CALLS // (1 if threads > 1 or not WAITS else 10)
        local = threading.local()

        def call(_: int) -> None:
            if not hasattr(local, "session"):
                local.session = requests.Session()
            local.session.get(URL).json()

        with ThreadPoolExecutor(threads) as pool_of_threads:
            list(pool_of_threads.map(call, range(calls)))
        return calls
    return CALLS


measure(job)
