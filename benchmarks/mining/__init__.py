"""Does mining pay? The tests of the mining core against known data, with random, a control that must lose, and peers one can install.

``curves`` labels bought per point of quality, ``errors`` whether the coefficient finds what the model gets wrong, ``redundancy`` near-duplicates
among the picks, ``label_errors`` planted mistakes, ``parity`` the same answers as peers and the cost. Needs the extra ``bench``.
"""

from __future__ import annotations

import sys
from pathlib import Path

_IMAGES = str(Path(__file__).resolve().parents[2] / "images")
if _IMAGES not in sys.path:  # the mining core lies with the images that carry it
    sys.path.insert(0, _IMAGES)
