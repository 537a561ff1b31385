"""Credit loyalty points in processes that are killed, or in two at once, and tell what SPREAD holds in the end.

``python loyalty_processes.py REQUEST ANSWER``, both JSON files. Each run is a fork of this process, so that Airflow is
imported once only; nothing here has a thread when it forks.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import sys
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from airflow_provider_crm.exceptions import CrmTransientError
from airflow_provider_crm.loyalty import claims
from airflow_provider_crm.operators.spread import loyalty as operators
from airflow_provider_crm.sandbox.remote import RemoteSandbox

LEASE = 1.5


def main(request_path: str, answer_path: str) -> None:
    """Run, kill, run to the end, compare."""
    request = json.loads(Path(request_path).read_text())
    os.environ.update(request["environ"])
    operators.engine_for = lambda conn_id: sa.create_engine(request["ledger"])  # type: ignore[attr-defined]
    operators.CONNECT_TIMEOUT = 0.0  # type: ignore[attr-defined]
    claims.LEASE = LEASE
    sandbox = RemoteSandbox(request["sandbox"])
    chance = random.Random(request["seed"])
    folder = Path(answer_path).parent
    before = lines_of(sandbox)
    deaths = 0
    for share in request["kills"]:
        pid = begin(request["source"], folder)
        until = before.total() + share * request["rows"]
        while not ended(pid) and lines_of(sandbox).total() < until:
            time.sleep(0.002)
        time.sleep(chance.uniform(0.0, 0.02))
        os.kill(pid, signal.SIGKILL)
        deaths += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    results = run_to_the_end(request["source"], folder, at_once=request["at_once"])
    audit = operators.SpreadAuditLoyaltyOperator(task_id="audit").execute({})
    answer = {
        "deaths": deaths,
        "results": results,
        "audit": audit,
        "lines": [[*key, number] for key, number in (lines_of(sandbox) - before).items()],
    }
    Path(answer_path).write_text(json.dumps(answer))


def begin(source: str, folder: Path) -> int:
    """Start a run in a process of its own."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        operator = operators.SpreadCreditLoyaltyOperator(task_id="t", source=source, settle_seconds=0.3)
        (folder / f"{os.getpid()}.json").write_text(json.dumps(operator.execute({})))
        code = 0
    except CrmTransientError as error:
        logging.getLogger(__name__).warning("%s", error)
        code = 75  # another try may pass
    finally:
        os._exit(code)


def run_to_the_end(source: str, folder: Path, *, at_once: int) -> list[dict[str, Any]]:
    """Run in some processes at once, each as often as it fails with an error that a retry may mend."""
    results: list[dict[str, Any]] = []
    running = [begin(source, folder) for _ in range(at_once)]
    while running:
        pid, status = os.wait()
        running.remove(pid)
        code = os.waitstatus_to_exitcode(status)
        if code == 75:
            running.append(begin(source, folder))
        elif code:
            raise SystemExit(f"A run ended with {code}")
        else:
            results.append(json.loads((folder / f"{pid}.json").read_text()))
    return results


def ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def lines_of(sandbox: RemoteSandbox) -> Counter[tuple[str, str]]:
    """Give customers and amounts of the lines that can come from credits."""
    return Counter(
        (line["customerId"], f"{Decimal(line['amount']):f}")
        for line in sandbox.records("spread", "lines")
        if not line["campaignId"] and not line["code"]
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
