"""The 11 augmentations of ``aug_consistent_mining``: changed pictures for a model, and its boxes mapped back to the picture as it was.

The names are those of ModelArts' ``aug_op_config`` (imgaug's); the strengths are ours, mild enough that a person would label the changed picture
the same. All are deterministic. Geometric ones are an affine map of the picture onto a canvas of the same size; what falls outside is lost, and a
box of which less than 60 % is inside counts as not comparable on either side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from mining.boxes import Boxes, Floats
from mining.hard_examples.parameters import ParameterError
from mining.hard_examples.reasons import OPERATIONS

LEAST_INSIDE = 0.6
_GREY = (124, 116, 104)
#: Grey levels that ``add`` adds.
_ADDED = 30
_SUPERPIXELS_ACROSS = 64


@dataclass(frozen=True)
class View:
    """A changed picture and where each of its points came from.

    ``to_view``: 3 x 3, takes (x, y, 1) of the picture to the view; the identity where only colours changed. Sizes are (width, height) in pixels.
    """

    picture: Image.Image
    to_view: Floats
    size: tuple[int, int]

    def map_back(self, boxes: Boxes, plain: Boxes | None = None) -> Boxes:
        """The view's boxes in the picture's pixels, cut at its border; those with less than 60 % of their area inside are dropped.

        ``plain``: what was found in the unchanged picture. Its boxes that a crop or a shift has moved out of sight are no disagreement: they stand
        as they were, in the place of what the model made of the parts that were left of them.
        """
        corners = _mapped(boxes.corners, _inverse(self.to_view))
        inside = _clipped(corners, *self.size)
        kept = _areas(inside) >= LEAST_INSIDE * _areas(corners)
        back = boxes.keep(np.flatnonzero(kept & (_areas(inside) > 0)))
        chosen = inside[kept & (_areas(inside) > 0)]
        back = Boxes(chosen, back.scores, back.classes, back.probabilities, back.features)
        return back if plain is None else _with_hidden(back, plain.keep(~self.visible(plain)))

    def visible(self, boxes: Boxes) -> np.ndarray:
        """(n,) True for the picture's boxes of which at least 60 % are inside the view: the others cannot be found again."""
        corners = _mapped(boxes.corners, self.to_view)
        inside = _clipped(corners, *self.picture.size)
        return _areas(inside) >= LEAST_INSIDE * _areas(corners)


#: What a model says of one picture (mode RGB): boxes in its pixels.
Model = Callable[[Image.Image], Boxes]
Classifier = Callable[[Image.Image], Floats]


def make_view(picture: Image.Image, operation: str) -> View:
    """The picture changed by one of the 11 operations. Raises ``ParameterError`` for another name."""
    if operation not in _MAKERS:
        raise ParameterError("aug_op_config", f"there is no {operation!r}; known: {', '.join(OPERATIONS)}")
    picture = picture if picture.mode == "RGB" else picture.convert("RGB")
    made = _MAKERS[operation](picture)
    return made if isinstance(made, View) else View(made, np.eye(3), picture.size)


def predict_views(model: Model, picture: Image.Image, operations: Iterable[str], plain: Boxes | None = None) -> dict[str, Boxes]:
    """By operation, what the model finds in the changed picture, in the pixels of the picture itself: a row of a ``Question``'s ``views`` each.

    ``plain``: what it finds in the unchanged picture (``View.map_back``).
    """
    views = {name: make_view(picture, name) for name in operations}
    return {name: view.map_back(model(view.picture), plain) for name, view in views.items()}


def classify_views(model: Classifier, picture: Image.Image, operations: Iterable[str]) -> dict[str, Floats]:
    """By operation, the model's probabilities (C,) of the changed picture."""
    return {name: np.asarray(model(make_view(picture, name).picture), np.float64) for name in operations}


def _with_hidden(boxes: Boxes, hidden: Boxes) -> Boxes:
    """The view's boxes without those that mostly lie in a hidden box of their class, and the hidden ones."""
    start = np.maximum(boxes.corners[:, None, :2], hidden.corners[None, :, :2])
    end = np.minimum(boxes.corners[:, None, 2:], hidden.corners[None, :, 2:])
    shared = _areas(np.concatenate([start, end], axis=2).reshape(-1, 4)).reshape(len(boxes), len(hidden))
    same = boxes.classes[:, None] == hidden.classes[None, :]
    left_over = (same & (shared >= LEAST_INSIDE * _areas(boxes.corners)[:, None])).any(axis=1)
    return _joined(boxes.keep(~left_over), hidden)


def _joined(boxes: Boxes, hidden: Boxes) -> Boxes:
    """Boxes, scores and classes of both; what only one of them has of the rest is left out."""
    parts = [
        None if left is None or right is None else np.concatenate([left, right])
        for left, right in ((boxes.probabilities, hidden.probabilities), (boxes.features, hidden.features))
    ]
    return Boxes(
        np.concatenate([boxes.corners, hidden.corners]),
        np.concatenate([boxes.scores, hidden.scores]),
        np.concatenate([boxes.classes, hidden.classes]),
        *parts,
    )


