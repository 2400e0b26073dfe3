"""What a writer could not put into its format: counted while it writes, said once at the end."""

from __future__ import annotations

from collections import Counter

from contracts.dataset import Annotation, Sample
from contracts.job import JobWarning
from contracts.seams import Export

#: Splits that the readers know by the names of files and folders.
KNOWN_SPLITS = frozenset({"train", "val", "test", "pool"})
#: Everything that an annotation may say beyond its class and box, and a sample beyond its annotations.
ANNOTATION_FACTS = ("score", "segmentation", "crowd", "difficult", "quality", "angle", "shape", "attributes", "annotated_by")
SAMPLE_FACTS = ("state", "hard", "tags", "predictions", "split")
_WORDS = {
    "score": "scores",
    "segmentation": "outlines: their boxes were written",
    "crowd": "marks of crowds",
    "difficult": "marks of difficult objects",
    "quality": "box qualities",
    "angle": "angles of boxes",
    "shape": "drawn shapes: their bounding boxes were written",
    "attributes": "annotations with attributes",
    "annotated_by": "names of annotators",
    "image": "labels of whole pictures, which were left out",
    "box": "boxes, which were left out",
    "state": "states of samples (to be confirmed, unlabeled)",
    "hard": "marks of hard examples",
    "tags": "samples with tags",
    "predictions": "samples with predictions",
    "split": "samples in a split of another name than train, val, test or pool",
    "nothing": "samples that show nothing, which read back as not annotated",
}


class Losses:
    """Counts by kind; ``warnings`` has one entry for each kind that occurred."""

    def __init__(self, format_name: str) -> None:
        self._format_name = format_name
        self._counts: Counter[str] = Counter()
        self._words = dict(_WORDS)

    def note(self, kind: str, words: str = "", count: int = 1) -> None:
        """``words`` describe a kind of the format's own: ``12 <words>`` has no place in it."""
        self._counts[kind] += count
        if words:
            self._words[kind] = words

    def note_annotation(self, annotation: Annotation, held: frozenset[str]) -> None:
        """Every fact of the annotation that is not the default and that the format does not hold."""
        for fact in ANNOTATION_FACTS:
            if fact not in held and _says(annotation, fact):
                self.note(fact)

    def note_sample(self, sample: Sample, held: frozenset[str]) -> None:
        marks = sample.marks
        said = {
            "state": marks.state == "to_be_confirmed" or (marks.state == "unlabeled" and bool(sample.annotations)),
            "hard": marks.hard or marks.hard_coefficient is not None or bool(marks.hard_reasons),
            "tags": bool(marks.tags),
            "predictions": sample.predictions is not None,
            "split": sample.split not in KNOWN_SPLITS | {""},
        }
        for fact in SAMPLE_FACTS:
            if fact not in held and said[fact]:
                self.note(fact)

    def warnings(self) -> list[JobWarning]:
        return [
            JobWarning(f"export_{kind}", f"{count} {self._words[kind]}; {self._format_name} has no place for them")
            for kind, count in sorted(self._counts.items())
        ]


def _says(annotation: Annotation, fact: str) -> bool:
    if fact == "shape":
        return annotation.shape not in ("box", "image")
    if fact == "quality":
        return annotation.quality != -1.0
    if fact in ("score", "segmentation"):
        return getattr(annotation, fact) is not None
    return bool(getattr(annotation, fact))


def is_unlabeled(sample: Sample) -> bool:
    """Nobody looked at it, as far as its marks say."""
    return sample.marks.state == "unlabeled" and not sample.annotations


def is_seen(sample: Sample, export: Export) -> bool:
    """Whether somebody looked: the model, where its predictions are written instead of the annotations."""
    return sample.predictions is not None if export.predictions else not is_unlabeled(sample)
