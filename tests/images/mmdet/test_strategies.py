"""The strategies that the image offers are those of the mining core whose needs it can meet; the template names each."""

from __future__ import annotations

import ast

from job_files.selecting import HARD_EXAMPLES, offered

from tests.images.image_jobs import IMAGES

FOLDER = IMAGES / "mmdet"


def _gives() -> frozenset[str]:
    source = ast.parse((FOLDER / "app" / "mine.py").read_text())
    value = next(node.value for node in ast.walk(source) if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "GIVES")
    assert isinstance(value, ast.Call)
    return frozenset(ast.literal_eval(value.args[0]))


def test_the_help_names_every_strategy_whose_needs_the_image_meets_and_the_operator() -> None:
    met = {*offered("detection", _gives()), HARD_EXAMPLES}
    for folder in ("det", "instance-seg"):
        line = next(
            line for line in (FOLDER / "img-man" / folder / "mining-template.yaml").read_text().splitlines() if "mining_algorithm" in line
        )
        named = set(line.partition("#")[2].replace(" or ", ", ").replace(" ", "").split(","))
        assert named == met
