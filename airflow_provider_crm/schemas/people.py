"""What several CRMs have in common about people: how an e-mail is written so that it can be compared. Knows no CRM."""

from __future__ import annotations

import re
from typing import Any

_NO_PART_OF_AN_ADDRESS = re.compile(r"[\s,;]")


def normal_email(value: Any) -> str:
    """Trim and lower-case an e-mail.

    :raises ValueError: empty, or something that no server takes for an address.
    """
    email = str("" if value is None else value).strip().lower()
    if not email:
        raise ValueError("the e-mail is empty")
    local, at, domain = email.partition("@")
    if not (local and at and domain) or "@" in domain or _NO_PART_OF_AN_ADDRESS.search(email):
        raise ValueError("this is not an e-mail address")
    return email
