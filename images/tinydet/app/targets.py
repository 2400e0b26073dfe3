"""What the network should answer: class heatmaps and box regions on a grid of cells. Only numpy.

A cell (row i, column j) looks at the pixel ((j + 0.5) * stride, (i + 0.5) * stride). Boxes are (n, 4) float x1 y1 x2 y2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

PEAK_SPREAD = 0.54  # half width of a peak as a share of the box, as in TTFNet (arXiv 1909.00700, alpha)
LEAST_SIGMA_CELLS = 0.4


@dataclass(frozen=True)
class Targets:
    """``heat`` (classes, h, w) in [0, 1], 1 exactly at box centres; ``box`` (4, h, w) x1 y1 x2 y2 in pixels; ``weight`` (h, w).

    The weights of one box's cells sum to 1; cells outside every box have weight 0.
    """

    heat: FloatArray
    box: FloatArray
    weight: FloatArray


def build_targets(boxes: FloatArray, labels: IntArray, class_count: int, grid: tuple[int, int], stride: int) -> Targets:
    """Targets for one picture. Large boxes are drawn first, so that a small box in front of a large one keeps its cells."""
    height, width = grid
    heat = np.zeros((class_count, height, width), np.float32)
    box = np.zeros((4, height, width), np.float32)
    weight = np.zeros((height, width), np.float32)
    sides = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None)
    for index in np.argsort(-np.prod(sides, axis=1), kind="stable"):
        peak, rows, columns = draw_peak(boxes[index] / stride, grid)
        view = heat[labels[index], rows, columns]
        np.maximum(view, peak, out=view)
        covered = peak > 0
        box[:, rows, columns][:, covered] = boxes[index][:, None]
        weight[rows, columns][covered] = (peak / peak.sum())[covered]
    return Targets(heat, box, weight)


def draw_peak(box: FloatArray, grid: tuple[int, int]) -> tuple[FloatArray, slice, slice]:
    """A bell over the middle of a box given in cells, 1 at its centre cell, cut off below 5 %; and where it lies."""
    centre = np.clip((box[:2] + box[2:]) / 2, 0, np.array([grid[1], grid[0]]) - 1e-3).astype(int)
    reach = np.maximum((box[2:] - box[:2]) * PEAK_SPREAD / 2, 0.0)
    sigma = np.maximum((2 * reach + 1) / 6, LEAST_SIGMA_CELLS)
    low = np.maximum(centre - np.ceil(reach).astype(int), 0)
    high = np.minimum(centre + np.ceil(reach).astype(int) + 1, [grid[1], grid[0]])
    across = np.exp(-((np.arange(low[0], high[0]) - centre[0]) ** 2) / (2 * sigma[0] ** 2))
    down = np.exp(-((np.arange(low[1], high[1]) - centre[1]) ** 2) / (2 * sigma[1] ** 2))
    peak = (down[:, None] * across[None, :]).astype(np.float32)
    return np.where(peak < 0.05, 0, peak), slice(low[1], high[1]), slice(low[0], high[0])
