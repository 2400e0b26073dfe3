"""Links: which mining and inference images can read what a training image writes."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session, aliased

from contracts.errors import LinkError, NotFoundError
from contracts.image import ImageMetadata, Kind
from registry.images import ImageRecord, get_image, image_row, shared_object_types
from registry.tables import ImageRow, LinkRow, now

LINKABLE = (Kind.MINING, Kind.INFERENCE)


@dataclass(frozen=True)
class LinkRecord:
    """``image`` can run ``kind`` on models that ``training_image`` trained."""

    training_image: str
    image: str
    kind: Kind


def add_link(session: Session, training_name: str, other_name: str) -> list[LinkRecord]:
    """Link the other image for every kind of mining and inference that fits; returns all links of the pair. May be repeated.

    An image may be linked to itself. Raises ``LinkError`` when the roles or object types do not fit, ``NotFoundError``.
    """
    training, other = get_image(session, training_name), get_image(session, other_name)
    kinds = _fitting_kinds(training, other)
    present = {link.kind for link in _links_between(session, training_name, other_name)}
    for kind in kinds:
        if kind not in present:
            session.add(LinkRow(training_image_id=training.id, image_id=other.id, kind=kind.value, created_at=now()))
    session.flush()
    return _links_between(session, training_name, other_name)


def remove_link(session: Session, training_name: str, other_name: str) -> list[LinkRecord]:
    """Remove every link of the pair; returns them. Raises ``NotFoundError`` when there is none."""
    training, other = image_row(session, training_name), image_row(session, other_name)
    links = _links_between(session, training_name, other_name)
    if not links:
        raise NotFoundError(
            f"there is no link from {training_name!r} to {other_name!r}", hint=f"`sluice image show {training_name}` lists its links."
        )
    for row in session.scalars(select(LinkRow).where(LinkRow.training_image_id == training.id, LinkRow.image_id == other.id)).all():
        session.delete(row)
    session.flush()
    return links


def list_links(session: Session, name: str | None = None) -> list[LinkRecord]:
    """Every link, or those from and to one image. Raises ``NotFoundError`` for an unknown image."""
    if name is None:
        return _links(session)
    row = image_row(session, name)
    return _links(session, (LinkRow.training_image_id == row.id) | (LinkRow.image_id == row.id))


def linked_images(session: Session, training_image_name: str, kind: Kind) -> list[str]:
    """Names of the images that may run this kind on the training image's models, sorted; for mining+inference those linked for both.

    An image that is no longer registered has none.
    """
    links = _links(session, _Training.name == training_image_name)
    names_by_part = [{link.image for link in links if link.kind is part} for part in kind.parts]
    return sorted(set.intersection(*names_by_part))


def is_linked(session: Session, training_image: str, other: str, kind: Kind) -> bool:
    return other in linked_images(session, training_image, kind)


def _fitting_kinds(training: ImageRecord, other: ImageRecord) -> tuple[Kind, ...]:
    if Kind.TRAINING not in training.kinds:
        raise LinkError(
            f"{training.name!r} cannot be linked from: it does not offer training, only {_offers(training.metadata)}",
            hint="Name the training image first: `sluice image link TRAINING OTHER`.",
        )
    if not set(LINKABLE) & set(other.kinds):
        raise LinkError(
            f"{other.name!r} cannot be linked to: it offers neither mining nor inference, only {_offers(other.metadata)}",
            hint="Link a training image to images that mine or infer.",
        )
    kinds = tuple(kind for kind in LINKABLE if shared_object_types(training.metadata, other.metadata, kind))
    if not kinds:
        raise LinkError(
            f"{training.name!r} and {other.name!r} share no object type: the first offers {_offers(training.metadata)}; "
            f"the second offers {_offers(other.metadata)}",
            hint="Both must work on the same object type, e.g. detection.",
        )
    return kinds


def _offers(metadata: ImageMetadata) -> str:
    """``training (detection), mining (detection, classification)``; 'nothing' when there is no template."""
    parts = []
    for kind in metadata.kinds:
        types = sorted({t.object_type for t in metadata.templates if t.kind is kind})
        parts.append(f"{kind} ({', '.join(object_type.label for object_type in types)})")
    return ", ".join(parts) or "nothing"


_Training = aliased(ImageRow)
_Other = aliased(ImageRow)


def _links(session: Session, *conditions: ColumnElement[bool]) -> list[LinkRecord]:
    query = (
        select(_Training.name, _Other.name, LinkRow.kind)
        .join(_Training, LinkRow.training_image_id == _Training.id)
        .join(_Other, LinkRow.image_id == _Other.id)
        .where(*conditions)
        .order_by(_Training.name, _Other.name, LinkRow.kind.desc())
    )
    return [LinkRecord(training, other, Kind(kind)) for training, other, kind in session.execute(query)]


def _links_between(session: Session, training_name: str, other_name: str) -> list[LinkRecord]:
    return _links(session, _Training.name == training_name, _Other.name == other_name)
