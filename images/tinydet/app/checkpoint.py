"""A trained detector on disk: ``model.pt`` (tensors only) beside ``model.json`` (what the tensors mean)."""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from job_files.contract import MODEL_ERROR, ImageError, write_aside
from model import Detector
from torch import Tensor

ARCHITECTURE = "tinydet-1"
WEIGHTS, FACTS = "model.pt", "model.json"


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
    buffer = io.BytesIO()
    torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}, buffer)
    write_aside(folder / WEIGHTS, buffer.getvalue())
    write_aside(folder / FACTS, json.dumps(asdict(facts), indent=1) + "\n")
    return [WEIGHTS, FACTS]


def load(paths: list[str], device: torch.device) -> tuple[Detector, ModelFacts]:
    """The detector in a stage's files, ready to predict. Raises ImageError 300004 naming the file."""
    facts = _read_facts(_pick(paths, ".json"))
    model = Detector(len(facts.class_names), facts.width)
    weights = _pick(paths, ".pt")
    try:
        model.load_state_dict(_read_tensors(weights))
    except RuntimeError as error:
        raise ImageError(MODEL_ERROR, f"{weights} does not fit the architecture {facts.architecture}: {error}") from error
    return model.to(device).eval(), facts


def continue_from(paths: list[str], model: Detector, class_names: list[str]) -> str:
    """Copies an earlier model's weights into a new one, class by class by name; gives a sentence on what was taken over."""
    earlier, facts = load(paths, torch.device("cpu"))
    state, fresh = earlier.state_dict(), model.state_dict()
    shared = [name for name in class_names if name in facts.class_names]
    for key in ("class_head.weight", "class_head.bias"):
        rows = fresh[key].clone()
        for name in shared:
            rows[class_names.index(name)] = state[key][facts.class_names.index(name)]
        state[key] = rows
    model.load_state_dict(state)
    new, dropped = sorted(set(class_names) - set(shared)), sorted(set(facts.class_names) - set(shared))
    return f"continues from a model with classes {facts.class_names}: kept {shared}, new {new}, dropped {dropped}"


def width_of(paths: list[str]) -> int:
    """The width an earlier model was made with: a continued training must keep it."""
    return _read_facts(_pick(paths, ".json")).width


def reported_classes(facts: ModelFacts, wanted: list[str]) -> set[int]:
    """The model's class ids that a job asks for, all for an empty list. Raises ImageError 300004 for a class it does not know."""
    unknown = [name for name in wanted if name not in facts.class_names]
    if unknown:
        raise ImageError(MODEL_ERROR, f"the job asks for classes {unknown}, the model knows {facts.class_names}")
    return {facts.class_names.index(name) for name in wanted or facts.class_names}


def _pick(paths: list[str], suffix: str) -> Path:
    found = [Path(path) for path in paths if path.endswith(suffix)]
    if not found:
        raise ImageError(MODEL_ERROR, f"no {suffix} file among the model's files {paths}")
    return found[0]


def _read_facts(path: Path) -> ModelFacts:
    try:
        facts = ModelFacts(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ImageError(MODEL_ERROR, f"{path} does not describe a model of this image: {error}") from error
    if facts.architecture != ARCHITECTURE:
        raise ImageError(MODEL_ERROR, f"{path}: architecture {facts.architecture}, this image reads {ARCHITECTURE}")
    return facts


def _read_tensors(path: Path) -> dict[str, Tensor]:
    # SECURITY: weights_only keeps a foreign file from running code while it is read.
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, ValueError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise ImageError(MODEL_ERROR, f"{path} is not a readable checkpoint: {error}") from error
