"""Random numbers that belong to a picture, not to its place in a list; and the strategy ``random``."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from mining.boxes import Floats
from mining.pool import Pool
from mining.staged import About, Scorer
from mining.strategy import Request


def chances(ids: Sequence[str], seed: int, purpose: str = "") -> Floats:
    """(n,) numbers in [0, 1), uniform, each made of the seed, the purpose and the id alone: adding candidates changes no other's. O(n)."""
    key = f"{seed}/{purpose}".encode()[:64]
    drawn = b"".join(blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8, key=key).digest() for name in ids)
    numbers: Floats = (np.frombuffer(drawn, ">u8") >> np.uint64(11)) / float(1 << 53)
    return numbers


class Random(Scorer):
    """Every picture has the same chance. The control that every other strategy has to beat. O(n)."""

    name = "random"
    source = "control"

    def score(self, pool: Pool, request: Request) -> Floats:
        return chances(pool.ids, request.seed)

    def words(self, _score: float, _about: About) -> tuple[str, ...]:
        return ("picked by chance",)
