"""A job: what is asked for, where it stands, and why it ended.

The state is never set beside the reason: while a job runs its state follows from its step, and when it has ended its end reason decides
(``EndReason.state``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from contracts.image import Kind

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class GpuWish(BaseModel):
    """Which GPUs a job can use, when not any will do. ``model`` is a part of the card's name, in any case (``h200``).

    ``mig_profile`` (``1g.18gb``) asks for slices instead of cards. ``shared_bytes`` shares a card of a pool that allows it, and declares how
    much of its memory the job will use; nothing enforces that.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    pool: str | None = Field(default=None, pattern=NAME_PATTERN)
    model: str | None = Field(default=None, min_length=1, max_length=100)
    memory_bytes: int | None = Field(default=None, gt=0)
    mig_profile: str | None = Field(default=None, pattern=r"^[0-9]+[gc][0-9a-z.+]*$")
    shared_bytes: int | None = Field(default=None, gt=0)


class JobSpec(BaseModel):
    """What a door asks for. Unknown keys are refused.

    Datasets are references ``name[@V001][:split]``; a model is ``name[@V0001][@stage]``. ``class_names`` is ordered: the position is the
    class id. Empty means every class of the training data. ``silence_timeout_s`` ends a job whose image neither prints nor reports
    progress for so long. ``new_classes``: a training that starts from a model may have other classes than it. ``retries`` None: as many as
    the settings say, for the causes that they name. ``predictions`` is a job (or an import) whose predictions a mining image is given, and
    ``training_data`` what its model learnt from, where the image asks for them; a mining whose image reads predictions needs no model.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    image: str | None = None
    name: str | None = Field(None, pattern=NAME_PATTERN)
    train_data: str | None = None
    val_data: str | None = None
    data: str | None = None
    model: str | None = None
    class_names: tuple[str, ...] = ()
    parameters: dict[str, Any] = Field(default_factory=dict)
    gpu_count: int = Field(0, ge=0)
    top_k: int | None = Field(None, ge=1)
    unlinked: bool = False
    new_classes: bool = False
    seed: int = 0
    memory_bytes: int | None = Field(None, ge=16 * 1024**2)
    cpu_count: float | None = Field(None, gt=0)
    timeout_s: float | None = Field(None, gt=0)
    silence_timeout_s: float | None = Field(None, gt=0)
    project: str = Field("default", pattern=NAME_PATTERN)
    priority: int = Field(0, ge=-100, le=100)
    retries: int | None = Field(None, ge=0, le=20)
    gpu: GpuWish = GpuWish()
    predictions: str | None = Field(None, min_length=1, max_length=200)
    training_data: str | None = Field(None, min_length=1, max_length=200)

    @model_validator(mode="after")
    def _has_its_inputs(self) -> JobSpec:
        if self.kind is Kind.TRAINING:
            if not self.train_data:
                raise ValueError("a training job needs train_data")
            if self.data or self.top_k:
                raise ValueError("data and top_k are for mining and inference; a training job takes train_data and val_data")
        elif not (self.data and (self.model or (self.kind is Kind.MINING and self.image))):
            raise ValueError(f"a {self.kind} job needs data and a model")
        if (self.predictions or self.training_data) and Kind.MINING not in self.kind.parts:
            raise ValueError("predictions and training_data are for mining")
        if self.new_classes and not (self.kind is Kind.TRAINING and self.model):
            raise ValueError("new_classes is for a training that starts from a model")
        if self.kind is not Kind.TRAINING and (self.train_data or self.val_data):
            raise ValueError(f"train_data and val_data are for training; a {self.kind} job takes data")
        return self


def container_name(job_id: str, attempt: int) -> str:
    """The one name that this attempt's container can have: what was created under it is found again, whoever looks."""
    return f"sluice-{job_id}-{attempt}"


