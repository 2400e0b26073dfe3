"""Pictures that are the same to the eye: a 64-bit hash for each, and groups of hashes that lie close together.

The hash is the difference hash (dHash): the luma is averaged over a grid of 9 x 8 fields, and each of the 64 bits says whether a field is
brighter than its right neighbour. Changes of brightness, contrast, colour, size and compression turn few bits, a crop or a shift of some
per cent turns more. Of the hashes tried on photographs (pHash with the median or with signs, dHash) it was the steadiest when something small is
added to the picture, and equal in the rest; docs/notes/analysis.md has the numbers.

Two hashes of unlike pictures differ in 32 bits, give or take 8. ``similarity`` turns a distance into a number in 0..1 and ``distance_of`` a
threshold back into a distance: 0.9 is 9 bits.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt
from PIL import Image

from analysis.pictures import PictureError, in_threads, open_picture, worker_count

BITS = 64
#: What ``distance_of(0.9)`` is: found to hold brightness +-30 %, half size, JPEG quality 20 and a crop of 4 % together.
MAX_DISTANCE = 9

Hashes = npt.NDArray[np.uint64]
Groups = npt.NDArray[np.int64]
_Indices = npt.NDArray[np.int64]
_Words = npt.NDArray[np.uint64]
#: The bits of one block of each hash, (n,), and how many bits these are.
_Block = tuple[npt.NDArray[np.uint64], int]
#: Called with the position in ``paths`` and the error of a picture that cannot be decoded.
OnFailure = Callable[[int, PictureError], None]


def hash_pictures(paths: Sequence[Path], *, workers: int | None = None, on_failure: OnFailure | None = None) -> Hashes:
    """The hash of each picture: (n,) uint64, in the order of ``paths``.

    A file that is there but cannot be decoded is told to ``on_failure`` and known by its bytes instead, so that it only ever meets an exact
    copy; without ``on_failure`` the first one raises ``PictureError``, as a missing file always does.
    """
    hashes = np.zeros(len(paths), np.uint64)
    for index, found in enumerate(in_threads(_hash_file, paths, workers)):
        if isinstance(found, PictureError):
            if on_failure is None:
                raise found
            on_failure(index, found)
            found = hash_of_bytes(found.path)
        hashes[index] = found
    return hashes


def groups(hashes: npt.ArrayLike, max_distance: int = MAX_DISTANCE) -> Groups:
    """The group of each hash: (n,) int64, numbered 0, 1, ... in the order in which groups first appear.

    Two hashes that differ in at most ``max_distance`` bits (0..32) are in one group, and so is everything that such pairs chain together: nothing
    in one group is that close to anything in another one. Exact, not approximate; the result does not depend on threads or on a seed. A million
    hashes take seconds and some hundred megabytes; the time grows with the distance.
    """
    values = np.ascontiguousarray(hashes, np.uint64).ravel()
    if not 0 <= max_distance <= BITS // 2:
        raise ValueError(
            f"max_distance is {max_distance}; it must be from 0 to {BITS // 2}: unlike pictures differ in about {BITS // 2} bits"
        )
    distinct, place = np.unique(values, return_inverse=True)
    labels = _linked(distinct, max_distance) if max_distance and len(distinct) > 1 else np.arange(len(distinct))
    return _numbered(labels[place.ravel()])


def similarity(distance: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """0..1 for a distance in bits: ``cos(pi * distance / 64)``, never below 0.

    The share of signs in which two vectors differ is their angle over pi (Charikar, STOC 2002), so this estimates the correlation of the two
    pictures' horizontal slopes: 1 for equal hashes, 0.9 at 9 bits, 0 from 32 bits on, where unlike pictures lie.
    """
    return np.cos(np.pi * np.minimum(np.asarray(distance, np.float64), BITS / 2) / BITS).clip(0.0, 1.0)


def distance_of(similarity_threshold: float) -> int:
    """The largest distance in bits whose ``similarity`` reaches the threshold (0..1). 1.0 is 0 bits, 0.9 is 9 bits."""
    if not 0.0 <= similarity_threshold <= 1.0:
        raise ValueError(f"similarity_threshold is {similarity_threshold}; it must be from 0 to 1")
    return math.floor(BITS * math.acos(similarity_threshold) / math.pi + 1e-9)


def distances(left: npt.ArrayLike, right: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """How many bits differ, pair by pair; the arrays broadcast."""
    return np.bitwise_count(np.bitwise_xor(np.asarray(left, np.uint64), np.asarray(right, np.uint64)))


def exact_groups(paths: Sequence[Path]) -> Groups:
    """The group of each file by its content: (n,) int64, numbered as in ``groups``; equal bytes are one group, whatever the names.

    Only files of equal size are read. Raises ``PictureError`` for one that cannot be. (Assets of a store are exact copies of nothing: their id
    is their content.)
    """
    sizes = [_size(path) for path in paths]
    common = {size for size, count in Counter(sizes).items() if count > 1}
    keys = [
        (size, _digest(path) if size in common else b"", 0 if size in common else at)
        for at, (size, path) in enumerate(zip(sizes, paths, strict=True))
    ]
    numbers: dict[tuple[int, bytes, int], int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def hash_picture(picture: Image.Image) -> int:
    """The hash of a decoded picture."""
    return hash_luma(picture.convert("L"))


def hash_luma(luma: Image.Image) -> int:
    """The hash of a picture of the mode L, bit 63 being the top left field."""
    fields = np.asarray(luma.resize((9, 8), Image.Resampling.BOX))
    return int.from_bytes(np.packbits(fields[:, 1:] < fields[:, :-1]).tobytes(), "big")


def hash_of_bytes(path: Path) -> int:
    """The first 64 bits of the file's sha256: the hash of what cannot be decoded. Raises ``PictureError`` when it cannot be read."""
    return int.from_bytes(_digest(path)[:8], "big")


