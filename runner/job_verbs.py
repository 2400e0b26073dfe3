"""What a Runner does with the runs of a job: versions, comparison, presets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contracts.errors import RequestError
from registry import jobs, presets
from registry.jobs import JobRecord
from registry.lookup import not_found
from runner.installation import Installation
from runner.views import preset_view

#: More do not fit beside each other in any table.
MOST_COMPARED = 50


class JobVerbs:
    """Part of ``runner.service.Runner``."""

    _installation: Installation

    def job_versions(self, name: str) -> dict[str, Any]:
        """``{"name", "versions"}``: every run of this name, oldest first, each with what was changed against the one before."""
        from runner.job_versions import version_rows

        with self._installation.database.reading() as session:
            runs = jobs.list_named(session, name)
            if not runs:
                raise not_found("named job", name, jobs.list_names(session), "sluice job list")
        return {"name": name, "versions": version_rows(runs[::-1])}

    def compare_jobs(self, references: Sequence[str]) -> dict[str, Any]:
        """Two or more jobs side by side: inputs, parameters, metrics and outcome, each row marked where they differ."""
        from runner.job_versions import compare

        if not 2 <= len(references) <= MOST_COMPARED:
            raise RequestError(f"{len(references)} jobs cannot be compared", hint=f"Name 2 to {MOST_COMPARED}.")
        with self._installation.database.reading() as session:
            found = [jobs.get_job(session, reference) for reference in references]
        return compare(found)

    # ------------------------------------------------------------------------------------------------------------ presets

    def save_preset(
        self,
        name: str,
        *,
        from_job: str | None = None,
        request: Mapping[str, Any] | None = None,
        texts: Sequence[str] = (),
        user: str | None = None,
    ) -> dict[str, Any]:
        """Save a request under a name, whole or in part: that of a job, or fields of a ``JobSpec``, or a job's with some changed.

        ``texts`` are parameters as ``key=text``, typed by the image's template.
        """
        from runner import preset
        from runner.service import os_user

        if from_job is None and not request:
            raise RequestError("a preset needs something to save", hint="Name a job with --from-job, or an image with --image.")
        job = self._find(from_job) if from_job else None
        saved = preset.changed(self._installation, preset.of_job(job) if job else {}, request or {}, texts=texts)
        with self._installation.database.writing() as session:
            stored = presets.add_preset(session, name=name, request=saved, from_job=job.id if job else None, user=user or os_user())
        return preset_view(stored)

    def edit_preset(
        self, name: str, *, request: Mapping[str, Any] | None = None, texts: Sequence[str] = (), unset: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Change fields; ``unset`` names fields, and parameters as ``parameters.NAME``, that are taken out. The name stays; so do jobs."""
        from runner import preset

        with self._installation.database.reading() as session:
            known = presets.get_preset(session, name)
        saved = preset.changed(self._installation, known.request, request or {}, texts=texts, unset=unset)
        with self._installation.database.writing() as session:
            return preset_view(presets.replace_preset(session, name, saved))

    def list_presets(self) -> list[dict[str, Any]]:
        """By name."""
        with self._installation.database.reading() as session:
            return [preset_view(preset) for preset in presets.list_presets(session)]

    def get_preset(self, name: str) -> dict[str, Any]:
        with self._installation.database.reading() as session:
            return preset_view(presets.get_preset(session, name))

    def remove_preset(self, name: str) -> dict[str, Any]:
        """Forget it; jobs that were made from it are left alone."""
        with self._installation.database.writing() as session:
            presets.remove_preset(session, name)
        return {"removed": name}

    def _find(self, reference: str) -> JobRecord:
        with self._installation.database.reading() as session:
            return jobs.get_job(session, reference)
