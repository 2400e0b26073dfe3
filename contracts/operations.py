"""What can be done to a dataset version. Each operation makes a new version; the one it was made of never changes.

A door gives an operation as a dict with its ``op``; ``parse_operation`` makes it one of these. The command line is made from them, too: a field with
a ``place`` is an argument, the others are options with their description as help. Pictures are chosen by asset id or, with ``where``, by an
expression (``runner.operations.expression``). Classes may be named by any alias.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from contracts.errors import RequestError

Names = tuple[str, ...]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
SplitName = Annotated[str, Field(pattern=r"^([a-z][a-z0-9_-]{0,31})?$")]
State = Literal["unlabeled", "to_be_confirmed", "labeled"]


def _said(text: str, default: Any = ..., *, place: str = "", **limits: Any) -> Any:
    """A field with its help; ``place``: an argument, by this name."""
    return Field(default, description=text, json_schema_extra={"place": place} if place else None, **limits)


class _Operation(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Filter(_Operation):
    """Keep the images that fit everything that is asked for."""

    op: Literal["filter"] = "filter"
    classes: Names = _said("With an annotation of this class, or of one of several.", ())
    all_classes: bool = _said("With an annotation of each of the classes.", False)
    without: Names = _said("With no annotation of this class.", ())
    only_classes: bool = _said("Also drop the annotations of other classes.", False)
    splits: tuple[SplitName, ...] = _said("In this split, or in one of several.", ())
    states: tuple[State, ...] = _said("In this state: unlabeled, to_be_confirmed or labeled.", ())
    hard: bool | None = _said("Marked as hard examples, or not.", None)
    tags: Mapping[str, str] = _said("With this tag.", {})
    names: Names = _said("With a file name like this pattern of * and ?.", ())
    annotated_by: Names = _said("With an annotation by this person or model.", ())
    assets: Names = _said("This asset, by its id.", ())
    min_width: Count | None = _said("At least so many pixels wide.", None)
    max_width: Count | None = _said("At most so many pixels wide.", None)
    min_height: Count | None = _said("At least so many pixels high.", None)
    max_height: Count | None = _said("At most so many pixels high.", None)
    min_annotations: Count | None = _said("With at least so many annotations.", None)
    max_annotations: Count | None = _said("With at most so many annotations.", None)
    added_after: str | None = _said("That came into the dataset then or later, such as 2026-01-31.", None)
    added_before: str | None = _said("That came before then.", None)
    where: str = _said('That fit an expression, such as: has("cat") and width > 640.', "")


class Draw(_Operation):
    """Keep so many images, or such a share of them, by chance."""

    op: Literal["draw"] = "draw"
    count: Annotated[int, Field(ge=1)] | None = _said("How many images.", None)
    fraction: Annotated[float, Field(gt=0, le=1)] | None = _said("Which share of them, such as 0.1.", None)
    seed: int = _said("The same seed draws the same images.", 0)
    stratify: bool = _said("Keep the share of each class, counted by an image's rarest.", True)

    @model_validator(mode="after")
    def _one_of_two(self) -> Draw:
        if (self.count is None) == (self.fraction is None):
            raise ValueError("give either count or fraction")
        return self


class Exclude(_Operation):
    """Leave out the images, by content, that other versions have, or single ones."""

    op: Literal["exclude"] = "exclude"
    references: Names = _said("Versions whose images are left out.", (), place="OTHER")
    assets: Names = _said("An asset to leave out, by its id.", ())


class Merge(_Operation):
    """Add the images of other versions; an image that several have is there once."""

    op: Literal["merge"] = "merge"
    references: Names = _said("Versions whose images are added.", place="OTHER", min_length=1)
    conflict: Literal["first", "last", "union", "refuse"] = _said(
        "Whose annotations an image of several has: those of the first or last that is labeled, all of them, or none of this.", "first"
    )


class Split(_Operation):
    """Put every image into one split; what is left over is in none."""

    op: Literal["split"] = "split"
    ratios: Mapping[SplitName, Share] = _said("The share of each split, such as train=0.8.", place="SPLIT=SHARE", min_length=1)
    seed: int = _said("The same seed gives the same splits.", 0)
    stratify: bool = _said("Give each split the same share of each class, counted by an image's rarest.", True)
    group_distance: Annotated[int, Field(ge=0, le=32)] | None = _said(
        "Keep near-duplicates together: images whose perceptual hashes differ in at most so many of 64 bits.", None
    )
    keep: tuple[SplitName, ...] = _said("Images of this split stay in it; '' for none.", ("test",))

    @model_validator(mode="after")
    def _at_most_all(self) -> Split:
        if sum(self.ratios.values()) > 1 + 1e-9:
            raise ValueError(f"the shares add up to {sum(self.ratios.values()):g}, more than 1")
        return self


class Deduplicate(_Operation):
    """Keep one of each group of near-duplicates: a labeled one, the larger one."""

    op: Literal["deduplicate"] = "deduplicate"
    distance: int = _said("How many of 64 bits their perceptual hashes may differ in.", 4, ge=0, le=32)


class Group(_Operation):
    """Sort the images into groups of a like look; each gets its group's number as a tag, the largest group being 1."""

    op: Literal["group"] = "group"
    groups: int = _said("How many groups, from 2 to 200.", ge=2, le=200)
    tag: str = _said("The tag that gets the number.", "group", min_length=1, max_length=100)
    features: tuple[Literal["clarity", "brightness", "colour"], ...] = _said(
        "Beside how it looks also by this: clarity, brightness or colour.", ()
    )
    seed: int = _said("The same seed gives the same groups.", 0, ge=0)


