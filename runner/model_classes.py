"""Whether the classes of a model and of data fit: a model's class ids mean its own classes, in its own order, for ever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from contracts.errors import DatasetError
from contracts.ymir.tolerances import shorten
from registry.models import ModelRecord


def refuse_other_classes(model: ModelRecord, class_names: Sequence[str], data: str) -> None:
    """For a training that starts from a model: raises ``DatasetError`` naming the classes that differ, or their order."""
    if tuple(class_names) == model.class_names:
        return
    lacking = [name for name in model.class_names if name not in class_names]
    beyond = [name for name in class_names if name not in model.class_names]
    raise DatasetError(
        f"the model {model.reference} knows other classes than {data} would teach it: {_difference(model, class_names, lacking, beyond)}",
        hint=_hint(model, lacking, beyond),
        model=model.reference,
        only_in_model=lacking,
        only_in_data=beyond,
    )


def refuse_no_common_class(model: ModelRecord, class_names: Sequence[str], data: str, names: Mapping[str, str] | None = None) -> None:
    """For measuring a model on data: raises ``DatasetError`` when the data has not one of its classes, by any of the ``names`` they go by."""
    if not {(names or {}).get(name, name) for name in model.class_names} & set(class_names):
        raise DatasetError(
            f"{data} has none of the classes that {model.reference} knows: there is nothing to measure it by",
            hint=f"The model knows {shorten(model.class_names)}; the data has {shorten(class_names) or 'no classes'}.",
            model=model.reference,
            only_in_model=list(model.class_names),
            only_in_data=list(class_names),
        )


def _difference(model: ModelRecord, class_names: Sequence[str], lacking: Sequence[str], beyond: Sequence[str]) -> str:
    if not lacking and not beyond:
        return f"the same in another order, {shorten(model.class_names)} against {shorten(class_names)}"
    parts = [f"only the model knows {shorten(lacking)}"] if lacking else []
    return "; ".join([*parts, *([f"only the data has {shorten(beyond)}"] if beyond else [])])


def _hint(model: ModelRecord, lacking: Sequence[str], beyond: Sequence[str]) -> str:
    start_anew = "To start a new class list from its weights: --new-classes."
    if lacking:
        return start_anew
    what = "For the model's own classes alone" if beyond else "To keep the model's order"
    return f"{what}: --classes {','.join(model.class_names)}. {start_anew}"
