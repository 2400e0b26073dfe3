"""The Runner of a service: the verbs of ``runner.service.Runner`` with the same parameters, answers and errors.

A service that is restarted is waited for: watching and reading a log go on where they were, what only looks is asked again, and so is a submit,
whose key makes it queue one job whatever happens. Anything else says that the connection was lost, and that it may have been done.
"""

from __future__ import annotations

import getpass
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import grpc

from contracts.errors import ConfigurationError, InternalError, RequestError, SluiceError, UnavailableError
from contracts.job import JobSpec, JobState
from contracts.rpc import sluice_pb2 as pb
from contracts.rpc.documents import to_document, to_message
from contracts.rpc.failures import ERROR_BYTES_KEY, ERROR_KEY, find_metadata, unpack_error
from contracts.rpc.sluice_pb2_grpc import SluiceStub
from contracts.rpc.speech import spoken
from runner.settings import Settings
from runner.socket_file import find_socket

log = logging.getLogger(__name__)
T = TypeVar("T")
Say = Callable[[str], None]
Count = Callable[[int, "int | None"], None]

PATIENCE_S = 60.0
_HELLO_S = 5.0
_PAUSE_S = 0.2
_ERROR_BYTES = 1 << 20
_ENDED = frozenset(str(state) for state in JobState if state.ended)
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_metadata_size", 2 * _ERROR_BYTES),
    ("grpc.absolute_max_metadata_size", 2 * _ERROR_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
]


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
        _refuse_other_version(described, runner.address)
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


def _refuse_other_version(described: dict[str, Any], address: str) -> None:
    ours = spoken()
    theirs = {name: described[name] for name in ours}
    if theirs != ours:
        raise ConfigurationError(
            f"the service at {address} is Sluice {theirs['version']} (messages {theirs['messages']}), this is "
            f"{ours['version']} (messages {ours['messages']})",
            hint="Start the service again with this version, or work without it: --embed.",
        )


class RemoteRunner:
    """One service. Safe to share between threads; close it, or use it as a context manager.

    ``timeout_s`` limits each call but the streams; None waits as long as it takes. ``patience_s``: how long a service that went away is waited for.
    """

    def __init__(
        self, channel: grpc.Channel, address: str, *, token: str = "", timeout_s: float | None = None, patience_s: float = PATIENCE_S
    ) -> None:
        self.address = address
        self._channel = channel
        self._stub: Any = SluiceStub(channel)  # type: ignore[no-untyped-call]
        who = ("authorization", f"Bearer {token}") if token else ("sluice-user", _os_user())
        self._metadata = (who, (ERROR_BYTES_KEY, str(_ERROR_BYTES)))
        self._timeout_s = timeout_s
        self._patience_s = patience_s

    @classmethod
    def over_unix(cls, path: Path, **options: Any) -> RemoteRunner:
        """By the socket at ``path``, as the user of this process."""
        return cls(grpc.insecure_channel(f"unix:{quote(os.fsencode(path))}", _OPTIONS), f"unix:{path}", **options)

    @classmethod
    def over_tcp(cls, address: str, *, token: str, certificate: Path | None = None, **options: Any) -> RemoteRunner:
        """By ``host:port``, as the token's user. ``certificate``: the authority (PEM) that the service's is checked against; None: the public ones."""
        roots = certificate.read_bytes() if certificate else None
        channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(roots), _OPTIONS)
        return cls(channel, address, token=token, **options)

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> RemoteRunner:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def describe(self, *, timeout_s: float | None = None) -> dict[str, Any]:
        """``version``, ``messages``, ``home`` and ``engine`` of the service. Raises ``UnavailableError`` at once when it does not answer."""
        try:
            return _dict(to_document(self._stub.Describe(pb.DescribeRequest(), metadata=self._metadata, timeout=timeout_s)))
        except grpc.RpcError as error:
            raise self._error(error) from error

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
        if Path(reference).is_dir():  # an image folder, for the process engine: it is seen from here
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
        path: Path,
        *,
        format: str | None = None,  # noqa: A002 - the word of the domain
        split: str = "",
        on_progress: Count = lambda _, __: None,
    ) -> dict[str, Any]:
        return self._long("ImportDataset", pb.ImportDatasetRequest, on_progress, name=name, path=path, format=format, split=split)

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

    # --------------------------------------------------------------------------------------------------------------- models

    def list_models(self) -> list[dict[str, Any]]:
        return _list(self._ask("ListModels", pb.ListModelsRequest))

    def get_model(self, name: str) -> dict[str, Any]:
        return _dict(self._ask("GetModel", pb.GetModelRequest, name=name))

    def export_model(self, name: str, target: Path, *, overwrite: bool = False) -> dict[str, Any]:
        return _dict(self._change("ExportModel", pb.ExportModelRequest, name=name, target=target, overwrite=overwrite))

    # ----------------------------------------------------------------------------------------------------------------- jobs

    def parse_parameters(self, spec: JobSpec, texts: Sequence[str]) -> dict[str, Any]:
        return _dict(self._ask("ParseParameters", pb.ParseParametersRequest, spec=spec, texts=texts))

    def submit(self, spec: JobSpec, *, user: str | None = None, idempotency_key: str | None = None) -> dict[str, Any]:
        key = idempotency_key or uuid.uuid4().hex
        return _dict(self._ask("Submit", pb.SubmitRequest, spec=spec, user=user, idempotency_key=key))

    def rerun_job(self, reference: str, *, user: str | None = None) -> dict[str, Any]:
        return _dict(self._change("RerunJob", pb.RerunJobRequest, reference=reference, user=user))

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
        return _dict(self._change("ContactSheet", pb.ContactSheetRequest, reference=reference, file=file, limit=limit, columns=columns))

    def mining_ranking(self, reference: str, limit: int | None = None) -> list[dict[str, Any]]:
        return _list(self._ask("MiningRanking", pb.MiningRankingRequest, reference=reference, limit=limit))

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

    # ------------------------------------------------------------------------------------------------------------ the calls

    def _ask(self, method: str, request_type: Callable[[], Any], **given: Any) -> Any:
        """The answer's document. Asked again after a lost connection: only for what may be done twice."""
        request, patience = self._message(request_type, **given), self._patience()
        while True:
            try:
                return to_document(getattr(self._stub, method)(request, metadata=self._metadata, timeout=self._timeout_s))
            except grpc.RpcError as error:
                patience.wait_after(self._error(error), error)

    def _change(self, method: str, request_type: Callable[[], Any], **given: Any) -> Any:
        """The answer's document, asked once."""
        try:
            return to_document(
                getattr(self._stub, method)(self._message(request_type, **given), metadata=self._metadata, timeout=self._timeout_s)
            )
        except grpc.RpcError as error:
            raise _doubtful(self._error(error), method) from error

    def _long(self, method: str, request_type: Callable[[], Any], say: Callable[..., None], **given: Any) -> dict[str, Any]:
        """The result of a verb that says how far it is. Leaving early (Ctrl-C) ends it there, too."""
        call = getattr(self._stub, method)(self._message(request_type, **given), metadata=self._metadata)
        result: dict[str, Any] = {}
        try:
            for update in call:
                if update.WhichOneof("update") == "progress":
                    say(*to_document(update.progress).values())
                else:
                    result = to_document(update.result)
        except grpc.RpcError as error:
            raise _doubtful(self._error(error), method) from error
        finally:
            call.cancel()
        return result

    def _stream(self, method: str, patience: _Patience, request: Any) -> Iterator[Any]:
        """The messages until the stream ends, or after a lost connection until it is time to call again: ``patience.lost`` tells which."""
        call = getattr(self._stub, method)(request, metadata=self._metadata)
        try:
            for message in call:
                patience.renew()
                yield message
            patience.lost = False
        except grpc.RpcError as error:
            patience.wait_after(self._error(error), error)
        finally:
            call.cancel()

    def _message(self, request_type: Callable[[], Any], **given: Any) -> Any:
        try:
            return to_message({name: _plain(value) for name, value in given.items()}, request_type)
        except ValueError as error:
            raise RequestError(str(error), hint="Correct it.") from error

    def _patience(self) -> _Patience:
        return _Patience(self.address, self._patience_s)

    def _error(self, error: grpc.RpcError) -> SluiceError:
        """The error of the tree that the service raised, or what its silence means."""
        packed = find_metadata(error.trailing_metadata(), ERROR_KEY)
        known = unpack_error(packed) if packed else None
        return known or _error_of_status(error.code(), error.details() or "", self.address)