def _digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(1 << 20):
                digest.update(part)
    except OSError as error:
        raise PictureError(path, f"cannot be read: {error.strerror}") from error
    return digest.digest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise PictureError(path, f"cannot be read: {error.strerror}") from error


def _hash_file(path: Path) -> int | PictureError:
    try:
        return hash_picture(open_picture(path))
    except PictureError as error:
        return error


# ------------------------------------------------------------------------------------------------------ linking close hashes
#
# Cut the 64 bits into d + a blocks: two hashes that differ in at most d bits agree wholly in at least a blocks (pigeonhole). So each choice of
# a blocks is a table, in which only hashes that agree in the chosen blocks, a bucket, are compared; together the tables miss no pair. More
# blocks make smaller buckets and more tables: ``_agreeing`` takes the cheapest. (Manku et al., WWW 2007, use such tables for web pages.)

#: Buckets above this are compared group by group, so that what is linked already, as the frames of a still camera, costs nothing again.
_LARGE_BUCKET = 64
#: Pairs that may wait to be merged: bounds the memory where nearly everything is alike.
_WAITING_PAIRS = 1_000_000


def _linked(values: _Words, max_distance: int) -> _Indices:
    """The smallest index in its group for each of the (n,) distinct hashes."""
    found = _Links(values, max_distance)
    for chosen in _tables(values, max_distance, agreeing=1):
        found.compare_neighbours(_keys(chosen, len(values)))
    tables = _tables(values, max_distance, _agreeing(len(values), max_distance))
    for _ in in_threads(lambda chosen: found.compare_all(_keys(chosen, len(values))), tables, min(4, worker_count())):
        pass
    return found.labels


def _agreeing(count: int, max_distance: int) -> int:
    """How many blocks should agree: where making all tables (40 units a hash) and comparing inside their buckets (one unit a pair) costs least."""

    def cost(agreeing: int) -> float:
        pairs = count / 2 ** (BITS * agreeing / (max_distance + agreeing))
        return math.comb(max_distance + agreeing, agreeing) * (40 + pairs)

    return min(range(5), key=cost)


