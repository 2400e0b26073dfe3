"""A small anchor-free detector: a convolutional trunk, a feature pyramid brought to one grid, a heatmap per class and a box per cell."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 4


class Conv(nn.Sequential):
    """Convolution, batch norm, ReLU; keeps the size or halves it (stride 2)."""

    def __init__(self, inputs: int, outputs: int, size: int = 3, stride: int = 1) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Two convolutions whose answer is added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = Conv(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(self.first(x)))


class Detector(nn.Module):
    """Pictures (n, 3, H, W), H and W multiples of 32, to logits (n, classes, H/4, W/4) and distances (n, 4, H/4, W/4).

    Distances are left, top, right, bottom from the cell's middle to the box's sides, in pixels, never negative.
    """

    def __init__(self, class_count: int, width: int = 32) -> None:
        super().__init__()
        self.width = w = width
        self.stem = nn.Sequential(Conv(3, w // 2, 3, 2), Conv(w // 2, w, 3, 2))
        self.stage4 = Residual(w)
        self.stage8 = nn.Sequential(Conv(w, 2 * w, 3, 2), Residual(2 * w))
        self.stage16 = nn.Sequential(Conv(2 * w, 4 * w, 3, 2), Residual(4 * w))
        self.stage32 = nn.Sequential(Conv(4 * w, 4 * w, 3, 2), Residual(4 * w))
        self.lateral = nn.ModuleList([nn.Conv2d(c, w, 1) for c in (w, 2 * w, 4 * w, 4 * w)])
        self.smooth = Conv(w, w)
        self.class_tower, self.box_tower = Conv(w, w), Conv(w, w)
        self.class_head, self.box_head = nn.Conv2d(w, class_count, 1), nn.Conv2d(w, 4, 1)
        nn.init.constant_(self.class_head.bias, -4.0)  # type: ignore[arg-type]
        nn.init.constant_(self.box_head.bias, 1.0)  # type: ignore[arg-type]

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        return self._heads(self._grid(self._trunk(pictures)))

    def describe(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits and distances, and what they were made of in the same pass: (n, w, H/4, W/4) features of cells and (n, d) of whole pictures."""
        levels = self._trunk(pictures)
        grid = self._grid(levels)
        return *self._heads(grid), grid, self._embedding(levels)

    def _heads(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        distances = functional.softplus(self.box_head(self.box_tower(grid))) * (2 * STRIDE)
        return self.class_head(self.class_tower(grid)), distances

    @staticmethod
    def _embedding(levels: list[Tensor]) -> Tensor:
        """(n, d) unit vectors that describe whole pictures: mean and maximum of the two deepest maps."""
        deep = levels[2:]
        pooled = [level.mean((2, 3)) for level in deep] + [level.amax((2, 3)) for level in deep]
        return functional.normalize(torch.cat([functional.normalize(part) for part in pooled], 1))

    def _trunk(self, pictures: Tensor) -> list[Tensor]:
        at4 = self.stage4(self.stem(pictures))
        at8 = self.stage8(at4)
        at16 = self.stage16(at8)
        return [at4, at8, at16, self.stage32(at16)]

    def _grid(self, levels: list[Tensor]) -> Tensor:
        """The levels added up on the finest grid, and smoothed."""
        merged = self.lateral[-1](levels[-1])
        for lateral, level in zip(reversed(self.lateral[:-1]), reversed(levels[:-1]), strict=True):
            merged = functional.interpolate(merged, scale_factor=2.0, mode="nearest") + lateral(level)
        grid: Tensor = self.smooth(torch.relu(merged))
        return grid


def cell_middles(height: int, width: int, device: torch.device) -> Tensor:
    """(2, height, width) x and y in pixels of the middle of each cell."""
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return (torch.stack([x, y]).float() + 0.5) * STRIDE


def boxes_of(distances: Tensor) -> Tensor:
    """(n, 4, h, w) distances to (n, 4, h, w) x1 y1 x2 y2 in pixels."""
    middles = cell_middles(distances.shape[2], distances.shape[3], distances.device)
    return torch.cat([middles - distances[:, :2], middles + distances[:, 2:]], 1)


@dataclass(frozen=True)
class Peaks:
    """The k strongest peaks of n pictures: ``boxes`` (n, k, 4) x1 y1 x2 y2 in pixels, ``scores`` (n, k) descending, ``labels`` (n, k), and
    ``cells`` (n, k), the number of the cell of each peak."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    cells: Tensor


def decode(logits: Tensor, distances: Tensor, limit: int) -> Peaks:
    """The strongest local peaks of the class heatmaps."""
    heat = logits.float().sigmoid()
    peaks = heat * (functional.max_pool2d(heat, 3, 1, 1) == heat)
    cells = heat.shape[2] * heat.shape[3]
    scores, places = peaks.flatten(1).topk(min(limit, peaks[0].numel()))
    return Peaks(at_cells(boxes_of(distances.float()), places % cells), scores, places // cells, places % cells)


def at_cells(maps: Tensor, cells: Tensor) -> Tensor:
    """(n, k, d) what maps (n, d, h, w) say at the numbered cells (n, k)."""
    return maps.flatten(2).gather(2, cells[:, None].expand(-1, maps.shape[1], -1)).transpose(1, 2)
