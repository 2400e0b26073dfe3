"""What ``select`` costs: ``python -m mining.cost [candidates] [numbers per embedding] [budget] [strategy ...]`` prints seconds and memory."""

from __future__ import annotations

import resource
import sys
import time

import numpy as np

from mining import Labelled, Pool, select

_STRATEGIES = ("random", "entropy", "default", "core_set", "typiclust", "badge")


def main(arguments: list[str]) -> None:
    """A pool of even noise, the worst case for pruning; a line per strategy."""
    count, dimensions, budget = (int(value) for value in (*arguments[:3], *("100000", "512", "1000")[len(arguments[:3]) :]))
    pool = _pool(count, dimensions)
    print(f"{count:,} candidates, {dimensions} numbers each, budget {budget:,}")
    for name in arguments[3:] or _STRATEGIES:
        wall, cpu = time.perf_counter(), time.process_time()
        select(pool, name, budget=budget)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{name:16} {time.perf_counter() - wall:7.1f} s {time.process_time() - cpu:7.1f} CPU-s, {memory:,.0f} MiB at most so far",
            flush=True,
        )


def _pool(count: int, dimensions: int) -> Pool:
    generator = np.random.default_rng(0)
    return Pool(
        [f"{row:07d}.jpg" for row in range(count)],
        tuple("abcdefghij"),
        probabilities=generator.dirichlet(np.ones(10), count),
        embeddings=generator.standard_normal((count, dimensions), dtype=np.float32),
        labelled=Labelled(np.full(10, 100.0), generator.standard_normal((1000, dimensions), dtype=np.float32)),
    )


if __name__ == "__main__":
    main(sys.argv[1:])
