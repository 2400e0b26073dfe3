"""Stands in for mmcv's compiled module ``mmcv._ext``, in plain PyTorch, on any device.

mmcv looks up every operator here by name, and mmdet imports through all of them. Those that the common detectors call while they train and
predict are written out: ``nms`` and ``roi_align``. Any other raises when it is called, naming itself.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

BLOCK = 512  # boxes of which all pairs are compared at once
AVERAGE = 1  # mmcv's number for the mean in roi_align


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
    """Rows of ``boxes`` (n, 4) x1 y1 x2 y2 that overlap no better kept one by more than ``iou_threshold``, best first.

    O(n^2 / BLOCK) comparisons of blocks. ``offset`` is added to the sides of boxes whose last pixel counts.
    """
    order = scores.argsort(descending=True, stable=True)
    ranked = boxes.detach()[order].float()
    alive = torch.ones(len(order), dtype=torch.bool, device=boxes.device)
    kept = []
    for start in range(0, len(order), BLOCK):
        rows = torch.nonzero(alive[start : start + BLOCK]).flatten() + start
        clash = _iou(ranked[rows], ranked[rows], offset) > iou_threshold
        rows = rows[torch.from_numpy(_greedy(clash.cpu().numpy())).to(rows.device)]
        kept.append(rows)
        rest = torch.nonzero(alive[start + BLOCK :]).flatten() + start + BLOCK
        alive[rest] = ~(_iou(ranked[rest], ranked[rows], offset) > iou_threshold).any(dim=1)
    return order[torch.cat(kept)] if kept else order


def roi_align_forward(
    input: Tensor,  # noqa: A002 (the names are mmcv's)
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,  # noqa: ARG001 (of the maximum, which is not offered)
    argmax_x: Tensor,  # noqa: ARG001
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fills ``output`` (r, C, h, w) with the means of ``input`` (n, C, H, W) over the cells of ``rois`` (r, 5): picture, x1 y1 x2 y2."""
    _require_average(pool_mode)
    for image, rows, down, across in _weights(
        rois, input.shape[-2:], (aligned_height, aligned_width), spatial_scale, sampling_ratio, aligned
    ):
        output[rows] = torch.einsum("riy,cyx,rjx->rcij", down, input[image].float(), across).to(output.dtype)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,  # noqa: ARG001
    argmax_x: Tensor,  # noqa: ARG001
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Adds to ``grad_input`` what ``grad_output`` means for it: the same weights the other way."""
    _require_average(pool_mode)
    for image, rows, down, across in _weights(
        rois, grad_input.shape[-2:], (aligned_height, aligned_width), spatial_scale, sampling_ratio, aligned
    ):
        grad_input[image] += torch.einsum("riy,rcij,rjx->cyx", down, grad_output[rows].float(), across).to(grad_input.dtype)


def __getattr__(name: str) -> Any:
    """An operator that is not written out: mmcv asks whether it is there when it is imported, not when it is used."""
    if name.startswith("__"):
        raise AttributeError(name)

    def missing(*_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError(f"mmcv's operator {name} is not in this image: it was built with the stand-in in plain PyTorch")

    return missing


def _iou(left: Tensor, right: Tensor, offset: int) -> Tensor:
    """(n, m) intersection over union."""
    corner = torch.maximum(left[:, None, :2], right[None, :, :2])
    opposite = torch.minimum(left[:, None, 2:], right[None, :, 2:])
    shared = (opposite - corner + offset).clamp(min=0).prod(dim=2)
    areas = [(boxes[:, 2:] - boxes[:, :2] + offset).prod(dim=1) for boxes in (left, right)]
    return shared / (areas[0][:, None] + areas[1][None, :] - shared)


def _greedy(clash: np.ndarray[Any, np.dtype[np.bool_]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which of n rows, best first, are kept: those that clash (n, n) with no kept one before them."""
    alive = np.ones(len(clash), bool)
    for row in range(len(clash)):
        if alive[row]:
            alive[row + 1 :] &= ~clash[row, row + 1 :]
    return alive


def _weights(rois: Tensor, size: Any, cells: tuple[int, int], scale: float, sampling_ratio: int, aligned: bool) -> Any:
    """By picture and number of samples: rows of ``rois``, and how much each line (r, h, H) and column (r, w, W) counts for each cell.

    The mean over samples, each read between four pixels, is a product of one factor down and one across: no picture is read at points.
    """
    shift = 0.5 if aligned else 0.0
    low, high = (rois.detach()[:, part].float() * scale - shift for part in (slice(1, 3), slice(3, 5)))
    sides = high - low if aligned else (high - low).clamp(min=1.0)
    steps = sides / sides.new_tensor(cells[::-1])
    samples = torch.full_like(steps, sampling_ratio) if sampling_ratio > 0 else steps.ceil().clamp(min=1)
    keys, group = torch.unique(torch.cat([rois[:, :1].float(), samples], dim=1), dim=0, return_inverse=True)
    for number, (image, across, down) in enumerate(keys.long().tolist()):
        rows = torch.nonzero(group == number).flatten()
        yield (
            image,
            rows,
            _line_weights(low[rows, 1], steps[rows, 1], cells[0], down, size[0]),
            _line_weights(low[rows, 0], steps[rows, 0], cells[1], across, size[1]),
        )


def _line_weights(start: Tensor, step: Tensor, cells: int, samples: int, length: int) -> Tensor:
    """(r, cells, length): the share of each pixel of a line in the mean of each cell; samples more than a pixel outside count as 0."""
    at = (torch.arange(cells * samples, device=start.device) + 0.5) / samples
    points = start[:, None] + at * step[:, None]
    inside = (points >= -1) & (points <= length)
    pixels = torch.arange(length, device=start.device)
    shares = (1 - (points.clamp(0, length - 1)[..., None] - pixels).abs()).clamp(min=0) * inside[..., None]
    return shares.unflatten(1, (cells, samples)).mean(dim=2)


def _require_average(pool_mode: int) -> None:
    if pool_mode != AVERAGE:
        raise NotImplementedError("roi_align by the maximum is not in this image: it was built with the stand-in in plain PyTorch")
