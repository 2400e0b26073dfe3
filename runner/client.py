"""The Runner of a service: the verbs of ``runner.service.Runner`` with the same parameters, answers and errors.

A service that is restarted is waited for: watching and reading a log go on where they were, what only looks is asked again, and so is a submit,
whose key makes it queue one job whatever happens. Anything else says that the connection was lost, and that it may have been done.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from contracts.errors import ConfigurationError, RequestError, UnavailableError
from contracts.job import JobSpec, JobState
from contracts.rpc import sluice_pb2 as pb
from contracts.rpc.documents import to_document
from contracts.rpc.speech import spoken
from runner.addresses import parse_address
from runner.connection import Connection
from runner.settings import Settings
from runner.socket_file import find_socket

log = logging.getLogger(__name__)
Say = Callable[[str], None]
Count = Callable[[int, "int | None"], None]

_HELLO_S = 5.0
_ENDED = frozenset(str(state) for state in JobState if state.ended)


def find_server(settings: Settings) -> RemoteRunner | None:
    """The service of this home, None when none answers. Raises ``ConfigurationError`` for one of another version.

    None also for one with another engine than the settings name: what is asked for then is done in this process, under the same locks.
    """
    path = find_socket(settings)
    if path is None:
        return None
    runner = RemoteRunner.over_unix(path)
    try:
        described = runner.describe(timeout_s=_HELLO_S)
        _refuse_other_version(described, runner)
    except UnavailableError as error:
        log.warning("the service at %s does not answer, so this command works on its own: %s", path, error.message)
    except BaseException:
        runner.close()
        raise
    else:
        if Path(described["home"]).resolve() == settings.home.resolve() and described["engine"] == settings.engine:
            return runner
    runner.close()
    return None


def open_server(settings: Settings, engine: str | None = None) -> RemoteRunner:
    """The service at ``settings.server``. Raises when it cannot be had: what it was to do is never done here instead.

    ``engine``: one that was asked for; a service with another is refused.
    """
    address = parse_address(settings.server, "server")
    certificate = Path(settings.server_certificate).expanduser() if settings.server_certificate else None
    runner = RemoteRunner.over_tcp(str(address), token=_token(settings), certificate=certificate)
    try:
        described = _describe_elsewhere(runner)
        _refuse_other_version(described, runner)
        if engine not in (None, described["engine"]):
            raise ConfigurationError(
                f"the service at {address} runs its jobs on the engine {described['engine']}, not on {engine}", hint="Leave --engine out."
            )
    except BaseException:
        runner.close()
        raise
    return runner


def _token(settings: Settings) -> str:
    """gRPC's metadata are printable ASCII."""
    token = settings.server_token.strip()
    if not token or not token.isascii() or not token.isprintable():
        raise ConfigurationError(
            f"the service at {settings.server} asks for a token, and the setting server_token {'is no such thing' if token else 'is empty'}",
            hint="Put the token that its operator gave you into SLUICE_SERVER_TOKEN.",
            setting="server_token",
        )
    return token


def _describe_elsewhere(runner: RemoteRunner) -> dict[str, Any]:
    try:
        return runner.describe(timeout_s=_HELLO_S)
    except RequestError as error:
        raise ConfigurationError(
            f"the service at {runner.address} refuses this command: {error.message}",
            hint="Put the token that its operator gave you into SLUICE_SERVER_TOKEN.",
            setting="server_token",
        ) from error


def _refuse_other_version(described: dict[str, Any], runner: RemoteRunner) -> None:
    ours = spoken()
    theirs = {name: described[name] for name in ours}
    if theirs != ours:
        raise ConfigurationError(
            f"the service at {runner.address} is Sluice {theirs['version']} (messages {theirs['messages']}), this is "
            f"{ours['version']} (messages {ours['messages']})",
            hint=runner.hints.other_version,
        )


