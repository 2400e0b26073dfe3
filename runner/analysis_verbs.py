"""What a Runner does to look into datasets: analyse a version, compare versions, find pictures that look the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.errors import DatasetError, ParameterError
from registry import datasets
from runner.installation import Installation
from runner.references import parse_dataset_reference

if TYPE_CHECKING:
    from contracts.dataset import Sample
    from registry.datasets import VersionRecord
    from runner.analysis_files import AnalysisFiles
    from runner.analysis_reports import VersionData
    from runner.analysis_runs import Run

Count = Callable[[int, "int | None"], None]
_MOST_VERSIONS = 6


def _quiet(*_: object) -> None:
    pass


class AnalysisVerbs:
    """Part of ``runner.service.Runner``."""

    _installation: Installation

    def analyse_dataset(
        self, reference: str, *, features: Sequence[str] = (), labels_only: bool = False, on_progress: Count = _quiet
    ) -> dict[str, Any]:
        """Features, distributions and label statistics of a version or one of its splits, as a page, a picture and tables.

        ``features``: keys or aliases of ``analysis.features``, all when empty. ``labels_only`` decodes no picture. What was measured is kept.
        """
        return self._report("analysis", [reference], features, labels_only, on_progress)

    def compare_datasets(
        self, references: Sequence[str], *, features: Sequence[str] = (), labels_only: bool = False, on_progress: Count = _quiet
    ) -> dict[str, Any]:
        """Two to six versions beside each other: what was added, removed and changed from each to the next, and their features overlaid."""
        if not 2 <= len(references) <= _MOST_VERSIONS:
            hint = "Name each as name@V001; two versions of one dataset, or of several."
            raise ParameterError(f"{len(references)} versions cannot be compared; it must be 2 to {_MOST_VERSIONS}", hint=hint)
        return self._report("comparison", references, features, labels_only, on_progress)

    def find_near_duplicates(
        self, reference: str, *, similarity: float = 0.9, limit: int = 50, on_progress: Count = _quiet
    ) -> dict[str, Any]:
        """Groups of pictures that look the same, the largest first: the first ``limit`` in the answer, all of them in its table.

        ``similarity`` is in 0..1: 1 is the same hash, 0.9 holds changes of brightness, size and compression and small crops.
        """
        from runner import analysis_duplicates
        from runner.analysis_runs import running

        analysis_duplicates.check_similarity(similarity)
        _, name, samples = self._read(reference)
        asked = {"references": [name], "features": [], "similarity": similarity}
        with running(self._installation.home, "duplicates", asked) as run:
            hashes, failures = self._analysis_files().hashes([sample.asset for sample in samples], on_progress)
            run.document.update(analysis_duplicates.find(run.folder, samples, hashes, failures, similarity, limit))
        return self.get_analysis(run.document["id"])

    def list_analyses(self, dataset: str | None = None) -> list[dict[str, Any]]:
        """The history, newest first: id, what was analysed, when, for how long, and how it ended; of one dataset or of all."""
        from runner.analysis_runs import list_runs

        runs = [run for run in list_runs(self._installation.home) if dataset is None or _is_of(dataset, run)]
        shown = ("id", "kind", "references", "features", "created_at", "duration_s", "status", "error")
        return [{key: run.get(key) for key in shown} for run in runs]

    def get_analysis(self, analysis: str) -> dict[str, Any]:
        """One analysis with its results."""
        from runner.analysis_runs import get_run

        document = get_run(self._installation.home, analysis)
        return {**document, "folder": str(self._installation.home / "analysis" / "runs" / document["id"])}

    def export_analysis(self, analysis: str, folder: Path, *, overwrite: bool = False) -> dict[str, Any]:
        """Copies the page, the pictures and the tables of an analysis into a folder."""
        from runner.analysis_runs import export_run

        files = export_run(self._installation.home, analysis, folder, overwrite=overwrite)
        return {"id": analysis, "folder": str(folder), "files": files}

    # ------------------------------------------------------------------------------------------------------------- steps

    def _report(
        self, kind: str, references: Sequence[str], features: Sequence[str], labels_only: bool, on_progress: Count
    ) -> dict[str, Any]:
        from runner.analysis_runs import running

        keys = _keys(features)
        read = [self._read(reference) for reference in references]
        asked = {"references": [name for _, name, _ in read], "features": [] if labels_only else list(keys)}
        with running(self._installation.home, kind, asked) as run:
            total = sum(len(samples) for *_, samples in read)
            versions: list[VersionData] = []
            for version, name, samples in read:
                done = sum(len(v.samples) for v in versions)
                count = _part_of(on_progress, done, total)
                versions.append(self._measured(version, name, samples, None if labels_only else count))
            self._write_report(run, versions, features, labels_only)
        return self.get_analysis(run.document["id"])

    def _read(self, reference: str) -> tuple[VersionRecord, str, list[Sample]]:
        """The version, its full name with the split, and its samples."""
        from runner.dataset_files import read_samples

        wanted = parse_dataset_reference(reference)
        with self._installation.database.reading() as session:
            version = datasets.get_version(session, wanted.name, wanted.number)
        name = f"{version.reference}{':' if wanted.split else ''}{wanted.split}"
        folder, store = self._installation.folder(version.folder), self._installation.store
        found = read_samples(folder, store, wanted.split or None)
        if not found:
            raise DatasetError(f"{name} has no images", hint="Import some, or name another split.", reference=name)
        return version, name, found

    def _measured(self, version: VersionRecord, name: str, samples: list[Sample], on_progress: Count | None) -> VersionData:
        from runner.analysis_reports import VersionData, labels_of

        labeled = {sample.asset.id for sample in samples if sample.marks.state == "labeled"}
        labels = labels_of(samples, version.class_names, labeled)
        measured = None if on_progress is None else self._analysis_files().features(samples, on_progress)
        return VersionData(name, samples, labels, measured)

    def _analysis_files(self) -> AnalysisFiles:
        from runner.analysis_files import AnalysisFiles

        return AnalysisFiles(self._installation.home, self._installation.store)

    def _write_report(self, run: Run, versions: list[VersionData], features: Sequence[str], labels_only: bool) -> None:
        """The page, the sheet of charts, the whole report as JSON, and the short form in the run's document."""
        from analysis.page import page
        from analysis.plots import sheet
        from runner.analysis_reports import default_keys, make_report
        from runner.analysis_summary import summary, to_json

        keys = _keys(features) if features else default_keys(versions)
        title = " and ".join(version.name for version in versions)
        report = make_report(title, run.document["created_at"], versions, () if labels_only else keys)
        run.write_text("report.json", to_json(report))
        run.write_text("report.html", page(report))
        sheet([*report["features"], *report["distributions"]]).save(run.folder / "report.png")
        if not labels_only:
            run.document["features"] = list(keys)
            _write_tables(run, versions)
        run.document.update(summary(report))


