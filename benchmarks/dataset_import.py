"""How long an import takes, beside a program that only reads and hashes the same files, and beside one that also copies them durably.

An import also reads the labels, checks every picture and every box, and has every picture safely on the disk before it says so. Pictures are
made of the BCCD set of ``../shared`` (or ``SLUICE_SHARED``), or of scenes of digits where it is not there, each with bytes of its own:

- ``photos``: saved again at 110 KB, as VOC2012 has them, with the first three boxes;
- ``cells``: as they come, 23 KB with 13 boxes each, so that labels weigh more than pixels.

``SLUICE_BENCH_IMAGES`` says how many pictures there are of each kind (2,000 when nobody says; the goal is for 20,000).
``SLUICE_BENCH_DATUMARO`` may name the Python of an environment with datumaro, which then reads the same folder and saves it in its own format.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from PIL import Image

from benchmarks.measure import Cost, Row, compare, cost_of_command
from contracts.seams import not_located
from plugins.formats.voc import VocFormat
from plugins.stores.durable import bring_to_disk
from plugins.stores.local import LocalStore
from runner.intake import Intake, PictureRules
from runner.samples import make_digits
from runner.service import Runner
from runner.settings import load_settings

GOAL = 1.5
_ROOT = Path(__file__).resolve().parent.parent
_PAIRS = 3
_OBJECT = re.compile(rb"\s*<object>.*?</object>", re.DOTALL)
_CLASSES = ("RBC", "WBC", "Platelets", *(str(digit) for digit in range(10)))
_DATUMARO = """
import sys
from datumaro.components.dataset import Dataset
Dataset.import_from(sys.argv[1], "voc_detection").export(sys.argv[2], "datumaro", save_media=True)
"""


def run(*, quick: bool = False) -> list[Row]:
    """``quick`` measures just enough to see that it works."""
    images = 20 if quick else int(os.environ.get("SLUICE_BENCH_IMAGES", "2000"))
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as scratch:
        sources = _sources(Path(scratch), quick)
        return [
            row
            for kind in ("photos", "cells")
            for row in _rows(
                kind, make_source(Path(scratch, kind), sources, images, photos=kind == "photos"), images, 1 if quick else _PAIRS
            )
        ]


def _rows(kind: str, folder: Path, images: int, pairs: int) -> list[Row]:
    scratch = folder.parent
    places = (scratch / f"{kind}-{number}" for number in count())
    import_ = _in_a_place(places, lambda place: _import(place, folder))
    ours, floor = compare(import_, lambda: _cost(lambda: _read_all(folder)), pairs)
    again, copies = compare(import_, _in_a_place(places, lambda place: _copy_all(folder, place)), pairs)
    case = f"{images} {kind}"
    return [
        *_times(f"import of {case}, beside reading and hashing", ours, floor, GOAL, _others(folder, next(places))),
        *_times(f"import of {case}, beside reading, hashing and copying durably", again, copies, None, {}),
        *_parts(case, folder, next(places), floor),
    ]


def _times(case: str, ours: list[Cost], floor: list[Cost], goal: float | None, others: dict[str, Cost]) -> list[Row]:
    rows = []
    for name, word in (("wall_s", "wall time"), ("cpu_s", "processor time")):
        values = [[getattr(cost, name) for cost in costs] for costs in (ours, floor)]
        ratio = statistics.median(a / max(b, 1e-9) for a, b in zip(*values, strict=True))
        mine, least = (round(statistics.median(numbers), 4) for numbers in values)
        peers = {other: round(getattr(cost, name), 3) for other, cost in others.items()}
        rows.append(Row(f"{case}, {word}", mine, least, "s", round(ratio, 3), goal if name == "wall_s" else None, peers))
    return rows


def _parts(case: str, folder: Path, place: Path, floor: list[Cost]) -> list[Row]:
    """Where the processor time goes: the two large parts by themselves. The rest is checking boxes and making tables."""
    least = statistics.median(cost.cpu_s for cost in floor)
    parts = {
        "reading labels": _cost(lambda: sum(1 for _ in VocFormat().read(folder))),  # as one process does it
        "taking pictures in": _cost(lambda: _take_in(folder, place)),
    }
    shutil.rmtree(place, ignore_errors=True)
    return [
        Row(
            f"of it for {case}: {name}, processor time", round(cost.cpu_s, 4), round(least, 4), "s", round(cost.cpu_s / max(least, 1e-9), 3)
        )
        for name, cost in parts.items()
    ]


def _others(folder: Path, place: Path) -> dict[str, Cost]:
    python = os.environ.get("SLUICE_BENCH_DATUMARO")
    return {"datumaro": cost_of_command([python, "-c", _DATUMARO, folder, place])} if python else {}


def _in_a_place(places: object, call: Callable[[Path], object]) -> Callable[[], Cost]:
    """The cost of a call with a folder of its own, which is removed afterwards, off the clock."""

    def measured() -> Cost:
        place = next(places)  # type: ignore[call-overload]
        cost = _cost(lambda: call(place))
        shutil.rmtree(place, ignore_errors=True)
        return cost

    return measured


def _cost(call: Callable[[], object]) -> Cost:
    """Of this process and of those that it started and that have ended."""
    begin, wall = _processor_s(), time.perf_counter()
    call()
    return Cost(_processor_s() - begin, time.perf_counter() - wall)


def _processor_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _import(home: Path, folder: Path) -> None:
    with Runner.open(load_settings({"home": str(home)})) as runner:
        runner.import_dataset("measured", folder)


def _take_in(folder: Path, place: Path) -> None:
    paths = sorted((folder / "JPEGImages").iterdir())
    with Intake(LocalStore(place), not_located, PictureRules(), len(paths)) as intake:
        for taken in [intake.submit(paths[at : at + intake.batch]) for at in range(0, len(paths), intake.batch)]:
            taken.result()


def _read_all(folder: Path) -> list[tuple[str, bytes]]:
    """Every file's hash; the content goes on to nobody."""
    return [(hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest(), b"") for file in _files(folder)]


