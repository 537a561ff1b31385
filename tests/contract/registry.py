"""All destinations that the contract suite is run over.

A new one is a :class:`~.entry.Destination` in the file of its CRM beside this one, and a line here.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import expertsender, mindbaz, spread
from .entry import Destination

DESTINATIONS: Sequence[Destination] = (
    mindbaz.UPSERT,
    mindbaz.UNSUBSCRIBE,
    spread.UPSERT,
    spread.CONSENTS,
    spread.EMAILS,
    spread.DELETE,
    spread.CREDIT,
    expertsender.UPSERT,
    expertsender.DELETE,
)
