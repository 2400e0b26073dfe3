"""A small residual network: stages that halve the picture, the mean of the last map, one linear layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LAST_MAP = 4  # the picture is halved until the last map is about this large


class Conv(nn.Sequential):
    """Convolution, batch norm, ReLU; keeps the size or halves it (stride 2)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Two convolutions whose answer is added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = Conv(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(self.first(x)))


class Classifier(nn.Module):
    """Pictures (n, 3, S, S) to logits (n, classes). ``image_size`` S decides how many stages there are, ``width`` how wide the first one is."""

    def __init__(self, class_count: int, image_size: int, width: int = 32) -> None:
        super().__init__()
        self.width = width
        widths = [width * min(2**stage, 4) for stage in range(max(2, round(math.log2(image_size / LAST_MAP))))]
        inputs = [3, *widths[:-1]]
        self.trunk = nn.Sequential(*(nn.Sequential(Conv(a, b, 2), Residual(b)) for a, b in zip(inputs, widths, strict=True)))
        self.head = nn.Linear(widths[-1], class_count)

    def forward(self, pictures: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(pictures))
        return logits

    def features(self, pictures: Tensor) -> Tensor:
        """(n, d) what the last layer decides by: a vector for each picture."""
        features: Tensor = self.trunk(pictures).mean((2, 3))
        return features
