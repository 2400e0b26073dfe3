"""Sample datasets that need no download: detection scenes and labelled pictures made from scikit-learn's bundled handwritten digits.

The digits are the UCI "Optical Recognition of Handwritten Digits" test set, 1,797 pictures of 8x8 pixels, 16 grey levels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from xml.sax.saxutils import escape

from PIL import Image

from contracts.errors import ConfigurationError, DatasetError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Grey = NDArray[np.float64]

DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGITS_PER_SCENE = (1, 6)
DIGIT_SIZE_PX = (16, 40)
_INK = 0.25  # a pixel belongs to the digit from this share of full ink on
_JPEG_QUALITY = 92


class MakeSample(Protocol):
    """Fills an empty folder with so many pictures for each split."""

    def __call__(self, folder: Path, *, train: int, val: int, test: int, pool: int, seed: int) -> Path: ...


@dataclass(frozen=True)
class SampleKind:
    """How a sample is made, and the format that its folder has."""

    make: MakeSample
    format: str


@dataclass(frozen=True)
class _Placed:
    """A digit in a scene: class and its ink's bounds, x, y, width, height in whole pixels."""

    class_name: str
    x: int
    y: int
    width: int
    height: int


def make_digits(
    folder: Path, *, train: int = 300, val: int = 60, test: int = 0, pool: int = 0, seed: int = 0, size: int = 160, label_pool: bool = False
) -> Path:
    """Detection scenes of handwritten digits as a Pascal VOC folder; returns the folder.

    ``train``, ``val``, ``test``, ``pool``: number of scenes; pool scenes carry no annotations unless ``label_pool``.
    ``size``: width and height of a scene in pixels. The same arguments give the same bytes. A digit instance shown in one of the
    four sets is shown in no other. Raises ``DatasetError`` for a folder that is not empty, ``ConfigurationError`` without scikit-learn.
    """
    counts = {"train": train, "val": val, "test": test, "pool": pool}
    _check_request(folder, counts, size)
    instances = _share_instances(counts, seed)
    for place in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    for number, (split, count) in enumerate(counts.items()):
        names = [f"{split}_{index:05d}" for index in range(count)]
        for name, (pixels, placed) in zip(names, _scenes(instances[split], count, size, (seed, number)), strict=True):
            _write_scene(folder, name, pixels, placed, annotated=split != "pool" or label_pool)
        if count:
            (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return folder


def make_digit_classes(
    folder: Path, *, train: int = 300, val: int = 60, test: int = 0, pool: int = 0, seed: int = 0, size: int = 32
) -> Path:
    """One handwritten digit a picture, ``<split>/<class>/<number>.png``, those of ``pool`` without a class; returns the folder.

    Each of the 1,797 digits is shown once at most, on a plain background that differs in light, contrast and noise; ``size`` is the width and
    height of a picture in pixels. The same arguments give the same bytes. Raises ``DatasetError`` for more pictures than there are digits or
    a folder that is not empty, ``ConfigurationError`` without scikit-learn.
    """
    import numpy as np

    counts = {"train": train, "val": val, "test": test, "pool": pool}
    _check_request(folder, counts, max(size, 64))
    pictures, targets = _load_digits()
    if sum(counts.values()) > len(targets):
        hint = "Ask for fewer with --train, --val, --test and --pool."
        raise DatasetError(f"{sum(counts.values())} pictures are asked for, there are {len(targets)} digits", hint=hint, counts=counts)
    random = np.random.RandomState(seed % 2**32)  # RandomState: its stream never changes between versions
    order = iter(random.permutation(len(targets)).tolist())
    for split, count in counts.items():
        for number in range(count):
            digit = next(order)
            place = folder / split / (DIGIT_NAMES[int(targets[digit])] if split != "pool" else "")
            place.mkdir(parents=True, exist_ok=True)
            _picture_of(pictures[digit] / 16.0, size, random).save(place / f"{split}_{number:05d}.png")
    return folder


def _picture_of(digit: Grey, size: int, random: np.random.RandomState) -> Image.Image:
    """The digit's ink as large as the picture, over a plain background."""
    import numpy as np

    level, contrast, noise = random.uniform(20, 110), random.uniform(60, 140), random.uniform(3, 14)
    ink = np.asarray(Image.fromarray(digit.astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC), dtype=np.float64).clip(0, 1)
    return Image.fromarray((level + contrast * ink + random.normal(0, noise, ink.shape)).clip(0, 255).round().astype("uint8"))


def _check_request(folder: Path, counts: Mapping[str, int], size: int) -> None:
    if min(counts.values()) < 0 or sum(counts.values()) == 0:
        raise DatasetError(f"A sample needs at least one scene and no negative number of them, not {dict(counts)}.", counts=dict(counts))
    if not 64 <= size <= 4096:
        raise DatasetError(f"A scene is 64 to 4096 pixels wide and high, not {size}.", size=size)
    if folder.exists() and any(folder.iterdir()):
        raise DatasetError(f"The folder {folder} is not empty.", hint="Name a new folder for the sample.", folder=str(folder))


def _share_instances(counts: Mapping[str, int], seed: int) -> dict[str, list[tuple[Grey, str]]]:
    """Every digit instance, dealt out to the sets that have scenes, in proportion, at least 150 to each."""
    import numpy as np

    pictures, targets = _load_digits()
    order = np.random.RandomState(seed % 2**32).permutation(len(targets))  # RandomState: its stream never changes between versions
    wanted = [name for name, count in counts.items() if count]
    free = len(order) - 150 * len(wanted)
    total = sum(counts.values())
    shares: dict[str, list[tuple[Grey, str]]] = {name: [] for name in counts}
    start, scenes = 0, 0
    for number, name in enumerate(wanted, start=1):
        scenes += counts[name]
        end = 150 * number + free * scenes // total
        shares[name] = [(pictures[i] / 16.0, DIGIT_NAMES[int(targets[i])]) for i in order[start:end]]
        start = end
    return shares


def _load_digits() -> tuple[Any, Any]:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ConfigurationError(
            "The digits sample needs scikit-learn, which is not installed.", hint="Install it with: pip install 'sluice[samples]'"
        ) from error
    digits = load_digits()
    return digits.images, digits.target


def _scenes(instances: list[tuple[Grey, str]], count: int, size: int, seed: tuple[int, int]) -> Iterator[tuple[Grey, list[_Placed]]]:
    import numpy as np

    random = np.random.RandomState([part % 2**32 for part in seed])
    for _ in range(count):
        yield _make_scene(instances, size, random)


def _make_scene(instances: list[tuple[Grey, str]], size: int, random: np.random.RandomState) -> tuple[Grey, list[_Placed]]:
    """One scene: grey levels (size, size) in 0..255 and the digits in it, their boxes apart from each other."""
    level, contrast, noise = random.uniform(20, 110), random.uniform(75, 140), random.uniform(3, 14)
    scene = level + _soft_background(size, random)
    placed: list[_Placed] = []
    for _ in range(random.randint(DIGITS_PER_SCENE[0], DIGITS_PER_SCENE[1] + 1)):
        digit, class_name = instances[random.randint(len(instances))]
        ink = _enlarge(digit, random.randint(DIGIT_SIZE_PX[0], DIGIT_SIZE_PX[1] + 1))
        box = _find_room(ink.shape, class_name, placed, size, random)
        if box:
            scene[box.y : box.y + box.height, box.x : box.x + box.width] += contrast * random.uniform(0.8, 1.0) * ink
            placed.append(box)
    return (scene + random.normal(0, noise, scene.shape)).clip(0, 255), placed


def _soft_background(size: int, random: np.random.RandomState) -> Grey:
    """Slow changes of light, about 20 grey levels up and down."""
    import numpy as np

    coarse = Image.fromarray(random.uniform(-20, 20, (4, 4)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float64)


def _enlarge(digit: Grey, height_px: int) -> Grey:
    """The digit's ink, 0..1, cut to its bounds and about ``height_px`` high."""
    import numpy as np

    rows, columns = np.nonzero(digit.max(axis=1) >= _INK)[0], np.nonzero(digit.max(axis=0) >= _INK)[0]
    cut = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    width_px = max(4, round(height_px * cut.shape[1] / cut.shape[0]))
    large = Image.fromarray(cut.astype(np.float32)).resize((width_px, height_px), Image.Resampling.BICUBIC)
    return np.asarray(large, dtype=np.float64).clip(0, 1)


def _find_room(shape: tuple[int, ...], class_name: str, placed: list[_Placed], size: int, random: np.random.RandomState) -> _Placed | None:
    """A place at least two pixels away from every other digit, or None when 30 tries found none."""
    height, width = shape
    for _ in range(30):
        x, y = int(random.randint(size - width + 1)), int(random.randint(size - height + 1))
        apart = (x >= p.x + p.width + 2 or p.x >= x + width + 2 or y >= p.y + p.height + 2 or p.y >= y + height + 2 for p in placed)
        if all(apart):
            return _Placed(class_name, x, y, int(width), int(height))
    return None


def _write_scene(folder: Path, name: str, pixels: Grey, placed: list[_Placed], *, annotated: bool) -> None:
    picture = Image.fromarray(pixels.round().astype("uint8")).convert("RGB")
    picture.save(folder / "JPEGImages" / f"{name}.jpg", quality=_JPEG_QUALITY)
    if annotated:
        (folder / "Annotations" / f"{name}.xml").write_text(_scene_xml(name, picture.size, placed), encoding="utf-8")


def _scene_xml(name: str, size: tuple[int, int], placed: list[_Placed]) -> str:
    """Pascal VOC; corners are inclusive pixels, as everywhere in Sluice."""
    objects = "".join(
        f"\t<object>\n\t\t<name>{escape(p.class_name)}</name>\n\t\t<difficult>0</difficult>\n\t\t<bndbox><xmin>{p.x}</xmin><ymin>{p.y}</ymin>"
        f"<xmax>{p.x + p.width - 1}</xmax><ymax>{p.y + p.height - 1}</ymax></bndbox>\n\t</object>\n"
        for p in placed
    )
    head = f"<filename>{name}.jpg</filename>\n\t<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return f"<annotation>\n\t<folder>JPEGImages</folder>\n\t{head}\n{objects}</annotation>\n"


SAMPLES: Mapping[str, SampleKind] = {
    "digits": SampleKind(make_digits, "voc"),
    "digit-classes": SampleKind(make_digit_classes, "class-folders"),
}
