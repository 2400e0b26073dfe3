"""Reading a large COCO file as a source is read, beside only parsing it whole: processor time, time on the wall and memory.

The floor is ``json.load`` of the same file, which makes no annotations and holds the whole document in memory. Peers are other parsers that do no more
than the floor, where they are installed: ``ijson`` with its C backend piece by piece, ``msgspec`` whole.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from benchmarks.measure import Row

ANNOTATIONS, QUICK_ANNOTATIONS = 400_000, 5_000
_PER_IMAGE = 100
_ROUNDS = 3
_PARSE = {
    "ours": "from plugins.formats.coco import CocoFormat\nfor _ in CocoFormat().read(Path(sys.argv[1]).parent): pass",
    "floor": "json.load(open(sys.argv[1], 'rb'))",
    "ijson": "import ijson.backends.yajl2_c as i\nfor _ in i.items(open(sys.argv[1], 'rb'), 'annotations.item', use_float=True): pass",
    "msgspec": "import msgspec\nmsgspec.json.decode(open(sys.argv[1], 'rb').read())",
}
Taken = tuple[float, float, float]  # processor time and wall time in seconds, most memory in MiB


def run(*, quick: bool = False) -> list[Row]:
    """``quick`` measures just enough to see that it works."""
    names = [name for name in _PARSE if name in ("ours", "floor") or find_spec(name)]
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        file = write_coco(Path(folder), QUICK_ANNOTATIONS if quick else ANNOTATIONS)
        size_mib = file.stat().st_size / 1024**2
        rounds = [{name: _measure(name, file) for name in names} for _ in range(1 if quick else _ROUNDS)]
    case = f"{size_mib:.0f} MiB of COCO"
    return [
        _row(f"{case}, {word}", unit, at, rounds)
        for at, (word, unit) in enumerate([("processor time", "s"), ("wall time", "s"), ("memory", "MiB")])
    ]


def _row(case: str, unit: str, at: int, rounds: list[dict[str, Taken]]) -> Row:
    """Medians, and the median of the ratios of each round."""
    medians = {name: statistics.median(taken[name][at] for taken in rounds) for name in rounds[0]}
    ratio = statistics.median(taken["ours"][at] / taken["floor"][at] for taken in rounds)
    return Row(case, medians.pop("ours"), medians.pop("floor"), unit, ratio, peers=medians)


def _measure(name: str, file: Path) -> Taken:
    """In a process of its own, which the most memory is of."""
    code = f"import json, sys\nfrom pathlib import Path\n{_PARSE[name]}"
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", code, str(file)], cwd=Path(__file__).parent.parent)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, name)
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - begin, usage.ru_maxrss / 1024


def write_coco(folder: Path, count: int) -> Path:
    """A file of as many annotations with outlines of 4 to 20 points, in the order of the official ones, and empty pictures."""
    dice = random.Random(0)
    images = [{"id": n, "file_name": f"{n:08}.jpg", "width": 640, "height": 480} for n in range(max(1, count // _PER_IMAGE))]
    for image in images:
        (folder / str(image["file_name"])).touch()
    file = folder / "instances_train.json"
    with file.open("w", encoding="utf-8") as opened:
        opened.write(f'{{"info": {{}}, "images": {json.dumps(images)}, "annotations": [')
        for number in range(count):
            polygon = [round(dice.uniform(0, 480), 2) for _ in range(2 * dice.randint(4, 20))]
            entry = {"id": number, "image_id": number // _PER_IMAGE % len(images), "category_id": number % 80, "iscrowd": 0, "area": 100.5}
            opened.write((", " if number else "") + json.dumps({**entry, "bbox": [1.5, 2.5, 100.25, 30.0], "segmentation": [polygon]}))
        categories = [{"id": n, "name": f"class {n}"} for n in range(80)]
        opened.write(f'], "categories": {json.dumps(categories)}}}')
    return file
