"""What can be done to a dataset version, each as a function of tables; ``apply`` finds the one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from contracts import operations as asked
from runner.operations.base import Given, Outcome
from runner.operations.classes import merged_classes, removed_classes, renamed
from runner.operations.grouping import grouped, thinned
from runner.operations.labelling import confirmed, labelled_from, marked, rejected, tagged, unlabelled
from runner.operations.merging import merged
from runner.operations.selecting import deduplicated, drawn, excluded, filtered, top
from runner.operations.splitting import divided

_APPLY: dict[type[Any], Callable[[Given, Any], Outcome]] = {
    asked.Filter: filtered,
    asked.Draw: drawn,
    asked.Exclude: excluded,
    asked.Merge: merged,
    asked.Split: divided,
    asked.Deduplicate: deduplicated,
    asked.Group: grouped,
    asked.Thin: thinned,
    asked.TakeTop: top,
    asked.LabelFrom: labelled_from,
    asked.Confirm: confirmed,
    asked.Reject: rejected,
    asked.Unlabel: unlabelled,
    asked.Mark: marked,
    asked.Tag: tagged,
    asked.RenameClass: renamed,
    asked.MergeClasses: merged_classes,
    asked.RemoveClasses: removed_classes,
}


def apply(given: Given, operation: asked.Operation) -> Outcome:
    return _APPLY[type(operation)](given, operation)
