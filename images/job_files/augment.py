"""Changes of pictures that keep what they show: for training, and to ask a model twice. (n, 3, H, W) float as ``as_input`` makes them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def vary_colour(pictures: Tensor, strength: float, random: np.random.Generator) -> Tensor:
    """(n, 3, H, W): contrast per picture and brightness per channel changed by at most ``strength``."""
    count = len(pictures)
    contrast = torch.from_numpy(1 + strength * random.uniform(-1, 1, (count, 1, 1, 1))).float()
    whole, channel = random.uniform(-1, 1, (count, 1, 1, 1)), random.uniform(-1, 1, (count, 3, 1, 1))
    return pictures * contrast + torch.from_numpy(strength * (whole + 0.3 * channel)).float()
