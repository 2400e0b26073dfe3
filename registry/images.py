"""Images: what was registered under a name, which content it is pinned to, and what it declared."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from contracts.errors import ConflictError
from contracts.image import ImageMetadata, Kind, ObjectType, Parameter, ParameterType, Permissions, Profile, Template
from registry.lookup import check_image_name, not_found
from registry.tables import ImageDigestRow, ImageRow, JobRow, LinkRow, now

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageRecord:
    """One registered image. ``digest`` is the content jobs run, whatever ``reference`` points to now."""

    id: int
    name: str
    reference: str
    engine: str
    dialect: str
    digest: str
    size_bytes: int
    profile: Profile
    allow: tuple[str, ...]
    metadata: ImageMetadata
    labels: dict[str, str]
    registered_at: datetime
    updated_at: datetime

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return self.metadata.kinds

    @property
    def permissions(self) -> Permissions:
        return Permissions.of(self.profile, self.allow)


@dataclass(frozen=True)
class DigestRecord:
    """What a name pointed to from ``recorded_at`` on."""

    reference: str
    digest: str
    size_bytes: int
    recorded_at: datetime


def add_image(
    session: Session,
    *,
    name: str,
    reference: str,
    engine: str,
    digest: str,
    metadata: ImageMetadata,
    dialect: str = "ymir",
    size_bytes: int = 0,
    profile: Profile = Profile.CONFINED,
    allow: Iterable[str] = (),
    labels: Mapping[str, str] | None = None,
) -> ImageRecord:
    """Register an image. Raises ``ConflictError`` when the name is taken."""
    check_image_name(name)
    if find_image(session, name) is not None:
        raise ConflictError(f"the image name {name!r} is taken", hint=f"Choose another, or `sluice image remove {name}` first.", name=name)
    moment = now()
    row = ImageRow(
        name=name,
        reference=reference,
        engine=engine,
        dialect=dialect,
        digest=digest,
        size_bytes=size_bytes,
        profile=profile.value,
        allow=list(allow),
        declared=metadata_to_json(metadata),
        labels=dict(labels or {}),
        registered_at=moment,
        updated_at=moment,
    )
    session.add(row)
    session.flush()
    _record_digest(session, row)
    return _record(row)


def get_image(session: Session, name: str) -> ImageRecord:
    """The image of that name. Raises ``NotFoundError``."""
    return _record(image_row(session, name))


def find_image(session: Session, name: str) -> ImageRecord | None:
    row = session.scalar(select(ImageRow).where(ImageRow.name == name))
    return _record(row) if row else None


def list_images(session: Session) -> list[ImageRecord]:
    """Every image, by name."""
    return [_record(row) for row in session.scalars(select(ImageRow).order_by(ImageRow.name))]


def replace_image(
    session: Session,
    name: str,
    *,
    digest: str,
    metadata: ImageMetadata,
    size_bytes: int | None = None,
    reference: str | None = None,
    profile: Profile | None = None,
    allow: Iterable[str] | None = None,
    labels: Mapping[str, str] | None = None,
    engine: str | None = None,
    dialect: str | None = None,
) -> ImageRecord:
    """Pin the name to new content, as after a moved tag; what is None stays. The old digest stays in ``list_digests``.

    Links that the new content can no longer keep are dropped, and named in the log.
    """
    row = image_row(session, name)
    moved = digest != row.digest or (reference is not None and reference != row.reference)
    row.digest, row.declared = digest, metadata_to_json(metadata)
    row.size_bytes = row.size_bytes if size_bytes is None else size_bytes
    row.reference = row.reference if reference is None else reference
    row.profile = row.profile if profile is None else profile.value
    row.allow = row.allow if allow is None else list(allow)
    row.labels = row.labels if labels is None else dict(labels)
    row.engine = row.engine if engine is None else engine
    row.dialect = row.dialect if dialect is None else dialect
    row.updated_at = now()
    session.flush()
    if moved:
        _record_digest(session, row)
    _drop_unfit_links(session, row)
    return _record(row)


def list_digests(session: Session, name: str) -> list[DigestRecord]:
    """Everything the name has pointed to, oldest first; the last is what it points to now."""
    row = image_row(session, name)
    digests = session.scalars(select(ImageDigestRow).where(ImageDigestRow.image_id == row.id).order_by(ImageDigestRow.id))
    return [DigestRecord(d.reference, d.digest, d.size_bytes, d.recorded_at) for d in digests]


def remove_image(session: Session, name: str) -> ImageRecord:
    """Forget the image, its links and its digests; returns what was removed. Models it trained stay.

    Raises ``ConflictError`` while an unfinished job uses it.
    """
    row = image_row(session, name)
    users = session.scalars(select(JobRow.id).where(JobRow.image_name == name, JobRow.end_reason.is_(None)).order_by(JobRow.id)).all()
    if users:
        raise ConflictError(
            f"the image {name!r} is used by {len(users)} unfinished job{'s' if len(users) > 1 else ''}: {', '.join(users[:5])}",
            hint=f"Wait for them, or `sluice job cancel {users[0]}`.",
            jobs=list(users),
        )
    record = _record(row)
    session.delete(row)
    session.flush()
    return record


def shared_object_types(training: ImageMetadata, other: ImageMetadata, kind: Kind) -> tuple[ObjectType, ...]:
    """The object types that the first trains and the second offers this kind for."""
    trained = {t.object_type for t in training.templates if t.kind is Kind.TRAINING}
    offered = {t.object_type for t in other.templates if t.kind is kind}
    return tuple(sorted(trained & offered))


def image_row(session: Session, name: str) -> ImageRow:
    row = session.scalar(select(ImageRow).where(ImageRow.name == name))
    if row is None:
        raise not_found("image", name, session.scalars(select(ImageRow.name)), "sluice image list")
    return row


# ----------------------------------------------------------------------------------------------------- metadata as JSON


def metadata_to_json(metadata: ImageMetadata) -> dict[str, Any]:
    return {
        "object_types": [int(object_type) for object_type in metadata.object_types],
        "templates": [
            {
                "kind": template.kind.value,
                "object_type": int(template.object_type),
                "parameters": [{"name": p.name, "type": p.type.value, "default": p.default, "help": p.help} for p in template.parameters],
            }
            for template in metadata.templates
        ],
        "enable_livecode": metadata.enable_livecode,
        "is_official": metadata.is_official,
        "readme": metadata.readme,
        "warnings": list(metadata.warnings),
    }


def metadata_from_json(stored: Mapping[str, Any]) -> ImageMetadata:
    """Reads leniently, so that a field added to the metadata later needs no migration."""
    return ImageMetadata(
        object_types=tuple(ObjectType(number) for number in stored["object_types"]),
        templates=tuple(_template(template) for template in stored["templates"]),
        enable_livecode=stored.get("enable_livecode", False),
        is_official=stored.get("is_official", False),
        readme=stored.get("readme", ""),
        warnings=tuple(stored.get("warnings", ())),
    )


def _template(stored: Mapping[str, Any]) -> Template:
    return Template(
        kind=Kind(stored["kind"]),
        object_type=ObjectType(stored["object_type"]),
        parameters=tuple(Parameter(p["name"], ParameterType(p["type"]), p["default"], p.get("help", "")) for p in stored["parameters"]),
    )


# ------------------------------------------------------------------------------------------------------------------- rows


def _record(row: ImageRow) -> ImageRecord:
    return ImageRecord(
        id=row.id,
        name=row.name,
        reference=row.reference,
        engine=row.engine,
        dialect=row.dialect,
        digest=row.digest,
        size_bytes=row.size_bytes,
        profile=Profile(row.profile),
        allow=tuple(row.allow),
        metadata=metadata_from_json(row.declared),
        labels=dict(row.labels),
        registered_at=row.registered_at,
        updated_at=row.updated_at,
    )


def _record_digest(session: Session, row: ImageRow) -> None:
    session.add(
        ImageDigestRow(image_id=row.id, reference=row.reference, digest=row.digest, size_bytes=row.size_bytes, recorded_at=row.updated_at)
    )
    session.flush()


def _drop_unfit_links(session: Session, row: ImageRow) -> None:
    touching = select(LinkRow).where((LinkRow.training_image_id == row.id) | (LinkRow.image_id == row.id))
    for link in session.scalars(touching).all():
        training, other = (session.get_one(ImageRow, image_id) for image_id in (link.training_image_id, link.image_id))
        if not shared_object_types(metadata_from_json(training.declared), metadata_from_json(other.declared), Kind(link.kind)):
            _log.warning(
                "link dropped training_image=%s image=%s kind=%s: the new content does not fit", training.name, other.name, link.kind
            )
            session.delete(link)
    session.flush()
