"""What is known of the candidates, and of what is labelled already. Everything but the names may be missing: strategies say what they need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mining.boxes import Boxes, Floats

Embeddings = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Labelled:
    """What has labels: ``class_counts`` (C,) objects (or pictures) of each class, ``embeddings`` (m, d) in the space of the pool's, ``labels`` (m,)."""

    class_counts: Floats | None = None
    embeddings: Embeddings | None = None
    labels: npt.NDArray[np.int64] | None = None
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
