"""Tries of a task in processes of their own, to be killed at a moment of one's choice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.helpers.waits import patience

#: Forks after the imports, which take longer than a try. What the code may use: ``folder``, ``store``, ``run``.
_WORKER = """
import json, os, pathlib, sys, traceback

folder = pathlib.Path(sys.argv[1])


class Store:
    def __init__(self, run):
        self.path = folder / f"state-{run}.json"

    def get(self, key, default=None):
        return json.loads(self.path.read_text()).get(key, default) if self.path.exists() else default

    def set(self, key, value, **_):
        self._write({**(json.loads(self.path.read_text()) if self.path.exists() else {}), key: value})

    def delete(self, key):
        self._write({})

    def _write(self, state):
        self.path.with_suffix(".new").write_text(json.dumps(state))
        self.path.with_suffix(".new").rename(self.path)

CODE

for line in sys.stdin:
    run = line.strip()
    child = os.fork()
    if not child:
        try:
            attempt(run, Store(run))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print("started", child, flush=True)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Tries:
    """Runs tries, one at a time.

    :param code: defines ``attempt(run, store)``: a try of a run, with the state that its tries share.
    :param folder: the code knows it as ``folder``.
    """

    def __init__(self, code: str, folder: Path, environ: Mapping[str, str]) -> None:
        self._worker = subprocess.Popen(
            [sys.executable, "-c", _WORKER.replace("CODE", code), str(folder)],
            env={**os.environ, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._worker.kill()
        self._worker.communicate(timeout=patience(60))

    def to_the_end(self, run: str) -> None:
        """Let a try end by itself, and well."""
        self._start(run)
        assert self._said("ended") == 0, "the try failed"

    def kill(self, run: str, when: Callable[[], bool]) -> bool:
        """Kill a try as soon as something is so.

        :return: whether it was still running.
        """
        child = self._start(run)
        deadline = time.monotonic() + patience(60)
        while not when() and _runs(child):
            assert time.monotonic() < deadline
            time.sleep(0.0005)  # a busy loop would hold up the sandbox, which is in this process
        with suppress(ProcessLookupError):  # it has ended
            os.kill(child, signal.SIGKILL)
        return self._said("ended") == -signal.SIGKILL

    def _start(self, run: str) -> int:
        assert self._worker.stdin is not None
        self._worker.stdin.write(f"{run}\n")
        self._worker.stdin.flush()
        return self._said("started")

    def _said(self, word: str) -> int:
        assert self._worker.stdout is not None
        return next(int(line.split()[1]) for line in self._worker.stdout if line.startswith(f"{word} "))


def _runs(process: int) -> bool:
    """Whether a process has not ended; its parent may not have waited for it yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
