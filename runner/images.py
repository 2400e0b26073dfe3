"""Registers images: reads what they declare without running them, pins them by digest, notices a moved tag."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from contracts.errors import ConflictError, EngineError, ImageMissingError, RequestError
from contracts.image import ImageFacts, Profile
from registry import images, links
from registry.images import ImageRecord
from runner.installation import Installation
from runner.views import image_view

_MAX_METADATA_BYTES = 4 * 1024**2
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_DIALECT = "ymir"


def default_name(reference: str) -> str:
    """The last part of the repository, without tag: ``registry/team/tinydet:1.2`` gives ``tinydet``; a folder gives its own name."""
    last = PurePosixPath(reference.partition("@")[0]).name
    return re.sub(r"[^a-z0-9._-]+", "-", last.partition(":")[0].lower()).strip("-._") or "image"


def check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise RequestError(f"{name!r} cannot be an image's name", hint="Use lower-case letters, digits, '.', '_' and '-', at most 64.")
    return name


def find_or_pull(installation: Installation, reference: str, *, pull: bool, on_progress: Callable[[str], None]) -> ImageFacts:
    """The image as the engine has it, fetched first when it does not and ``pull`` is set; ``on_progress`` gets lines for people."""
    facts = installation.engine.find_image(reference)
    if facts:
        return facts
    pulls = "pull" in installation.engine.capabilities
    if not pull or not pulls:
        hint = (
            "Check the name, build the image, or let it be pulled."
            if pulls
            else "It pulls none: name an image folder, or another --engine."
        )
        raise ImageMissingError(f"the {installation.engine.name} engine has no image {reference!r}", hint=hint)
    if Path(reference).is_absolute():  # a folder that was seen from where it was named; no name of an image begins with /
        raise RequestError(f"{reference} is no image", hint=f"To make one of a folder: sluice image build {reference}", reference=reference)
    timeout_s = installation.settings.pull_timeout_s
    return installation.engine.pull_image(reference, lambda progress: on_progress(progress.message), timeout_s)


def register(
    installation: Installation, facts: ImageFacts, *, name: str | None, profile: Profile, allow: tuple[str, ...]
) -> tuple[ImageRecord, str | None]:
    """The record, and the digest it replaces when the name was registered with another one."""
    dialect = installation.dialect(_DIALECT)
    # By digest where the engine can, so that a tag that moves in this moment does not mix two images.
    address = facts.digest if installation.engine.find_image(facts.digest) else facts.reference
    files = installation.engine.read_image_files(address, dialect.metadata_folder, _MAX_METADATA_BYTES)
    values: dict[str, Any] = {
        "reference": facts.reference,
        "engine": installation.engine.name,
        "dialect": dialect.name,
        "digest": facts.digest,
        "size_bytes": facts.size_bytes,
        "profile": profile,
        "allow": allow,
        "metadata": dialect.read_metadata(files),
        "labels": dict(facts.labels),
    }
    name = check_name(name or default_name(facts.reference))
    with installation.database.writing() as session:
        known = images.find_image(session, name)
        if known is None:
            return images.add_image(session, name=name, **values), None
        _refuse_other_reference(known, facts.reference)
        return images.replace_image(session, name, **values), known.digest if known.digest != facts.digest else None


def _refuse_other_reference(known: ImageRecord, reference: str) -> None:
    def repository(text: str) -> str:
        return text.partition("@")[0].rpartition(":")[0] if ":" in PurePosixPath(text).name else text.partition("@")[0]

    if repository(known.reference) != repository(reference):
        raise ConflictError(
            f"the name {known.name} is taken by {known.reference}",
            hint=f"Choose another with --name, or first: sluice image remove {known.name}",
        )


def describe(installation: Installation, image: ImageRecord) -> dict[str, Any]:
    """The image as the doors show it, with where its reference points now."""
    with installation.database.reading() as session:
        its_links = links.list_links(session, image.name)
    state, digest = _state_now(installation, image)
    return image_view(image, its_links, state, digest)


def moved_warning(installation: Installation, image: ImageRecord) -> str | None:
    """A sentence when the reference no longer points to what was registered; the registered digest is what runs."""
    state, digest = _state_now(installation, image)
    if state != "moved":
        return None
    return (
        f"{image.reference} now points to {short(digest or '')}; the job runs the registered {short(image.digest)}. "
        f"To use the new one: sluice image add {image.reference} --name {image.name}"
    )


def short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]


def _state_now(installation: Installation, image: ImageRecord) -> tuple[str, str | None]:
    engine = installation.engine_named(image.engine)
    try:
        facts = engine.find_image(image.reference)
        if facts and facts.digest == image.digest:
            return "ready", facts.digest
        held = engine.find_image(image.digest)
    except EngineError:
        return "unknown", None
    if facts:
        return "moved", facts.digest
    return ("ready" if held else "missing"), None
