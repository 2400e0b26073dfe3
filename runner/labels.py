"""Labels of whole pictures among annotations: what a classification is taught and answers."""

from __future__ import annotations

from collections.abc import Iterable

from contracts.dataset import Annotation


def surest_label(annotations: Iterable[Annotation]) -> Annotation | None:
    """The label with the highest score, the first of several; of labels that people gave, which have no score, the first. None without one."""
    labels = (annotation for annotation in annotations if annotation.shape == "image")
    return max(labels, key=lambda label: label.score or 0.0, default=None)
