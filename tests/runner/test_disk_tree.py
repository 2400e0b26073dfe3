"""Trees are measured and removed as they are: no link is followed, and a file with another name frees nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.disk_tree import Removal, newest_mtime


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "top"
    (top / "deep" / "er").mkdir(parents=True)
    (top / "a").write_bytes(b"1234")
    (top / "deep" / "er" / "b").write_bytes(b"123456")
    return top


def test_a_dry_run_counts_what_the_removal_frees_and_changes_nothing(tree: Path) -> None:
    assert Removal(dry_run=True).remove_tree(tree) == 10
    assert (tree / "deep" / "er" / "b").exists()
    assert Removal(dry_run=False).remove_tree(tree) == 10
    assert not tree.exists()


def test_removing_what_is_gone_frees_nothing_and_is_no_problem(tree: Path) -> None:
    removal = Removal(dry_run=False)
    assert (removal.remove_tree(tree), removal.remove_tree(tree), removal.remove_file(tree / "a"), removal.problems) == (10, 0, 0, [])


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_file_with_another_name_elsewhere_frees_nothing(tree: Path, tmp_path: Path, dry_run: bool) -> None:
    os.link(tree / "a", tmp_path / "model")
    assert Removal(dry_run).remove_tree(tree) == 6
    assert (tmp_path / "model").read_bytes() == b"1234"


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_file_whose_names_all_go_is_counted_once(tree: Path, tmp_path: Path, dry_run: bool) -> None:
    os.link(tree / "a", tree / "deep" / "again")
    os.link(tree / "a", tmp_path / "asset")
    removal = Removal(dry_run)
    assert (removal.remove_tree(tree), removal.remove_file(tmp_path / "asset")) == (6, 4)


def test_a_link_goes_and_what_it_points_to_stays(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_bytes(b"x" * 99)
    (tree / "to-folder").symlink_to(tmp_path / "precious")
    (tree / "to-file").symlink_to(tmp_path / "precious" / "file")
    (tree / "to-itself").symlink_to(tree / "to-itself")
    Removal(dry_run=False).remove_tree(tree)
    assert (tree.exists(), (tmp_path / "precious" / "file").read_bytes()) == (False, b"x" * 99)


def test_pipes_odd_names_and_folders_without_rights_go_like_others(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    (tree / "with\nnewline {count}").touch()
    os.close(os.open(os.fsencode(tree) + b"/\xff\xfe", os.O_CREAT | os.O_WRONLY))
    (tree / "deep").chmod(0o000)
    removal = Removal(dry_run=False)
    removal.remove_tree(tree)
    assert (removal.problems, tree.exists()) == ([], False)


def test_a_tree_deeper_than_pythons_stack_goes(tmp_path: Path) -> None:
    place = os.getcwd()  # noqa: PTH109
    os.chdir(tmp_path)
    for _ in range(1500):
        os.mkdir("d")  # noqa: PTH102
        os.chdir("d")
    os.chdir(place)
    removal = Removal(dry_run=False)
    removal.remove_tree(tmp_path / "d")
    assert (removal.problems, (tmp_path / "d").exists()) == ([], False)


def test_what_cannot_be_removed_is_named_and_the_rest_goes(tree: Path) -> None:
    with stuck(tree / "deep" / "er"):
        removal = Removal(dry_run=False)
        removal.remove_tree(tree)
        assert [place for place, _ in removal.problems] == [str(tree / "deep" / "er" / "b")]
        assert (not (tree / "a").exists(), (tree / "deep" / "er" / "b").exists()) == (True, True)


def test_the_age_of_a_tree_is_that_of_its_newest_entry(tree: Path, tmp_path: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        os.utime(path, (1000, 1000))
    os.utime(tree / "deep" / "er" / "b", (2000, 2000))
    (tree / "deep" / "link").symlink_to(tmp_path)
    for path in (tree / "deep", tree / "deep" / "link"):
        os.utime(path, (1500, 1500), follow_symlinks=False)
    assert newest_mtime(tree) == 2000
    assert newest_mtime(tree / "nothing") == float("inf")


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 50), st.booleans()), max_size=12))
def test_dry_and_real_agree_however_files_are_linked(tmp_path_factory: pytest.TempPathFactory, files: list[tuple[int, int, bool]]) -> None:
    base = tmp_path_factory.mktemp("tree")
    for folder in ("one", "two", "outside"):
        (base / folder).mkdir()
    for number, (original, size, outside) in enumerate(files):
        path = base / ("outside" if outside else ("one", "two")[number % 2]) / str(number)
        earlier = next(base.glob(f"*/{original}"), None) if original < number else None
        os.link(earlier, path) if earlier else path.write_bytes(b"x" * size)
    dry, real = Removal(dry_run=True), Removal(dry_run=False)
    assert [dry.remove_tree(base / name) for name in ("one", "two")] == [real.remove_tree(base / name) for name in ("one", "two")]


class stuck:  # noqa: N801 - used as a context manager
    """A folder from which nothing can be removed, by its rights, or for root by its attributes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        if os.system(f"chattr +i '{self._folder}' 2>/dev/null"):
            pytest.skip("this disk has no attribute for folders that nobody may change")

    def __exit__(self, *_: object) -> None:
        os.system(f"chattr -i '{self._folder}'")