# ------------------------------------------------------------------------------------------------------------------- boxes


def _mapped(corners: Floats, matrix: Floats) -> Floats:
    """(n, 4) the upright boxes around the four mapped corners of each."""
    corners = np.asarray(corners, np.float64).reshape(-1, 4)
    points = np.stack([corners[:, [0, 2, 2, 0]], corners[:, [1, 1, 3, 3]], np.ones((len(corners), 4))], axis=1)
    moved = np.einsum("ij,njk->nik", matrix, points)
    return np.column_stack([moved[:, 0].min(1), moved[:, 1].min(1), moved[:, 0].max(1), moved[:, 1].max(1)])


def _inverse(matrix: Floats) -> Floats:
    return np.asarray(np.linalg.inv(matrix), np.float64)


def _clipped(corners: Floats, width: int, height: int) -> Floats:
    return np.clip(corners, 0, [width, height, width, height])


def _areas(corners: Floats) -> Floats:
    areas: Floats = np.prod(np.clip(corners[:, 2:] - corners[:, :2], 0, None), axis=1)
    return areas


# ---------------------------------------------------------------------------------------------------------------- pictures


def _affine(picture: Image.Image, to_view: Floats) -> View:
    back = _inverse(to_view)[:2].ravel()
    moved = picture.transform(picture.size, Image.Transform.AFFINE, tuple(back), Image.Resampling.BILINEAR, fillcolor=_GREY)
    return View(moved, to_view, picture.size)


def _about_centre(picture: Image.Image, linear: list[list[float]]) -> Floats:
    """The 3 x 3 map that leaves the centre where it is."""
    centre = np.array([picture.width / 2, picture.height / 2])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = centre - matrix[:2, :2] @ centre
    return matrix


def _crop(picture: Image.Image) -> View:
    """The middle 80 % of each side, in its own size."""
    left, top = round(picture.width * 0.1), round(picture.height * 0.1)
    box = (left, top, max(left + 1, picture.width - left), max(top + 1, picture.height - top))
    return View(picture.crop(box), np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], np.float64), picture.size)


def _flip_left_right(picture: Image.Image) -> View:
    return View(ImageOps.mirror(picture), np.array([[-1, 0, picture.width], [0, 1, 0], [0, 0, 1]], np.float64), picture.size)


def _flip_up_down(picture: Image.Image) -> View:
    return View(ImageOps.flip(picture), np.array([[1, 0, 0], [0, -1, picture.height], [0, 0, 1]], np.float64), picture.size)


def _scale(picture: Image.Image) -> View:
    """To 80 %, on a canvas of the same size."""
    return _affine(picture, _about_centre(picture, [[0.8, 0], [0, 0.8]]))


def _translate(picture: Image.Image) -> View:
    """By a tenth of the size to the right and down."""
    matrix = np.eye(3)
    matrix[:2, 2] = round(picture.width * 0.1), round(picture.height * 0.1)
    return _affine(picture, matrix)


def _shear(picture: Image.Image) -> View:
    """Sideways by 8 degrees."""
    return _affine(picture, _about_centre(picture, [[1, float(np.tan(np.radians(8)))], [0, 1]]))


def _superpixels(picture: Image.Image) -> Image.Image:
    """Fields of about a 64th of the longer side, each in the mean colour of its pixels: a stand-in for SLIC on a regular grid."""
    field = max(2, round(max(picture.size) / _SUPERPIXELS_ACROSS))
    small = picture.resize((max(1, picture.width // field), max(1, picture.height // field)), Image.Resampling.BOX)
    return small.resize(picture.size, Image.Resampling.NEAREST)


def _add(picture: Image.Image) -> Image.Image:
    return picture.point([min(255, level + _ADDED) for level in range(256)] * 3)


def _blur(picture: Image.Image) -> Image.Image:
    """With a standard deviation of a 300th of the longer side, at least one pixel."""
    return picture.filter(ImageFilter.GaussianBlur(max(1.0, max(picture.size) / 300)))


def _sharpen(picture: Image.Image) -> Image.Image:
    return ImageEnhance.Sharpness(picture).enhance(3.0)


_MAKERS: Mapping[str, Callable[[Image.Image], View | Image.Image]] = {
    "gaussianblur": _blur,
    "fliplr": _flip_left_right,
    "crop": _crop,
    "flipud": _flip_up_down,
    "scale": _scale,
    "translate": _translate,
    "shear": _shear,
    "superpixels": _superpixels,
    "sharpen": _sharpen,
    "add": _add,
    "invert": ImageOps.invert,
}