def _write_tables(run: Run, versions: list[VersionData]) -> None:
    """What was measured: ``features.parquet`` has a row per picture, ``boxes.parquet`` one per box; of several versions each has its own."""
    from runner.analysis_files import write_table

    for number, version in enumerate(versions, 1):
        before = f"{number}-{version.name.replace('@', '-').replace(':', '-')}-" if len(versions) > 1 else ""
        if version.features is not None:
            write_table(run.folder / f"{before}features.parquet", version.features.pictures)
            write_table(run.folder / f"{before}boxes.parquet", version.features.boxes)


def _keys(features: Sequence[str]) -> tuple[str, ...]:
    """The keys that are meant, all when none is named. Raises ``ParameterError`` for an unknown one."""
    from analysis.features import KEYS, find_feature

    try:
        chosen = {find_feature(name).key for name in features}
    except ValueError as error:
        raise ParameterError(str(error), hint="Name features by these keys, or none for all.") from error
    return tuple(key for key in KEYS if key in chosen) if chosen else KEYS


def _part_of(on_progress: Count, done: int, total: int) -> Count:
    return lambda count, _: on_progress(done + count, total)


def _is_of(dataset: str, run: dict[str, Any]) -> bool:
    return any(reference.partition("@")[0] == dataset for reference in run.get("references") or [])
