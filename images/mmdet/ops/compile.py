"""Compiles mmcv's operators for processors from its unpacked source package: ``compile.py SOURCE TARGET_FOLDER``.

The 77 files are compiled as six: reading torch's headers takes ten seconds of each, so that one after the other would take half an hour.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from torch.utils.cpp_extension import include_paths, library_paths

#: Files that define the same helpers must not meet in one unit.
APART = {
    "roi_align.cpp": "second",
    "sparse_indice.cpp": "second",
    "sparse_maxpool.cpp": "second",
    "sparse_reordering.cpp": "second",
    "roi_align_rotated.cpp": "third",
    "rotated_feature_align.cpp": "fourth",
    "psamask.cpp": "fourth",
}
DEFINES_MIN_AND_MAX = "psamask.cpp"  # as macros, which nothing may follow
UNIT_BYTES = 1.2e9  # memory that the compiler takes for one unit


def main(source: Path, target: Path) -> None:
    """Leaves ``_ext.<abi>.so`` in ``target``. Raises CalledProcessError when the compiler refuses."""
    code = source / "mmcv" / "ops" / "csrc"
    units = list(write_units(code / "pytorch", source))
    includes = [code / "common", code / "pytorch", code / "pytorch" / "cpu", sysconfig.get_paths()["include"], *include_paths()]
    with ThreadPoolExecutor(job_count()) as pool:
        objects = list(pool.map(lambda unit: compile_unit(unit, includes), units))
    libraries = [f"-L{path}" for path in library_paths()]
    output = target / f"_ext{sysconfig.get_config_var('EXT_SUFFIX')}"
    run(["g++", "-shared", "-s", *objects, *libraries, "-lc10", "-ltorch_cpu", "-ltorch", "-ltorch_python", "-o", output])


def write_units(pytorch: Path, folder: Path) -> Iterator[Path]:
    """Six files that include all others."""
    groups: dict[str, list[Path]] = {}
    for file in sorted(pytorch.glob("*.cpp")):
        groups.setdefault("bindings" if file.name == "pybind.cpp" else "top", []).append(file)
    for file in sorted((pytorch / "cpu").glob("*.cpp"), key=lambda file: (file.name == DEFINES_MIN_AND_MAX, file.name)):
        groups.setdefault(APART.get(file.name, "first"), []).append(file)
    for name, files in groups.items():
        unit = folder / f"unit_{name}.cpp"
        unit.write_text("".join(f'#include "{file}"\n' for file in files))
        yield unit


def compile_unit(unit: Path, includes: Iterable[Path | str]) -> Path:
    options = ["-std=c++17", "-O2", "-g0", "-w", "-fPIC", "-DNDEBUG", "-DTORCH_EXTENSION_NAME=_ext", "-DTORCH_API_INCLUDE_EXTENSION_H"]
    target = unit.with_suffix(".o")
    run(["g++", *options, *(f"-I{path}" for path in includes), "-c", unit, "-o", target])
    return target


def job_count() -> int:
    """Compilers at once: one for each processor, as far as the memory holds them."""
    memory = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(len(os.sched_getaffinity(0)), int(memory / UNIT_BYTES)))


def run(command: Iterable[Path | str]) -> None:
    subprocess.run([str(word) for word in command], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
