"""The reasons 0 to 30 why a picture is a hard example, in words. The numbers are ModelArts' (``@modelarts:hard_reasons``), the words ours."""

from __future__ import annotations

from collections.abc import Iterable

_FEATURES = (
    "the picture's resolution is far from the training data's",
    "the picture's aspect ratio is far from the training data's",
    "the picture's brightness is far from the training data's",
    "the picture's saturation is far from the training data's",
    "the picture's richness of colour is far from the training data's",
    "the picture's clarity is far from the training data's",
    "the number of boxes is far from the training data's",
    "the spread of box areas is far from the training data's",
    "the aspect ratio of the boxes is far from the training data's",
    "the boxes' share of the picture is far from the training data's",
    "the boxes lie nearer to or farther from the edge than in the training data",
    "the brightness inside the boxes is far from the training data's",
    "the clarity inside the boxes is far from the training data's",
    "the boxes overlap more or less than in the training data",
)
_CHANGES = {
    "gaussianblur": "blurred",
    "fliplr": "mirrored left to right",
    "crop": "cropped",
    "flipud": "turned upside down",
    "scale": "scaled",
    "translate": "shifted",
    "shear": "sheared",
    "superpixels": "reduced to superpixels",
    "sharpen": "sharpened",
    "add": "brightened",
    "invert": "inverted",
}
#: By number.
REASONS: tuple[str, ...] = (
    "nothing was found in the picture",
    "the confidence is low",
    "the cluster it belongs to in the training data disagrees with the prediction",
    "it is far from the training data of the predicted class",
    "the predictions of consecutive similar pictures disagree",
    *_FEATURES,
    *(f"the prediction changes when the picture is {done} ({name})" for name, done in _CHANGES.items()),
    "the picture is unlike the others",
)


def reason_texts(reasons: Iterable[int]) -> tuple[str, ...]:
    """A sentence for each number; one that is not in the list is named as such."""
    return tuple(REASONS[reason] if 0 <= reason < len(REASONS) else f"reason {reason}" for reason in reasons)
