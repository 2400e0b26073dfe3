"""Analyses of dataset versions: what they say, what they leave, and what a broken home does to them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from analysis.features import KEYS, measure_file
from contracts.dataset import Asset
from contracts.errors import ConflictError, DatasetError, NotFoundError, ParameterError
from runner.analysis_files import has_box
from runner.service import Runner
from tests.runner.analysis.conftest import write_voc


def _home(runner: Runner) -> Path:
    return runner._installation.home


def _assets(runner: Runner) -> list[Path]:
    return sorted((_home(runner) / "assets").rglob("*.png"))


def test_a_version_is_measured_and_its_values_are_those_of_the_one_extractor(cells: Runner) -> None:
    made = cells.analyse_dataset("cells@V001")
    assert (made["status"], made["references"], made["features"], made["unreadable"]) == ("succeeded", ["cells@V001"], list(KEYS), 0)
    table = pq.read_table(Path(made["folder"]) / "features.parquet")
    assert len(table) == 5
    for row in table.to_pylist():
        alone = measure_file(next(path for path in _assets(cells) if path.stem == row["asset_id"]))
        assert {key: row[key] for key in KEYS[:6]} == {key: alone.picture[key] for key in KEYS[:6]}
        assert row["hash"] == alone.hash
    boxes = pq.read_table(Path(made["folder"]) / "boxes.parquet").to_pylist()
    assert {(box["class_name"], box["width"], round(box["bbox_iou"], 6)) for box in boxes} == {
        ("cat", 32, 0.25), ("dog", 32, 0.25), ("cat", 20, 0), ("dog", 64, 0)
    }  # fmt: skip
    number = next(s for s in made["summaries"] if s["key"] == "bbox_num")["of"][0]
    assert (number["count"], number["min"], number["max"]) == (4, 0, 2)  # nobody has looked at e


def test_labels_and_splits_are_counted(cells: Runner) -> None:
    made = cells.analyse_dataset("cells@V001", labels_only=True)
    (version,) = made["versions"]
    assert {key: version[key] for key in ("images", "labeled_images", "annotations", "classes")} == {
        "images": 5, "labeled_images": 4, "annotations": 4, "classes": 2
    }  # fmt: skip
    assert {(c["class"], c["annotations"], c["images"], tuple(c["splits"].items())) for c in made["classes"]} == {
        ("cat", 2, 2, (("train", 2),)), ("dog", 2, 2, (("train", 1), ("val", 1)))
    }  # fmt: skip
    assert (made["features"], made["summaries"]) == ([], [])


def test_each_picture_is_decoded_once_and_the_version_is_not_touched(cells: Runner) -> None:
    folder = Path(cells.get_dataset("cells@V001")["folder"])
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    asked: list[int] = []
    cells.analyse_dataset("cells@V001:train", on_progress=lambda done, _: asked.append(done))
    assert asked[-1] == 3
    asked.clear()
    cells.analyse_dataset("cells@V001", on_progress=lambda done, _: asked.append(done))
    assert asked == [4, 5]  # only the two of val
    asked.clear()
    again = cells.analyse_dataset("cells@V001", features=["clarity", "box_overlap"], on_progress=lambda done, _: asked.append(done))
    assert (asked, again["features"]) == ([], ["ambiguity", "bbox_iou"])
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_another_version_measures_only_what_is_new_or_drawn_anew(cells: Runner) -> None:
    cells.analyse_dataset("cells@V001")
    asked: list[int] = []
    made = cells.analyse_dataset("cells@V002", on_progress=lambda done, _: asked.append(done))
    assert asked == [4, 5]  # f is new, and a has lost a box
    assert made["summaries"][0]["of"][0]["count"] == 5
    boxes = pq.read_table(Path(made["folder"]) / "boxes.parquet").to_pylist()
    assert sorted((box["class_name"], box["width"]) for box in boxes) == [("cat", 20), ("cat", 32), ("cow", 10), ("dog", 64)]
    asked.clear()
    cells.find_near_duplicates("cells@V002", on_progress=lambda done, _: asked.append(done))
    assert asked == []


@pytest.mark.parametrize("damage", ["torn", "another extractor's"])
def test_what_another_extractor_measured_or_is_broken_is_measured_anew(cells: Runner, damage: str) -> None:
    cells.analyse_dataset("cells@V001")
    (file,) = (_home(cells) / "analysis/pictures").glob("*.parquet")
    if damage == "torn":
        file.write_bytes(b"PAR1")
    else:
        table = pq.read_table(file)
        pq.write_table(table.replace_schema_metadata({"sluice.extractor": "0"}), file)
    asked: list[int] = []
    made = cells.analyse_dataset("cells@V001", on_progress=lambda done, _: asked.append(done))
    assert (len(asked), made["summaries"][0]["of"][0]["count"]) == (5, 5)


def test_many_small_files_become_one_and_leftovers_go(cells: Runner) -> None:
    kept = cells._analysis_files()
    assets = [Asset(f"{number:040x}", "png", 1, 1, 1) for number in range(40)]
    kept.folder.mkdir(parents=True)
    (kept.folder / "x.1.new").write_bytes(b"killed")
    (kept.folder / "broken.parquet").write_bytes(b"")
    for number, asset in enumerate(assets):
        kept._add_hashes([asset], np.array([number], np.uint64), set())
    assert len(kept._files()) <= 17
    assert not [path for path in kept.folder.iterdir() if path.name in ("x.1.new", "broken.parquet")]
    assert kept.hashes(assets)[0].tolist() == list(range(40))


def test_who_reads_while_others_write_and_compact_finds_what_was_kept(cells: Runner) -> None:
    kept = cells._analysis_files()
    assets = [[Asset(f"{worker}{number:039x}", "png", 1, 1, 1) for number in range(30)] for worker in range(4)]

    def work(worker: int) -> None:
        for number, asset in enumerate(assets[worker]):
            kept._add_hashes([asset], np.array([100 * worker + number], np.uint64), set())
            assert kept.hashes(assets[worker][: number + 1])[0].tolist() == [100 * worker + done for done in range(number + 1)]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert list(kept.folder.glob("*.new")) == []


def test_two_versions_are_compared_and_their_histograms_share_their_edges(cells: Runner) -> None:
    made = cells.compare_datasets(["cells@V001", "cells@V002"])
    (change,) = made["comparison"]
    assert {key: change["images"][key] for key in ("added", "removed", "relabeled", "unchanged", "moved")} == {
        "added": 1, "removed": 1, "relabeled": 1, "unchanged": 3, "moved": 0
    }  # fmt: skip
    assert (change["annotations"]["added"], change["annotations"]["removed"]) == (1, 1)
    report = json.loads((Path(made["folder"]) / "report.json").read_text())
    assert [chart["key"] for chart in report["features"]] == list(KEYS)
    for chart in (*report["features"], *report["distributions"]):
        assert [series["name"] for series in chart["series"]] == ["cells@V001", "cells@V002"]
        places = len(chart["labels"]) if chart["kind"] == "bars" else len(chart["edges"]) - 1
        assert all(len(series["values"]) == places for series in chart["series"])
    assert {(pair["a"]["split"], pair["b"]["split"], pair["images"]) for pair in made["overlap"]} == {
        ("train", "train", 2),
        ("val", "val", 2),
    }


def test_the_page_stands_alone_and_the_picture_is_one(cells: Runner) -> None:
    folder = Path(cells.analyse_dataset("cells")["folder"])
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "http://www.w3.org/2000/svg" in page
    assert not [word for word in ("https://", "src=", "@import", "<link") if word in page]
    with Image.open(folder / "report.png") as picture:
        assert picture.size == (3 * 640, 7 * 400)


def test_names_in_a_page_are_never_markup(runner: Runner, tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    picture = Image.new("RGB", (20, 10))
    runner.import_dataset("evil", write_voc(tmp_path / "evil", {"a.png": (picture, [(evil.replace("<", "&lt;"), 0, 0, 5, 5)])}))
    made = runner.analyse_dataset("evil")
    assert made["classes"][0]["class"] == evil
    page = (Path(made["folder"]) / "report.html").read_text(encoding="utf-8")
    assert "<img" not in page
    assert page.count("</script>") == 2


def test_near_duplicates_are_found_across_splits_and_the_table_has_all(cells: Runner) -> None:
    made = cells.find_near_duplicates("cells@V001")
    assert (made["group_count"], made["images_in_groups"], made["images_to_drop"], made["groups_across_splits"]) == (1, 2, 1, 1)
    assert made["max_distance"] == 9
    (group,) = made["groups"]
    assert {(picture["name"], picture["split"]) for picture in group} == {("train/a.png", "train"), ("val/d.png", "val")}
    assert [picture["kept"] for picture in group] == [True, False]
    table = pq.read_table(Path(made["folder"]) / "duplicates.parquet").to_pylist()
    assert [(row["asset_id"], row["kept"]) for row in table] == [(picture["asset"], picture["kept"]) for picture in group]
    assert cells.find_near_duplicates("cells@V001", limit=0)["groups"] == []


def test_pictures_are_hashed_once(cells: Runner) -> None:
    asked: list[int] = []
    for _ in range(2):
        cells.find_near_duplicates("cells@V001", on_progress=lambda done, _: asked.append(done))
    assert asked == [0, 5]


def test_a_broken_picture_is_named_and_the_others_are_measured(cells: Runner) -> None:
    """The store is damaged after the import, which would have refused such a file."""
    victim = next(sample.path for sample in cells._read("cells@V001")[2] if sample.name == "train/a.png")
    victim.chmod(0o644)
    victim.write_bytes(victim.read_bytes()[:500])
    made = cells.analyse_dataset("cells@V001")
    assert (made["status"], made["unreadable"]) == ("succeeded", 1)
    assert made["failures"] == [{"name": "cells@V001 train/a.png", "reason": made["failures"][0]["reason"]}]
    assert "truncated" in made["failures"][0]["reason"]
    found = cells.find_near_duplicates("cells@V001")
    assert (found["unreadable"], found["images"]) == (1, 5)


def test_the_history_names_what_was_analysed_when_for_how_long_and_how_it_ended(cells: Runner) -> None:
    cells.analyse_dataset("cells@V001:train", features=["brightness"])
    for path in _assets(cells):
        path.unlink()
    with pytest.raises(DatasetError, match="not in the store"):
        cells.analyse_dataset("cells")
    (entry,) = cells.list_analyses("cells")
    assert (entry["kind"], entry["references"], entry["features"], entry["status"]) == (
        "analysis", ["cells@V001:train"], ["image_brightness"], "succeeded"
    )  # fmt: skip
    assert entry["duration_s"] >= 0
    assert cells.list_analyses("others") == []


def test_a_failed_analysis_says_why_and_leaves_no_result(cells: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(done: int, _: Any) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cells.analyse_dataset("cells", on_progress=stop)
    (entry,) = cells.list_analyses()
    assert (entry["status"], entry["error"]) == ("failed", "KeyboardInterrupt")
    assert sorted(path.name for path in Path(cells.get_analysis(entry["id"])["folder"]).iterdir()) == ["lock", "run.json"]


def test_a_killed_analysis_is_shown_as_interrupted(cells: Runner) -> None:
    made = cells.analyse_dataset("cells", labels_only=True)
    file = Path(made["folder"]) / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "status": "running"}))
    assert cells.get_analysis(made["id"])["status"] == "interrupted"
    file.write_text("{")
    assert cells.list_analyses() == []


def test_an_analysis_is_copied_with_its_tables_and_never_over_files(cells: Runner, tmp_path: Path) -> None:
    made = cells.compare_datasets(["cells@V001", "cells@V002"])
    exported = cells.export_analysis(made["id"], tmp_path / "out")
    assert sorted(exported["files"]) == sorted(path.name for path in (tmp_path / "out").iterdir())
    assert {"report.html", "report.png", "1-cells-V001-features.parquet", "2-cells-V002-boxes.parquet"} <= set(exported["files"])
    with pytest.raises(ConflictError, match="exists"):
        cells.export_analysis(made["id"], tmp_path / "out")
    cells.export_analysis(made["id"], tmp_path / "out", overwrite=True)


@pytest.mark.parametrize("wrong", ["a20260101000000ffff", "../../datasets", "", "x" * 300])
def test_an_analysis_that_there_is_not_is_not_found(runner: Runner, wrong: str) -> None:
    with pytest.raises(NotFoundError):
        runner.get_analysis(wrong)


def test_impossible_requests_are_refused_before_anything_is_made(cells: Runner) -> None:
    with pytest.raises(ParameterError, match="no feature 'beauty'"):
        cells.analyse_dataset("cells", features=["beauty"])
    with pytest.raises(ParameterError, match="1 versions cannot be compared"):
        cells.compare_datasets(["cells"])
    with pytest.raises(ParameterError, match=r"similarity is 0\.3"):
        cells.find_near_duplicates("cells", similarity=0.3)
    with pytest.raises(DatasetError, match="cells@V002:test has no images"):
        cells.analyse_dataset("cells:test")
    with pytest.raises(NotFoundError):
        cells.analyse_dataset("nothing")
    assert cells.list_analyses() == []
    assert not (_home(cells) / "analysis").exists()


def test_a_dataset_without_boxes_has_the_six_features_of_classification(runner: Runner, tmp_path: Path) -> None:
    runner.import_dataset("plain", write_voc(tmp_path / "plain", {f"{k}.png": (Image.new("RGB", (20 + k, 10)), None) for k in range(3)}))
    made = runner.analyse_dataset("plain")
    assert made["features"] == list(KEYS[:6])


def test_labels_of_whole_pictures_and_points_are_no_boxes() -> None:
    from contracts.dataset import Annotation

    assert [has_box(Annotation("cat", 0, 0, 5, 5, shape=shape)) for shape in ("box", "circle", "image", "point")] == [
        True,
        True,
        False,
        False,
    ]
