"""COCO's run lengths of a mask: runs of 0 and 1 in turn, starting with 0, column by column; compressed to a text of 6-bit characters.

The text is what ``pycocotools`` writes and reads: each run (from the third on: its difference from the run two before) in groups of five
bits, lowest first, bit 5 set when more follow, plus 48.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def compress(counts: Sequence[int]) -> str:
    """The text for run lengths."""
    return "".join(_encoded(count - counts[i - 2] if i > 2 else count) for i, count in enumerate(counts))


def decompress(text: str) -> list[int]:
    """The run lengths of a text. Raises ``ValueError`` when it is not one, or holds a negative run."""
    counts: list[int] = []
    for value in _decoded(text):
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        if counts[-1] < 0:
            raise ValueError("a negative run")
    return counts


def area(counts: Sequence[int]) -> int:
    """The number of pixels inside the mask."""
    return sum(counts[1::2])


def _encoded(value: int) -> str:
    characters = []
    while True:
        bits, value = value & 0x1F, value >> 5
        done = value == (-1 if bits & 0x10 else 0)
        characters.append(chr(48 + (bits if done else bits | 0x20)))
        if done:
            return "".join(characters)


def _decoded(text: str) -> Iterable[int]:
    value, shift = 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError("not the characters of a compressed mask")
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            yield value - (1 << shift) if bits & 0x10 else value
            value, shift = 0, 0
    if shift:
        raise ValueError("the last run is cut off")
