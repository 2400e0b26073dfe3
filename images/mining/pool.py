"""What is known of the candidates, and of what is labelled already. Everything but the names may be missing: strategies say what they need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mining.boxes import Boxes, Floats, Ints

Embeddings = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Labelled:
    """What has labels: ``class_counts`` (C,) objects (or pictures) of each class, ``embeddings`` (m, d) in the space of the pool's, ``labels`` (m,)."""

    class_counts: Floats | None = None
    embeddings: Embeddings | None = None
    labels: npt.NDArray[np.int64] | None = None
    #: (m,) perceptual hashes of the labelled pictures: candidates that look the same are not worth a label.
    hashes: npt.NDArray[np.uint64] | None = None
    #: (C,) how hard each class is for the model, in [0, 1]: ``mining.ppal.class_difficulty`` measures it on labelled pictures.
    class_difficulty: Floats | None = None
    #: Pictures with labels, known even where nothing else is.
    image_count: int = 0


@dataclass(frozen=True)
class Pool:
    """The candidates of one mining run; n rows in each part, in the order of ``ids``.

    ``ids``: a name per picture, unique and stable: ties and random numbers go by it, so that the order of the candidates does not matter.
    Detection: ``predictions``. Classification: ``probabilities`` (n, C), rows sum to 1. Both: ``embeddings`` (n, d), a vector per picture.
    ``views``: by name of the augmentation, predictions (or probabilities) of the changed pictures, boxes mapped back to the picture as stored.
    ``hashes`` (n,) uint64: 64-bit perceptual hashes. ``class_maps``: row -> (C, h, w) probabilities of a dense head, asked for one at a time.
    ``order``: sort keys (n,) where the candidates are a sequence: (video, frame).
    """

    ids: Sequence[str]
    class_names: Sequence[str] = ()
    predictions: Sequence[Boxes] | None = None
    probabilities: Floats | None = None
    embeddings: Embeddings | None = None
    views: Mapping[str, Sequence[Boxes] | Floats] | None = None
    hashes: npt.NDArray[np.uint64] | None = None
    class_maps: Callable[[int], Floats] | None = None
    order: Sequence[tuple[str, float]] | None = None
    labelled: Labelled = Labelled()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def kind(self) -> str:
        """ "detection" where there are boxes, "classification" where there are class probabilities of pictures, else "" (either)."""
        if self.predictions is not None:
            return "detection"
        return "classification" if self.probabilities is not None else ""

    @property
    def distributions(self) -> Floats:
        """(n, C) class probabilities of the pictures; only asked for where they are known to be there."""
        assert self.probabilities is not None
        return self.probabilities

    @property
    def points(self) -> Embeddings:
        """(n, d) embeddings; only asked for where they are known to be there."""
        assert self.embeddings is not None
        return self.embeddings

    def has(self, need: str) -> bool:
        """Whether a need of a strategy is met; the words are those of ``Strategy.needs``."""
        if need == "predictions":
            return self.predictions is not None or self.probabilities is not None
        if need == "probabilities" and self.predictions is not None:
            return all(boxes.probabilities is not None for boxes in self.predictions)
        if need == "features":
            return self.predictions is not None and all(boxes.features is not None for boxes in self.predictions)
        if need == "labelled":
            return self.labelled.class_counts is not None
        if need == "views":
            return bool(self.views)
        return getattr(self, need) is not None

    def only(self, parts: frozenset[str]) -> Pool:
        """The pool without what nobody will look at; predictions and probabilities stay."""
        unused = {part: None for part in ("embeddings", "views", "hashes", "class_maps", "order") if part not in parts}
        return replace(self, **unused)  # type: ignore[arg-type]

    def rows(self, rows: Ints) -> Pool:
        """The candidates at these rows, in this order; ``labelled`` and ``class_names`` stay."""
        listed = [int(row) for row in rows]
        maps = self.class_maps
        return replace(
            self,
            ids=[self.ids[row] for row in listed],
            predictions=None if self.predictions is None else [self.predictions[row] for row in listed],
            probabilities=None if self.probabilities is None else self.probabilities[rows],
            embeddings=None if self.embeddings is None else self.embeddings[rows],
            views=None if self.views is None else {name: _view_rows(view, rows) for name, view in self.views.items()},
            hashes=None if self.hashes is None else self.hashes[rows],
            class_maps=None if maps is None else (lambda row: maps(listed[row])),
            order=None if self.order is None else [self.order[row] for row in listed],
        )


def _view_rows(view: Sequence[Boxes] | Floats, rows: Ints) -> Sequence[Boxes] | Floats:
    return view[rows] if isinstance(view, np.ndarray) else [view[int(row)] for row in rows]
