"""What several CRMs have in common about people: how an e-mail is written so that it can be compared. Knows no CRM."""

from __future__ import annotations

import re
from typing import Any

_ADDRESS = re.compile(r"[^\s,;@]+@[^\s,;@]+")


def normal_email(value: Any) -> str:
    """Trim and lower-case an e-mail.

    :raises ValueError: empty, or something that no server takes for an address.
    """
    email = str("" if value is None else value).strip().lower()
    if not email:
        raise ValueError("the e-mail is empty")
    if not _ADDRESS.fullmatch(email):
        raise ValueError("this is not an e-mail address")
    return email
