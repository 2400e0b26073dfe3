"""Measuring pictures beside only decoding them, and finding the near-duplicates among a million hashes beside only sorting them.

The pictures are the BCCD set of ``../shared`` (or ``SLUICE_SHARED``) with twelve boxes each, or made ones where it is not there, and made
pictures of 1920 x 1080. The hashes are random ones with planted twins; and the frames of a hundred still cameras, each unlike the next in a few bits.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from analysis.features import KEYS, measure_files
from analysis.near_duplicates import groups, hash_pictures
from analysis.pictures import in_threads, open_picture
from benchmarks.measure import Cost, Row, compare, cost_of_call, rows_of

#: Of all 14 features with boxes, the hash and the thumbnail to decoding alone.
GOAL = 4.0
_ROOT = Path(__file__).resolve().parent.parent
_BOXES = [(45.0 * at, 35.0 * at, 100.0, 80.0) for at in range(12)]


def run(*, quick: bool = False) -> list[Row]:
    """``quick`` measures just enough to see that it works."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as scratch:
        small = _bccd() or _made(Path(scratch, "small"), 4 if quick else 200, 640, 480)
        large = _made(Path(scratch, "large"), 2 if quick else 30, 1920, 1080)
        rows = [*_pictures("640 x 480", small[: 4 if quick else None], quick), *_pictures("1920 x 1080", large, quick)]
    count = 20_000 if quick else 1_000_000
    for distance in (6, 9):
        rows += _groups(f"random, {distance} bits", random_hashes(count), distance)
    rows += _groups("still cameras, 9 bits", camera_hashes(count), 9)
    return [*rows, _memory(count)]


def _pictures(size: str, files: Sequence[Path], quick: bool) -> list[Row]:
    cases: list[tuple[str, Callable[[], object], float | None]] = [
        (f"14 features, {size}, 12 boxes", lambda: list(measure_files([(file, _BOXES) for file in files])), GOAL),
        (f"8 features, {size}, no boxes", lambda: list(measure_files([(file, ()) for file in files], KEYS[:8])), None),
        (f"hash alone, {size}", lambda: hash_pictures(files), None),
    ]
    rows = []
    for case, work, goal in cases:
        ours, floor = compare(lambda work=work: cost_of_call(work), lambda: cost_of_call(lambda: _decode(files)), 1 if quick else 3)  # type: ignore[misc]
        rows += [*rows_of(case, ours, floor, goal=goal), _rate(case, ours, floor, len(files))]
    return rows


def _decode(files: Sequence[Path]) -> None:
    """On as many threads."""
    for _ in in_threads(open_picture, files):
        pass


def _rate(case: str, ours: list[Cost], floor: list[Cost], count: int) -> Row:
    rates = [round(statistics.median(count / cost.wall_s for cost in costs), 1) for costs in (ours, floor)]
    ratio = statistics.median(a.wall_s / b.wall_s for a, b in zip(ours, floor, strict=True))
    return Row(case, ours=rates[0], floor=rates[1], unit="images/s", ratio=round(ratio, 3))


def _groups(case: str, hashes: npt.NDArray[np.uint64], distance: int) -> list[Row]:
    ours, floor = compare(
        lambda: cost_of_call(lambda: groups(hashes, distance)), lambda: cost_of_call(lambda: np.unique(hashes, return_inverse=True)), 1
    )  # fmt: skip
    return rows_of(f"groups of {len(hashes):,} hashes, {case}", ours, floor, goal=None)


def random_hashes(count: int) -> npt.NDArray[np.uint64]:
    """Half of them have a twin four bits away."""
    random = np.random.default_rng(0)
    first = random.integers(0, 2**64, count - count // 3, dtype=np.uint64)
    return np.concatenate([first, _turned(first[: count // 3], 4, random)])


def camera_hashes(count: int) -> npt.NDArray[np.uint64]:
    """A hundred cameras, each frame up to four bits from its camera's picture: the worst kind, for nearly all are near to very many."""
    random = np.random.default_rng(1)
    return _turned(np.repeat(random.integers(0, 2**64, 100, dtype=np.uint64), count // 100), 4, random)


def _turned(hashes: npt.NDArray[np.uint64], bits: int, random: np.random.Generator) -> npt.NDArray[np.uint64]:
    for _ in range(bits):
        hashes = hashes ^ (np.uint64(1) << random.integers(0, 64, len(hashes)).astype(np.uint64))
    return hashes


def _memory(count: int) -> Row:
    """What a process has at most, beside one that only makes the hashes."""
    peaks = [
        int(
            subprocess.run(
                [sys.executable, "-m", "benchmarks.analysis", str(count), what], cwd=_ROOT, check=True, capture_output=True
            ).stdout
        )
        for what in ("groups", "nothing")
    ]
    ours, floor = (round(peak / 1024, 1) for peak in peaks)
    return Row(f"groups of {count:,} hashes, memory at most", ours=ours, floor=floor, unit="MiB", ratio=round(ours / floor, 2))


def _bccd() -> list[Path]:
    return sorted((Path(os.environ.get("SLUICE_SHARED") or _ROOT.parent / "shared") / "data/bccd/BCCD/JPEGImages").glob("*.jpg"))


def _made(folder: Path, count: int, width: int, height: int) -> list[Path]:
    folder.mkdir()
    random = np.random.default_rng(2)
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{number:03}.jpg", quality=88)
    return sorted(folder.iterdir())


if __name__ == "__main__":
    made = random_hashes(int(sys.argv[1]))
    if sys.argv[2] == "groups":
        groups(made, 9)
    # Not ru_maxrss: that begins with what the process had that started this one.
    print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
