"""A stand-in for ``nvidia-container-runtime``: runc with the hook added to every container, which is what the real one does.

With it as the engine's default runtime, an image whose environment asks for cards gets them without any request. The first argument is the
hook's program, the others are runc's.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main(hook: str, arguments: list[str]) -> None:
    if "create" in arguments:
        _add_hook(Path(arguments[arguments.index("--bundle") + 1]) / "config.json", hook)
    os.execvp("runc", ["runc", *arguments])


def _add_hook(file: Path, program: str) -> None:
    """Unless the engine itself did, for a container with a request."""
    config = json.loads(file.read_text(encoding="utf-8"))
    hooks = config.setdefault("hooks", {}).setdefault("prestart", [])
    if all(Path(hook["path"]).name != Path(program).name for hook in hooks):
        hooks.append({"path": program, "args": [program, "prestart"]})
        file.write_text(json.dumps(config), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