class JobState(str, Enum):
    """Where a job stands, for people; derived from its step and end reason."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    def __str__(self) -> str:
        return self.value

    @property
    def ended(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class Step(str, Enum):
    """The steps of one attempt, in order. Each is journalled before it happens and safe to repeat."""

    QUEUED = "queued"
    STAGE = "stage"
    PULL = "pull"
    CREATE = "create"
    START = "start"
    FOLLOW = "follow"
    COLLECT = "collect"
    FINISH = "finish"

    def __str__(self) -> str:
        return self.value


class EndReason(str, Enum):
    """Why a job ended: the closed list. ``state`` and ``next_step`` follow from it."""

    SUCCEEDED = "succeeded"
    CANCELLED = "cancelled"
    IMAGE_MISSING = "image_missing"
    PULL_FAILED = "pull_failed"
    START_FAILED = "start_failed"
    EXIT_CODE = "exit_code"
    OUT_OF_MEMORY = "out_of_memory"
    KILLED = "killed"
    TIMEOUT = "timeout"
    SILENT = "silent"
    GPU_LOST = "gpu_lost"
    RESULT_MISSING = "result_missing"
    RESULT_MALFORMED = "result_malformed"
    NO_GPU = "no_gpu"
    ENGINE_GONE = "engine_gone"
    ENGINE_FAILED = "engine_failed"
    DATA_INVALID = "data_invalid"
    DISK_FULL = "disk_full"
    INTERNAL_ERROR = "internal_error"

    def __str__(self) -> str:
        return self.value

    @property
    def state(self) -> JobState:
        if self is EndReason.SUCCEEDED:
            return JobState.SUCCEEDED
        return JobState.CANCELLED if self is EndReason.CANCELLED else JobState.FAILED

    @property
    def next_step(self) -> str:
        """What the person who can act should do now; one sentence."""
        return _NEXT_STEP[self]


_NEXT_STEP = {
    EndReason.SUCCEEDED: "",
    EndReason.CANCELLED: "Run it again with `sluice job rerun` when it is wanted.",
    EndReason.IMAGE_MISSING: "The engine no longer has this image: build or pull it again, then `sluice image add` it.",
    EndReason.PULL_FAILED: "Check the reference, the network and `docker login`, then `sluice job rerun`.",
    EndReason.START_FAILED: "The container never ran: mend what the engine's message names, then `sluice job rerun`.",
    EndReason.EXIT_CODE: "The image's own program failed; its last log lines say why. `sluice job logs` shows them all.",
    EndReason.OUT_OF_MEMORY: "Give the job more with --memory, or make it need less (a smaller batch or picture size).",
    EndReason.KILLED: "Something outside Sluice ended the container (an operator, `docker kill`, a restart of the engine or host): `sluice job rerun`.",
    EndReason.TIMEOUT: "Give the job more time with --timeout, or find out where it hangs from the last log lines.",
    EndReason.SILENT: "It neither printed nor reported progress for its --silence-timeout: its last log lines show where it hangs, or allow it more.",
    EndReason.GPU_LOST: "A GPU failed under the job: `sluice gpu list` says which and why; `sluice job rerun` takes others.",
    EndReason.RESULT_MISSING: "The image exited 0 but left no result file: its author must write it (docs/2-contract.md).",
    EndReason.RESULT_MALFORMED: "The image's result file cannot be read: its author must fix what the message names (docs/2-contract.md).",
    EndReason.NO_GPU: "`sluice gpu list` says who holds each card; ask for fewer, or wait.",
    EndReason.ENGINE_GONE: "Start the engine again (`sluice doctor` checks it), then `sluice job rerun`.",
    EndReason.ENGINE_FAILED: "The engine refused what it was asked; its message says why. `sluice doctor` checks it.",
    EndReason.DATA_INVALID: "The data cannot be given to the image: fix what the message names and import it as a new version.",
    EndReason.DISK_FULL: "Free space on the disk that the message names, then `sluice job rerun`.",
    EndReason.INTERNAL_ERROR: "This is a defect in Sluice: please report it with the job.json of the run directory.",
}


@dataclass(frozen=True)
class JobWarning:
    """Something that was tolerated: the job went on, and the person who made it so should know.

    ``code`` is stable; ``place`` is a file, optionally with ``:line``.
    """

    code: str
    message: str
    place: str = ""

    def to_dict(self) -> dict[str, str]:
        return {"code": self.code, "message": self.message, "place": self.place}


@dataclass(frozen=True)
class Evidence:
    """What shows the end reason to be right.

    ``image_code`` and ``image_message`` are the image's own words from monitor.txt; ``log_tail`` the last lines of the container's
    output, oldest first; ``exit_code`` the container's own, never Sluice's.
    """

    message: str = ""
    exit_code: int | None = None
    out_of_memory: bool = False
    image_code: int | None = None
    image_message: str = ""
    log_tail: tuple[str, ...] = ()
    hint: str = ""
    fields: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "message": self.message,
            "exit_code": self.exit_code,
            "out_of_memory": self.out_of_memory,
            "image_code": self.image_code,
            "image_message": self.image_message,
            "log_tail": list(self.log_tail),
            "hint": self.hint,
            "fields": self.fields,
        }
