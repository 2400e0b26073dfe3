"""How many pictures an import takes in a second, beside reading, hashing and decoding the same files and nothing else.
An import also reads the labels, checks every box, and has every picture safely on the disk before it says so.

The pictures are the BCCD set of ``../shared`` (or ``SLUICE_SHARED``), or made scenes of digits where it is not there.
"""

from __future__ import annotations

import hashlib
import io
import os
import statistics
import tempfile
from itertools import count
from pathlib import Path

from PIL import Image

from benchmarks.measure import Row, compare, cost_of_call
from runner.samples import make_digits
from runner.service import Runner
from runner.settings import load_settings

_ROOT = Path(__file__).resolve().parent.parent


def run(*, quick: bool = False) -> list[Row]:
    """``quick`` measures just enough to see that it works."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as scratch:
        folder = _pictures(Path(scratch), quick)
        files = [path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".png", ".bmp")]
        homes = (Path(scratch, f"home-{number}") for number in count())
        ours, floor = compare(
            lambda: cost_of_call(lambda: _import(next(homes), folder)), lambda: cost_of_call(lambda: _read_all(files)), 1 if quick else 5
        )
    rate = [statistics.median(len(files) / cost.wall_s for cost in costs) for costs in (ours, floor)]
    ratio = statistics.median(a.wall_s / b.wall_s for a, b in zip(ours, floor, strict=True))
    case = f"import of {len(files)} pictures with boxes, stored durably"
    return [Row(case, ours=round(rate[0], 1), floor=round(rate[1], 1), unit="images/s", ratio=round(ratio, 3))]


def _pictures(scratch: Path, quick: bool) -> Path:
    bccd = Path(os.environ.get("SLUICE_SHARED") or _ROOT.parent / "shared") / "data" / "bccd" / "BCCD"
    if bccd.is_dir() and not quick:
        return bccd
    folder = scratch / "digits"
    make_digits(folder, train=10 if quick else 400, val=0, test=0, pool=0)
    return folder


def _import(home: Path, folder: Path) -> None:
    with Runner.open(load_settings({"home": str(home)})) as runner:
        runner.import_dataset("measured", folder)


def _read_all(files: list[Path]) -> None:
    for file in files:
        content = file.read_bytes()
        hashlib.sha1(content, usedforsecurity=False).hexdigest()
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
