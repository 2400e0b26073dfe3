"""What a Runner does with images and links."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from contracts.errors import RequestError
from contracts.image import Profile
from registry import images, links
from runner import images as image_registration
from runner.installation import Installation
from runner.views import link_view

Say = Callable[[str], None]


def _quiet(*_: object) -> None:
    pass


class ImageVerbs:
    """Part of ``runner.service.Runner``."""

    _installation: Installation

    def build_image(
        self,
        folder: Path,
        *,
        name: str | None = None,
        profile: str = "confined",
        allow: Sequence[str] = (),
        base: str | None = None,
        on_output: Say = _quiet,
    ) -> dict[str, Any]:
        """Builds an image folder and registers what came out."""
        from runner import building

        name = image_registration.check_name(name or image_registration.default_name(folder.resolve().name))
        engine = self._installation.engine
        reference = f"sluice/{name}:latest" if engine.name != "process" else str(folder.resolve())
        facts = building.build_image(engine, folder, reference, base=base, home=self._installation.home, on_output=on_output)
        return self._register(facts, name, profile, allow)

    def add_image(
        self,
        reference: str,
        *,
        name: str | None = None,
        profile: str = "confined",
        allow: Sequence[str] = (),
        pull: bool = True,
        on_progress: Say = _quiet,
    ) -> dict[str, Any]:
        """Registers an image, or what its reference points to now; ``changed_from`` is the digest it replaced."""
        facts = image_registration.find_or_pull(self._installation, reference, pull=pull, on_progress=on_progress)
        return self._register(facts, name, profile, allow)

    def _register(self, facts: Any, name: str | None, profile: str, allow: Sequence[str]) -> dict[str, Any]:
        image, replaced = image_registration.register(
            self._installation, facts, name=name, profile=_profile(profile), allow=_permissions(allow)
        )
        return {**image_registration.describe(self._installation, image), "changed_from": replaced}

    def list_images(self) -> list[dict[str, Any]]:
        with self._installation.database.reading() as session:
            records = images.list_images(session)
        return [image_registration.describe(self._installation, image) for image in records]

    def get_image(self, name: str) -> dict[str, Any]:
        with self._installation.database.reading() as session:
            image = images.get_image(session, name)
        return image_registration.describe(self._installation, image)

    def remove_image(self, name: str) -> dict[str, Any]:
        """Forgets the image and its links; the engine keeps it."""
        with self._installation.database.writing() as session:
            images.remove_image(session, name)
        return {"removed": name}

    def link_images(self, training_image: str, other_image: str) -> dict[str, Any]:
        with self._installation.database.writing() as session:
            return {"links": [link_view(link) for link in links.add_link(session, training_image, other_image)]}

    def unlink_images(self, training_image: str, other_image: str) -> dict[str, Any]:
        with self._installation.database.writing() as session:
            return {"links": [link_view(link) for link in links.remove_link(session, training_image, other_image)]}


def _profile(text: str) -> Profile:
    try:
        return Profile(text)
    except ValueError as error:
        raise RequestError(f"there is no profile {text!r}", hint=f"Known: {', '.join(Profile)}.") from error


def _permissions(texts: Sequence[str]) -> tuple[str, ...]:
    known = ("network", "root", "writable_root")
    given = tuple(dict.fromkeys(text.replace("-", "_") for text in texts))
    for permission in given:
        if permission not in known:
            raise RequestError(f"there is no permission {permission!r}", hint=f"Known: {', '.join(p.replace('_', '-') for p in known)}.")
    return given
