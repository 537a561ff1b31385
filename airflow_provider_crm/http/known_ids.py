"""The ids of a list's rows that were met before, in bounded memory. Knows no vendor."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain, islice
from operator import sub

import msgspec

_DIGITS = b"0123456789"
_decode_numbers = msgspec.json.Decoder(list[int]).decode


class KnownIds:
    """The ids that were met, in bounded memory.

    Ids of a CRM are mostly numbers given out one after the other, and lists are mostly in their order. As long as each
    page goes on from the highest id so far, the gaps between ids are noted, two bytes each: a third of what it takes to
    look each of them up (measured). Otherwise, and once there are too many gaps, numbers are a bit each: two million
    neighbours take 1 MB, and more than 67 MB in a set. The oldest stretches of numbers and the oldest of other ids are
    forgotten once there are too many: of ids far apart 100,000 are known, as far as a list that changed looks back.
    """

    _GAPS = 4_000_000
    #: Of 512 numbers each: where every id has one of its own, as many are known as of those that are no numbers.
    _STRETCHES = 100_000
    _OTHERS = 100_000

    def __init__(self) -> None:
        self._highest = -1
        self._gaps = array("H")
        self._gaps_from = -1
        self._bits: OrderedDict[int, bytearray] = OrderedDict()
        self._others: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, key: str) -> bool:
        numbers = _numbers([key])
        if numbers is None:
            return key in self._others
        [number] = numbers
        if number >= self._highest:
            return number == self._highest
        self._mark_gaps()
        stretch = self._bits.get(number >> 9)
        return stretch is not None and bool(stretch[(number >> 3) & 63] & (1 << (number & 7)))

    def add(self, keys: Sequence[str]) -> list[int]:
        """Note ids.

        :return: the positions of those that were known already.
        """
        numbers = _numbers(keys)
        if numbers is None:
            return [position for position, key in enumerate(keys) if self._add_one(key)]
        known = self._go_on_with(numbers)
        if known is None:
            self._mark_gaps()
            known = self._mark(numbers)
        self._highest = max(self._highest, max(numbers))
        return known

    def _go_on_with(self, numbers: list[int]) -> list[int] | None:
        """Note numbers by their gaps.

        :return: as of :meth:`add`; None where they do not go on, in their order, from the highest one.
        """
        if numbers[0] < self._highest or numbers[-1] < numbers[0]:
            return None
        if len(self._gaps) + len(numbers) > self._GAPS:
            self._mark_gaps()
        before = self._highest
        if not self._gaps:
            before = self._gaps_from = max(before, numbers[0] - 1)
        gaps = list(map(sub, numbers, chain((before,), numbers)))
        try:
            self._gaps += array("H", gaps)
        except OverflowError:  # of a step back, or one too long for two bytes
            return None
        known: list[int] = []
        for _ in range(gaps.count(0)):
            known.append(gaps.index(0, known[-1] + 1 if known else 0))
        return known

    def _mark_gaps(self) -> None:
        """Mark the ids that were noted by their gaps by a bit each."""
        self._mark(islice(accumulate(self._gaps, initial=self._gaps_from), 1, None))
        self._gaps = array("H")

    def _mark(self, numbers: Iterable[int]) -> list[int]:
        """Mark numbers by a bit each.

        :return: the positions of those that were marked already.
        """
        known = []
        bits = self._bits
        last = -1
        for position, number in enumerate(numbers):
            if number >> 9 != last:  # neighbours mostly share their stretch
                last = number >> 9
                stretch = bits.get(last) or self._new_stretch(last)
            byte = (number >> 3) & 63
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
        stretch = self._bits[number] = bytearray(64)
        return stretch


def _numbers(keys: Sequence[str]) -> list[int] | None:
    """Read ids as numbers, where each is one and has no other form: ``7`` and ``07`` are two ids."""
    try:
        text = ",".join(keys).encode()
        if text.translate(None, _DIGITS) != b"," * (len(keys) - 1):
            return None
        # As JSON, in which 07 is no number: a third of what `int` takes.
        numbers = _decode_numbers(b"[%b]" % text)
    except ValueError:  # of an id that cannot be encoded, is empty, or has thousands of digits
        return None
    return numbers if 0 < len(numbers) == len(keys) else None
