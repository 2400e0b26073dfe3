"""T6, parity and cost: the same inputs give the same picks as the peers', and what the mining core costs beside them.

Picks: entropy, margin, least confidence as sets; core-set by its sequence of radii, since ties are broken differently. Cost: seconds of processor
time and the peak of memory of a process of its own, for synthetic embeddings of 512 numbers; of scoring, beside the detector's own forward pass.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measure import Sheet

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_WIDTH = 512
#: Above this the peer is left out: at 10,000 candidates its core-set takes eleven times ours already.
_PEER_MOST = 20_000
GOAL_S, GOAL_GIB, GOAL_SCORING = 60.0, 4.0, 1.2


def sheets(arguments: Sequence[str], *, quick: bool = False) -> list[Sheet]:
    """``parity [--rounds N] [--most N]``: agreement over as many random pools, cost for up to ``most`` candidates."""
    parser = argparse.ArgumentParser(prog="scripts/bench mining.parity", description=__doc__)
    parser.add_argument("--rounds", type=int, default=2 if quick else 20)
    parser.add_argument("--most", type=int, default=1_000 if quick else 100_000)
    asked = parser.parse_args(list(arguments))
    return [agreement(asked.rounds), cost(asked.most), scoring(4 if quick else 20)]


# --------------------------------------------------------------------------------------------------------------- agreement


def agreement(rounds: int) -> Sheet:
    """In how many random pools ours and each peer's picks are the same."""
    pairs = [
        ("entropy", "skactiveml entropy"), ("margin", "skactiveml margin"), ("least_confidence", "skactiveml least confident"),
        ("entropy", "modAL entropy"), ("margin", "baal margin"), ("core_set", "skactiveml core-set"),
    ]  # fmt: skip
    rows = []
    for ours, peer in pairs:
        same = sum(_agree(ours, peer, seed) for seed in range(rounds))
        rows.append([ours, peer, "same radii" if ours == "core_set" else "same set", f"{same}/{rounds}"])
    return Sheet(
        "parity: 500 candidates, 10 classes, 32-d embeddings, 40 labelled, budget 30", ["ours", "peer", "compared by", "agree"], rows
    )


def _agree(ours: str, peer: str, seed: int) -> bool:
    from benchmarks.mining import curves, peers

    dice = np.random.default_rng(seed)
    probabilities = dice.dirichlet(np.full(10, 0.4), 500)
    hidden = dice.normal(size=(500, 32)).astype(np.float32)
    labelled, rest = np.arange(40), np.arange(40, 500)
    labels = probabilities[labelled].argmax(1)
    known = peers.Known(labelled, labels, rest, probabilities, hidden, hidden, lambda: probabilities[:, :, None], seed)
    theirs = np.asarray(peers.EXACT[peer](known, 30))
    mine = curves.buy_classified(ours, probabilities, hidden, labelled, labels, rest, 30, seed)
    if ours == "core_set":
        return bool(np.allclose(radii(hidden, mine, labelled), radii(hidden, theirs, labelled), rtol=1e-4))
    return set(mine.tolist()) == set(theirs.tolist())


def radii(points: npt.NDArray[np.floating[Any]], picks: Ints, labelled: Ints) -> Floats:
    """(b,) the distance of each pick, in order, to what was labelled or picked before it."""
    found = []
    known = points[labelled].astype(float)
    for pick in picks:
        found.append(np.sqrt(((known - points[pick]) ** 2).sum(1).min()))
        known = np.vstack([known, points[pick]])
    return np.array(found)


# -------------------------------------------------------------------------------------------------------------------- cost


