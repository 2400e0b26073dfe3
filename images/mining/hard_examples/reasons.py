"""The reasons 0 to 30 of a hard example: what each means, which algorithm gives it and what a person can do about it.

The codes are those of ModelArts' sample attribute ``@modelarts:hard_reasons``; meaning and suggestion are our words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """One code. ``subject`` is the feature or the augmentation that the code is about, empty where the algorithm has only one."""

    code: int
    meaning: str
    algorithm: str
    suggestion: str
    subject: str = ""


#: The seven algorithms of the operator.
ALGORITHMS = (
    "clustering_mining",
    "aug_consistent_mining",
    "feature_distribution_mining",
    "sequential_mining",
    "image_similarity_mining",
    "predict_score_mining",
    "anomaly_detection_mining",
)

_BOXES = "Check the predicted boxes first; if the objects really look so, label the picture and add more of the kind."
_OF_PICTURE = {
    "image_resolution": ("the picture's resolution is far from the training data's", "Check the camera and any resizing; add pictures of this size."),
    "image_aspect_ratio": ("the picture's aspect ratio is far from the training data's", "Check for squeezed pictures; add some of this shape."),
    "image_brightness": ("the picture's brightness is far from the training data's", "Add pictures in this light, or brightness augmentation."),
    "image_saturation": ("the picture's saturation is far from the training data's", "Check the camera; add such pictures or colour augmentation."),
    "image_colorfulness": ("the picture's richness of colour is far from the training data's", "Add such pictures or colour augmentation."),
    "ambiguity": ("the picture's clarity is far from the training data's", "Check focus, motion and compression; add such pictures or blur augmentation."),
    "bbox_num": ("the number of boxes is far from the training data's", "Look for missed or doubled objects; label the picture completely."),
    "bbox_std": ("the spread of box areas is far from the training data's", _BOXES),
    "bbox_aspect_ratio": ("the aspect ratio of the boxes is far from the training data's", _BOXES),
    "bbox_area_ratio": ("the boxes' share of the picture is far from the training data's", _BOXES),
    "bbox_edge_value": ("the boxes lie nearer to or farther from the edge than in the training data", _BOXES),
    "bbox_bright": ("the brightness inside the boxes is far from the training data's", "Add objects in this light, or brightness augmentation."),
    "bbox_ambiguity": ("the clarity inside the boxes is far from the training data's", "Check focus and motion; add such objects or blur augmentation."),
    "bbox_iou": ("the boxes overlap more or less than in the training data", "Look for doubled boxes; label crowded pictures completely."),
}  # fmt: skip
#: The 14 features in the order of their codes 5 to 18; the keys of ``analysis.features``.
FEATURES = tuple(_OF_PICTURE)
#: The features of which every box has a value of its own.
BOX_FEATURES = ("bbox_aspect_ratio", "bbox_area_ratio", "bbox_edge_value", "bbox_bright", "bbox_ambiguity", "bbox_iou")
#: The 11 augmentations in the order of their codes 19 to 29.
OPERATIONS = ("gaussianblur", "fliplr", "crop", "flipud", "scale", "translate", "shear", "superpixels", "sharpen", "add", "invert")
_DONE = dict(
    zip(
        OPERATIONS,
        ("blurred", "mirrored left to right", "cropped", "turned upside down", "scaled", "shifted", "sheared", "reduced to superpixels",
         "sharpened", "brightened", "inverted"),
        strict=True,
    )
)  # fmt: skip


def _features() -> list[Reason]:
    return [
        Reason(5 + place, meaning, "feature_distribution_mining", suggestion, key)
        for place, (key, (meaning, suggestion)) in enumerate(_OF_PICTURE.items())
    ]


def _operations() -> list[Reason]:
    return [
        Reason(
            19 + place,
            f"the prediction changes when the picture is {_DONE[name]} ({name})",
            "aug_consistent_mining",
            f"Label it, and train with the augmentation {name}.",
            name,
        )
        for place, name in enumerate(OPERATIONS)
    ]


_TABLE = (
    Reason(
        0, "nothing was found in the picture", "predict_score_mining",
        "Check whether there is an object; label it, or confirm that it is empty.",
    ),
    Reason(1, "the confidence is low", "predict_score_mining", "Label it; many of one class: add labelled pictures of that class."),
    Reason(
        2, "the cluster it belongs to in the training data disagrees with the prediction", "clustering_mining",
        "Check the predicted class, and the labels of the training pictures that look like it.",
    ),
    Reason(
        3, "it is far from the training data of the predicted class", "image_similarity_mining",
        "Check the predicted class; if it is right, add pictures that show the class like this.",
    ),
    Reason(
        4, "the predictions of consecutive similar pictures disagree", "sequential_mining",
        "Compare it with its neighbours and label the one that is wrong.",
    ),
    *_features(),
    *_operations(),
    Reason(
        30, "the picture is unlike the others", "anomaly_detection_mining",
        "Check for a damaged or foreign picture; else label it, and collect more of the kind.",
    ),
)  # fmt: skip
#: By code.
REASONS: dict[int, Reason] = {reason.code: reason for reason in _TABLE}
FEATURE_CODES = {reason.subject: reason.code for reason in _TABLE if reason.algorithm == "feature_distribution_mining"}
OPERATION_CODES = {reason.subject: reason.code for reason in _TABLE if reason.algorithm == "aug_consistent_mining"}


def texts(codes: Iterable[int]) -> list[str]:
    """A sentence for people for each code."""
    return [REASONS[code].meaning for code in codes]


def join_codes(codes: Sequence[int]) -> str:
    """``[1, 20, 3]`` as ModelArts writes it: ``1-20-3``."""
    return "-".join(str(code) for code in codes)


def split_codes(text: str) -> list[int]:
    """The codes of ``1-20-3`` in their order. Raises ``ValueError`` that names what is no code."""
    parts = text.split("-") if text else []
    for part in parts:
        if not (part.isascii() and part.isdecimal() and int(part) in REASONS):
            raise ValueError(f"{part!r} in {text!r} is not a reason of a hard example; those are 0 to {max(REASONS)}")
    return [int(part) for part in parts]
