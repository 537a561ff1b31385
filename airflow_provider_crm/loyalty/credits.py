"""A credit of loyalty points: what somebody is to get, and what makes two alike. Knows neither a row nor SQL."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Credit:
    """What somebody is to get.

    :param key: the user's own reference, unique for each credit.
    :param amount: points, at most four decimals.
    :param customer_id: the CRM's id of the customer, when it is known.
    :param customer_hash: the keyed hash of the customer's e-mail, when it is known.
    """

    key: str
    amount: Decimal
    customer_id: str | None = None
    customer_hash: str | None = None

    @property
    def lane(self) -> str:
        """Customer and amount, as one text: of the credits that share it, one at a time is on its way.

        The CRM's lines of two of them look alike, so that nobody could tell which of the two was applied. The e-mail
        counts before the id, since a row may name a customer by it alone: whoever sends a credit by id finds out the
        e-mail first.
        """
        who = f"hash:{self.customer_hash}" if self.customer_hash else f"id:{self.customer_id}"
        return hashlib.sha256(f"{who}|{plain(self.amount):f}".encode()).hexdigest()


def plain(amount: Decimal) -> Decimal:
    """Return an amount without superfluous zeros and without an exponent."""
    return Decimal(f"{amount.normalize():f}")


def hash_email(email: str, secret: str) -> str:
    """Hash an e-mail so that only somebody with the secret can find it by trying.

    :param email: trimmed and in lower case.
    :param secret: the account's private key.
    """
    return hmac.new(secret.encode(), email.encode(), hashlib.sha256).hexdigest()
