"""The operator as a mining job, from predictions to a dataset of hard examples: the rows HX-01 and HX-13 to HX-18 of the acceptance table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from contracts.dataset import Annotation, ContainerPaths, JobInputs
from contracts.errors import DatasetError, RequestError
from contracts.image import Kind, ObjectType
from contracts.job import JobSpec
from contracts.ymir import stage
from runner.service import Runner
from tests.conformance.main_job import voc_folder
from tests.images.hard_examples.conftest import APP, DOUBTFUL, EMPTY, SURE, boxes, catalogue, labels
from tests.images.image_jobs import make_samples, start

Mine = Callable[..., dict[str, Any]]


def out_dir(job: dict[str, Any]) -> Path:
    return Path(job["run_dir"], "out")


def manifest(job: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out_dir(job) / "output.manifest").read_text().splitlines()]


def run(runner: Runner, **spec: Any) -> dict[str, Any]:
    job = runner.submit(JobSpec.model_validate(spec))
    runner.run(job["id"])
    return runner.get_job(job["id"])


def train(runner: Runner, tmp_path: Path) -> None:
    """The model ``first`` of the probe, learnt from ``pets``."""
    runner.import_dataset("pets", voc_folder(tmp_path / "pets", {"train": 6, "val": 3, "test": 4}))
    run(runner, kind="training", image="probe", train_data="pets", name="first")


def names_of(job: dict[str, Any]) -> list[str]:
    return [Path(row["name"]).name for row in job["result"]["top"]]


def test_hx_01_the_operator_scores_every_candidate_of_a_detection(mine: Mine) -> None:
    job = mine()
    assert job["state"] == "succeeded", job["evidence"]
    assert job["result"]["ranked"] == job["result"]["explained"] == 5
    assert names_of(job)[:2] == ["empty.jpg", "doubt.jpg"]
    top = job["result"]["top"]
    assert (top[0]["coefficient"], top[0]["hard"], top[0]["reasons"]) == (1.0, True, [0])
    assert top[0]["texts"] == ["nothing was found in the picture"]
    assert 1 in top[1]["reasons"]
    assert top[1]["coefficient"] < 1
    assert {line["hard"] for line in manifest(job)} == {True}
    assert job["result"]["files"] == ["annotations/", "output.manifest", "report.json", "scores.parquet"]
    scores = pq.read_table(out_dir(job) / "scores.parquet")
    assert len(scores) == 5
    assert "strength.predict_score_mining" in scores.column_names
    assert sorted(Path(name).name for name in scores["name"].to_pylist()) == sorted(names_of(job))


def test_hx_01_the_operator_scores_every_candidate_of_a_classification(runner: Runner, mine: Mine, tmp_path: Path) -> None:
    documents = {f"{number}.jpg": labels("cat", ("cat", "0.98"), ("dog", "0.02")) for number in range(3)}
    documents["doubt.jpg"] = labels("dog", ("dog", "0.589"), ("cat", "0.411"))
    runner.import_dataset("kinds", catalogue(tmp_path / "kinds", documents))
    job = mine("kinds", {"output_dataset_type": "directory"})
    assert job["state"] == "succeeded", job["evidence"]
    assert names_of(job)[0] == "doubt.jpg"
    assert job["result"]["top"][0]["reasons"] == [1]
    first = next(line for line in manifest(job) if line["hard-reasons"] == "1")
    label = first["annotation"][0]
    assert (label["name"], label["confidence"], label["type"]) == ("dog", pytest.approx(0.589), "modelarts/image_classification")
    assert (out_dir(job) / first["source"]).is_file()
    assert first["source"].startswith("Data/dog/")


def test_hx_13_predictions_of_labels_over_data_with_boxes_are_refused_before_a_container_starts(
    runner: Runner, mine: Mine, tmp_path: Path
) -> None:
    folder = voc_folder(tmp_path / "boxed", {"train": 2})
    runner.import_dataset("boxed", folder)
    same = catalogue(tmp_path / "same", {f"train00{number}.png": labels("cat", ("cat", "0.5")) for number in range(2)})
    for picture in (folder / "JPEGImages").iterdir():
        picture.replace(same / "images" / picture.name)
    labelled = runner.import_dataset("labelled", same)
    with pytest.raises(DatasetError, match="boxed@V001 is labelled for detection, the mining is for classification"):
        mine("boxed", predictions=labelled["predictions"])
    assert runner.list_jobs()["total"] == 0


def test_hx_13_predictions_of_labels_do_not_go_with_a_model_of_boxes(runner: Runner, mine: Mine, tmp_path: Path) -> None:
    train(runner, tmp_path)
    named = runner.import_dataset("labelled", catalogue(tmp_path / "labelled", {"a.jpg": labels("cat", ("cat", "0.5"))}))["predictions"]
    with pytest.raises(DatasetError, match=f"{named} predicted for classification, the mining is for detection"):
        mine("labelled", model="first", predictions=named)


def test_hx_14_a_missing_result_file_is_listed_by_name(runner: Runner, mine: Mine, tmp_path: Path) -> None:
    runner.import_dataset("gaps", catalogue(tmp_path / "gaps", {"here.jpg": SURE, "not here.jpg": None, "nor here.jpg": None}))
    with pytest.raises(DatasetError) as caught:
        mine("gaps")
    assert "2 of 3 pictures of gaps@V001 have no prediction" in caught.value.message
    assert "nor here.jpg" in caught.value.message
    assert "not here.jpg" in caught.value.message
    assert "Predict on all of them" in caught.value.hint


def test_hx_14_a_folder_of_another_name_is_a_clear_error(runner: Runner, mine: Mine, tmp_path: Path) -> None:
    runner.import_dataset("wrong", catalogue(tmp_path / "wrong", {"a.jpg": SURE}, results="inference_result"))
    with pytest.raises(RequestError) as caught:
        mine("wrong")
    assert "was imported without predictions" in caught.value.message
    assert "inference_results/" in caught.value.hint
    assert "--predictions" in caught.value.hint


def test_hx_16_a_manifest_copies_no_picture_and_a_directory_exactly_the_hard_ones(mine: Mine) -> None:
    listed = mine()
    assert not (out_dir(listed) / "Data").exists()
    assert not list(out_dir(listed).rglob("*.jpg"))
    copied = mine(parameters={"output_dataset_type": "directory", "algo_hard_threshold": 0.15})
    hard = [line["source"] for line in manifest(copied)]
    assert 0 < len(hard) < 5
    assert sorted(str(path.relative_to(out_dir(copied))) for path in out_dir(copied).rglob("*.jpg")) == sorted(hard)
    assert sorted(path.suffix for path in (out_dir(copied) / "Data").iterdir()) == [".jpg"] * len(hard) + [".xml"] * len(hard)


def test_hx_17_the_summary_counts_what_went_in_and_came_out(mine: Mine) -> None:
    job = mine(parameters={"task_summary_file": "/out/logs/summary.log"})
    summary = json.loads((out_dir(job) / "logs/summary.log").read_text())
    assert summary == {"task_status": "SUCCEED", "total_sample": 5, "hard_sample": len(manifest(job))}


def test_hx_17_a_failure_is_told_in_the_summary_and_fails_the_job(mine: Mine) -> None:
    job = mine(parameters={"task_summary_file": "/out/summary.log", "algo_hard_threshold": 1.1})
    assert (job["state"], job["end_reason"]) == ("failed", "exit_code")
    summary = json.loads((out_dir(job) / "summary.log").read_text())
    assert summary == {"task_status": "FAILED", "error_message": "algo_hard_threshold: is 1.1, not between 0 and 1"}
    assert job["evidence"]["image_code"] == 300001
    assert "algo_hard_threshold" in job["evidence"]["image_message"]


@pytest.mark.parametrize("place", ["/etc/summary", "../summary", "obs://bucket/summary.log", "/out/result.tsv", "/out/..", "/out/models"])
def test_hx_17_a_summary_cannot_be_put_anywhere_else(app: Callable[[str], Any], tmp_path: Path, place: str) -> None:
    (tmp_path / "models").mkdir()
    with pytest.raises(app("job_files.contract").ImageError, match="task_summary_file"):
        app("outputs").summary_path(place, tmp_path)


def test_hx_18_what_the_operator_copied_imports_as_a_dataset_of_hard_examples(runner: Runner, mine: Mine) -> None:
    job = mine(parameters={"output_dataset_type": "directory"})
    report = runner.import_dataset("hard", out_dir(job), hard_only=True)
    assert report["format"] == "manifest"
    version = runner.get_dataset("hard")
    assert version["images"] == version["hard"] == len(manifest(job))


def test_hx_18_the_first_of_a_ranking_become_a_version_that_exports_and_imports_as_hard(runner: Runner, mine: Mine, tmp_path: Path) -> None:
    job = mine()
    derived = runner.derive_dataset("tiny", {"op": "top", "job": job["id"], "count": 2}, into="chosen")
    assert (derived["images"], runner.get_dataset("chosen")["hard"]) == (2, 2)
    runner.export_dataset("chosen", tmp_path / "export", format="manifest", hard=True)
    (file,) = (tmp_path / "export").rglob("*.manifest")
    lines = {line["hard-reasons"]: line for line in map(json.loads, file.read_text().splitlines())}
    assert lines["0"]["hard"] is True
    assert lines["0"]["hard-coefficient"] == 1.0
    back = runner.import_dataset("back", tmp_path / "export", hard_only=True)
    assert (back["images"], runner.get_dataset("back")["hard"]) == (2, 2)


# -------------------------------------------------------------------------------------------------------- beyond the table


def test_ties_are_ranked_by_what_the_clipping_hid(runner: Runner, mine: Mine, tmp_path: Path) -> None:
    job = mine(parameters={"comprehensive_algo_config": "predict_score_mining:5.0"})
    scores = pq.read_table(out_dir(job) / "scores.parquet").to_pylist()
    at_one = [row["id"] for row in sorted(scores, key=lambda row: -row["raw_sum"]) if row["coefficient"] == 1.0]
    assert len(at_one) > 1
    assert [row["asset"] for row in job["result"]["top"]][: len(at_one)] == [name.partition(".")[0] for name in at_one]


def test_a_job_says_what_was_left_out_and_why(mine: Mine) -> None:
    job = mine(parameters={"train_data_path": "obs://bucket/V001.manifest"})
    report = json.loads((out_dir(job) / "report.json").read_text())
    assert set(report["skipped"]) >= {
        "aug_consistent_mining",
        "feature_distribution_mining",
        "clustering_mining",
        "image_similarity_mining",
    }
    assert report["not_read"] == ["train_data_path"]
    assert "classic" in report["embedder"]
    assert [warning["code"] for warning in job["warnings"]] == ["no_training_data"]


def test_consecutive_pictures_are_told_by_the_names_they_were_imported_under(runner: Runner, mine: Mine, tmp_path: Path) -> None:
    other = boxes(("dog", 0.95, [10, 20, 40, 60]))
    folder = catalogue(tmp_path / "ride", {"frame 1.jpg": SURE, "frame 2.jpg": SURE, "frame 3.jpg": other})
    first = (folder / "images/frame 1.jpg").read_bytes()
    for number in (2, 3):  # the same picture but for a comment behind its end, so that it is another asset
        (folder / f"images/frame {number}.jpg").write_bytes(first[:2] + b"\xff\xfe\x00\x03" + bytes([number]) + first[2:])
    runner.import_dataset("ride", folder)
    job = mine("ride")
    reasons = {Path(row["name"]).name: row["reasons"] for row in job["result"]["top"]}
    assert 4 in reasons["frame 3.jpg"]
    assert 4 in reasons["frame 2.jpg"]


def test_the_sheet_shows_boxes_and_words(runner: Runner, mine: Mine, tmp_path: Path) -> None:
    from PIL import Image

    job = mine()
    shown = runner.contact_sheet(job["id"], tmp_path / "hard.png", columns=5)
    assert shown["images"] == 5
    with Image.open(tmp_path / "hard.png") as sheet:
        reds = sum(count for count, colour in sheet.convert("RGB").getcolors(2**24) or () if colour == (200, 0, 30))
        plain_height = 24 + 6 + 220 + 18 + 6
        assert reds > 50
        assert sheet.height > plain_height


def test_the_ranking_is_the_same_for_every_order_of_the_candidates_and_every_run(mine: Mine) -> None:
    first, second = mine(), mine()
    assert first["result"]["top"] == second["result"]["top"]


def test_a_mining_of_a_model_takes_its_newest_predictions_and_its_training_data(runner: Runner, mine: Mine, tmp_path: Path) -> None:
    train(runner, tmp_path)
    job = run(runner, kind="inference", image="probe", data="pets:test", model="first")
    mined = mine("pets:test", model="first")
    assert mined["state"] == "succeeded", mined["evidence"]
    assert mined["data"] == {"train": "pets@V001:train", "data": "pets@V001:test", "predictions": job["id"]}
    assert json.loads((out_dir(mined) / "report.json").read_text())["training_pictures"] == 6
    again = runner.rerun_job(mined["id"])
    runner.run(again["id"])
    assert runner.get_job(again["id"])["result"]["top"] == mined["result"]["top"]


def test_hard_predictions_of_others_cannot_be_named(runner: Runner, mine: Mine, tmp_path: Path) -> None:
    other = runner.import_dataset("other", catalogue(tmp_path / "other", {"x.jpg": DOUBTFUL, "y.jpg": EMPTY}))
    with pytest.raises(DatasetError, match=r"5 of 5 pictures of tiny@V001 have no prediction in import-"):
        mine(predictions=other["predictions"])


def test_weights_are_fitted_to_candidates_whose_labels_are_known(runner: Runner, mine: Mine, tmp_path: Path) -> None:
    truth = voc_folder(tmp_path / "truth", {"": 36})
    right, wrong = boxes(("cat", 0.95, [3, 2, 22, 20])), boxes(("bird", 0.4, [0, 25, 9, 39]))
    pool = catalogue(tmp_path / "pool", {f"{number:03d}.png": wrong if number % 5 == 0 else right for number in range(24)})
    for number in range(24):
        (truth / f"Annotations/{number:03d}.xml").write_text(
            (truth / "Annotations/000.xml").read_text().replace("000.png", f"{number:03d}.png")
        )
        (pool / f"images/{number:03d}.png").write_bytes((truth / f"JPEGImages/{number:03d}.png").read_bytes())
    runner.import_dataset("truth", truth)
    runner.import_dataset("pool", pool)
    job = mine("pool", {"fit_weights": True}, training_data="truth")
    assert job["state"] == "succeeded", job["evidence"]
    fitted = json.loads((out_dir(job) / "report.json").read_text())["fitted"]
    assert (fitted["pictures"], fitted["hard"]) == (24, 5)
    assert fitted["ece_after"] < fitted["ece_before"]
    assert {Path(name).stem for name in names_of(job)[:5]} == {"000", "005", "010", "015", "020"}
    failed = mine("pool", {"fit_weights": True})
    assert "none of the candidates is among the training data" in failed["evidence"]["image_message"]


def test_predictions_for_changed_pictures_are_used_where_somebody_made_them(tmp_path: Path) -> None:
    """As an image that has the model may call this one: Sluice itself stages no views."""
    parameters = yaml.safe_load((APP.parent / "img-man/det/mining-template.yaml").read_text())
    pictures = make_samples(tmp_path / "assets", 3, ("cat", "dog"))
    paths = ContainerPaths(str(tmp_path / "in"), str(tmp_path / "out"))
    found = [(one.asset.file_name, (Annotation("cat", 10, 10, 30, 20, score=0.95),)) for one in pictures]
    inputs = JobInputs(
        "m1", Kind.MINING, ObjectType.DETECTION, ("cat", "dog"), parameters, candidates=pictures, paths=paths, predictions=found
    )
    stage(inputs, tmp_path / "in", tmp_path / "out")
    views = tmp_path / "in/predictions/views/fliplr"
    views.mkdir(parents=True)
    for number, one in enumerate(pictures):
        seen = boxes(("cat", 0.9, [10, 10, 30, 40])) if number else EMPTY
        (views / f"{one.asset.file_name}_result.txt").write_text(json.dumps(seen))
    done = start(APP, tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "out/mining-reasons.jsonl").read_text().splitlines()]
    assert [20 in line["reasons"] for line in lines] == [Path(line["image"]).name == pictures[0].asset.file_name for line in lines]
    assert "aug_consistent_mining" in json.loads((tmp_path / "out/report.json").read_text())["ran"]