class RemoteRunner(Connection):
    """The verbs of a service. Safe to share between threads; close it, or use it as a context manager."""

    # --------------------------------------------------------------------------------------------------------------- images

    def build_image(
        self,
        folder: Path,
        *,
        name: str | None = None,
        profile: str = "confined",
        allow: Sequence[str] = (),
        base: str | None = None,
        on_output: Say = lambda _: None,
    ) -> dict[str, Any]:
        request = pb.BuildImageRequest
        return self._long("BuildImage", request, on_output, folder=folder, name=name, profile=profile, allow=allow, base=base)

    def add_image(
        self,
        reference: str,
        *,
        name: str | None = None,
        profile: str = "confined",
        allow: Sequence[str] = (),
        pull: bool = True,
        on_progress: Say = lambda _: None,
    ) -> dict[str, Any]:
        if not self.elsewhere and Path(reference).is_dir():  # an image folder, for the process engine: it is seen from here
            reference = str(Path(reference).absolute())
        request = pb.AddImageRequest
        return self._long("AddImage", request, on_progress, reference=reference, name=name, profile=profile, allow=allow, pull=pull)

    def list_images(self) -> list[dict[str, Any]]:
        return _list(self._ask("ListImages", pb.ListImagesRequest))

    def get_image(self, name: str) -> dict[str, Any]:
        return _dict(self._ask("GetImage", pb.GetImageRequest, name=name))

    def remove_image(self, name: str) -> dict[str, Any]:
        return _dict(self._change("RemoveImage", pb.RemoveImageRequest, name=name))

    def link_images(self, training_image: str, other_image: str) -> dict[str, Any]:
        return _dict(self._change("LinkImages", pb.LinkImagesRequest, training_image=training_image, other_image=other_image))

    def unlink_images(self, training_image: str, other_image: str) -> dict[str, Any]:
        return _dict(self._change("UnlinkImages", pb.UnlinkImagesRequest, training_image=training_image, other_image=other_image))

    # ------------------------------------------------------------------------------------------------------------- datasets

    def import_dataset(
        self,
        name: str,
        path: Path | str,
        *,
        format: str | None = None,  # noqa: A002 - the word of the domain
        split: str = "",
        connection: str = "",
        unknown_classes: str = "add",
        add: bool = False,
        verify: bool = False,
        class_names: Sequence[str] = (),
        hard_only: bool = False,
        on_progress: Count = lambda _, __: None,
    ) -> dict[str, Any]:
        source = {"name": name, "path": path, "format": format, "connection": connection}
        how: dict[str, Any] = {"split": split, "unknown_classes": unknown_classes, "add": add, "verify": verify}
        how |= {"class_names": class_names, "hard_only": hard_only}
        return self._long("ImportDataset", pb.ImportDatasetRequest, on_progress, **source, **how)

    def sample_dataset(
        self,
        kind: str = "digits",
        name: str = "digits",
        *,
        train: int = 300,
        val: int = 60,
        test: int = 0,
        pool: int = 200,
        seed: int = 0,
        on_progress: Count = lambda _, __: None,
    ) -> dict[str, Any]:
        counts = {"train": train, "val": val, "test": test, "pool": pool}
        return self._long("SampleDataset", pb.SampleDatasetRequest, on_progress, kind=kind, name=name, seed=seed, **counts)

    def list_datasets(self) -> list[dict[str, Any]]:
        return _list(self._ask("ListDatasets", pb.ListDatasetsRequest))

    def get_dataset(self, reference: str, *, report: bool = True) -> dict[str, Any]:
        return _dict(self._ask("GetDataset", pb.GetDatasetRequest, reference=reference, report=report))

    def list_dataset_versions(self, name: str) -> list[dict[str, Any]]:
        return _list(self._ask("ListDatasetVersions", pb.ListDatasetVersionsRequest, name=name))

    def derive_dataset(self, reference: str, operation: Mapping[str, Any], *, into: str = "") -> dict[str, Any]:
        return _dict(self._change("DeriveDataset", pb.DeriveDatasetRequest, reference=reference, operation=operation, into=into))

    def set_current_version(self, reference: str) -> dict[str, Any]:
        return _dict(self._ask("SetCurrentVersion", pb.SetCurrentVersionRequest, reference=reference))

    def remove_dataset(self, reference: str) -> dict[str, Any]:
        return _dict(self._change("RemoveDataset", pb.RemoveDatasetRequest, reference=reference))

    def list_dataset_classes(self, name: str) -> list[dict[str, Any]]:
        return _list(self._ask("ListDatasetClasses", pb.ListDatasetClassesRequest, name=name))

    def set_dataset_class(
        self, name: str, class_name: str, *, aliases: Sequence[str] = (), color: str | None = None
    ) -> list[dict[str, Any]]:
        request = pb.SetDatasetClassRequest
        return _list(self._ask("SetDatasetClass", request, name=name, class_name=class_name, aliases=aliases, color=color))

    def export_dataset(
        self,
        reference: str,
        target: Path,
        *,
        format: str,  # noqa: A002 - the word of the domain
        split: str = "",
        hard: bool = False,
        link: bool = False,
        pictures: bool = True,
        predictions: str = "",
        on_progress: Count = lambda _, __: None,
    ) -> dict[str, Any]:
        what = {"reference": reference, "target": target, "format": format, "split": split}
        how = {"hard": hard, "link": link, "pictures": pictures, "predictions": predictions}
        exported = self._long("ExportDataset", pb.ExportDatasetRequest, on_progress, **what, **how)
        return {**exported, "target": str(target)}  # as it was asked for, not as the service names it

    # ------------------------------------------------------------------------------------------------------------- analysis

    def analyse_dataset(
        self, reference: str, *, features: Sequence[str] = (), labels_only: bool = False, on_progress: Count = lambda _, __: None
    ) -> dict[str, Any]:
        options = {"features": features, "labels_only": labels_only}
        return self._long("AnalyseDataset", pb.AnalyseDatasetRequest, on_progress, reference=reference, **options)

    def compare_datasets(
        self,
        references: Sequence[str],
        *,
        features: Sequence[str] = (),
        labels_only: bool = False,
        on_progress: Count = lambda _, __: None,
    ) -> dict[str, Any]:
        options = {"features": features, "labels_only": labels_only}
        return self._long("CompareDatasets", pb.CompareDatasetsRequest, on_progress, references=references, **options)

    def find_near_duplicates(
        self, reference: str, *, similarity: float = 0.9, limit: int = 50, on_progress: Count = lambda _, __: None
    ) -> dict[str, Any]:
        options = {"similarity": similarity, "limit": limit}
        return self._long("FindNearDuplicates", pb.FindNearDuplicatesRequest, on_progress, reference=reference, **options)

    def list_analyses(self, dataset: str | None = None) -> list[dict[str, Any]]:
        return _list(self._ask("ListAnalyses", pb.ListAnalysesRequest, dataset=dataset))

    def get_analysis(self, analysis: str) -> dict[str, Any]:
        return _dict(self._ask("GetAnalysis", pb.GetAnalysisRequest, analysis=analysis))

    def export_analysis(self, analysis: str, folder: Path, *, overwrite: bool = False) -> dict[str, Any]:
        exported = self._change("ExportAnalysis", pb.ExportAnalysisRequest, analysis=analysis, folder=folder, overwrite=overwrite)
        return {**exported, "folder": str(folder)}

    # --------------------------------------------------------------------------------------------------------------- models

    def list_models(self, name: str | None = None) -> list[dict[str, Any]]:
        return _list(self._ask("ListModels", pb.ListModelsRequest, name=name))

    def get_model(self, name: str) -> dict[str, Any]:
        return _dict(self._ask("GetModel", pb.GetModelRequest, name=name))

    def export_model(self, name: str, target: Path, *, overwrite: bool = False, form: str = "package") -> dict[str, Any]:
        exported = self._change("ExportModel", pb.ExportModelRequest, name=name, target=target, overwrite=overwrite, form=form)
        return {**exported, "file": str(target)}  # as it was asked for, not as the service names it

    # ---------------------------------------------------------------------------------------------------------- evaluations

    def evaluate(
        self,
        references: Sequence[str],
        *,
        against: str = "",
        kind: str = "",
        iou: float = 0.5,
        confidence: float = 0.3,
        by: Sequence[str] = (),
        common: bool = False,
        background: bool = False,
    ) -> dict[str, Any]:
        at = {"iou": iou, "confidence": confidence, "by": by, "common": common, "background": background}
        return _dict(self._ask("Evaluate", pb.EvaluateRequest, references=references, against=against, kind=kind, **at))

    def list_evaluations(self) -> list[dict[str, Any]]:
        return _list(self._ask("ListEvaluations", pb.ListEvaluationsRequest))

    def get_evaluation(self, reference: str) -> dict[str, Any]:
        return _dict(self._ask("GetEvaluation", pb.GetEvaluationRequest, reference=reference))

    def compare_evaluations(self, references: Sequence[str]) -> dict[str, Any]:
        return _dict(self._ask("CompareEvaluations", pb.CompareEvaluationsRequest, references=references))

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
        on_progress: Count = lambda _, __: None,
    ) -> dict[str, Any]:
        facts = {"class_names": class_names, "object_type": object_type, "stage": stage, "metrics": metrics, "image": image}
        return self._long("ImportModel", pb.ImportModelRequest, on_progress, name=name, path=path, description=description, **facts)

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
        on_progress: Count = lambda _, __: None,
    ) -> dict[str, Any]:
        facts = {"class_names": class_names, "object_type": object_type, "stage": stage, "metrics": metrics, "image": image}
        return self._long("FetchModel", pb.FetchModelRequest, on_progress, name=name, url=url, description=description, **facts)

    def check_model(self, name: str, *, stage: str | None = None) -> dict[str, Any]:
        return _dict(self._ask("CheckModel", pb.CheckModelRequest, name=name, stage=stage))

    def recommend_stage(self, name: str, stage: str | None = None) -> dict[str, Any]:
        return _dict(self._ask("RecommendStage", pb.RecommendStageRequest, name=name, stage=stage))

    def describe_model(self, name: str, description: str) -> dict[str, Any]:
        return _dict(self._ask("DescribeModel", pb.DescribeModelRequest, name=name, description=description))

    def rename_model(self, name: str, new_name: str) -> list[dict[str, Any]]:
        return _list(self._change("RenameModel", pb.RenameModelRequest, name=name, new_name=new_name))

    def remove_model(self, name: str, *, all_versions: bool = False) -> dict[str, Any]:
        return _dict(self._change("RemoveModel", pb.RemoveModelRequest, name=name, all_versions=all_versions))

    # ------------------------------------------------------------------------------------------------ job versions, presets

    def job_versions(self, name: str) -> dict[str, Any]:
        return _dict(self._ask("JobVersions", pb.JobVersionsRequest, name=name))

    def compare_jobs(self, references: Sequence[str]) -> dict[str, Any]:
        return _dict(self._ask("CompareJobs", pb.CompareJobsRequest, references=references))

    def save_preset(
        self,
        name: str,
        *,
        from_job: str | None = None,
        request: Mapping[str, Any] | None = None,
        texts: Sequence[str] = (),
        user: str | None = None,
    ) -> dict[str, Any]:
        given = {"from_job": from_job, "request": request, "texts": texts, "user": user}
        return _dict(self._change("SavePreset", pb.SavePresetRequest, name=name, **given))

    def edit_preset(
        self, name: str, *, request: Mapping[str, Any] | None = None, texts: Sequence[str] = (), unset: Sequence[str] = ()
    ) -> dict[str, Any]:
        return _dict(self._change("EditPreset", pb.EditPresetRequest, name=name, request=request, texts=texts, unset=unset))

    def list_presets(self) -> list[dict[str, Any]]:
        return _list(self._ask("ListPresets", pb.ListPresetsRequest))

    def get_preset(self, name: str) -> dict[str, Any]:
        return _dict(self._ask("GetPreset", pb.GetPresetRequest, name=name))

    def remove_preset(self, name: str) -> dict[str, Any]:
        return _dict(self._change("RemovePreset", pb.RemovePresetRequest, name=name))

    # ----------------------------------------------------------------------------------------------------------------- jobs

    def parse_parameters(self, spec: JobSpec, texts: Sequence[str]) -> dict[str, Any]:
        return _dict(self._ask("ParseParameters", pb.ParseParametersRequest, spec=spec, texts=texts))

    def submit(self, spec: JobSpec, *, user: str | None = None, idempotency_key: str | None = None) -> dict[str, Any]:
        key = idempotency_key or uuid.uuid4().hex
        return _dict(self._ask("Submit", pb.SubmitRequest, spec=spec, user=user, idempotency_key=key))

    def rerun_job(self, reference: str, *, latest: bool = False, current_image: bool = False, user: str | None = None) -> dict[str, Any]:
        given = {"latest": latest, "current_image": current_image, "user": user}
        return _dict(self._change("RerunJob", pb.RerunJobRequest, reference=reference, **given))

    def run(self, job_id: str, *, wait_for_lock_s: float = 1.0) -> None:  # noqa: ARG002 - the service drives it
        """Waits for the job's end."""
        for _ in self.watch(job_id):
            pass

    def attend(self, job_id: str) -> None:
        """Nothing: the service drives the job, whoever watches."""

    def sweep(self) -> None:
        """Nothing: the service does it all the time."""

    def watch(self, reference: str) -> Iterator[dict[str, Any]]:
        """The job each time it changes, until it has ended, over restarts of the service."""
        shown: dict[str, Any] = {}
        patience = self._patience()
        while not shown or shown["state"] not in _ENDED:
            for message in self._stream("Watch", patience, pb.WatchRequest(reference=shown.get("id", reference))):
                job = to_document(message)
                if job != shown:
                    shown = job
                    yield job

    def cancel_job(self, reference: str, *, wait: bool = True) -> dict[str, Any]:
        return _dict(self._ask("CancelJob", pb.CancelJobRequest, reference=reference, wait=wait))

    def list_jobs(
        self,
        *,
        states: Sequence[str] = (),
        kinds: Sequence[str] = (),
        users: Sequence[str] = (),
        projects: Sequence[str] = (),
        limit: int = 50,
        offset: int = 0,
    ) -> dict[str, Any]:
        chosen = {"states": states, "kinds": kinds, "users": users, "projects": projects}
        return _dict(self._ask("ListJobs", pb.ListJobsRequest, **chosen, limit=limit, offset=offset))

    def get_job(self, reference: str) -> dict[str, Any]:
        return _dict(self._ask("GetJob", pb.GetJobRequest, reference=reference))

    def read_job_log(self, reference: str, offset: int = 0, max_bytes: int = 1 << 20) -> tuple[bytes, int, bool]:
        request = self._message(pb.ReadJobLogRequest, reference=reference, offset=offset, max_bytes=max_bytes)
        patience = self._patience()
        data, ended = b"", False
        while True:
            for chunk in self._stream("ReadJobLog", patience, request):
                data, ended = data + chunk.data, chunk.ended
                request.offset, request.max_bytes = chunk.next_offset, max(max_bytes - len(data), 1)
            if not patience.lost or len(data) >= max_bytes:
                return data, request.offset, ended and not data

    def follow_job_log(self, reference: str, offset: int = 0) -> Iterator[tuple[bytes, int, bool]]:
        """Output from a byte offset as it comes, as ``read_job_log`` gives it, until the job has ended; over restarts of the service."""
        request = self._message(pb.ReadJobLogRequest, reference=reference, offset=offset, follow=True)
        patience = self._patience()
        ended = False
        while not ended:
            for chunk in self._stream("ReadJobLog", patience, request):
                request.offset, ended = chunk.next_offset, chunk.ended
                yield chunk.data, chunk.next_offset, chunk.ended

    def contact_sheet(self, reference: str, file: Path, *, limit: int = 24, columns: int = 6) -> dict[str, Any]:
        drawn = self._change("ContactSheet", pb.ContactSheetRequest, reference=reference, file=file, limit=limit, columns=columns)
        return {**drawn, "file": str(file)}

    def mining_ranking(self, reference: str, limit: int | None = None) -> list[dict[str, Any]]:
        return _list(self._ask("MiningRanking", pb.MiningRankingRequest, reference=reference, limit=limit))

    # ---------------------------------------------------------------------------------------------------------- connections

    def add_connection(
        self,
        name: str,
        *,
        endpoint: str = "",
        region: str = "",
        bucket: str = "",
        prefix: str = "",
        access_key: str = "",
        secret: str = "",
        profile: str = "",
        authority: str = "",
        addressing: str = "auto",
        overwrite: bool = False,
    ) -> dict[str, Any]:
        where = {"endpoint": endpoint, "region": region, "bucket": bucket, "prefix": prefix, "addressing": addressing}
        who = {"access_key": access_key, "secret": secret, "profile": profile, "authority": authority}
        return _dict(self._change("AddConnection", pb.AddConnectionRequest, name=name, overwrite=overwrite, **where, **who))

    def list_connections(self) -> list[dict[str, Any]]:
        return _list(self._ask("ListConnections", pb.ListConnectionsRequest))

    def get_connection(self, name: str) -> dict[str, Any]:
        return _dict(self._ask("GetConnection", pb.GetConnectionRequest, name=name))

    def check_connection(self, name: str, address: str = "") -> dict[str, Any]:
        return _dict(self._ask("CheckConnection", pb.CheckConnectionRequest, name=name, address=address))

    def remove_connection(self, name: str) -> dict[str, Any]:
        return _dict(self._change("RemoveConnection", pb.RemoveConnectionRequest, name=name))

    # ----------------------------------------------------------------------------------------------------------------- GPUs

    def list_gpus(self) -> list[dict[str, Any]]:
        return _list(self._ask("ListGpus", pb.ListGpusRequest))

    def gpu_events(self, uuid: str | None = None, *, limit: int = 50) -> list[dict[str, Any]]:
        return _list(self._ask("GpuEvents", pb.GpuEventsRequest, uuid=uuid, limit=limit))

    def drain_gpu(self, uuid: str, on: bool = True) -> dict[str, Any]:
        return _dict(self._ask("DrainGpu", pb.DrainGpuRequest, uuid=uuid, on=on))

    def clear_gpu(self, uuid: str) -> dict[str, Any]:
        return _dict(self._change("ClearGpu", pb.ClearGpuRequest, uuid=uuid))

    def list_gpu_pools(self) -> list[dict[str, Any]]:
        return _list(self._ask("ListGpuPools", pb.ListGpuPoolsRequest))

    def put_gpu_pool(
        self,
        name: str,
        *,
        purpose: str | None = None,
        slots: int | None = None,
        max_gpus_per_user: int | None = None,
        max_gpus_per_project: int | None = None,
        users: Sequence[str] | None = None,
        projects: Sequence[str] | None = None,
        kinds: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        quotas = {"slots": slots, "max_gpus_per_user": max_gpus_per_user, "max_gpus_per_project": max_gpus_per_project}
        who = {"users": users, "projects": projects, "kinds": kinds}
        return _dict(self._ask("PutGpuPool", pb.PutGpuPoolRequest, name=name, purpose=purpose, **quotas, **who))

    def remove_gpu_pool(self, name: str) -> dict[str, Any]:
        return _dict(self._change("RemoveGpuPool", pb.RemoveGpuPoolRequest, name=name))

    def assign_gpu(self, uuid: str, pool: str) -> dict[str, Any]:
        return _dict(self._ask("AssignGpu", pb.AssignGpuRequest, uuid=uuid, pool=pool))

    # -------------------------------------------------------------------------------------------------- shares, the machine

    def list_shares(self) -> list[dict[str, Any]]:
        return _list(self._ask("ListShares", pb.ListSharesRequest))

    def set_share(
        self, kind: str, name: str, *, weight: float | None = None, max_gpus: int | None = None, max_jobs: int | None = None
    ) -> dict[str, Any]:
        return _dict(self._ask("SetShare", pb.SetShareRequest, kind=kind, name=name, weight=weight, max_gpus=max_gpus, max_jobs=max_jobs))

    def doctor(self) -> list[dict[str, Any]]:
        return _list(self._ask("Doctor", pb.DoctorRequest))

    def gc(self, *, dry_run: bool = True, older_than_days: float = 30.0, what: Sequence[str] = ()) -> dict[str, Any]:
        return _dict(self._change("Gc", pb.GcRequest, dry_run=dry_run, older_than_days=older_than_days, what=what))


def _dict(document: Any) -> dict[str, Any]:
    return dict(document)


def _list(document: Any) -> list[dict[str, Any]]:
    return list(document)
