"""What a Runner does with models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from contracts.errors import ConflictError, RequestError
from registry import models
from registry.models import ModelRecord
from runner.installation import Installation
from runner.views import model_view

Count = Callable[[int, "int | None"], None]
#: How an export can be written.
FORMS = ("package", "folder")
#: How long a download may take altogether.
_DOWNLOAD_S = 6 * 3600.0


def _quiet(*_: object) -> None:
    pass


class ModelVerbs:
    """Part of ``runner.service.Runner``. A model is named ``name`` (its newest version) or ``name@V0002``."""

    _installation: Installation

    def list_models(self, name: str | None = None) -> list[dict[str, Any]]:
        """Every version of every model, newest first; with a name the versions of this one."""
        with self._installation.database.reading() as session:
            found = models.list_models(session) if name is None else models.list_versions(session, name)[::-1]
        return [self._model_view(model) for model in found]

    def get_model(self, name: str) -> dict[str, Any]:
        return self._model_view(self._get_model(name))

    # ------------------------------------------------------------------------------------------------------- in and out

    def import_model(
        self,
        name: str,
        path: Path,
        *,
        class_names: Sequence[str] = (),
        object_type: str | None = None,
        stage: str | None = None,
        metrics: Sequence[str] = (),
        image: str | None = None,
        description: str = "",
        on_progress: Count = _quiet,
    ) -> dict[str, Any]:
        """A new version from a YMIR package, a folder of stages, or bare weights; with what was tolerated.

        Classes and object type must be given where the source does not tell them; ``metrics`` are ``name=number``; ``image`` is the
        registered training image that it belongs to. ``unchanged``: the newest version is this model already.
        """
        facts = {"class_names": class_names, "object_type": object_type, "stage": stage, "metrics": metrics}
        return self._import_model(name, path, facts, image, description, {"source": str(path)}, on_progress)

    def fetch_model(
        self,
        name: str,
        url: str,
        *,
        class_names: Sequence[str] = (),
        object_type: str | None = None,
        stage: str | None = None,
        metrics: Sequence[str] = (),
        image: str | None = None,
        description: str = "",
        on_progress: Count = _quiet,
    ) -> dict[str, Any]:
        """As ``import_model`` of a file that is downloaded first, over http or https."""
        from runner.aside import aside_folder
        from runner.model_download import download, without_secrets
        from runner.model_source import LIMITS

        facts = {"class_names": class_names, "object_type": object_type, "stage": stage, "metrics": metrics}
        with aside_folder(self._installation.home, "download") as folder:
            file = download(url, folder, largest_bytes=LIMITS.total_bytes, timeout_s=_DOWNLOAD_S, on_progress=on_progress)
            return self._import_model(name, file, facts, image, description, {"source": without_secrets(url)}, on_progress)

    def _import_model(
        self,
        name: str,
        path: Path,
        facts: dict[str, Any],
        image: str | None,
        description: str,
        origin: dict[str, Any],
        on_progress: Count,
    ) -> dict[str, Any]:
        from runner.model_import import import_model
        from runner.model_source import Facts

        given = Facts(tuple(facts["class_names"]), facts["object_type"], facts["stage"], tuple(facts["metrics"]))
        model, unchanged, warnings = import_model(
            self._installation, name, path, given, image=image, description=description, origin=origin, on_progress=on_progress
        )
        return {**self._model_view(model), "unchanged": unchanged, "warnings": [warning.to_dict() for warning in warnings]}

    def export_model(self, name: str, target: Path, *, overwrite: bool = False, form: str = "package") -> dict[str, Any]:
        """The model with all its stages as a YMIR model package, or as plain files in a new folder (``form="folder"``).

        A file that exists is only replaced when ``overwrite`` says so. Every file is checked against its checksum first.
        """
        from runner.models import export_folder, export_model

        if form not in FORMS:
            raise RequestError(f"a model cannot be exported as {form!r}", hint=f"Known: {', '.join(FORMS)}.")
        if target.exists() and not (overwrite and form == "package"):
            hint = "Name another file, or say --overwrite." if form == "package" else "Name a folder that does not exist yet."
            raise ConflictError(f"{target} exists", hint=hint)
        model = self._get_model(name)
        write = export_model if form == "package" else export_folder
        return write(self._installation.folder(model.folder), model, target)

    def check_model(self, name: str, *, stage: str | None = None) -> dict[str, Any]:
        """Whether every file is what was stored: ``faults`` lists those that are missing or changed; ``unknown`` counts those without a checksum."""
        from runner.model_files import examine

        model = self._get_model(name)
        return examine(self._installation.folder(model.folder), model, None if stage is None else [model.get_stage(stage).name])

    # ------------------------------------------------------------------------------------------------------------- change

    def recommend_stage(self, name: str, stage: str | None = None) -> dict[str, Any]:
        """The stage that the model means from now on where none is named; None goes back to the image's own best."""
        with self._installation.database.writing() as session:
            return self._model_view(models.recommend_stage(session, name, stage))

    def describe_model(self, name: str, description: str) -> dict[str, Any]:
        """Set what people say about it."""
        with self._installation.database.writing() as session:
            return self._model_view(models.describe_model(session, name, description))

    def rename_model(self, name: str, new_name: str) -> list[dict[str, Any]]:
        """All versions under another name; refused while an unfinished job uses one."""
        with self._installation.database.writing() as session:
            return [self._model_view(model) for model in models.rename_model(session, name, new_name)]

    def remove_model(self, name: str, *, all_versions: bool = False) -> dict[str, Any]:
        """Forget a version, or all, with its files; refused while an unfinished job uses one. Its predictions stay."""
        from runner.aside import aside_folder

        with aside_folder(self._installation.home, "removed") as aside:
            with self._installation.database.writing() as session:
                removed = models.remove_model(session, name, all_versions=all_versions)
            # A process that is killed before it has moved the folders leaves them without a row: gc frees them.
            for number, model in enumerate(removed):
                with suppress(FileNotFoundError):
                    self._installation.folder(model.folder).rename(aside / str(number))
        return {"removed": [model.reference for model in removed], "freed_bytes": sum(model.size_bytes for model in removed)}

    def _get_model(self, reference: str) -> ModelRecord:
        with self._installation.database.reading() as session:
            return models.get_model(session, reference)

    def _model_view(self, model: ModelRecord) -> dict[str, Any]:
        return model_view(model, self._installation.folder(model.folder))
