"""How training pictures are varied: turned, scaled, moved, mirrored, brighter or darker. The same for the same seed."""

from __future__ import annotations

import numpy as np
import torch
from job_files.augment import vary_colour
from parameters import TrainingParameters
from torch import Tensor
from torch.nn import functional


def augment(pictures: Tensor, p: TrainingParameters, random: np.random.Generator) -> Tensor:
    """(n, 3, S, S), each picture in its own way; what comes in from outside is grey, which is 0."""
    count = len(pictures)
    angle = np.deg2rad(p.rotate) * random.uniform(-1, 1, count)
    factor = np.exp(random.uniform(-1, 1, count) * np.log1p(p.scale))
    mirror = np.where(random.random((2, count)) < 0.5, [[-1.0 if p.flip_horizontal else 1.0], [-1.0 if p.flip_vertical else 1.0]], 1.0)
    shift = 2 * p.shift * random.uniform(-1, 1, (2, count))
    return vary_colour(place(pictures, angle, factor, mirror, shift), p.colour, random)


def place(pictures: Tensor, angle: object, factor: object, mirror: object, shift: object) -> Tensor:
    """Pictures turned by ``angle`` (n,) in radians, made ``factor`` (n,) times as large, mirrored where ``mirror`` (2, n) is -1, and moved by
    ``shift`` (2, n) in halves of the side."""
    turn, size, flip, move = (np.asarray(part, float) for part in (angle, factor, mirror, shift))
    cosine, sine = np.cos(turn) / size, np.sin(turn) / size
    rows = np.stack([cosine * flip[0], -sine * flip[0], move[0], sine * flip[1], cosine * flip[1], move[1]], 1).reshape(-1, 2, 3)
    grid = functional.affine_grid(torch.from_numpy(rows).float(), list(pictures.shape), align_corners=False)
    return functional.grid_sample(pictures, grid, align_corners=False)
