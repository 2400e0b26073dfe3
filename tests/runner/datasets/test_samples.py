"""The digits sample."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from contracts.errors import DatasetError
from runner.samples import _share_instances, make_digits


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_arguments_give_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first, again, other = (_files(make_digits(tmp_path / str(n), train=3, val=2, pool=1, seed=seed)) for n, seed in enumerate((5, 5, 6)))
    assert first == again
    assert first.keys() == other.keys()
    assert first != other


def test_it_imports_without_a_single_complaint(tmp_path: Path, run_import: Callable[..., dict[str, Any]]) -> None:
    report = run_import(make_digits(tmp_path / "digits", train=40, val=6, test=2, pool=5))
    assert report["splits"] == {"train": 40, "val": 6, "test": 2, "pool": 5}
    assert (report["skipped"], report["mended"], report["unlabeled"]) == ([], [], 5)
    assert len(report["classes"]) == 10


def test_no_digit_is_shown_in_two_sets() -> None:
    shares = _share_instances({"train": 300, "val": 60, "test": 0, "pool": 200}, 0)
    seen = [picture.tobytes() for share in shares.values() for picture, _ in share]
    assert len(shares["test"]) == 0
    assert min(len(share) for name, share in shares.items() if name != "test") >= 150
    assert len(seen) == 1797


def test_scenes_have_the_size_asked_for(tmp_path: Path) -> None:
    folder = make_digits(tmp_path / "digits", train=1, val=0, size=96)
    with Image.open(folder / "JPEGImages" / "train_00000.jpg") as picture:
        assert (picture.size, picture.mode) == ((96, 96), "RGB")


@pytest.mark.parametrize("request_", [{"train": 0, "val": 0}, {"train": -1}, {"size": 10}])
def test_an_impossible_request_is_refused(tmp_path: Path, request_: dict[str, int]) -> None:
    with pytest.raises(DatasetError):
        make_digits(tmp_path / "digits", **request_)


def test_a_folder_with_something_in_it_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(DatasetError, match="not empty"):
        make_digits(tmp_path)
    assert list(_files(tmp_path)) == ["mine.txt"]


def test_without_scikit_learn_the_error_names_the_extra(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None; sys.modules['sklearn.datasets'] = None\n"
        "from pathlib import Path; from runner.samples import make_digits; from contracts.errors import ConfigurationError\n"
        f"try:\n    make_digits(Path({str(tmp_path / 'x')!r}))\nexcept ConfigurationError as error:\n    print(error)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "sluice[samples]" in answer
