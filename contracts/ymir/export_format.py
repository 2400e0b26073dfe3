"""Which annotations an image wants: the grammar ``<annotation>:<asset>`` of its parameter export_format (contract reference 4.6)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from contracts.errors import DatasetError
from contracts.image import ObjectType
from contracts.ymir.tolerances import Tolerances


class AnnotationForm(str, Enum):
    """How annotations are laid out in ``/in/annotations``."""

    ARK = "ark"
    VOC = "voc"
    COCO = "coco"
    LABELS = "cls"
    NONE = "none"


_NAMES = {
    "voc": AnnotationForm.VOC,
    "det-voc": AnnotationForm.VOC,
    "ark": AnnotationForm.ARK,
    "det-ark": AnnotationForm.ARK,
    "coco": AnnotationForm.COCO,
    "seg-coco": AnnotationForm.COCO,
    "cls": AnnotationForm.LABELS,
    "none": AnnotationForm.NONE,
}
_SEGMENTATION = (ObjectType.SEMANTIC_SEGMENTATION, ObjectType.INSTANCE_SEGMENTATION)
_PLACE = "config.yaml"


def choose_form(parameters: Mapping[str, Any], object_type: ObjectType, tolerances: Tolerances) -> AnnotationForm:
    """The form that the image asks for, or the contract's default. Raises ``DatasetError`` for anything but raw pictures."""
    wanted = parameters.get("export_format")
    if wanted is None or (isinstance(wanted, str) and not wanted.strip()):
        return _default(object_type, tolerances)
    if not isinstance(wanted, str):
        raise DatasetError(
            f"export_format {wanted!r} is not a text", hint="Give <annotation>:raw, for example ark:raw, voc:raw, coco:raw or cls:raw."
        )
    annotation, colon, asset = wanted.strip().lower().partition(":")
    if not colon:
        tolerances.add("export_format_without_colon", f"export_format {wanted!r} has no ':'; raw pictures are assumed", _PLACE)
    elif asset.strip() != "raw":
        raise DatasetError(
            f"export_format {wanted!r} asks for pictures as {asset!r}; there is only raw", hint="Set export_format to <annotation>:raw."
        )
    return _named(annotation.strip(), wanted, object_type, tolerances)


def _default(object_type: ObjectType, tolerances: Tolerances) -> AnnotationForm:
    form = AnnotationForm.COCO if object_type in _SEGMENTATION else AnnotationForm.VOC
    form = AnnotationForm.LABELS if object_type is ObjectType.CLASSIFICATION else form
    message = (
        f"the image does not say which annotations it wants (export_format): it gets {form.value}, the default for {object_type.label}"
    )
    tolerances.add("export_format_default", message, _PLACE)
    return form


def _named(name: str, wanted: str, object_type: ObjectType, tolerances: Tolerances) -> AnnotationForm:
    form = _NAMES.get(name)
    if form is None:
        known = ", ".join(_NAMES)
        tolerances.add(
            "export_format_unknown", f"export_format {wanted!r} is unknown: the image gets no annotations (known: {known})", _PLACE
        )
        return AnnotationForm.NONE
    if object_type in _SEGMENTATION and form in (AnnotationForm.ARK, AnnotationForm.VOC):
        tolerances.add("export_format_without_masks", f"export_format {wanted!r} holds boxes only: the image gets no masks", _PLACE)
    if object_type is ObjectType.CLASSIFICATION and form in (AnnotationForm.ARK, AnnotationForm.VOC, AnnotationForm.COCO):
        tolerances.add("export_format_without_labels", f"export_format {wanted!r} holds boxes only: the image gets no labels", _PLACE)
    if object_type is not ObjectType.CLASSIFICATION and form is AnnotationForm.LABELS:
        tolerances.add(
            "export_format_without_boxes", f"export_format {wanted!r} holds labels of whole pictures: the image gets no boxes", _PLACE
        )
    return form
