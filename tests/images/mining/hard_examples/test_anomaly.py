"""anomaly_detection_mining: unlike the rest."""

from __future__ import annotations

import numpy as np
from mining.hard_examples import Training
from mining.hard_examples.pictures import describe
from PIL import Image

from tests.images.mining.hard_examples.examples import ask, codes, only, two_clouds

ALONE = "anomaly_detection_mining"


def _picture(seed: int, *, noise: bool) -> np.ndarray:
    """A description of a sky over a field, or of noise."""
    generator = np.random.default_rng(seed)
    pixels = np.full((48, 64, 3), (120, 160, 220)) + generator.integers(-6, 7, (48, 64, 3))
    pixels[24 + seed % 4 :] = (70, 120, 40)
    if noise:
        pixels = generator.integers(0, 256, (48, 64, 3))
    return describe(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)))


def test_hx_10_one_noise_image_among_15_similar_ones_has_reason_30() -> None:
    embeddings = np.array([_picture(seed, noise=seed == 7) for seed in range(16)])
    answer = ask(only(ALONE), embeddings=embeddings, embedder="described")
    assert codes(answer) == [[30] if place == 7 else [] for place in range(16)]
    assert answer.report["algorithms"][ALONE]["compared_with"] == "the candidates themselves"


def test_against_the_training_data_what_is_foreign_fires_and_what_is_alike_rarely() -> None:
    known, _ = two_clouds((100, 100))
    fresh, _ = two_clouds((100, 100), seed=3)
    foreign = -np.ones((5, 6))
    answer = ask(only(ALONE), embeddings=np.vstack([fresh, foreign]), training=Training(embeddings=known))
    fired = np.array([row.hard for row in answer.rows])
    assert fired[200:].all()
    assert fired[:200].mean() < 0.12


def test_copies_and_a_batch_all_alike_are_no_anomaly() -> None:
    assert codes(ask(only(ALONE), embeddings=np.ones((30, 5)))) == [[]] * 30


def test_a_batch_that_is_too_small_is_skipped_and_a_row_without_an_embedding_is_not_judged() -> None:
    assert "too few" in ask(only(ALONE), embeddings=np.eye(5)).report["skipped"][ALONE]
    embeddings, _ = two_clouds((20, 20))
    embeddings[3] = np.nan
    assert np.isnan(ask(only(ALONE), embeddings=embeddings).rows[3].strengths[ALONE])
