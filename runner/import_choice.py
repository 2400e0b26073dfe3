"""Which pictures and annotations of a source an import takes, where it is not to take all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from contracts.dataset import Annotation
from contracts.seams import ClassNames, ImportedImage, Skip
from registry.dataset_classes import check_class_name


class Choice:
    """Annotations of some classes alone, named by any name that the dataset knows them by, and of hard examples alone; it counts what it leaves out."""

    def __init__(self, classes: Iterable[str] = (), hard_only: bool = False, canonical: Mapping[str, str] | None = None) -> None:
        """Raises ``DatasetError`` for what is no name of a class. ``canonical``: what each name of the dataset means."""
        self._canonical = canonical or {}
        self._classes = frozenset(self._now(check_class_name(name)) for name in classes)
        self._hard_only = hard_only
        self._found: set[str] = set()
        self._without = self._easy = 0

    def of(self, image: ImportedImage) -> ImportedImage | None:
        """The picture with what is chosen of it; None when it is left out."""
        if self._hard_only and not image.marks.hard:
            self._easy += 1
            return None
        if not self._classes:
            return image
        kept = self._kept(image.annotations or ())
        if not kept:
            self._without += 1
            return None
        self._found.update(self._now(box.class_name) for box in kept)
        predictions = None if image.predictions is None else self._kept(image.predictions)
        return replace(image, annotations=kept, predictions=predictions)

    def declared(self, names: ClassNames) -> ClassNames:
        """What the source says of the chosen classes."""
        return replace(names, names=tuple(name for name in names.names if not self._classes or self._now(name) in self._classes))

    def notes(self) -> Iterator[Skip]:
        """What was left out, for the report: once for all pictures."""
        if self._easy:
            yield Skip(".", f"pictures that are not marked as hard were left out, as asked: {self._easy}", "image")
        if self._without:
            wanted = ", ".join(sorted(self._classes)[:10])
            yield Skip(".", f"pictures without an annotation of {wanted[:200]} were left out, as asked: {self._without}", "image")
        for name in sorted(self._classes - self._found) if self._found else ():
            yield Skip(".", f"no picture that was taken has an annotation of the class {name!r}", "box")

    def _kept(self, annotations: Iterable[Annotation]) -> tuple[Annotation, ...]:
        return tuple(box for box in annotations if self._now(box.class_name) in self._classes)

    def _now(self, name: str) -> str:
        return self._canonical.get(name, name)
