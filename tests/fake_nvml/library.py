"""Builds our stand-in for NVIDIA's library."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("fake_nvml.c")
LIBRARY = "libnvidia-ml.so.1"
#: Drivers by age: before 510 there was one memory call and only the second process calls; 580 is one of today.
VARIANTS = ("470", "510", "580")


def build_fake_nvml(folder: Path, variant: str = "580") -> Path:
    """Makes ``folder`` with ``libnvidia-ml.so.1`` in it, for LD_LIBRARY_PATH, and returns it. Takes a second.

    The library reads the file that FAKE_NVML_STATE names, or else ``world`` in its own folder: see ``world.py``. The probe hands FAKE_NVML_STATE
    to nobody, so for it the world lies beside the library. Raises ``FileNotFoundError`` where there is no C compiler.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise FileNotFoundError("no C compiler: install gcc, with which the stand-in for NVIDIA's library is built")
    folder.mkdir(parents=True, exist_ok=True)
    flags = [
        "-Wall",
        "-Wextra",
        "-Werror",
        "-O1",
        "-shared",
        "-fPIC",
        "-fvisibility=hidden",
        f"-Wl,-soname,{LIBRARY}",
        f"-DFAKE_DRIVER={variant}",
    ]
    subprocess.run([compiler, *flags, "-o", folder / LIBRARY, SOURCE, "-ldl", "-lpthread"], check=True)
    return folder


def install_fake_nvml(built: Path, folder: Path) -> Path:
    """Puts a library that was built into a folder of its own, for one test; returns where its world is to be written."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LIBRARY).symlink_to(built / LIBRARY)
    return folder / "world"