def _tables(values: _Words, max_distance: int, agreeing: int) -> Iterator[tuple[_Block, ...]]:
    """Every choice of ``agreeing`` blocks. The bits are dealt out with the most telling first, so that each block tells about the same."""
    one = np.uint64(1)
    share = [np.count_nonzero(values >> np.uint64(bit) & one) / len(values) for bit in range(BITS)]
    order = sorted(range(BITS), key=lambda bit: abs(share[bit] - 0.5))
    count = max_distance + agreeing
    blocks = []
    for bits in (order[block::count] for block in range(count)):
        shifted = ((values >> np.uint64(bit) & one) << np.uint64(place) for place, bit in enumerate(bits))
        blocks.append((sum(shifted, np.zeros(len(values), np.uint64)), len(bits)))
    return combinations(blocks, agreeing)


def _keys(chosen: tuple[_Block, ...], count: int) -> _Indices:
    """The bits of the chosen blocks side by side: (n,) keys of a table, folded to a width that can be counted.

    Folding (Fibonacci hashing) may give two keys one bucket: that costs a few comparisons and changes nothing else.
    """
    keys = np.zeros(count, np.uint64)
    for bits, width in chosen:
        keys = keys << np.uint64(width) | bits
    width, most = sum(width for _, width in chosen), max(16, count.bit_length())
    if width > most:
        keys = keys * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(BITS - most)
    return keys.astype(np.int64)


class _Links:
    """Groups of the (n,) distinct hashes ``values`` that grow while close pairs are found; ``labels`` is the smallest index of each one's group.

    Tables may be compared on several threads. A label that is read while another thread merges is some member of the right group, so that at worst
    a pair is compared that need not be: the groups in the end are the same.
    """

    def __init__(self, values: _Words, max_distance: int) -> None:
        self._values = values
        self._max_distance = max_distance
        self._waiting: list[tuple[_Indices, _Indices]] = []
        self._labels = np.arange(len(values))
        self._lock = Lock()

    @property
    def labels(self) -> _Indices:
        with self._lock:
            self._merge()
            return self._labels

    def compare_neighbours(self, keys: _Indices) -> None:
        """Compares each hash with the next one of its bucket only: a cheap first pass that joins dense clusters, which have too many pairs."""
        order, sizes = _largest_buckets_first(keys)
        self._compare_prefix(order, sizes, furthest=1)

    def compare_all(self, keys: _Indices) -> None:
        """Compares all pairs within each bucket that are not yet in one group."""
        order, sizes = _largest_buckets_first(keys)
        large = int(sizes[sizes > _LARGE_BUCKET].sum())
        self._compare_groups(order[:large], keys)
        self._compare_prefix(order[large:], sizes[sizes <= _LARGE_BUCKET])

    def _compare_prefix(self, order: _Indices, sizes: _Indices, furthest: int = _LARGE_BUCKET) -> None:
        """Compares hashes 1, 2, ... ``furthest`` places apart. With the largest buckets first, those that still have a partner so far away are a prefix.

        A pair that straddles two buckets may be compared too; if it is close, it is a true pair all the same.
        """
        values = self._values[order]
        for apart in range(1, min(int(sizes.max(initial=1)), furthest + 1)):
            end = int(sizes[sizes > apart].sum())
            close = np.flatnonzero(distances(values[: end - apart], values[apart:end]) <= self._max_distance)
            self._found(order[close], order[close + apart])

    def _compare_groups(self, order: _Indices, keys: _Indices) -> None:
        """Compares each hash with those of its bucket that are in another group; here the groups of a bucket lie side by side."""
        labels = self.labels
        order = order[np.lexsort((labels[order], keys[order]))]
        values, keys, labels = self._values[order], keys[order], labels[order]
        new_bucket = keys[1:] != keys[:-1]
        bucket_end = _run_ends(new_bucket)
        right = _run_ends(new_bucket | (labels[1:] != labels[:-1]))
        left = np.flatnonzero(right < bucket_end)
        right = right[left]
        while len(left):
            close = distances(values[left], values[right]) <= self._max_distance
            self._found(order[left[close]], order[right[close]])
            right = right + 1
            going_on = right < bucket_end[left]
            left, right = left[going_on], right[going_on]

    def _found(self, left: _Indices, right: _Indices) -> None:
        left, right = self._labels[left], self._labels[right]
        news = left != right
        if not news.any():
            return
        with self._lock:
            self._waiting.append((left[news], right[news]))
            if sum(len(pair[0]) for pair in self._waiting) > _WAITING_PAIRS:
                self._merge()

    def _merge(self) -> None:
        """Joins the groups of the pairs found: the smaller label wins, chains of labels are cut short (union by minimum, pointer jumping)."""
        if not self._waiting:
            return
        left, right = (np.concatenate(side) for side in zip(*self._waiting, strict=True))
        self._waiting = []
        parent = self._labels
        while True:
            left, right = parent[left], parent[right]
            apart = left != right
            if not apart.any():
                self._labels = parent
                return
            left, right = left[apart], right[apart]
            np.minimum.at(parent, np.maximum(left, right), np.minimum(left, right))
            while not np.array_equal(parent, above := parent[parent]):
                parent = above


