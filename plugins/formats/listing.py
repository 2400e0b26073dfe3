"""What lies in a source folder: its files found once, without ever leaving the folder, and the ways to look one up.

SECURITY: folders reached through a link are never entered, and a link to a file counts only when the file lies inside the folder.
"""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath

from contracts.errors import DatasetError
from contracts.seams import Skip
from contracts.sharing import shared

#: Names that are taken for pictures. Which of them really are jpg, png or bmp is decided by their content, in the importer.
PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp", ".heic", ".heif", ".avif", ".jp2", ".ppm"}
)
_PICTURE_HEADS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM")
_LITTER = frozenset({"__MACOSX", "Thumbs.db", "thumbs.db", "desktop.ini"})
_PICTURE_FOLDERS = frozenset({"jpegimages", "images", "image", "imgs"})
_MASK_FOLDERS = frozenset({"segmentationobject", "segmentationclass", "segmentationclassraw", "segmentationobjectraw"})
_MAX_DEPTH = 64

_SPLIT_WORDS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test", "testing": "test",
    "pool": "pool", "unlabeled": "pool",
}  # fmt: skip


class UnreadableFileError(Exception):
    """A file that cannot be used; the message is the reason for the report. Never leaves the format that raised it."""


def shown(name: str | PurePath) -> str:
    """A name as it may stand in a report: bytes that are no UTF-8 become ``\\xNN``, control characters are escaped."""
    try:
        text = os.fspath(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a surrogate pair, as JSON can write it
        text = os.fspath(name).encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def split_of(path: PurePosixPath) -> str:
    """The split that a file's folders or its own name speak of, the nearest first: ``train``, ``val``, ``test``, ``pool`` or ''.

    Read are whole words, with a year or without: ``train``, ``valid``, ``val2017``, ``instances_train2017``.
    """
    for part in (path.stem, *reversed(path.parts[:-1])):
        found = {_SPLIT_WORDS[word] for word in _words(part) if word in _SPLIT_WORDS}
        if len(found) == 1:
            return found.pop()
    return ""


def folder_split_of(path: PurePosixPath) -> str:
    """As ``split_of``, but only folders that are named exactly after a split count; a picture's own name says nothing."""
    names = (part.lower().rstrip("0123456789_-") for part in reversed(path.parts[:-1]))
    return next((_SPLIT_WORDS[name] for name in names if name in _SPLIT_WORDS), "")


def named_split(name: str) -> str:
    """The split that a folder or word is named after exactly, but for a year: ``train``, ``Val2017``; ''."""
    return _SPLIT_WORDS.get(name.strip().lower().rstrip("0123456789_-"), "")


def is_picture_folder(name: str) -> bool:
    """Whether a folder's name says no more than that pictures are in it: ``images``, ``JPEGImages``."""
    return name.lower() in _PICTURE_FOLDERS


def _words(text: str) -> list[str]:
    return "".join(c if c.isalpha() else " " for c in text.lower()).split()


@dataclass
class Listing:
    """The files of a folder as paths relative to it, in alphabetical order, and what could not be listed."""

    root: Path
    files: list[PurePosixPath] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._files_by_name: dict[str, list[PurePosixPath]] | None = None
        self._file_set: frozenset[PurePosixPath] | None = None
        self.pictures = [path for path in self.files if self._looks_like_picture(path, _parts_of_name(path)[2])]
        self.index()

    def index(self) -> None:
        """Ready the look-ups for ``files`` and ``pictures`` as they are."""
        self._by_name: dict[str, list[PurePosixPath]] = defaultdict(list)
        self._by_stem: dict[str, list[PurePosixPath]] = defaultdict(list)
        self._by_suffix: dict[str, list[PurePosixPath]] = defaultdict(list)
        for path in self.files:
            self._by_suffix[_parts_of_name(path)[2]].append(path)
        for path in self.pictures:
            name, stem, _ = _parts_of_name(path)
            self._by_name[name].append(path)
            self._by_stem[stem].append(path)

    def without_pictures(self, unwanted: Callable[[PurePosixPath], bool]) -> Listing:
        """The same folder, in which files that ``unwanted`` is true of are files, but no pictures."""
        return self.part(self.files, [path for path in self.pictures if not unwanted(path)])

    def part(self, files: Iterable[PurePosixPath], pictures: Iterable[PurePosixPath]) -> Listing:
        """The same folder with these files and pictures alone."""
        other = copy(self)
        other.files, other.pictures = list(files), list(pictures)
        other._files_by_name, other._file_set = None, None
        other.index()
        return other

    def with_suffix(self, *suffixes: str) -> list[PurePosixPath]:
        """The files with one of these suffixes (lower-case, with the dot), in alphabetical order."""
        found = [self._by_suffix[suffix] for suffix in suffixes if suffix in self._by_suffix]
        return list(found[0]) if len(found) == 1 else sorted((path for paths in found for path in paths), key=str)

    def host(self, path: PurePosixPath) -> Path:
        return self.root / path

    def find_picture(self, wanted: str, near: PurePosixPath) -> PurePosixPath | None:
        """The picture that ``wanted`` (a name, with folders or without, with a suffix or without) means in the file ``near``.

        Of several, the one whose folders agree best with ``wanted``, then the one that lies nearest to ``near``. None when there is none;
        raises ``UnreadableFileError`` when several fit equally well.
        """
        plain = wanted.lower()
        candidates = self._by_name.get(plain) or self._by_stem.get(plain) or []
        if len(candidates) == 1:
            return candidates[0]  # nearly always: a bare name, and one picture that has it
        path = PurePosixPath(wanted.strip().replace("\\", "/"))
        candidates = self._by_name.get(path.name.lower()) or self._by_stem.get(path.name.lower()) or []
        if not candidates and path.suffix.lower() in PICTURE_SUFFIXES:
            candidates = self._by_stem.get(path.stem.lower()) or []
        return _best(candidates, path, near)

    def find_file(self, wanted: str, near: PurePosixPath, fits: Callable[[PurePosixPath], bool] = lambda _: True) -> PurePosixPath | None:
        """The file of exactly that name that ``fits``, chosen as ``find_picture`` chooses."""
        if self._files_by_name is None:
            self._files_by_name = defaultdict(list)
            for file in self.files:
                self._files_by_name[file.name.lower()].append(file)
        path = PurePosixPath(wanted.strip().replace("\\", "/"))
        return _best(filter(fits, self._files_by_name.get(path.name.lower(), [])), path, near)

    @property
    def file_set(self) -> frozenset[PurePosixPath]:
        """All files, to ask whether one is there."""
        if self._file_set is None:
            self._file_set = frozenset(self.files)
        return self._file_set

    def pictures_with_stem(self, stem: str) -> list[PurePosixPath]:
        return self._by_stem.get(stem.lower(), [])

    def read_bytes(self, path: PurePosixPath, limit_bytes: int) -> bytes:
        """The whole file; raises ``UnreadableFileError`` when it is empty, larger than the limit or cannot be read."""
        return read_bytes(self.host(path), limit_bytes)

    def read_text(self, path: PurePosixPath, limit_bytes: int) -> str:
        """As ``read_bytes``, decoded: UTF-8 with or without mark, UTF-16 with mark, else GB18030."""
        content = self.read_bytes(path, limit_bytes)
        encodings = ["utf-16"] if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ["utf-8-sig", "gb18030"]
        for encoding in encodings:
            try:
                return content.decode(encoding)
            except UnicodeDecodeError:
                continue
        raise UnreadableFileError("is not text (neither UTF-8, UTF-16 nor GB18030)")

    def head(self, path: PurePosixPath, length_bytes: int = 4096) -> bytes:
        """The beginning of the file, b'' when it cannot be read."""
        try:
            with self.host(path).open("rb") as file:
                return file.read(length_bytes)
        except OSError:
            return b""

    def _looks_like_picture(self, path: PurePosixPath, suffix: str) -> bool:
        return suffix in PICTURE_SUFFIXES or (not suffix and self.head(path, 8).startswith(_PICTURE_HEADS))


def read_bytes(path: Path | str, limit_bytes: int) -> bytes:
    """As ``Listing.read_bytes``, of a file anywhere."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a million of them
            content = file.read(min(limit_bytes, os.fstat(file.fileno()).st_size) + 1) or b""
            while len(content) <= limit_bytes and (more := file.read(limit_bytes + 1 - len(content))):
                content += more
    except OSError as error:
        raise UnreadableFileError(f"cannot be read: {error.strerror}") from error
    if len(content) > limit_bytes:
        raise UnreadableFileError(f"is larger than the limit of {limit_bytes:,} bytes")
    if not content.strip():
        raise UnreadableFileError("is empty")
    return content


def is_mask(path: PurePosixPath) -> bool:
    """Whether a file lies in a folder of masks, as VOC and ModelArts name them: its pixels are labels."""
    return "segmentation" in str(path).lower() and any(part.lower() in _MASK_FOLDERS for part in path.parts[:-1])


def list_folder(folder: Path) -> Listing:
    """Every regular file below the folder; in a block of ``sharing`` listed once. Raises ``DatasetError`` when the folder itself cannot be listed."""
    root = folder.resolve()
    return shared(("listing", root), lambda: _listed(folder, root))


def _listed(folder: Path, root: Path) -> Listing:
    skips: list[Skip] = []
    try:
        files = sorted(_walk(root, PurePosixPath(), skips), key=str)
    except OSError as error:
        raise DatasetError(f"The folder {shown(folder)} cannot be read: {error.strerror}.", folder=shown(folder)) from error
    return Listing(root, files, skips)


def _parts_of_name(path: PurePosixPath) -> tuple[str, str, str]:
    """Name, stem and suffix in lower case, as pathlib has them, which takes its time for a million."""
    name = str(path).rpartition("/")[2].lower()
    dot = name.rfind(".")
    return (name, name[:dot], name[dot:]) if 0 < dot < len(name) - 1 else (name, name, "")


def _walk(root: Path, below: PurePosixPath, skips: list[Skip]) -> Iterator[PurePosixPath]:
    pending = [below]
    while pending:
        current = pending.pop()
        try:
            entries = list(os.scandir(root / current))
        except OSError as error:
            if current == below:
                raise
            skips.append(Skip(shown(current), f"the folder cannot be read: {error.strerror}", "file"))
            continue
        prefix = f"{current}/" if current.parts else ""
        for entry in entries:
            if entry.name.startswith(".") or entry.name in _LITTER:
                continue
            path = PurePosixPath(f"{prefix}{entry.name}")
            if entry.is_dir(follow_symlinks=False) and len(path.parts) <= _MAX_DEPTH:
                pending.append(path)
            elif reason := _unfit(root, entry):
                skips.append(Skip(shown(path), reason, "file"))
            else:
                yield path


def _unfit(root: Path, entry: os.DirEntry[str]) -> str:
    """Why an entry is not a file of this folder; '' when it is."""
    if entry.is_dir(follow_symlinks=False):
        return f"folders more than {_MAX_DEPTH} deep are not read"
    if entry.is_file(follow_symlinks=False):
        return ""
    try:
        if entry.is_symlink() and not Path(entry.path).resolve(strict=True).is_relative_to(root):
            return "a link that leads out of the folder is not followed"
        mode = entry.stat().st_mode
    except (OSError, RuntimeError):
        return "a link that leads nowhere"
    if stat.S_ISREG(mode):
        return ""
    return "a link to a folder is not followed" if entry.is_symlink() else "not a regular file"


def _best(candidates: Iterable[PurePosixPath], wanted: PurePosixPath, near: PurePosixPath) -> PurePosixPath | None:
    if len(found := list(candidates)) == 1:
        return found[0]
    ranked = sorted((((_agreement(c, wanted), *_nearness(c, near)), str(c), c) for c in found), key=lambda r: r[:2])
    if not ranked:
        return None
    best = [candidate for rank, _, candidate in ranked if rank == ranked[-1][0]]
    if len(best) > 1:
        raise UnreadableFileError(f"several pictures fit {shown(wanted)}: {shown(best[0])} and {shown(best[1])}")
    return best[0]


def _agreement(candidate: PurePosixPath, wanted: PurePosixPath) -> int:
    """How many folders, counted from the file upwards, are the same in both."""
    count = 0
    for mine, theirs in zip(reversed(candidate.parts[:-1]), reversed(wanted.parts[:-1]), strict=False):
        if mine.lower() != theirs.lower():
            break
        count += 1
    return count


def _nearness(candidate: PurePosixPath, near: PurePosixPath) -> tuple[int, bool, int]:
    """How many leading folders both share and how many folder names below (``images/train``, ``labels/train``); whether the folder
    is named as one for pictures; how high up it lies."""
    mine, theirs = candidate.parts[:-1], near.parts[:-1]
    shared = 0
    while shared < min(len(mine), len(theirs)) and mine[shared] == theirs[shared]:
        shared += 1
    alike = shared + len(set(mine[shared:]) & set(theirs[shared:]))
    return alike, bool(mine) and mine[-1].lower() in _PICTURE_FOLDERS, -len(mine)