def cost(most: int) -> Sheet:
    """Core-set, the default and the peers on pools of growing size, each in a process of its own."""
    rows = []
    for count in [size for size in (1_000, 10_000, 100_000) if size <= most]:
        budget = min(1_000, count // 10)
        for name in ("core_set", "default", "skactiveml core-set"):
            if name.startswith("skactiveml") and count > _PEER_MOST:
                rows.append([name, f"{count:,}", f"{budget:,}", "not tried", "", "", ""])
                continue
            wall_s, cpu_s, peak_gib = _in_a_process(name, count, budget)
            met = "met" if cpu_s <= GOAL_S and peak_gib <= GOAL_GIB else "NOT MET"
            goal = f"{GOAL_S:g} s of processor time, {GOAL_GIB:g} GiB: {met}" if count == 100_000 else ""
            rows.append([name, f"{count:,}", f"{budget:,}", f"{cpu_s:.2f} s", f"{wall_s:.2f} s", f"{peak_gib:.2f} GiB", goal])
    return Sheet(
        f"cost: embeddings of {_WIDTH} numbers, 1,000 of them labelled",
        ["strategy", "candidates", "budget", "processor time", "wall", "peak memory", "goal"],
        rows,
    )


def _in_a_process(name: str, count: int, budget: int) -> tuple[float, float, float]:
    context = multiprocessing.get_context("spawn")
    queue: Any = context.SimpleQueue()
    process = context.Process(target=_measure, args=(queue, name, count, budget))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{name} on {count} candidates ended with {process.exitcode}")
    measured: tuple[float, float, float] = queue.get()
    return measured


def _measure(queue: Any, name: str, count: int, budget: int) -> None:
    from mining import Labelled, Pool, select

    dice = np.random.default_rng(0)
    points = dice.normal(size=(count, _WIDTH)).astype(np.float32)
    labelled = dice.normal(size=(min(1_000, count), _WIDTH)).astype(np.float32)
    probabilities = dice.dirichlet(np.full(10, 0.4), count)
    wall, cpu = time.perf_counter(), time.process_time()
    if name.startswith("skactiveml"):
        from skactiveml.pool import CoreSet

        everything = np.vstack([labelled, points])
        y = np.concatenate([np.zeros(len(labelled)), np.full(count, np.nan)])
        wall, cpu = time.perf_counter(), time.process_time()
        CoreSet(random_state=0).query(everything, y, batch_size=budget)
    else:
        known = Labelled(np.full(10, 100.0), labelled, image_count=len(labelled))
        pool = Pool(
            [f"{row:07d}" for row in range(count)], list("abcdefghij"), probabilities=probabilities, embeddings=points, labelled=known
        )
        select(pool, name, budget=budget)
    queue.put((time.perf_counter() - wall, time.process_time() - cpu, _peak_gib()))


def _peak_gib() -> float:
    """Of this program since it was started; ``ru_maxrss`` would count what the parent had."""
    line = next(line for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**20


def scoring(rounds: int) -> Sheet:
    """Processor time of the detector's pass over pictures, and of the pass with everything the default needs made of it."""
    from benchmarks.mining import curves, detector
    from benchmarks.mining.data import digit_scenes

    pool, _ = digit_scenes(0, pool=200, test=1)
    model = detector.train_base(pool, 0, steps=60)
    hashes = np.zeros(len(pool), np.uint64)
    rest = np.arange(len(pool))
    plain, whole = [], []
    for _ in range(rounds):
        begin = time.process_time()
        detector.detect(model, pool.pictures)
        middle = time.process_time()
        curves.picked(curves.scene_pool(model, pool, rest[:1], rest, hashes, "default"), "default", 20, 0)
        plain.append(middle - begin)
        whole.append(time.process_time() - middle)
    ratio = float(np.median(np.array(whole) / np.array(plain)))
    row = ["default", f"{len(pool) / np.median(plain):.0f}", f"{len(pool) / np.median(whole):.0f}", f"{ratio:.2f}",
           f"{GOAL_SCORING:g}: {'met' if ratio <= GOAL_SCORING else 'NOT MET'}"]  # fmt: skip
    return Sheet(
        "scoring: pictures a second of processor time", ["strategy", "detection alone", "detection and mining", "ratio", "goal"], [row]
    )
