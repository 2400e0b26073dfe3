"""The view of a job's pictures: made in parallel, completed when it was begun, and left out where the job is shown the store itself."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.dataset import ContainerPaths, JobInputs, Sample
from contracts.errors import DatasetError
from contracts.image import Kind
from contracts.ymir import asset_view, stage
from tests.contracts.samples import candidate_inputs, make_sample, stage_tree, training_inputs, tree

COUNT = 300


@pytest.fixture(params=["one by one", "threads"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few files are linked one by one and many by threads: both ways are tried with few."""
    if request.param == "threads":
        monkeypatch.setattr(asset_view, "_WORTH_THREADS", 1)


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    return [make_sample(tmp_path, f"picture {number}") for number in range(COUNT)]


@pytest.fixture
def inputs(samples: list[Sample], tmp_path: Path) -> JobInputs:
    return candidate_inputs(tmp_path, Kind.MINING, {}, candidates=samples)


def _view(work: Path) -> dict[str, int]:
    """Each file of the view with its inode."""
    assets = work / "in" / "assets"
    return {path.relative_to(assets).as_posix(): path.stat().st_ino for path in assets.rglob("*") if path.is_file()}


def _store(samples: list[Sample]) -> dict[str, int]:
    return {sample.asset.relative_path: sample.path.stat().st_ino for sample in samples}


def test_the_view_is_a_link_for_each_picture_and_the_index_a_row(inputs: JobInputs, samples: list[Sample], tmp_path: Path) -> None:
    stage(inputs, tmp_path / "in", tmp_path / "out")
    assert _view(tmp_path) == _store(samples)
    rows = sorted(f"/in/assets/{sample.asset.id[-2:]}/{sample.asset.id}.jpg\n" for sample in samples)
    written = (tmp_path / "in" / "candidate-index.tsv").read_text()
    assert written == "".join(sorted(rows, key=lambda row: row.rpartition("/")[2]))


def test_a_training_sees_the_pictures_of_both_splits(samples: list[Sample], tmp_path: Path) -> None:
    """Folders that both have are filled once, with the pictures of both."""
    inputs = training_inputs(tmp_path, {"export_format": "ark:raw"}, train=samples[:200], val=samples[200:])
    first = stage_tree(inputs, tmp_path)
    assert _view(tmp_path) == _store(samples)
    assert stage_tree(inputs, tmp_path) == first
    assert sum(name.startswith("in/annotations/") for name in first) == COUNT


def test_a_view_that_was_begun_is_completed(inputs: JobInputs, samples: list[Sample], tmp_path: Path) -> None:
    stage(inputs, tmp_path / "in", tmp_path / "out")
    whole, assets = tree(tmp_path / "in"), tmp_path / "in" / "assets"
    lacking, half, wrong = (assets / sample.asset.relative_path for sample in samples[:3])
    for path in (lacking, half, wrong):
        path.unlink()
    half.write_bytes(b"pic")
    wrong.symlink_to(samples[3].path)
    (assets / samples[4].asset.id[-2:] / "stranger.jpg").write_text("of another job")
    (assets / "zz" / "deep").mkdir(parents=True)
    (assets / "file").write_text("")
    stage(inputs, tmp_path / "in", tmp_path / "out")
    assert tree(tmp_path / "in") == whole
    assert _view(tmp_path) == _store(samples)


def test_a_folder_in_the_place_of_a_picture_and_a_link_in_the_place_of_a_folder_are_replaced(
    inputs: JobInputs, samples: list[Sample], tmp_path: Path
) -> None:
    assets, (first, *_) = tmp_path / "in" / "assets", samples
    (assets / first.asset.relative_path / "deep").mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("not ours")
    place = assets / next(s.asset.id[-2:] for s in samples if s.asset.id[-2:] != first.asset.id[-2:])
    place.symlink_to(elsewhere)
    stage(inputs, tmp_path / "in", tmp_path / "out")
    assert _view(tmp_path) == _store(samples)
    assert [path.name for path in elsewhere.iterdir()] == ["kept"]