def _largest_buckets_first(keys: _Indices) -> tuple[_Indices, _Indices]:
    """The (n,) order that puts equal keys side by side, the most frequent keys first, and the sizes of these buckets.

    Large buckets come first in any order.
    """
    sizes = np.bincount(keys)
    by_size = np.argsort(_LARGE_BUCKET + 1 - sizes.clip(max=_LARGE_BUCKET + 1).astype(np.uint8), kind="stable")
    rank = np.empty(len(sizes), np.uint64)
    rank[by_size] = np.arange(len(sizes), dtype=np.uint64)
    # One sort of numbers that carry their own place is three times as fast as an argsort.
    place = np.uint64(len(keys).bit_length())
    packed = np.sort(rank[keys] << place | np.arange(len(keys), dtype=np.uint64))
    return (packed & ((np.uint64(1) << place) - np.uint64(1))).astype(np.int64), sizes[by_size]


def _run_ends(breaks: npt.NDArray[np.bool_]) -> _Indices:
    """For each element the index after its run; ``breaks[i]`` says that a run ends between i and i + 1."""
    ends = np.append(np.flatnonzero(breaks) + 1, len(breaks) + 1)
    return np.repeat(ends, np.diff(ends, prepend=0))


def _numbered(labels: _Indices) -> Groups:
    """Group numbers in the order of first appearance."""
    _, first, place = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return rank[place.ravel()]


def keep_one_of_each(
    hashes: npt.ArrayLike, similarity_threshold: float = 0.9, *, preference: npt.ArrayLike | None = None, seed: int | None = None
) -> npt.NDArray[np.bool_]:
    """SimDeduplication (ModelArts, DP-04): (n,) True for the pictures that stay.

    Every picture that goes has one that stays and is at least that similar; of those that stay no two are. So a long chain of gradual
    changes keeps several pictures, unlike its group, which is one. Of two, the one with the higher ``preference`` stays (its size in pixels, say),
    then the earlier one; with a ``seed``, ties are broken by chance instead, the same for the same seed.
    """
    values = np.ascontiguousarray(hashes, np.uint64).ravel()
    max_distance = min(distance_of(similarity_threshold), BITS // 2)
    tie = np.arange(len(values)) if seed is None else np.random.default_rng(seed).permutation(len(values))
    wanted = np.zeros(len(values)) if preference is None else -np.asarray(preference, np.float64)
    kept = np.ones(len(values), np.bool_)
    group = groups(values, max_distance)
    order = np.lexsort((tie, wanted, group))
    ends = np.cumsum(np.bincount(group))
    for start, end in zip(np.append(0, ends[:-1]).tolist(), ends.tolist(), strict=True) if len(values) else ():
        if end - start > 1:
            _thin_out(values, order[start:end], max_distance, kept)
    return kept


def _thin_out(values: Hashes, members: _Indices, max_distance: int, kept: npt.NDArray[np.bool_]) -> None:
    """The first of the members stays and those near to it go, then the next, and so on."""
    while len(members):
        near = distances(values[members[0]], values[members]) <= max_distance
        kept[members[near][1:]] = False
        members = members[~near]
