"""What is measured of picture files, and whether the reasons are true: known changes to real pictures give the expected reasons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mining.boxes import Boxes
from mining.hard_examples.pictures import DIMENSIONS, describe, look_at
from mining.hard_examples.reasons import FEATURES
from PIL import Image

from analysis.features import measure_file
from benchmarks.mining.reasons import reasons_of_interventions
from tests.images.mining.hard_examples.examples import boxes


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_df_03_the_operator_measures_what_reports_measure(picture: Path) -> None:
    looks = look_at([(picture, boxes((5, 5, 25, 35, 0, 0.9), (20, 20, 50, 40, 1, 0.4)))])
    measured = measure_file(picture, [[5, 5, 20, 30], [20, 20, 30, 20]])
    assert looks.features[0].tolist() == [measured.picture[key] for key in FEATURES]
    assert looks.box_features[0][:, 3].tolist() == measured.boxes["bbox_bright"].tolist()
    assert (int(looks.hashes[0]), looks.sizes[0].tolist()) == (measured.hash, [60, 40])


def test_faint_boxes_do_not_count_in_the_features_of_their_picture(picture: Path) -> None:
    sure = [(5, 5, 25, 35, 0, 0.9), (20, 20, 50, 40, 1, 0.4)]
    faint = boxes(*sure, (0, 0, 60, 40, 0, 0.1))
    looks = look_at([(picture, boxes(*sure)), (picture, faint), (picture, boxes((0, 0, 60, 40, 0, 0.1)))])
    assert looks.features[1] == pytest.approx(looks.features[0], rel=1e-12)
    assert looks.box_features[1][:2] == pytest.approx(looks.box_features[0])
    assert len(looks.box_features[1]) == 3
    assert looks.features[2][[FEATURES.index("bbox_num"), FEATURES.index("bbox_bright")]] == pytest.approx([0, np.nan], nan_ok=True)


def test_a_picture_that_cannot_be_read_is_unknown_and_named(picture: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    looks = look_at([(tmp_path / "broken.jpg", Boxes()), (picture, None)])
    assert "broken.jpg cannot be read" in looks.errors[0]
    assert np.isnan(looks.features[0]).all()
    assert np.isnan(looks.embeddings[0]).all()
    known = dict(zip(FEATURES, np.isfinite(looks.features[1]), strict=True))
    assert known["image_brightness"]
    assert not known["bbox_num"]  # no prediction is not the same as no box


def test_a_description_has_its_length_and_tells_pictures_apart(picture: Path) -> None:
    noise = describe(Image.open(picture))
    flat = describe(Image.new("RGB", (7, 3), (200, 30, 30)))
    assert noise.shape == flat.shape == (DIMENSIONS,)
    assert np.linalg.norm(noise - flat) > 1
    assert np.array_equal(noise, describe(Image.open(picture)))


def test_t3_known_changes_to_blood_cell_pictures_give_the_expected_reasons(shared_data: Path) -> None:
    """mining.md 6, T3; the whole table is printed by ``scripts/bench mining.reasons``."""
    found = reasons_of_interventions(shared_data, pictures=6, references=60)
    assert min(found.hit_rates.values()) >= 0.95, found.hit_rates
    assert found.codes_per_clean_picture < 0.3