def _copy_all(folder: Path, place: Path) -> None:
    """As ``_read_all``, and the pictures are written into another folder and synced once."""
    place.mkdir()
    for file in _files(folder):
        content = file.read_bytes()
        name = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        if file.suffix == ".jpg":
            (place / name).write_bytes(content)
    bring_to_disk(place, list(place.iterdir()))


def _files(folder: Path) -> list[Path]:
    return [Path(place, name) for place, _, names in os.walk(folder) for name in names]


# -------------------------------------------------------------------------------------------------------------- the source


def _sources(scratch: Path, quick: bool) -> Path:
    bccd = Path(os.environ.get("SLUICE_SHARED") or _ROOT.parent / "shared") / "data" / "bccd" / "BCCD"
    if bccd.is_dir() and not quick:
        return bccd
    return make_digits(scratch / "digits", train=20, val=0, test=0, pool=0)


def make_source(folder: Path, source: Path, images: int, *, photos: bool) -> Path:
    """A VOC folder of as many pictures as asked for, each of another content, in turn from the source's."""
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    pictures = [_picture(file, photos) for file in sorted((source / "JPEGImages").glob("*.jpg"))]
    for number in range(images):
        content, label = pictures[number % len(pictures)]
        name = f"{number:06d}"
        (folder / "JPEGImages" / f"{name}.jpg").write_bytes(_with_comment(content, name.encode()))
        (folder / "Annotations" / f"{name}.xml").write_bytes(
            re.sub(rb"<filename>.*?</filename>", f"<filename>{name}.jpg</filename>".encode(), label)
        )
    (folder / "ImageSets" / "Main" / "train.txt").write_text("".join(f"{number:06d}\n" for number in range(images)), encoding="ascii")
    # What datumaro asks for; VOC's own classes are not in these pictures.
    (folder / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\n" + "".join(f"{name}:::\n" for name in _CLASSES), encoding="ascii"
    )
    return folder


def _picture(file: Path, photos: bool) -> tuple[bytes, bytes]:
    content = file.read_bytes()
    label = (file.parent.parent / "Annotations" / f"{file.stem}.xml").read_bytes()
    if not photos:
        return content, label
    saved = io.BytesIO()
    with Image.open(file) as picture:
        picture.save(saved, "JPEG", quality=99, subsampling=0)
    kept = iter(range(3))
    return saved.getvalue(), _OBJECT.sub(lambda found: found[0] if next(kept, None) is not None else b"", label)


def _with_comment(content: bytes, comment: bytes) -> bytes:
    """The same picture with a comment behind its first marker, and so of another hash."""
    return content[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + content[2:]
