"""A trained detector on disk: ``model.pt`` (tensors only) beside ``model.json`` (what the tensors mean)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from job_files import weights
from model import Detector

ARCHITECTURE = "tinydet-1"


@dataclass(frozen=True)
class ModelFacts:
    """What model.json says. ``image_size`` is the longest side in pixels the model was trained at."""

    class_names: list[str]
    image_size: int
    width: int
    epoch: int
    architecture: str = ARCHITECTURE


def save(folder: Path, model: Detector, facts: ModelFacts) -> list[str]:
    """Writes both files and gives their names; an existing checkpoint is replaced file by file, each whole."""
    return weights.save(folder, model.state_dict(), facts)


def load(paths: list[str], device: torch.device) -> tuple[Detector, ModelFacts]:
    """The detector in a stage's files, ready to predict. Raises ImageError 300004 naming the file."""
    facts = weights.read_facts(paths, ModelFacts, ARCHITECTURE)
    model = Detector(len(facts.class_names), facts.width)
    weights.load_into(paths, model)
    return model.to(device).eval(), facts


def continue_from(paths: list[str], model: Detector, class_names: list[str]) -> str:
    """Copies an earlier model's weights into a new one, class by class by name; gives a sentence on what was taken over."""
    earlier, facts = load(paths, torch.device("cpu"))
    heads = ("class_head.weight", "class_head.bias")
    state, told = weights.carry_classes(model.state_dict(), earlier.state_dict(), heads, class_names, facts.class_names)
    model.load_state_dict(state)
    return told


def width_of(paths: list[str]) -> int:
    """The width an earlier model was made with: a continued training must keep it."""
    return weights.read_facts(paths, ModelFacts, ARCHITECTURE).width
