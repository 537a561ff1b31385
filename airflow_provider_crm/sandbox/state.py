"""What a sandbox holds while it runs: stand-ins, faults, calls, and the lock around them. Knows no CRM."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable

from airflow_provider_crm.sandbox.calls import CallLog
from airflow_provider_crm.sandbox.delays import Delays
from airflow_provider_crm.sandbox.faults import ActiveFault, Fault, FaultBox
from airflow_provider_crm.sandbox.system import System


class State:
    """The state that the door, the control interface and Python share.

    :param systems: the stand-ins, each answering below ``/{name}/``.
    :ivar lock: held wherever any of it changes.
    :ivar epoch: the number of resets.
    """

    def __init__(self, systems: Iterable[System]) -> None:
        self.systems = {system.name: system for system in systems}
        self.faults = FaultBox()
        self.calls = CallLog()
        self.delays = Delays()
        self.lock = threading.RLock()
        self.epoch = 0

    def add_fault(self, fault: Fault) -> ActiveFault:
        """Put a fault in force."""
        with self.lock:
            return self.faults.add(fault, copy.deepcopy(self.systems) if fault.kind == "stale" else None)
