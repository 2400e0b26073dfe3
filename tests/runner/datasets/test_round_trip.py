"""What is written as VOC, COCO or YOLO is read back by the import as it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from plugins.stores.local import LocalStore
from runner.dataset_files import read_samples

WIDTH, HEIGHT = 64, 48
Box = tuple[str, int, int, int, int]  # class, x, y, width, height in whole pixels
Drawn = dict[str, set[Box]]

boxes = st.builds(
    lambda name, x, y, w, h: (name, x, y, min(w, WIDTH - x), min(h, HEIGHT - y)),
    st.sampled_from(["cat", "dog", "red fox"]),
    st.integers(0, WIDTH - 3),
    st.integers(0, HEIGHT - 3),
    st.integers(2, WIDTH),
    st.integers(2, HEIGHT),
)
pictures = st.dictionaries(st.sampled_from([f"img {n}" for n in range(5)]), st.sets(boxes, max_size=4), min_size=1)


def _write_voc(folder: Path, drawn: Drawn) -> None:
    for name, found in drawn.items():
        objects = "".join(
            f"<object><name>{c.upper()}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + w - 1}</xmax><ymax>{y + h - 1}</ymax></bndbox></object>"
            for c, x, y, w, h in found
        )
        (folder / f"{name}.xml").write_text(f"<annotation>{objects}</annotation>")


def _write_coco(folder: Path, drawn: Drawn) -> None:
    names = sorted(drawn)
    classes = ["cat", "dog", "red fox"]
    document = {
        "images": [{"id": index, "file_name": f"{name}.png"} for index, name in enumerate(names)],
        "annotations": [
            {"id": 0, "image_id": index, "category_id": classes.index(c), "bbox": [x, y, w, h]}
            for index, name in enumerate(names)
            for c, x, y, w, h in drawn[name]
        ],
        "categories": [{"id": index, "name": name} for index, name in enumerate(classes)],
    }
    (folder / "all.json").write_text(json.dumps(document))


def _write_yolo(folder: Path, drawn: Drawn) -> None:
    classes = ["cat", "dog", "red fox"]
    for name, found in drawn.items():
        rows = (f"{classes.index(c)} {(x + w / 2) / WIDTH} {(y + h / 2) / HEIGHT} {w / WIDTH} {h / HEIGHT}\n" for c, x, y, w, h in found)
        (folder / f"{name}.txt").write_text("".join(rows))
    (folder / "data.yaml").write_text(json.dumps({"names": classes}))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@pytest.mark.parametrize("write", [_write_voc, _write_coco, _write_yolo])
@given(drawn=pictures)
def test_boxes_are_read_back_as_they_were_drawn(
    tmp_path: Path, run_import: Callable[..., dict[str, Any]], store: LocalStore, write: Callable[[Path, Drawn], None], drawn: Drawn
) -> None:
    folder = tmp_path / "drawn"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in drawn:
        Image.new("RGB", (WIDTH, HEIGHT), (int(name[-1]), 0, 0)).save(folder / f"{name}.png")
    write(folder, drawn)
    report = run_import(folder)
    assert (report["skipped"], report["mended"]) == ([], [])
    samples = read_samples(Path(report["folder"]), store)
    assert {sample.name.removesuffix(".png"): {_rounded(box) for box in sample.annotations} for sample in samples} == drawn


def _rounded(box: Any) -> Box:
    x, y, width, height = (round(value, 3) for value in (box.x, box.y, box.width, box.height))
    return (box.class_name, int(x), int(y), int(width), int(height))
