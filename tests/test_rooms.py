"""The arrows of DESIGN.md: which room may import which. Fails with file and line."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {
    "analysis": set(),
    "contracts": set(),
    "registry": {"contracts"},
    "plugins": {"contracts"},
    "runner": {"analysis", "contracts", "registry"},  # plugins only through the loader, by entry point
    "webui": {"contracts"},
    "images": {"analysis"},  # carried as source: it imports nothing of ours
}
ROOMS = set(ALLOWED) | {"tests", "benchmarks"}


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, node.module or ""


def forbidden_imports(room: str, folder: Path) -> list[str]:
    """``file:line: module`` for every import in the folder that the room's arrows do not allow."""
    others = ROOMS - ALLOWED[room] - {room}
    return [
        f"{path.relative_to(folder.parent)}:{line}: {room} may not import {module}"
        for path in sorted(folder.rglob("*.py"))
        for line, module in _imports(path)
        if module.split(".")[0] in others
    ]


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_a_room_imports_only_what_its_arrows_allow(room: str) -> None:
    assert not forbidden_imports(room, ROOT / room)


def test_the_check_itself_sees_a_forbidden_import(tmp_path: Path) -> None:
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "bad.py").write_text("import os\nfrom registry.images import add\n")
    assert forbidden_imports("contracts", tmp_path / "contracts") == ["contracts/bad.py:2: contracts may not import registry.images"]


def test_every_room_has_code_so_that_nothing_passes_by_being_empty() -> None:
    assert all(list((ROOT / room).rglob("*.py")) for room in ALLOWED if room != "webui")