class _Patience:
    """How long a service that went away is waited for. ``lost``: the last stream did not end by itself."""

    def __init__(self, address: str, patience_s: float) -> None:
        self._address = address
        self._patience_s = patience_s
        self._until: float | None = None
        self.lost = False

    def renew(self) -> None:
        """It answered."""
        self._until = None

    def wait_after(self, error: SluiceError, cause: BaseException) -> None:
        """Returns when it is time to ask again. Raises the error when asking again cannot help, or was tried for long enough."""
        if not error.fields.get("lost"):
            raise error from cause
        self.lost = True
        if self._until is None:
            self._until = time.monotonic() + self._patience_s
            log.warning("the service at %s went away; waiting up to %.0f s for it", self._address, self._patience_s)
        if time.monotonic() >= self._until:
            raise UnavailableError(
                f"the service at {self._address} went away and did not come back within {self._patience_s:g} s",
                hint="Running jobs go on. Start it again with `sluice serve`, or ask without it: --embed.",
                cause=error.message,
            ) from cause
        time.sleep(_PAUSE_S)


def _error_of_status(code: grpc.StatusCode, details: str, address: str) -> SluiceError:
    """For a status that no Runner chose: it is gRPC's own."""
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return RequestError(f"the service takes no request of this size: {details}", hint="Its setting max_request_bytes is the limit.")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        hint = "Start the service again with this version, or work without it: --embed."
        return ConfigurationError(f"the service at {address} is of another version: {details}", hint=hint)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return UnavailableError(f"the service at {address} did not answer in time", hint="Ask again, or allow it more time.")
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return UnavailableError(f"the service at {address} cannot be reached: {details}", hint="Does `sluice serve` run?", lost=True)
    return InternalError(f"the service at {address} failed: {code.name}: {details}", hint="Its log says why.")


def _doubtful(error: SluiceError, method: str) -> SluiceError:
    """After a lost connection nobody knows whether a change was made."""
    if not error.fields.get("lost"):
        return error
    return UnavailableError(f"{error.message}; whether {method} was done is not known", hint="Look first, then ask again.", method=method)


def _plain(value: Any) -> Any:
    if isinstance(value, JobSpec):
        return value.model_dump(mode="json")
    if isinstance(value, Path):
        return _host_path(value)
    return value


def _host_path(path: Path) -> str:
    """The service has another working folder, and the messages have no other bytes than Unicode's."""
    text = str(path.absolute())
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(f"{text!r} has a name that is not Unicode", hint="Rename it, or work without the service: --embed.") from error
    return text


def _os_user() -> str:
    """Metadata are ASCII."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        name = str(os.getuid())
    return name.encode("ascii", "backslashreplace").decode()


def _dict(document: Any) -> dict[str, Any]:
    return dict(document)


def _list(document: Any) -> list[dict[str, Any]]:
    return list(document)
