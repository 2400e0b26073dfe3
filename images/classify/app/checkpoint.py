"""A trained classifier on disk: ``model.pt`` (tensors only) beside ``model.json`` (what the tensors mean)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from job_files import weights
from model import Classifier

ARCHITECTURE = "classify-1"


@dataclass(frozen=True)
class ModelFacts:
    """What model.json says. ``image_size`` is the side in pixels the model was trained at; logits are divided by ``temperature``."""

    class_names: list[str]
    image_size: int
    width: int
    epoch: int
    temperature: float = 1.0
    architecture: str = ARCHITECTURE


def save(folder: Path, model: Classifier, facts: ModelFacts) -> list[str]:
    """Writes both files and gives their names."""
    return weights.save(folder, model.state_dict(), facts)


def load(paths: list[str], device: torch.device) -> tuple[Classifier, ModelFacts]:
    """The classifier in a stage's files, ready to predict. Raises ImageError 300004 naming the file."""
    facts = read_facts(paths)
    model = Classifier(len(facts.class_names), facts.image_size, facts.width)
    weights.load_into(paths, model)
    return model.to(device).eval(), facts


def read_facts(paths: list[str]) -> ModelFacts:
    """What is known of an earlier model: a continued training must keep its width and picture size."""
    return weights.read_facts(paths, ModelFacts, ARCHITECTURE)


def continue_from(paths: list[str], model: Classifier, class_names: list[str]) -> str:
    """Copies an earlier model's weights into a new one, class by class by name; gives a sentence on what was taken over."""
    earlier, facts = load(paths, torch.device("cpu"))
    heads = ("head.weight", "head.bias")
    state, told = weights.carry_classes(model.state_dict(), earlier.state_dict(), heads, class_names, facts.class_names)
    model.load_state_dict(state)
    return told