def test_a_process_that_is_killed_half_way_leaves_what_the_next_one_completes(
    inputs: JobInputs, samples: list[Sample], tmp_path: Path
) -> None:
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from contracts.image import Kind\n"
        "from contracts.ymir import asset_view, stage\n"
        "from tests.contracts.samples import candidate_inputs, make_sample\n"
        "work = Path(sys.argv[1])\n"
        f"asset_view._WORTH_THREADS = {asset_view._WORTH_THREADS}\n"
        f"inputs = candidate_inputs(work, Kind.MINING, {{}}, candidates=[make_sample(work, f'picture {{i}}') for i in range({COUNT})])\n"
        "link, made = os.link, []\n"
        "def link_or_die(*arguments, **named):\n"
        "    made.append(link(*arguments, **named))\n"
        "    if len(made) == 100: os.kill(os.getpid(), signal.SIGKILL)\n"
        "os.link = link_or_die\n"
        "stage(inputs, work / 'in', work / 'out')\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    assert 100 <= len(_view(tmp_path)) < COUNT
    stage(inputs, tmp_path / "in", tmp_path / "out")
    assert _view(tmp_path) == _store(samples)


def test_a_disk_that_is_full_half_way_comes_through_and_the_next_try_completes(
    inputs: JobInputs, samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, made = os.link, list[Any]()

    def link_or_be_full(*arguments: Any, **named: Any) -> None:
        made.append(arguments)
        if len(made) > 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        link(*arguments, **named)

    with monkeypatch.context() as full:
        full.setattr(os, "link", link_or_be_full)
        with pytest.raises(OSError, match="No space left") as raised:
            stage(inputs, tmp_path / "in", tmp_path / "out")
        assert raised.value.errno == errno.ENOSPC
    stage(inputs, tmp_path / "in", tmp_path / "out")
    assert _view(tmp_path) == _store(samples)


def test_a_lost_picture_is_named(inputs: JobInputs, samples: list[Sample], tmp_path: Path) -> None:
    samples[77].path.unlink()
    with pytest.raises(DatasetError, match=r"picture 77\.jpg") as raised:
        stage(inputs, tmp_path / "in", tmp_path / "out")
    assert raised.value.fields["asset"] == samples[77].asset.id


def test_a_picture_with_as_many_names_as_its_disk_allows_is_copied_alone(
    inputs: JobInputs, samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, lonely = os.link, samples[5].asset.file_name

    def link_all_but_one(origin: str, *arguments: Any, **named: Any) -> None:
        if str(origin).endswith(lonely):
            raise OSError(errno.EMLINK, "Too many links")
        link(origin, *arguments, **named)

    monkeypatch.setattr(os, "link", link_all_but_one)
    for _ in range(2):  # the second time there is a copy, which may be half a one
        warnings = stage(inputs, tmp_path / "in", tmp_path / "out")
        assert [(warning.code, "times" in warning.message) for warning in warnings] == [("copied_not_linked", False)]
    copied = tmp_path / "in" / "assets" / samples[5].asset.relative_path
    assert (copied.read_text(), copied.stat().st_nlink) == ("picture 5", 1)
    different = {name for name, inode in _view(tmp_path).items() if _store(samples)[name] != inode}
    assert different == {samples[5].asset.relative_path}


# ------------------------------------------------------------------------------------------------------------ index view


def test_a_job_that_is_shown_the_store_gets_an_index_and_no_links(inputs: JobInputs, samples: list[Sample], tmp_path: Path) -> None:
    stage(inputs, tmp_path / "in", tmp_path / "out")  # an earlier attempt, with another setting
    shown = replace(inputs, paths=ContainerPaths(assets_dir="/srv/store/"))
    assert stage(shown, tmp_path / "in", tmp_path / "out") == []
    assert list((tmp_path / "in" / "assets").iterdir()) == []
    rows = (tmp_path / "in" / "candidate-index.tsv").read_text().splitlines()
    assert sorted(rows) == sorted(f"/srv/store/{sample.asset.relative_path}" for sample in samples)
    env = yaml.safe_load((tmp_path / "in" / "env.yaml").read_text())
    assert (env["input"]["assets_dir"], env["input"]["root_dir"]) == ("/srv/store", "/in")


def test_a_store_whose_path_images_cannot_split_is_refused(inputs: JobInputs, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="white space"):
        stage(replace(inputs, paths=ContainerPaths(assets_dir="/my store")), tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "in").exists()
