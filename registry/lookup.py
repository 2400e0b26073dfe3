"""Names: which are allowed, and what to say when there is no such thing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from contracts.errors import NotFoundError, RequestError

_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_IMAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,199}")


def check_folder_name(noun: str, name: str) -> None:
    """SECURITY: the name of a dataset or model becomes a folder; it must not lead out of its parent."""
    if not _FOLDER_NAME.fullmatch(name):
        raise RequestError(
            f"{name!r:.100} cannot be the name of a {noun}",
            hint="Use 1 to 64 letters, digits, '.', '_' and '-', beginning with a letter or digit.",
            name=name,
        )


def check_image_name(name: str) -> None:
    if not _IMAGE_NAME.fullmatch(name):
        raise RequestError(
            f"{name!r:.100} cannot be the name of an image",
            hint="Use 1 to 200 letters, digits, '.', '_', '/', ':', '@' and '-', beginning with a letter or digit.",
            name=name,
        )


def not_found(noun: str, name: str, known: Iterable[str], list_command: str, count: int | None = None) -> NotFoundError:
    """The error for an unknown name: the closest known ones, and how to list them all. ``count``: of the things, where they have several names."""
    names = sorted(known)
    count = len(names) if count is None else count
    close = get_close_matches(name, sorted(set(names)), n=3, cutoff=0.5)
    if close:
        hint = f"Did you mean {' or '.join(close)}? `{list_command}` shows all."
    elif names:
        hint = f"`{list_command}` shows the {count} there are." if count > 1 else f"There is only {names[0]}."
    else:
        hint = f"There is no {noun} yet; `{list_command}` shows them once there is."
    return NotFoundError(f"there is no {noun} {name!r}", hint=hint, noun=noun, name=name, close=close)
