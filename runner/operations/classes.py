"""Operations on classes: rename, merge, remove. Older versions keep the names that they were made with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from contracts.errors import ConflictError
from contracts.operations import MergeClasses, RemoveClasses, RenameClass
from registry.dataset_classes import DatasetClass, check_class_name
from runner.operations.base import Given, Outcome, with_class_names
from runner.operations.expression import class_named
from runner.operations.labelling import with_state
from runner.tables import codes_of


def renamed(given: Given, operation: RenameClass) -> Outcome:
    old, new = class_named(operation.old, given.canonical), check_class_name(operation.new)
    owner = given.canonical.get(new, old)
    if owner != old:
        raise ConflictError(f"the class {owner!r} is called {new!r} already", hint="Merge the two: sluice dataset merge-classes.")
    return _become(given, [old], new)


def merged_classes(given: Given, operation: MergeClasses) -> Outcome:
    old = list(dict.fromkeys(class_named(name, given.canonical) for name in operation.classes))
    new = given.canonical.get(operation.into.strip().lower()) or check_class_name(operation.into)
    return _become(given, old, new)


def _become(given: Given, old: Sequence[str], new: str) -> Outcome:
    tables = with_class_names(given.tables, dict.fromkeys(old, new))
    codes, names = codes_of(given.tables.annotations["class_name"])
    moved = np.array([*(name in old and name != new for name in names), False])[codes]
    touched = np.bincount(given.tables.owners[moved], minlength=len(tables)) > 0
    return Outcome(tables, touched, exact=True, classes=_united(given.classes, [*old, new], new))


def _united(classes: Sequence[DatasetClass], members: Sequence[str], new: str) -> list[DatasetClass]:
    """One class in the place of the first of the members, called ``new``; every other name of theirs is an alias of it."""
    parts = [known for known in classes if known.name in members]
    first = next((known for known in parts if known.name == new), parts[0])
    aliases = dict.fromkeys(name for known in parts for name in (known.name, *known.aliases) if name != new)
    united = replace(first, name=new, aliases=tuple(aliases))
    return [united if known is parts[0] else known for known in classes if known is parts[0] or known not in parts]


def removed_classes(given: Given, operation: RemoveClasses) -> Outcome:
    """The classes stay known: annotations of them may come again."""
    tables = given.tables
    wanted = {class_named(name, given.canonical) for name in operation.classes}
    codes, names = codes_of(tables.annotations["class_name"])
    going = np.array([*(name in wanted for name in names), False])[codes]
    touched = np.bincount(tables.owners[going], minlength=len(tables)) > 0
    left = tables.keep_annotations(~going)
    emptied = touched & (left.counts() == 0)
    if operation.images:
        return Outcome(left.keep(~emptied), touched[~emptied])
    return Outcome(with_state(left, emptied, "unlabeled"), touched)
