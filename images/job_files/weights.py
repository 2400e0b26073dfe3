"""A trained network on disk: ``model.pt`` (tensors only) beside ``model.json`` (what the tensors mean)."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from job_files.contract import MODEL_ERROR, ImageError, write_aside

WEIGHTS, FACTS = "model.pt", "model.json"

Facts = TypeVar("Facts")


def save(folder: Path, state: Mapping[str, Tensor], facts: Any) -> list[str]:
    """Writes the tensors and the dataclass ``facts``, and gives the names of both files; earlier ones are replaced one by one, each whole."""
    write_content(folder / WEIGHTS, {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})
    write_aside(folder / FACTS, json.dumps(asdict(facts), indent=1) + "\n")
    return [WEIGHTS, FACTS]


def write_content(path: Path, content: Mapping[str, Any]) -> None:
    """Puts a file at ``path`` that ``read_content`` reads: whole, or none."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_aside(path, buffer.getvalue())


def read_facts(paths: Sequence[str], form: type[Facts], architecture: str) -> Facts:
    """What the one .json among a stage's files says, as the dataclass ``form``. Raises ImageError 300004 naming the file."""
    path = pick(paths, ".json")
    try:
        facts = form(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ImageError(MODEL_ERROR, f"{path} does not describe a model of this image: {error}") from error
    if facts.architecture != architecture:  # type: ignore[attr-defined]
        raise ImageError(MODEL_ERROR, f"{path}: architecture {facts.architecture}, this image reads {architecture}")  # type: ignore[attr-defined]
    return facts


def load_into(paths: Sequence[str], model: torch.nn.Module) -> None:
    """Fills the network with the one .pt among a stage's files. Raises ImageError 300004 naming the file."""
    path = pick(paths, ".pt")
    try:
        model.load_state_dict(read_tensors(path))
    except RuntimeError as error:
        raise ImageError(MODEL_ERROR, f"{path} does not fit the network that its {FACTS} describes: {error}") from error


def pick(paths: Sequence[str], suffix: str) -> Path:
    """The first file whose name ends so. Raises ImageError 300004."""
    found = [Path(path) for path in paths if path.endswith(suffix)]
    if not found:
        raise ImageError(MODEL_ERROR, f"no {suffix} file among the model's files {list(paths)}")
    return found[0]


def reported_classes(known: Sequence[str], wanted: Sequence[str]) -> set[int]:
    """The model's class ids that a job asks for, all for an empty list. Raises ImageError 300004 for a class it does not know."""
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ImageError(MODEL_ERROR, f"the job asks for classes {unknown}, the model knows {list(known)}")
    return {known.index(name) for name in wanted or known}


def carry_classes(
    fresh: Mapping[str, Tensor], state: Mapping[str, Tensor], heads: Sequence[str], class_names: Sequence[str], former: Sequence[str]
) -> tuple[dict[str, Tensor], str]:
    """An earlier network's tensors for a new list of classes, and a sentence on what was taken over.

    ``heads`` name the tensors with a row for each class: rows of classes that both have by name are carried over, the others are ``fresh``.
    """
    carried = dict(state)
    shared = [name for name in class_names if name in former]
    for key in heads:
        rows = fresh[key].clone()
        for name in shared:
            rows[class_names.index(name)] = state[key][former.index(name)]
        carried[key] = rows
    new, dropped = sorted(set(class_names) - set(shared)), sorted(set(former) - set(shared))
    return carried, f"continues from a model with classes {list(former)}: kept {shared}, new {new}, dropped {dropped}"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that may come from anywhere. Raises ImageError 300004."""
    return read_content(path)


def read_content(path: Path) -> dict[str, Any]:
    """What ``torch.save`` put into a file that may come from anywhere: a mapping of tensors, numbers and texts. Raises ImageError 300004."""
    # SECURITY: weights_only keeps a foreign file from running code while it is read.
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, ValueError, TypeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise ImageError(MODEL_ERROR, f"{path} is not a readable checkpoint: {str(error).partition(chr(10))[0]}") from error
