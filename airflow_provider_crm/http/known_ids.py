"""The ids of a list's rows that were met before, in bounded memory. Knows no vendor."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence

_NUMBERS = re.compile(r"[1-9]\d*(?:\n[1-9]\d*)*", re.ASCII)


class KnownIds:
    """The ids that were met, in bounded memory.

    Ids of a CRM are mostly numbers given out one after the other, for which a bit each suffices: two million of them
    take 0.3 MB and as long to look up as in a set, which takes more than 67 MB (measured). The stretches of numbers
    that were not met for the longest time, and the oldest of other ids, are forgotten once there are too many.
    """

    _STRETCHES = 8192  # of 32768 numbers, 4 KiB each
    _OTHERS = 100_000

    def __init__(self) -> None:
        self._bits: OrderedDict[int, bytearray] = OrderedDict()
        self._others: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, key: str) -> bool:
        numbers = _numbers([key])
        if numbers is None:
            return key in self._others
        [number] = numbers
        stretch = self._bits.get(number >> 15)
        return stretch is not None and bool(stretch[(number >> 3) & 4095] & (1 << (number & 7)))

    def add(self, keys: Sequence[str]) -> list[int]:
        """Note ids.

        :return: the positions of those that were known already.
        """
        numbers = _numbers(keys)
        if numbers is None:
            return [position for position, key in enumerate(keys) if self._add_one(key)]
        known = []
        bits = self._bits
        last = -1
        for position, number in enumerate(numbers):
            if number >> 15 != last:  # neighbours mostly share their stretch
                last = number >> 15
                stretch = bits.get(last) or self._new_stretch(last)
            byte = (number >> 3) & 4095
            held = stretch[byte]
            marked = held | 1 << (number & 7)
            if marked == held:
                known.append(position)
            else:
                stretch[byte] = marked
        return known

    def _add_one(self, key: str) -> bool:
        if _numbers([key]) is not None:
            return bool(self.add([key]))
        known = key in self._others
        self._others[key] = None
        self._others.move_to_end(key)
        if len(self._others) > self._OTHERS:
            self._others.popitem(last=False)
        return known

    def _new_stretch(self, number: int) -> bytearray:
        if len(self._bits) >= self._STRETCHES:
            self._bits.popitem(last=False)
        stretch = self._bits[number] = bytearray(4096)
        return stretch


def _numbers(keys: Sequence[str]) -> list[int] | None:
    """Read ids as numbers, where each is one and has no other form: ``7`` and ``07`` are two ids."""
    try:
        return list(map(int, keys)) if _NUMBERS.fullmatch("\n".join(keys)) else None
    except ValueError:  # of an id with a line break, or of thousands of digits
        return None
