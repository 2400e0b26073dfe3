"""Hashes of pictures, and groups of hashes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from analysis.near_duplicates import MAX_DISTANCE, distance_of, distances, exact_groups, groups, hash_picture, hash_pictures, similarity
from analysis.pictures import PictureError
from tests.analysis.conftest import Save, scene


def _cropped(picture: Image.Image, share: float) -> Image.Image:
    dx, dy = int(picture.width * share / 2), int(picture.height * share / 2)
    return picture.crop((dx, dy, picture.width - dx, picture.height - dy))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "brighter": lambda p: ImageEnhance.Brightness(p).enhance(1.2),
    "darker": lambda p: ImageEnhance.Brightness(p).enhance(0.7),
    "less contrast": lambda p: ImageEnhance.Contrast(p).enhance(0.7),
    "grey": lambda p: p.convert("L").convert("RGB"),
    "half size": lambda p: p.resize((p.width // 2, p.height // 2)),
    "squeezed": lambda p: p.resize((p.width, int(p.height * 0.9))),
    "cropped": lambda p: _cropped(p, 0.03),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_with_a_small_change_is_near(change: str) -> None:
    originals = [scene(seed) for seed in range(20)]
    moved = [int(distances(hash_picture(p), hash_picture(CHANGES[change](p)))) for p in originals]
    assert max(moved) <= MAX_DISTANCE


def test_strong_compression_turns_few_bits(save: Save) -> None:
    files = [(save(scene(seed), f"{seed}.png"), save(scene(seed), f"{seed}.jpg", quality=15)) for seed in range(10)]
    assert max(distances(*hash_pictures(pair)) for pair in files) <= 4


def test_unlike_pictures_are_far() -> None:
    hashes = np.array([hash_picture(scene(seed)) for seed in range(60)], np.uint64)
    apart = distances(hashes[:, None], hashes[None])[np.triu_indices(60, 1)]
    assert apart.min() > MAX_DISTANCE
    assert 26 < apart.mean() < 38


def test_five_copies_of_each_picture_are_one_group_each(save: Save) -> None:
    """DP-04: exact, brightness, crop; and scale and compression."""
    files = []
    for seed in range(4):
        picture = scene(seed)
        files += [
            save(picture, f"{seed}a.png"),
            save(picture, f"{seed}b.png"),
            save(CHANGES["brighter"](picture), f"{seed}c.png"),
            save(CHANGES["cropped"](picture), f"{seed}d.png"),
            save(CHANGES["half size"](picture), f"{seed}e.jpg", quality=40),
        ]
    assert groups(hash_pictures(files), MAX_DISTANCE).tolist() == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5


def test_what_cannot_be_decoded_is_known_by_its_bytes(tmp_path: Path, save: Save) -> None:
    for name, content in (("a.jpg", b"\xff\xd8\xffbroken"), ("b.jpg", b"\xff\xd8\xffbroken"), ("c.jpg", b"other")):
        (tmp_path / name).write_bytes(content)
    files = [tmp_path / "a.jpg", save(scene(1), "d.png"), tmp_path / "b.jpg", tmp_path / "c.jpg"]
    told: list[tuple[int, str]] = []
    hashes = hash_pictures(files, on_failure=lambda index, error: told.append((index, error.path.name)))
    assert told == [(0, "a.jpg"), (2, "b.jpg"), (3, "c.jpg")]
    assert groups(hashes, MAX_DISTANCE).tolist() == [0, 1, 0, 2]
    with pytest.raises(PictureError, match=r"a\.jpg cannot be"):
        hash_pictures(files)


def test_a_missing_file_is_named_even_where_failures_are_told(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"none\.jpg cannot be read"):
        hash_pictures([tmp_path / "none.jpg"], on_failure=lambda *_: None)


def _by_brute_force(hashes: np.ndarray, max_distance: int) -> list[int]:
    near = distances(hashes[:, None], hashes[None]) <= max_distance
    found: list[int] = [-1] * len(hashes)
    for start in range(len(hashes)):
        todo = [start] if found[start] < 0 else []
        number = max(found, default=-1) + 1
        while todo:
            at = todo.pop()
            if found[at] < 0:
                found[at] = number
                todo += np.flatnonzero(near[at]).tolist()
    return found


@given(st.integers(0, 2**32 - 1), st.integers(0, 14), st.integers(0, 300), st.integers(0, 16))
@settings(max_examples=60, deadline=None)
def test_groups_are_exactly_those_of_comparing_every_pair(seed: int, max_distance: int, count: int, turned: int) -> None:
    random = np.random.default_rng(seed)
    seeds = random.integers(0, 2**64, max(1, count // 4), dtype=np.uint64)
    hashes = random.choice(seeds, count)
    for _ in range(turned):
        hashes = hashes ^ (np.uint64(1) << random.integers(0, 64, count).astype(np.uint64))
    assert groups(hashes, max_distance).tolist() == _by_brute_force(hashes, max_distance)


@pytest.mark.parametrize("max_distance", [2, 6, 9])
def test_planted_pairs_are_found_among_many(max_distance: int) -> None:
    """Enough hashes for tables of several agreeing blocks; each second one is its neighbour with exactly that many bits turned."""
    random = np.random.default_rng(5)
    first = random.integers(0, 2**64, 20_000, dtype=np.uint64)
    turned = np.array([sum(1 << int(b) for b in random.choice(64, max_distance, replace=False)) for _ in range(len(first))], np.uint64)
    found = groups(np.concatenate([first, first ^ turned]), max_distance)
    assert (found[: len(first)] == found[len(first) :]).all()
    assert found.max() + 1 > len(first) * 0.999


def test_dense_clusters_and_constant_bits_stay_exact() -> None:
    """Frames of still cameras: large buckets, compared group by group."""
    random = np.random.default_rng(6)
    frames = np.repeat(random.integers(0, 2**64, 3, dtype=np.uint64), 500)
    for _ in range(5):
        frames = frames ^ (np.uint64(1) << random.integers(0, 30, len(frames)).astype(np.uint64))
    assert groups(frames, 3).tolist() == _by_brute_force(frames, 3)


def test_the_order_of_the_hashes_changes_only_the_numbers() -> None:
    random = np.random.default_rng(7)
    hashes = random.integers(0, 2**12, 400, dtype=np.uint64) * np.uint64(2**40 + 7)
    order = random.permutation(400)
    straight, shuffled = groups(hashes, 2), groups(hashes[order], 2)
    assert len(set(zip(straight[order].tolist(), shuffled.tolist(), strict=True))) == straight.max() + 1 == shuffled.max() + 1


def test_similarity_and_distance_belong_together() -> None:
    assert similarity([0, 32, 64]).round(12).tolist() == [1.0, 0.0, 0.0]
    assert distance_of(0.9) == MAX_DISTANCE
    assert [distance_of(float(similarity(bits))) for bits in range(33)] == list(range(33))


@pytest.mark.parametrize("wrong", [-0.1, 1.1])
def test_a_threshold_outside_of_0_to_1_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="must be from 0 to 1"):
        distance_of(wrong)


def test_a_distance_at_which_unlike_pictures_lie_is_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 32"):
        groups(np.zeros(3, np.uint64), 33)


def test_no_hashes_are_no_groups() -> None:
    assert hash_pictures([]).shape == groups([], 9).shape == (0,)


def test_files_of_equal_bytes_are_one_group(tmp_path: Path) -> None:
    for name, content in (("a", b"one"), ("b", b"two"), ("c", b"one"), ("d", b"longer")):
        (tmp_path / name).write_bytes(content)
    assert exact_groups([tmp_path / name for name in "abcd"]).tolist() == [0, 1, 0, 2]
    with pytest.raises(PictureError, match="cannot be read"):
        exact_groups([tmp_path / "none"])
