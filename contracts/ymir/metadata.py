"""What an image declares in ``/img-man`` (contract reference 2.2 and 2.3), read from the files alone: no code of the image runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.errors import ImageError
from contracts.image import ImageMetadata, Kind, ObjectType, Template
from contracts.ymir.documents import decode, parse_yaml
from contracts.ymir.template import read_template
from contracts.ymir.wishes import unknown_wishes

FOLDER = "/img-man"
TEMPLATE_FILES = {
    Kind.TRAINING: "training-template.yaml",
    Kind.MINING: "mining-template.yaml",
    Kind.INFERENCE: "infer-template.yaml",
}
TYPE_FOLDERS = {
    ObjectType.CLASSIFICATION: "cls",  # ours: YMIR has no classification
    ObjectType.DETECTION: "det",
    ObjectType.SEMANTIC_SEGMENTATION: "semantic-seg",
    ObjectType.INSTANCE_SEGMENTATION: "instance-seg",
    ObjectType.MULTI_MODAL: "multi-modal",
}
_MAX_MANIFEST_BYTES = 64 * 1024
_MAX_README_BYTES = 256 * 1024
_KNOWN_TYPES = ", ".join(f"{t.value} ({t.label})" for t in TYPE_FOLDERS)


def read_metadata(files: Mapping[str, bytes]) -> ImageMetadata:
    """The object types, templates and properties of an image, from the files of ``/img-man`` by path relative to it.

    A template that cannot be read takes its kind away and leaves a warning, as in YMIR. Raises ``ImageError`` when no template is left, or
    when the manifest names no object type that a job can have.
    """
    files = {name.removeprefix("./"): content for name, content in files.items()}
    warnings: list[str] = []
    manifest = _read_manifest(files, warnings)
    declared, several = _object_types(manifest, warnings)
    templates = [t for object_type in declared for t in _templates(files, object_type, several, warnings)]
    if not templates:
        raise _nothing_offered(files, warnings)
    return ImageMetadata(
        object_types=tuple(t for t in declared if any(template.object_type is t for template in templates)),
        templates=tuple(templates),
        enable_livecode=_flag(manifest, "enable_livecode", warnings),
        is_official=_flag(manifest, "is_official", warnings),
        readme=_readme(files),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _read_manifest(files: Mapping[str, bytes], warnings: list[str]) -> Mapping[str, Any]:
    content = files.get("manifest.yaml")
    if content is None:
        return {}
    try:
        if len(content) > _MAX_MANIFEST_BYTES:
            raise ValueError(f"it has {len(content)} bytes, at most {_MAX_MANIFEST_BYTES} are read")
        manifest = parse_yaml(decode(content)[0])
    except ValueError as error:
        warnings.append(f"manifest.yaml is ignored: {error}")
        return {}
    if not isinstance(manifest, dict):
        warnings.append("manifest.yaml is ignored: it is empty or not a mapping of names to values")
        return {}
    return manifest


def _object_types(manifest: Mapping[str, Any], warnings: list[str]) -> tuple[list[ObjectType], bool]:
    """The declared types, and whether they came as a list: then each has its own folder of templates."""
    declared = manifest.get("object_type", int(ObjectType.DETECTION))
    if not isinstance(declared, list):
        return [_single_type(declared, warnings)], False
    types = [_listed_type(item, warnings) for item in declared]
    found = list(dict.fromkeys(t for t in types if t is not None))
    if not found:
        raise ImageError(
            f"manifest.yaml: object_type {_shown(declared)} names no object type that a job can have", hint=f"Known: {_KNOWN_TYPES}."
        )
    return found, True


def _single_type(declared: Any, warnings: list[str]) -> ObjectType:
    number = _number(declared, warnings)
    if number in (None, 0):  # packages without a type are read the same way (contract reference 7.2)
        warnings.append(f"manifest.yaml: object_type {_shown(declared)} is read as {int(ObjectType.DETECTION)} (detection)")
        return ObjectType.DETECTION
    if number not in [int(t) for t in TYPE_FOLDERS]:
        raise ImageError(f"manifest.yaml: object_type {_shown(declared)} is not one that a job can have", hint=f"Known: {_KNOWN_TYPES}.")
    return ObjectType(number)


def _listed_type(declared: Any, warnings: list[str]) -> ObjectType | None:
    number = _number(declared, warnings)
    if number not in [int(t) for t in TYPE_FOLDERS]:
        warnings.append(f"manifest.yaml: object type {_shown(declared)} is skipped; known are {_KNOWN_TYPES}")
        return None
    return ObjectType(number)


def _number(declared: Any, warnings: list[str]) -> int | None:
    """The number that was declared, None for null. Anything but a number is YMIR's error 130401."""
    if declared is None or (isinstance(declared, int) and not isinstance(declared, bool)):
        return declared
    text = str(declared).strip().removesuffix(".0")
    if isinstance(declared, bool) or not (text.isascii() and text.isdigit() and len(text) < 6):
        raise ImageError(
            f"manifest.yaml: object_type {_shown(declared)} is not a number or a list of numbers", hint=f"Known: {_KNOWN_TYPES}."
        )
    warnings.append(f"manifest.yaml: object_type {_shown(declared)} is read as the number {text}")
    return int(text)


def _templates(files: Mapping[str, bytes], object_type: ObjectType, several: bool, warnings: list[str]) -> list[Template]:
    folder = TYPE_FOLDERS[object_type] + "/" if several else ""
    if folder and not any(folder + name in files for name in TEMPLATE_FILES.values()):
        if any(name in files for name in TEMPLATE_FILES.values()):
            warnings.append(f"{folder} has no templates: {object_type.label} uses those beside manifest.yaml")
        folder = ""
    found = [_template(files, folder + name, kind, object_type, warnings) for kind, name in TEMPLATE_FILES.items()]
    return [template for template in found if template]


def _template(files: Mapping[str, bytes], path: str, kind: Kind, object_type: ObjectType, warnings: list[str]) -> Template | None:
    if path not in files:
        return None
    try:
        template, tolerated = read_template(files[path], kind, object_type)
    except ValueError as error:
        warnings.append(f"{path} cannot be read, so {kind} is not offered: {error}")
        return None
    warnings.extend(f"{path}: {tolerance}" for tolerance in [*tolerated, *unknown_wishes(template)])
    return template


def _flag(manifest: Mapping[str, Any], name: str, warnings: list[str]) -> bool:
    value = manifest.get(name, False)
    if isinstance(value, bool):
        return value
    read = str(value).strip().lower() in ("1", "true", "yes", "on", "t", "y")
    warnings.append(f"manifest.yaml: {name} {_shown(value)} is read as {str(read).lower()}")
    return read


def _readme(files: Mapping[str, bytes]) -> str:
    content = next((files[name] for name in sorted(files) if name.lower() == "readme.md"), b"")
    return decode(content[:_MAX_README_BYTES])[0]


def _nothing_offered(files: Mapping[str, bytes], warnings: list[str]) -> ImageError:
    found = f"{FOLDER} holds {', '.join(sorted(files)[:10])}" if files else f"{FOLDER} is empty or missing"
    return ImageError(
        f"the image offers no kind of job: no readable template in {FOLDER}",
        hint=" ".join([f"Put at least one of {', '.join(TEMPLATE_FILES.values())} into {FOLDER}.", f"{found}.", *warnings]),
        warnings=warnings,
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
