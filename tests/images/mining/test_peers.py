"""The same inputs give what the libraries of others give: scikit-activeml and modAL."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from mining import Labelled, Pool, kmeans, seeding, select
from mining.badge import Factored
from mining.typiclust import rounds, typicality
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

with warnings.catch_warnings():
    # What these print while they are imported is about their own dependencies.
    warnings.simplefilter("ignore")
    from modAL.uncertainty import entropy_sampling, margin_sampling
    from skactiveml.pool import Badge, CoreSet, UncertaintySampling
    from skactiveml.pool import TypiClust as PeerTypiClust
    from skactiveml.utils import MISSING_LABEL

BUDGET = 25


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """600 digits: embeddings (600, 64) without ties in their distances, labels, and class probabilities of a model of the first 40."""
    images, labels = load_digits(return_X_y=True)
    points = images[:600] / 16 + np.random.default_rng(0).normal(0, 1e-3, (600, 64))
    model = LogisticRegression(max_iter=500).fit(points[:40], labels[:40])
    return points.astype(np.float32), labels[:600], model.predict_proba(points)


def _pool(points: Any, probabilities: Any) -> Pool:
    """Candidates 40..599; the first 40 are labelled."""
    return Pool(
        [f"{row:03d}" for row in range(40, 600)],
        tuple("0123456789"),
        probabilities=probabilities[40:],
        embeddings=points[40:],
        labelled=Labelled(embeddings=points[:40]),
    )


def _picked(pool: Pool, strategy: str) -> list[int]:
    return [int(pick.id) for pick in select(pool, strategy, budget=BUDGET).selected]


class _Fixed:
    """A classifier that says what it is told; ``classes_`` and ``predict_proba`` are all that the peers ask of one."""

    def __init__(self, probabilities: Any) -> None:
        self.probabilities, self.classes_ = probabilities, np.arange(10)

    def predict_proba(self, _points: Any) -> Any:
        return self.probabilities


def _known(labels: Any) -> Any:
    known = np.full(600, MISSING_LABEL, float)
    known[:40] = labels[:40]
    return known


def test_core_set_has_the_radii_of_scikit_activeml(digits: Any) -> None:
    points, labels, probabilities = digits
    wide = points.astype(float)
    _, utilities = CoreSet(random_state=0).query(wide, _known(labels), batch_size=BUDGET, return_utilities=True)
    radii = np.nanmax(utilities, axis=1)
    picks = select(_pool(points, probabilities), "core_set", budget=BUDGET).selected
    assert [pick.score for pick in picks] == pytest.approx(radii.tolist(), rel=1e-4)


@pytest.mark.parametrize(
    ("ours", "theirs"), [("entropy", "entropy"), ("margin", "margin_sampling"), ("least_confidence", "least_confident")]
)
def test_uncertainty_picks_the_pictures_of_scikit_activeml(digits: Any, ours: str, theirs: str) -> None:
    from skactiveml.classifier import SklearnClassifier

    points, labels, _ = digits
    classifier = SklearnClassifier(LogisticRegression(max_iter=500), classes=list(range(10))).fit(points.astype(float), _known(labels))
    peer = UncertaintySampling(method=theirs, random_state=0)
    rows = peer.query(points.astype(float), _known(labels), clf=classifier, fit_clf=False, batch_size=BUDGET)
    probabilities = classifier.predict_proba(points.astype(float))
    assert set(_picked(_pool(points, probabilities), ours)) == set(rows.tolist())


@pytest.mark.parametrize(("ours", "theirs"), [("entropy", entropy_sampling), ("margin", margin_sampling)])
def test_uncertainty_picks_the_pictures_of_modal(digits: Any, ours: str, theirs: Any) -> None:
    points, _, probabilities = digits
    found = theirs(_Fixed(probabilities[40:]), points[40:], n_instances=BUDGET)
    rows = np.asarray(found[0] if isinstance(found, tuple) else found)
    assert set(_picked(_pool(points, probabilities), ours)) == {int(row) + 40 for row in rows}


def test_k_means_is_as_tight_as_scikit_learn(digits: Any) -> None:
    from sklearn.cluster import KMeans

    points = digits[0]
    theirs = KMeans(30, n_init=10, random_state=0).fit(points).inertia_
    assert kmeans.cluster(points, 30, np.random.default_rng(0), runs=10).inertia <= 1.02 * theirs


def test_typiclust_picks_as_typical_pictures_as_scikit_activeml(digits: Any) -> None:
    """The same clusters in (theirs), ours picks the same kind of pictures: the mean typicality within 2 %."""
    from sklearn.cluster import KMeans

    points, labels, _ = digits
    wide = points.astype(float)
    arguments = {"random_state": 0, "n_init": 3}
    rows = PeerTypiClust(cluster_algo=KMeans, cluster_algo_dict=arguments, k=5, random_state=0).query(wide, _known(labels), batch_size=10)
    clusters = KMeans(50, **arguments).fit(wide).labels_
    covered = np.bincount(clusters[:40], minlength=50)
    sizes = np.bincount(clusters[40:], minlength=50)
    density = typicality(points[40:], clusters[40:], 5)
    ours = rounds(clusters[40:], density, covered, sizes, 0, 10)
    assert (covered[clusters[rows]] == 0).all()
    assert (covered[clusters[40 + ours]] == 0).all()
    assert density[ours].mean() >= 0.98 * density[np.asarray(rows) - 40].mean()


def test_badge_spreads_gradients_as_scikit_activeml_does(digits: Any) -> None:
    """Both draw, so what is compared is the mean over seeds of what k-means++ makes small: the squared distances left over."""
    from skactiveml.classifier import SklearnClassifier

    points, labels, _ = digits
    wide = points.astype(float)
    classifier = SklearnClassifier(LogisticRegression(max_iter=500), classes=list(range(10))).fit(wide, _known(labels))
    probabilities = classifier.predict_proba(wide)
    gradients = Factored.of(_pool(points, probabilities))

    def left_over(rows: Any) -> float:
        return float(np.min([gradients.distances(int(row)) for row in rows], axis=0).sum())

    ours, theirs = [], []
    for seed in range(30):
        ours.append(left_over(seeding.draw(BUDGET, int(np.argmax(gradients.norms)), gradients.distances, np.random.default_rng(seed)).rows))
        found = Badge(random_state=seed).query(wide, _known(labels), clf=classifier, fit_clf=False, batch_size=BUDGET)
        theirs.append(left_over(np.asarray(found) - 40))
    assert np.mean(ours) <= 1.02 * np.mean(theirs)