class Thin(_Operation):
    """Keep a share of the images and leave out those that look most like the others, in every group of a like look."""

    op: Literal["thin"] = "thin"
    ratio: float = _said("The share that is kept (default: 0.9).", 0.9, gt=0, le=1)
    groups: Annotated[int, Field(ge=1, le=200)] | None = _said("How many groups, from 1 to 200; auto: by how many images there are.", None)
    seed: int = _said("The same seed keeps the same images.", 0, ge=0)

    @field_validator("groups", mode="before")
    @classmethod
    def _auto(cls, value: Any) -> Any:
        return None if value == "auto" else value


class TakeTop(_Operation):
    """Keep the first images of a mining job's ranking, marked as hard with coefficient and reasons where the job says them."""

    op: Literal["top"] = "top"
    job: str = _said("A mining job.", place="JOB")
    count: int = _said("How many images.", ge=1)


class LabelFrom(_Operation):
    """Propose what an inference job predicted as annotations that wait to be confirmed; labeled images are left as they are."""

    op: Literal["label-from"] = "label-from"
    job: str = _said("An inference job.", place="JOB")
    min_score: Share = _said("Leave out predictions with a lower score.", 0.0)
    hard_below: Share | None = _said("Mark images with a prediction of a lower score as hard examples.", None)


class _Chosen(_Operation):
    """Images by id, and by an expression; at least one way must be given."""

    assets: Names = _said("This asset, by its id.", ())
    where: str = _said("Those that fit an expression, such as: has(\"cat\"); 'true' for all.", "")

    @model_validator(mode="after")
    def _chosen(self) -> _Chosen:
        if not self.assets and not self.where:
            raise ValueError("say which images: assets, or where ('true' for all)")
        return self


class Confirm(_Chosen):
    """Take the proposed annotations of images for right: they are labeled."""

    op: Literal["confirm"] = "confirm"


class Reject(_Chosen):
    """Drop the proposed annotations of images: they are unlabeled again."""

    op: Literal["reject"] = "reject"


class Unlabel(_Chosen):
    """Remove all annotations of images: they are unlabeled."""

    op: Literal["unlabel"] = "unlabel"


class Mark(_Chosen):
    """Mark images as hard examples, or take the mark away."""

    op: Literal["mark"] = "mark"
    hard: bool = _said("Mark them, or take the mark away with its coefficient and reasons.", True)
    coefficient: Share | None = _said("How hard, from 0 to 1.", None)
    reasons: tuple[Annotated[int, Field(ge=0, le=30)], ...] = _said("Why, by the number of a reason, 0 to 30.", ())


class Tag(_Chosen):
    """Set tags of images; an empty text removes one."""

    op: Literal["tag"] = "tag"
    tags: Mapping[str, str] = _said("The tags.", place="TAG=TEXT", min_length=1)


class RenameClass(_Operation):
    """Give a class another name; the old one goes on as an alias, and in older versions."""

    op: Literal["rename-class"] = "rename-class"
    old: str = _said("What it is called now.", place="OLD")
    new: str = _said("What it is to be called.", place="NEW")


class MergeClasses(_Operation):
    """Make several classes one; their names go on as aliases."""

    op: Literal["merge-classes"] = "merge-classes"
    classes: Names = _said("The classes.", place="CLASS", min_length=1)
    into: str = _said("The class they become: one of them, another, or a new one.")


class RemoveClasses(_Operation):
    """Remove the annotations of classes; an image that loses its last one is unlabeled."""

    op: Literal["remove-classes"] = "remove-classes"
    classes: Names = _said("The classes.", place="CLASS", min_length=1)
    images: bool = _said("Also remove the images that had no other annotations.", False)


Operation = (
    Filter | Draw | Exclude | Merge | Split | Deduplicate | Group | Thin | TakeTop | LabelFrom | Confirm | Reject | Unlabel | Mark | Tag
    | RenameClass | MergeClasses | RemoveClasses
)  # fmt: skip
OPERATIONS: dict[str, type[BaseModel]] = {kind.model_fields["op"].default: kind for kind in Operation.__args__}
_ADAPTER: TypeAdapter[Operation] = TypeAdapter(Annotated[Operation, Field(discriminator="op")])


def parse_operation(given: Mapping[str, Any]) -> Operation:
    """Raises ``RequestError`` naming the field."""
    if given.get("op") not in OPERATIONS:
        raise RequestError(f"there is no operation {given.get('op')!r} on datasets", hint=f"Known: {', '.join(OPERATIONS)}.")
    try:
        return _ADAPTER.validate_python(dict(given))
    except ValidationError as error:
        raise _refused(given["op"], error.errors()[0]) from error


def _refused(operation: str, first: Mapping[str, Any]) -> RequestError:
    """The first thing that is wrong, with the field and the value that was given for it."""
    place = ".".join(str(part) for part in first["loc"][1:])
    reason = first["msg"].removeprefix("Value error, ")
    # what has no single value of a field: two fields together, a field that is missing or unknown
    whole = not place or first["type"] in ("missing", "extra_forbidden") or isinstance(first["input"], dict)
    said = f"{place}: " if place else ""
    value = "" if whole else f" (given: {str(first['input'])[:100]!r})"
    hint = f"`sluice dataset {operation} --help` says what each takes."
    return RequestError(f"{operation}: {said}{reason}{value}", hint=hint, field=place)
