"""How many files a local store takes in a second, safely on the disk, when it is given some hundred at once; beside files written and not
synced (the floor), and beside one by one, each with a sync of its own.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

from benchmarks.measure import Cost, Row, cost_of_call
from contracts.seams import NewFile
from plugins.stores.local import LocalStore

_FILE_BYTES = 100_000
_AT_ONCE = 500


def run(*, quick: bool = False) -> list[Row]:
    """``quick`` measures just enough to see that it works."""
    files = [_file(number) for number in range(20 if quick else 4000)]
    with tempfile.TemporaryDirectory(prefix="sluice-bench-", dir=Path(__file__).parent) as scratch:
        folders = (Path(scratch, f"{number}") for number in count())
        cases = (_add_many, _write_only, _add_each)
        for case in cases:
            _cost(case, next(folders), files[: len(files) // 10])
        costs = [[_cost(case, next(folders), files) for case in cases] for _ in range(1 if quick else 5)]
    ours, floor, each = ([len(files) / cost[column].wall_s for cost in costs] for column in range(3))
    ratio = statistics.median(cost[0].wall_s / cost[1].wall_s for cost in costs)
    rates = [round(statistics.median(rate), 1) for rate in (ours, floor, each)]
    case = f"{len(files)} files of {_FILE_BYTES:,} bytes, {_AT_ONCE} at once"
    return [Row(case, ours=rates[0], floor=rates[1], unit="files/s", ratio=round(ratio, 3), peers={"one by one": rates[2]})]


def _cost(case: Callable[[Path, Sequence[NewFile]], None], folder: Path, files: Sequence[NewFile]) -> Cost:
    """What other cases left to be written is written before, so that it is not counted here."""
    os.sync()
    cost = cost_of_call(lambda: case(folder, files))
    shutil.rmtree(folder)
    return cost


def _file(number: int) -> NewFile:
    content = number.to_bytes(8, "big") * (_FILE_BYTES // 8)
    return NewFile(hashlib.sha1(content, usedforsecurity=False).hexdigest(), "jpg", content)


def _add_many(folder: Path, files: Sequence[NewFile]) -> None:
    store = LocalStore(folder)
    for begin in range(0, len(files), _AT_ONCE):
        store.add_many(files[begin : begin + _AT_ONCE])


def _add_each(folder: Path, files: Sequence[NewFile]) -> None:
    store = LocalStore(folder)
    for file in files:
        store.add_many([file])


def _write_only(folder: Path, files: Sequence[NewFile]) -> None:
    for file in files:
        target = folder / file.sha1[-2:] / f"{file.sha1}.{file.extension}"
        target.parent.mkdir(parents=True, exist_ok=True)
        assert isinstance(file.content, bytes)
        target.write_bytes(file.content)
