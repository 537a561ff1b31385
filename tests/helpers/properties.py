"""How many examples a property is tried with."""

from __future__ import annotations

from hypothesis import settings


def at_least(examples: int) -> settings:
    """Try a property with so many examples, or with as many as the profile says where that is more."""
    return settings(max_examples=max(examples, settings().max_examples))
