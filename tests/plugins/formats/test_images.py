"""Folders of pictures without annotations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from plugins.formats.images import ImagesFormat
from tests.conformance.format import FormatConformance, images, skips


class TestImagesFormat(FormatConformance):
    @pytest.fixture
    def format_(self) -> ImagesFormat:
        return ImagesFormat()

    @pytest.fixture
    def folder(self, folder: Path, make_picture: Callable[..., Path]) -> Path:
        make_picture("a.jpg")
        make_picture("deep/er/b.PNG")
        return folder


def test_pictures_are_unannotated_and_possible_labels_are_named(
    folder: Path, make_picture: Callable[..., Path], write: Callable[[str, str], Path]
) -> None:
    make_picture("pool/a.jpg")
    write("labels.csv", "a.jpg,1,2,3,4")
    found = list(ImagesFormat().read(folder))
    assert [(image.name, image.annotations, image.splits) for image in images(found)] == [("pool/a.jpg", None, ("pool",))]
    assert [skip.place for skip in skips(found)] == ["labels.csv"]
