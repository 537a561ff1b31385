"""What SPREAD was asked to change."""

from __future__ import annotations


def writes(crm_sandbox):
    return [f"{call.method} {call.route}" for call in crm_sandbox.calls if call.method != "GET"]
