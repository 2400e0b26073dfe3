"""What is read of an image folder before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import ImageError
from runner import building
from runner.building import check_folder, read_dockerfile


def _dockerfile(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "Dockerfile"
    path.write_text(text)
    return path


def test_the_base_is_the_default_of_the_argument_base(tmp_path: Path) -> None:
    dockerfile = read_dockerfile(_dockerfile(tmp_path, "# syntax\nARG BASE=python:3.11-slim-bookworm\nFROM ${BASE}\nRUN true\n"))
    assert (dockerfile.base, dockerfile.exchangeable) == ("python:3.11-slim-bookworm", True)


def test_a_plain_from_is_a_base_that_cannot_be_exchanged(tmp_path: Path) -> None:
    dockerfile = read_dockerfile(_dockerfile(tmp_path, "FROM --platform=linux/amd64 debian:12 AS build\nFROM build\n"))
    assert (dockerfile.base, dockerfile.exchangeable) == ("debian:12", False)


@pytest.mark.parametrize("base", ["python:${V}-slim", "python:$V-slim", "python:${W:-3.11}-slim"])
def test_arguments_in_the_base_take_their_defaults(tmp_path: Path, base: str) -> None:
    assert read_dockerfile(_dockerfile(tmp_path, f'ARG V="3.11"\nFROM {base}\n')).base == "python:3.11-slim"


def test_an_image_from_scratch_has_no_base(tmp_path: Path) -> None:
    assert read_dockerfile(_dockerfile(tmp_path, "from scratch\n")).base == ""


def test_a_dockerfile_without_from_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="has no FROM"):
        read_dockerfile(_dockerfile(tmp_path, "RUN true\n"))


def test_a_folder_that_is_no_image_is_told_everything_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"lacks a Dockerfile and img-man/ with at least one of training-template\.yaml"):
        check_folder(tmp_path)


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(ImageError, match="there is no folder /nonexistent"):
        check_folder(Path("/nonexistent"))


def test_one_template_anywhere_below_is_enough_because_published_images_keep_them_in_different_places(tmp_path: Path) -> None:
    _dockerfile(tmp_path, "FROM scratch\n")
    (tmp_path / "ymir" / "img-man").mkdir(parents=True)
    (tmp_path / "ymir" / "img-man" / "infer-template.yaml").write_text("a: 1\n")
    check_folder(tmp_path)


def test_a_linked_package_is_carried_as_source_and_any_other_link_stays_a_link(tmp_path: Path) -> None:
    package, image = tmp_path / "mining", tmp_path / "image"
    (package / "inner").mkdir(parents=True)
    (image / "app").mkdir(parents=True)
    for name in ("__init__.py", "inner/__init__.py", "secret.pem"):
        (package / name).write_text("x = 1\n")
    (package / "outside.py").symlink_to("/etc/passwd")
    (tmp_path / "secrets").mkdir()
    (image / "app" / "mining").symlink_to("../../mining")
    (image / "app" / "secrets").symlink_to("../../secrets")
    with building._build_context(image, tmp_path / "cache") as context:
        carried = sorted(str(path.relative_to(context / "app")) for path in (context / "app" / "mining").rglob("*"))
        assert carried == ["mining/__init__.py", "mining/inner", "mining/inner/__init__.py"]
        assert not (context / "app" / "mining").is_symlink()
        assert (context / "app" / "secrets").is_symlink()
