"""What training makes small: focal loss on the heatmaps, generalised IoU on the boxes."""

from __future__ import annotations

import torch
from model import boxes_of
from torch import Tensor
from torch.nn import functional

BOX_WEIGHT = 5.0


def detection_loss(logits: Tensor, distances: Tensor, heat: Tensor, box: Tensor, weight: Tensor) -> Tensor:
    """A scalar. Shapes: logits and heat (n, classes, h, w); distances and box (n, 4, h, w); weight (n, h, w)."""
    box_count = weight.sum().clamp(min=1.0)
    return heatmap_loss(logits, heat) / box_count + BOX_WEIGHT * box_loss(distances, box, weight) / box_count


def heatmap_loss(logits: Tensor, heat: Tensor) -> Tensor:
    """Quality focal loss (arXiv 2006.04388), summed: cross entropy towards the bell, weighted by how far off the answer is.

    It learns faster from few pictures than CenterNet's loss, in which only the one centre cell of a box counts as a hit.
    """
    cross_entropy = functional.softplus(logits) - heat * logits
    return ((heat - logits.sigmoid()) ** 2 * cross_entropy).sum()


def box_loss(distances: Tensor, box: Tensor, weight: Tensor) -> Tensor:
    """1 - GIoU at the cells with weight, summed with their weights."""
    cells = weight > 0
    found = boxes_of(distances).permute(0, 2, 3, 1)[cells]
    wanted = box.permute(0, 2, 3, 1)[cells]
    return ((1 - generalised_iou(found, wanted)) * weight[cells]).sum()


def generalised_iou(first: Tensor, second: Tensor) -> Tensor:
    """(n,) in [-1, 1] for pairs of boxes (n, 4) x1 y1 x2 y2 (arXiv 1902.09630)."""
    shared = _area(torch.maximum(first[:, :2], second[:, :2]), torch.minimum(first[:, 2:], second[:, 2:]))
    hull = _area(torch.minimum(first[:, :2], second[:, :2]), torch.maximum(first[:, 2:], second[:, 2:])) + 1e-6
    union = _area(first[:, :2], first[:, 2:]) + _area(second[:, :2], second[:, 2:]) - shared + 1e-6
    return shared / union - (hull - union) / hull


def _area(corner: Tensor, opposite: Tensor) -> Tensor:
    return (opposite - corner).clamp(min=0).prod(1)
