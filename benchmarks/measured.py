"""Seconds and memory of one job, printed as JSON for the driver. Imports nothing but the standard library."""

from __future__ import annotations

import json
import os
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path


def resident() -> int:
    """Bytes of memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class _Watch(threading.Thread):
    """Remembers the most memory that was held while it ran: what imports needed before does not count."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.01):
            self.most = max(self.most, resident())


def measure(job: Callable[[], int | None]) -> None:
    """Run a job that returns the rows it wrote, after its imports, and print what it took."""
    os.sync()  # else the first of its own fsync waits for what others have written before: sources, files, snapshots
    before, cpu = resident(), time.process_time()
    watch = _Watch()
    watch.start()
    started = time.perf_counter()
    rows = job()
    seconds = time.perf_counter() - started
    watch.over.set()
    print(
        "MEASURED"
        + json.dumps(
            {
                "rows": rows,
                "seconds": seconds,
                "cpu": time.process_time() - cpu,
                "memory": max(watch.most, resident()) - before,
                "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        ),
        flush=True,
    )
