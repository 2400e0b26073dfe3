"""Images of the engines that nothing in this home needs any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.errors import SluiceError
from contracts.image import ImageFacts
from contracts.seams import Engine
from registry import references
from registry.references import ImageUses
from runner.gc_work import Work

_WHY = "no registered image and no unfinished job needs it; layers that other images use stay"


def free_images(work: Work) -> None:
    """Of every engine that this home uses or ever used; one that does not answer is left out."""
    with work.installation.database.reading() as session:
        uses = references.image_uses(session)
    for name in sorted({work.installation.settings.engine, *uses.engines}):
        try:
            engine = work.installation.engine_named(name)
            listed = engine.list_images()
        except SluiceError as error:
            work.kept.append({"what": "images", "reference": f"all of {name}", "why": error.message})
            continue
        _free_images_of(work, engine, listed, uses)


@dataclass(frozen=True)
class _Image:
    """One content with all its names. ``what``: ``images`` when this home used it once, ``built`` when all that is known is that Sluice built it."""

    what: str
    digest: str
    names: tuple[str, ...]
    size_bytes: int

    @property
    def shown(self) -> str:
        return self.names[0] if self.names else self.digest


def _free_images_of(work: Work, engine: Engine, listed: Sequence[ImageFacts], uses: ImageUses) -> None:
    chosen = []
    asked = [image for image in _unneeded(listed, uses) if image.what == "built" or "images" in work.what]
    for image in asked:
        if refusal := _why_kept(work, image, uses):
            work.kept.append({"what": image.what, "reference": image.shown, "why": refusal})
        else:
            chosen.append(image)
    _remove(work, engine, chosen)


def _unneeded(listed: Sequence[ImageFacts], uses: ImageUses) -> list[_Image]:
    names: dict[str, list[str]] = {}
    for facts in listed:
        names.setdefault(facts.digest, []).extend(filter(None, [facts.reference]))
    sizes = {facts.digest: facts.size_bytes for facts in listed}
    found = []
    for digest, given in names.items():
        what = "images" if digest in uses.known else "built" if any(map(_is_built, given)) else ""
        if what and digest not in uses.needed:
            found.append(_Image(what, digest, tuple(sorted(given)), sizes[digest]))
    return sorted(found, key=lambda image: (image.shown, image.digest))


def _is_built(name: str) -> bool:
    """By some Sluice's ``image build``. Bases are not meant: whatever is built next needs them."""
    return name.startswith("sluice/") and not name.startswith("sluice/base:")


def _why_kept(work: Work, image: _Image, uses: ImageUses) -> str:
    if work.books.doubt:
        return work.books.doubt
    if image.what == "built" and "built" not in work.what:
        return "Sluice built it, but nothing in this home ever used it: another home may (--what built frees it)"
    given = {_normal(reference) for reference in uses.known.get(image.digest, ())}
    foreign = [name for name in image.names if not _is_built(name) and not _is_given(name, given)]
    return f"it also has the name {foreign[0]}, which was never registered here" if foreign else ""


def _is_given(name: str, given: set[str]) -> bool:
    """A pulled image that lost its tag is named ``repository@digest``: then a tag of that repository will do."""
    repository, at, _ = _normal(name).partition("@")
    return _normal(name) in given or (bool(at) and any(repository == _repository(reference) for reference in given))


def _normal(reference: str) -> str:
    """``docker.io/library/python`` and ``python`` are ``python:latest``."""
    short = reference.removeprefix("docker.io/").removeprefix("library/")
    return short if "@" in short or ":" in short.rpartition("/")[2] else f"{short}:latest"


def _repository(reference: str) -> str:
    return reference.partition("@")[0] if "@" in reference else reference.rpartition(":")[0]


def _remove(work: Work, engine: Engine, chosen: Sequence[_Image]) -> None:
    """By digest, so under every name. One that others are built on can only go after them: the refused are tried again while some go."""
    waiting, refused = list(chosen), dict[str, str]()
    while waiting:
        refused = {image.digest: why for image in waiting if (why := _try(work, engine, image))}
        if len(refused) == len(waiting):
            break
        waiting = [image for image in waiting if image.digest in refused]
    work.kept += [{"what": image.what, "reference": image.shown, "why": refused[image.digest]} for image in waiting]


def _try(work: Work, engine: Engine, image: _Image) -> str:
    """Why it could not be removed; '' when it is gone, or was registered meanwhile."""
    freed = image.size_bytes
    if not work.dry_run:
        with work.installation.database.reading() as session:
            needed = references.image_uses(session).needed
        if image.digest in needed:
            return ""
        try:
            freed = engine.remove_image(image.digest)
        except SluiceError as error:
            return error.message
    work.items.append({"what": image.what, "reference": image.shown, "bytes": freed, "why": _WHY})
    return ""
