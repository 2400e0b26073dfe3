"""What one of the seven algorithms says of the candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mining.boxes import Floats

#: Reason -> what it contributes to the strength, in 0..1.
Codes = Mapping[int, float]
NONE: Codes = {}


class MissingInputError(Exception):
    """An algorithm lacks what it needs; the message says what. It is skipped and reported, never counted as a strength of 0."""


@dataclass(frozen=True)
class Verdict:
    """n rows in each part.

    ``strengths`` (n,) in [0, 1], NaN of a picture that the algorithm could not judge. ``fired`` (n,): counts towards the coefficient. ``codes``:
    the reasons of a picture that fired. ``boxes``: for each picture the reasons of each of its boxes. ``columns``: further values (n,) by name, for
    the side file. ``details``: by row, what a person may want to see. ``report``: JSON-ready, about the whole run.
    """

    strengths: Floats
    fired: npt.NDArray[np.bool_]
    codes: Sequence[Codes]
    boxes: Sequence[Sequence[Codes]] | None = None
    columns: Mapping[str, Floats] = field(default_factory=dict)
    details: Mapping[int, Any] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)


def of_one_code(
    code: int, strengths: Floats, fired: npt.NDArray[np.bool_], boxes: Sequence[Sequence[Codes]] | None = None, **others: Any
) -> Verdict:
    """The verdict of an algorithm that has a single reason."""
    codes = [{code: float(strength)} if is_fired else NONE for strength, is_fired in zip(strengths, fired, strict=True)]
    return Verdict(strengths, fired, codes, boxes, **others)
