"""Images that do almost nothing, so that what is measured is what is done around them."""

from __future__ import annotations

from pathlib import Path

BASE = "sluice/base:bookworm"
_DOCKERFILE = f"""ARG BASE={BASE}
FROM ${{BASE}}
COPY img-man/ /img-man/
COPY app/ /app/
CMD ["sh", "/app/start.sh"]
"""
#: Answers an inference and a mining job without looking at a picture.
NO_OP = "echo '{\"detection\": {}}' > /out/infer-result.json\n"
#: Runs until somebody ends it.
SLEEP = "exec sleep 3600\n"


def small_image(folder: Path, script: str) -> Path:
    """An image folder, for Docker and for the process engine, whose start script is ``script``."""
    for part in ("img-man", "app"):
        (folder / part).mkdir(parents=True)
    (folder / "Dockerfile").write_text(_DOCKERFILE, encoding="utf-8")
    (folder / "app" / "start.sh").write_text(script, encoding="utf-8")
    (folder / "img-man" / "manifest.yaml").write_text("object_type: 2  # detection\n", encoding="utf-8")
    for name in ("training", "infer"):
        (folder / "img-man" / f"{name}-template.yaml").write_text("nothing: 0\n", encoding="utf-8")
    return folder
