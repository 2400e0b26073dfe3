"""A trained network on disk: ``model.pt`` (tensors only), ``model.json`` (what they mean) and, to go on, ``training.pt``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from job_files import weights as job_weights
from job_files.contract import MODEL_ERROR, ImageError
from job_files.weights import FACTS, WEIGHTS, pick, read_content, write_content
from library import build_network
from models import adapt, check_types
from torch import Tensor, nn

ARCHITECTURE = "mmdet-1"
STATE = "training.pt"


@dataclass(frozen=True)
class ModelFacts:
    """What model.json says: ``model`` is the library's configuration of the network, ``image_size`` the longest side it was trained at."""

    class_names: list[str]
    object_type: int
    name: str
    image_size: int
    epoch: int
    model: dict[str, Any]
    versions: dict[str, str]
    architecture: str = ARCHITECTURE


def save(folder: Path, weights: dict[str, Tensor], facts: ModelFacts, state: dict[str, Any] | None = None) -> list[str]:
    """Writes the files and gives their names, each whole; ``state`` is what a later run needs to go on."""
    files = job_weights.save(folder, weights, facts)
    if state is None:
        return files
    write_content(folder / STATE, state)
    return [*files, STATE]


def load(paths: list[str]) -> tuple[nn.Module, ModelFacts]:
    """The network in a stage's files, on the CPU. Raises ImageError 300004 naming the file."""
    facts, weights = read_facts(paths), pick(paths, WEIGHTS)
    network = build_network(facts.model)
    try:
        network.load_state_dict(read_tensors(weights))
    except RuntimeError as error:
        raise ImageError(MODEL_ERROR, f"{weights} does not fit the network of its {FACTS}: {error}") from error
    return network, facts


def read_facts(paths: list[str]) -> ModelFacts:
    """model.json of a stage's files. Raises ImageError 300004 for what this image did not write."""
    facts = job_weights.read_facts(paths, ModelFacts, ARCHITECTURE)
    check_types(facts.model, str(pick(paths, FACTS)))
    return facts


def read_state(paths: list[str]) -> dict[str, Any]:
    """training.pt of a stage's files. Raises ImageError 300004 where the stage has none."""
    return read_content(pick(paths, STATE))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The weights in a file of this image, or of the library (below ``state_dict``)."""
    content = read_content(path)
    inner = content.get("state_dict")
    tensors = {name: tensor for name, tensor in (inner if isinstance(inner, dict) else content).items() if isinstance(tensor, Tensor)}
    if not tensors:
        raise ImageError(MODEL_ERROR, f"{path} holds no weights")
    return tensors


# ------------------------------------------------------------------------------------------------------ starting from others


def continue_from(network: nn.Module, model: dict[str, Any], class_names: list[str], paths: list[str]) -> str:
    """Copies an earlier stage's weights into a new network, class by class by name; gives a sentence on what was taken over."""
    facts, earlier = read_facts(paths), read_tensors(pick(paths, WEIGHTS))
    rows = class_rows(model, len(class_names))
    state = network.state_dict()
    taken = 0
    for name, tensor in state.items():
        old = earlier.get(name)
        if old is not None and name in rows and old.dim() == tensor.dim() and old.shape[1:] == tensor.shape[1:]:
            _copy_classes(tensor, old, rows[name], name, (class_names, facts.class_names))
        elif old is not None and old.shape == tensor.shape:
            tensor.copy_(old)
        else:
            continue
        taken += 1
    shared = [name for name in class_names if name in facts.class_names]
    new, dropped = sorted(set(class_names) - set(shared)), sorted(set(facts.class_names) - set(shared))
    return f"continues from a model of {facts.name}: {taken} of {len(state)} tensors; kept {shared}, new {new}, dropped {dropped}"


def take_weights(network: nn.Module, path: Path) -> str:
    """Copies what fits of a file of weights (a whole network, or a backbone alone) and gives a sentence on it. Raises 300004 when nothing does."""
    earlier, state = read_tensors(path), network.state_dict()
    taken = 0
    for name, tensor in state.items():
        old = next((earlier[key] for key in (name, name.removeprefix("backbone.")) if key in earlier), None)
        if old is not None and old.shape == tensor.shape:
            tensor.copy_(old)
            taken += 1
    if not taken:
        raise ImageError(MODEL_ERROR, f"{path}: none of its {len(earlier)} tensors fits this network")
    return f"takes {taken} of {len(state)} tensors from {path}"


def class_rows(model: dict[str, Any], class_count: int) -> dict[str, int]:
    """Tensors with rows for classes, and how many rows a class has: those that grow when the network gets one class more."""
    sizes = [
        {name: tensor.shape for name, tensor in build_network(adapt(model, count, from_scratch=False)).state_dict().items()}
        for count in (class_count, class_count + 1)
    ]
    return {name: sizes[1][name][0] - shape[0] for name, shape in sizes[0].items() if shape != sizes[1][name]}


def _copy_classes(new: Tensor, old: Tensor, per_class: int, name: str, classes: tuple[list[str], list[str]]) -> None:
    """Rows of the classes that both know. Rows come anchor by anchor, but class by class where each class has its own box (``fc_reg``)."""
    grouped = [part[: per_class * len(names)] for part, names in zip((new, old), classes, strict=True)]
    if "fc_reg" in name:
        views = [part.unflatten(0, (len(names), per_class)) for part, names in zip(grouped, classes, strict=True)]
    else:
        views = [part.unflatten(0, (per_class, len(names))).transpose(0, 1) for part, names in zip(grouped, classes, strict=True)]
    for row, class_name in enumerate(classes[0]):
        if class_name in classes[1]:
            views[0][row] = views[1][classes[1].index(class_name)]
    if len(new) > len(grouped[0]) and len(old) - len(grouped[1]) == len(new) - len(grouped[0]):  # the background comes last
        new[len(grouped[0]) :] = old[len(grouped[1]) :]
