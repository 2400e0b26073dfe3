from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Shape(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SHAPE_UNSPECIFIED: _ClassVar[Shape]
    LEFT_OUT: _ClassVar[Shape]
    INLINED: _ClassVar[Shape]
    WHOLE: _ClassVar[Shape]
    ENTRIES: _ClassVar[Shape]
SHAPE_UNSPECIFIED: Shape
LEFT_OUT: Shape
INLINED: Shape
WHOLE: Shape
ENTRIES: Shape
SHAPE_FIELD_NUMBER: _ClassVar[int]
shape: _descriptor.FieldDescriptor
HOST_PATH_FIELD_NUMBER: _ClassVar[int]
host_path: _descriptor.FieldDescriptor
LEAST_FIELD_NUMBER: _ClassVar[int]
least: _descriptor.FieldDescriptor
MOST_FIELD_NUMBER: _ClassVar[int]
most: _descriptor.FieldDescriptor
OR_ADDRESS_FIELD_NUMBER: _ClassVar[int]
or_address: _descriptor.FieldDescriptor

class Json(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Description(_message.Message):
    __slots__ = ("version", "messages", "home", "engine")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    HOME_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    version: str
    messages: str
    home: str
    engine: str
    def __init__(self, version: _Optional[str] = ..., messages: _Optional[str] = ..., home: _Optional[str] = ..., engine: _Optional[str] = ...) -> None: ...

class JobSpec(_message.Message):
    __slots__ = ("kind", "image", "name", "train_data", "val_data", "data", "model", "class_names", "parameters", "gpu_count", "top_k", "unlinked", "new_classes", "seed", "memory_bytes", "cpu_count", "timeout_s", "silence_timeout_s", "project", "priority", "retries", "gpu", "predictions", "training_data")
    KIND_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TRAIN_DATA_FIELD_NUMBER: _ClassVar[int]
    VAL_DATA_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAMES_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    GPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    UNLINKED_FIELD_NUMBER: _ClassVar[int]
    NEW_CLASSES_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    CPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    SILENCE_TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    GPU_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    TRAINING_DATA_FIELD_NUMBER: _ClassVar[int]
    kind: str
    image: str
    name: str
    train_data: str
    val_data: str
    data: str
    model: str
    class_names: _containers.RepeatedScalarFieldContainer[str]
    parameters: Json
    gpu_count: int
    top_k: int
    unlinked: bool
    new_classes: bool
    seed: int
    memory_bytes: int
    cpu_count: float
    timeout_s: float
    silence_timeout_s: float
    project: str
    priority: int
    retries: int
    gpu: GpuWish
    predictions: str
    training_data: str
    def __init__(self, kind: _Optional[str] = ..., image: _Optional[str] = ..., name: _Optional[str] = ..., train_data: _Optional[str] = ..., val_data: _Optional[str] = ..., data: _Optional[str] = ..., model: _Optional[str] = ..., class_names: _Optional[_Iterable[str]] = ..., parameters: _Optional[_Union[Json, _Mapping]] = ..., gpu_count: _Optional[int] = ..., top_k: _Optional[int] = ..., unlinked: _Optional[bool] = ..., new_classes: _Optional[bool] = ..., seed: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., cpu_count: _Optional[float] = ..., timeout_s: _Optional[float] = ..., silence_timeout_s: _Optional[float] = ..., project: _Optional[str] = ..., priority: _Optional[int] = ..., retries: _Optional[int] = ..., gpu: _Optional[_Union[GpuWish, _Mapping]] = ..., predictions: _Optional[str] = ..., training_data: _Optional[str] = ...) -> None: ...

class GpuWish(_message.Message):
    __slots__ = ("pool", "model", "memory_bytes", "mig_profile", "shared_bytes")
    POOL_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MIG_PROFILE_FIELD_NUMBER: _ClassVar[int]
    SHARED_BYTES_FIELD_NUMBER: _ClassVar[int]
    pool: str
    model: str
    memory_bytes: int
    mig_profile: str
    shared_bytes: int
    def __init__(self, pool: _Optional[str] = ..., model: _Optional[str] = ..., memory_bytes: _Optional[int] = ..., mig_profile: _Optional[str] = ..., shared_bytes: _Optional[int] = ...) -> None: ...

class SubmitRequest(_message.Message):
    __slots__ = ("spec", "user", "idempotency_key")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    spec: JobSpec
    user: str
    idempotency_key: str
    def __init__(self, spec: _Optional[_Union[JobSpec, _Mapping]] = ..., user: _Optional[str] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class ParseParametersRequest(_message.Message):
    __slots__ = ("spec", "texts")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    spec: JobSpec
    texts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, spec: _Optional[_Union[JobSpec, _Mapping]] = ..., texts: _Optional[_Iterable[str]] = ...) -> None: ...

class Parameters(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: Json
    def __init__(self, values: _Optional[_Union[Json, _Mapping]] = ...) -> None: ...

class RerunJobRequest(_message.Message):
    __slots__ = ("reference", "user", "latest", "current_image")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    LATEST_FIELD_NUMBER: _ClassVar[int]
    CURRENT_IMAGE_FIELD_NUMBER: _ClassVar[int]
    reference: str
    user: str
    latest: bool
    current_image: bool
    def __init__(self, reference: _Optional[str] = ..., user: _Optional[str] = ..., latest: _Optional[bool] = ..., current_image: _Optional[bool] = ...) -> None: ...

class CancelJobRequest(_message.Message):
    __slots__ = ("reference", "wait")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    reference: str
    wait: bool
    def __init__(self, reference: _Optional[str] = ..., wait: _Optional[bool] = ...) -> None: ...

class GetJobRequest(_message.Message):
    __slots__ = ("reference",)
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    reference: str
    def __init__(self, reference: _Optional[str] = ...) -> None: ...

class ListJobsRequest(_message.Message):
    __slots__ = ("states", "kinds", "users", "projects", "limit", "offset")
    STATES_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    USERS_FIELD_NUMBER: _ClassVar[int]
    PROJECTS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    states: _containers.RepeatedScalarFieldContainer[str]
    kinds: _containers.RepeatedScalarFieldContainer[str]
    users: _containers.RepeatedScalarFieldContainer[str]
    projects: _containers.RepeatedScalarFieldContainer[str]
    limit: int
    offset: int
    def __init__(self, states: _Optional[_Iterable[str]] = ..., kinds: _Optional[_Iterable[str]] = ..., users: _Optional[_Iterable[str]] = ..., projects: _Optional[_Iterable[str]] = ..., limit: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

class JobPage(_message.Message):
    __slots__ = ("jobs", "total")
    JOBS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[Job]
    total: int
    def __init__(self, jobs: _Optional[_Iterable[_Union[Job, _Mapping]]] = ..., total: _Optional[int] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("reference",)
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    reference: str
    def __init__(self, reference: _Optional[str] = ...) -> None: ...

class ReadJobLogRequest(_message.Message):
    __slots__ = ("reference", "offset", "follow", "max_bytes")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    reference: str
    offset: int
    follow: bool
    max_bytes: int
    def __init__(self, reference: _Optional[str] = ..., offset: _Optional[int] = ..., follow: _Optional[bool] = ..., max_bytes: _Optional[int] = ...) -> None: ...

class LogChunk(_message.Message):
    __slots__ = ("data", "next_offset", "ended")
    DATA_FIELD_NUMBER: _ClassVar[int]
    NEXT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    next_offset: int
    ended: bool
    def __init__(self, data: _Optional[bytes] = ..., next_offset: _Optional[int] = ..., ended: _Optional[bool] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("id", "name", "version", "kind", "state", "step", "end_reason", "next_step", "user", "project", "priority", "queue", "attempt", "attempts", "image", "engine", "model", "data", "gpus", "created_at", "not_before", "admitted_at", "started_at", "ended_at", "duration_s", "progress", "exit_code", "evidence", "warnings", "result", "usage", "run_dir", "rerun_of", "cancel_requested", "attended", "spec")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    END_REASON_FIELD_NUMBER: _ClassVar[int]
    NEXT_STEP_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    ADMITTED_AT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    RUN_DIR_FIELD_NUMBER: _ClassVar[int]
    RERUN_OF_FIELD_NUMBER: _ClassVar[int]
    CANCEL_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    ATTENDED_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    version: str
    kind: str
    state: str
    step: str
    end_reason: str
    next_step: str
    user: str
    project: str
    priority: int
    queue: QueuePlace
    attempt: int
    attempts: _containers.RepeatedCompositeFieldContainer[Attempt]
    image: PinnedImage
    engine: str
    model: str
    data: _containers.RepeatedCompositeFieldContainer[NamedText]
    gpus: _containers.RepeatedScalarFieldContainer[str]
    created_at: str
    not_before: str
    admitted_at: str
    started_at: str
    ended_at: str
    duration_s: float
    progress: Progress
    exit_code: int
    evidence: Evidence
    warnings: _containers.RepeatedCompositeFieldContainer[Warning]
    result: Json
    usage: Usage
    run_dir: str
    rerun_of: str
    cancel_requested: bool
    attended: bool
    spec: JobSpec
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., version: _Optional[str] = ..., kind: _Optional[str] = ..., state: _Optional[str] = ..., step: _Optional[str] = ..., end_reason: _Optional[str] = ..., next_step: _Optional[str] = ..., user: _Optional[str] = ..., project: _Optional[str] = ..., priority: _Optional[int] = ..., queue: _Optional[_Union[QueuePlace, _Mapping]] = ..., attempt: _Optional[int] = ..., attempts: _Optional[_Iterable[_Union[Attempt, _Mapping]]] = ..., image: _Optional[_Union[PinnedImage, _Mapping]] = ..., engine: _Optional[str] = ..., model: _Optional[str] = ..., data: _Optional[_Iterable[_Union[NamedText, _Mapping]]] = ..., gpus: _Optional[_Iterable[str]] = ..., created_at: _Optional[str] = ..., not_before: _Optional[str] = ..., admitted_at: _Optional[str] = ..., started_at: _Optional[str] = ..., ended_at: _Optional[str] = ..., duration_s: _Optional[float] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., exit_code: _Optional[int] = ..., evidence: _Optional[_Union[Evidence, _Mapping]] = ..., warnings: _Optional[_Iterable[_Union[Warning, _Mapping]]] = ..., result: _Optional[_Union[Json, _Mapping]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., run_dir: _Optional[str] = ..., rerun_of: _Optional[str] = ..., cancel_requested: _Optional[bool] = ..., attended: _Optional[bool] = ..., spec: _Optional[_Union[JobSpec, _Mapping]] = ...) -> None: ...

class QueuePlace(_message.Message):
    __slots__ = ("position", "reason")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    position: int
    reason: str
    def __init__(self, position: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class Attempt(_message.Message):
    __slots__ = ("attempt", "end_reason", "exit_code", "evidence", "gpus", "started_at", "ended_at")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    END_REASON_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    attempt: int
    end_reason: str
    exit_code: int
    evidence: Evidence
    gpus: _containers.RepeatedScalarFieldContainer[str]
    started_at: str
    ended_at: str
    def __init__(self, attempt: _Optional[int] = ..., end_reason: _Optional[str] = ..., exit_code: _Optional[int] = ..., evidence: _Optional[_Union[Evidence, _Mapping]] = ..., gpus: _Optional[_Iterable[str]] = ..., started_at: _Optional[str] = ..., ended_at: _Optional[str] = ...) -> None: ...

class PinnedImage(_message.Message):
    __slots__ = ("name", "reference", "digest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    reference: str
    digest: str
    def __init__(self, name: _Optional[str] = ..., reference: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class NamedText(_message.Message):
    __slots__ = ("name", "text")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    name: str
    text: str
    def __init__(self, name: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("fraction", "state", "message")
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    fraction: float
    state: str
    message: str
    def __init__(self, fraction: _Optional[float] = ..., state: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Evidence(_message.Message):
    __slots__ = ("message", "exit_code", "out_of_memory", "image_code", "image_message", "log_tail", "hint", "fields")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    OUT_OF_MEMORY_FIELD_NUMBER: _ClassVar[int]
    IMAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    LOG_TAIL_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    message: str
    exit_code: int
    out_of_memory: bool
    image_code: int
    image_message: str
    log_tail: _containers.RepeatedScalarFieldContainer[str]
    hint: str
    fields: Json
    def __init__(self, message: _Optional[str] = ..., exit_code: _Optional[int] = ..., out_of_memory: _Optional[bool] = ..., image_code: _Optional[int] = ..., image_message: _Optional[str] = ..., log_tail: _Optional[_Iterable[str]] = ..., hint: _Optional[str] = ..., fields: _Optional[_Union[Json, _Mapping]] = ...) -> None: ...

class Warning(_message.Message):
    __slots__ = ("code", "message", "place")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    place: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., place: _Optional[str] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("samples", "to", "cpu_seconds", "max_memory_bytes", "memory_limit_bytes", "max_pids", "out_bytes", "mean_gpu_utilization_fraction", "max_gpu_utilization_fraction", "max_gpu_memory_bytes", "gpus")
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    CPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MAX_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_PIDS_FIELD_NUMBER: _ClassVar[int]
    OUT_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEAN_GPU_UTILIZATION_FRACTION_FIELD_NUMBER: _ClassVar[int]
    MAX_GPU_UTILIZATION_FRACTION_FIELD_NUMBER: _ClassVar[int]
    MAX_GPU_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    samples: int
    to: float
    cpu_seconds: float
    max_memory_bytes: int
    memory_limit_bytes: int
    max_pids: int
    out_bytes: int
    mean_gpu_utilization_fraction: float
    max_gpu_utilization_fraction: float
    max_gpu_memory_bytes: int
    gpus: _containers.RepeatedCompositeFieldContainer[NamedGpuUsage]
    def __init__(self, samples: _Optional[int] = ..., to: _Optional[float] = ..., cpu_seconds: _Optional[float] = ..., max_memory_bytes: _Optional[int] = ..., memory_limit_bytes: _Optional[int] = ..., max_pids: _Optional[int] = ..., out_bytes: _Optional[int] = ..., mean_gpu_utilization_fraction: _Optional[float] = ..., max_gpu_utilization_fraction: _Optional[float] = ..., max_gpu_memory_bytes: _Optional[int] = ..., gpus: _Optional[_Iterable[_Union[NamedGpuUsage, _Mapping]]] = ..., **kwargs) -> None: ...

class NamedGpuUsage(_message.Message):
    __slots__ = ("uuid", "usage")
    UUID_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    usage: GpuUsage
    def __init__(self, uuid: _Optional[str] = ..., usage: _Optional[_Union[GpuUsage, _Mapping]] = ...) -> None: ...

class GpuUsage(_message.Message):
    __slots__ = ("mean_utilization_fraction", "max_memory_bytes")
    MEAN_UTILIZATION_FRACTION_FIELD_NUMBER: _ClassVar[int]
    MAX_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    mean_utilization_fraction: float
    max_memory_bytes: int
    def __init__(self, mean_utilization_fraction: _Optional[float] = ..., max_memory_bytes: _Optional[int] = ...) -> None: ...

class ContactSheetRequest(_message.Message):
    __slots__ = ("reference", "file", "limit", "columns")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    reference: str
    file: str
    limit: int
    columns: int
    def __init__(self, reference: _Optional[str] = ..., file: _Optional[str] = ..., limit: _Optional[int] = ..., columns: _Optional[int] = ...) -> None: ...

class DrawnSheet(_message.Message):
    __slots__ = ("file", "images")
    FILE_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    file: str
    images: int
    def __init__(self, file: _Optional[str] = ..., images: _Optional[int] = ...) -> None: ...

class MiningRankingRequest(_message.Message):
    __slots__ = ("reference", "limit")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    reference: str
    limit: int
    def __init__(self, reference: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class Ranking(_message.Message):
    __slots__ = ("assets",)
    ASSETS_FIELD_NUMBER: _ClassVar[int]
    assets: _containers.RepeatedCompositeFieldContainer[RankedAsset]
    def __init__(self, assets: _Optional[_Iterable[_Union[RankedAsset, _Mapping]]] = ...) -> None: ...

class RankedAsset(_message.Message):
    __slots__ = ("rank", "asset", "name", "score", "coefficient", "hard", "reasons", "texts")
    RANK_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    COEFFICIENT_FIELD_NUMBER: _ClassVar[int]
    HARD_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    rank: int
    asset: str
    name: str
    score: float
    coefficient: float
    hard: bool
    reasons: _containers.RepeatedScalarFieldContainer[int]
    texts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, rank: _Optional[int] = ..., asset: _Optional[str] = ..., name: _Optional[str] = ..., score: _Optional[float] = ..., coefficient: _Optional[float] = ..., hard: _Optional[bool] = ..., reasons: _Optional[_Iterable[int]] = ..., texts: _Optional[_Iterable[str]] = ...) -> None: ...

class BuildImageRequest(_message.Message):
    __slots__ = ("folder", "name", "profile", "allow", "base")
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    ALLOW_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    folder: str
    name: str
    profile: str
    allow: _containers.RepeatedScalarFieldContainer[str]
    base: str
    def __init__(self, folder: _Optional[str] = ..., name: _Optional[str] = ..., profile: _Optional[str] = ..., allow: _Optional[_Iterable[str]] = ..., base: _Optional[str] = ...) -> None: ...

class AddImageRequest(_message.Message):
    __slots__ = ("reference", "name", "profile", "allow", "pull")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    ALLOW_FIELD_NUMBER: _ClassVar[int]
    PULL_FIELD_NUMBER: _ClassVar[int]
    reference: str
    name: str
    profile: str
    allow: _containers.RepeatedScalarFieldContainer[str]
    pull: bool
    def __init__(self, reference: _Optional[str] = ..., name: _Optional[str] = ..., profile: _Optional[str] = ..., allow: _Optional[_Iterable[str]] = ..., pull: _Optional[bool] = ...) -> None: ...

class RegisteringImage(_message.Message):
    __slots__ = ("progress", "result")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    progress: Line
    result: RegisteredImage
    def __init__(self, progress: _Optional[_Union[Line, _Mapping]] = ..., result: _Optional[_Union[RegisteredImage, _Mapping]] = ...) -> None: ...

class Line(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class RegisteredImage(_message.Message):
    __slots__ = ("image", "changed_from")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FROM_FIELD_NUMBER: _ClassVar[int]
    image: Image
    changed_from: str
    def __init__(self, image: _Optional[_Union[Image, _Mapping]] = ..., changed_from: _Optional[str] = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ("name", "reference", "engine", "dialect", "digest", "current_digest", "state", "size_bytes", "kinds", "object_types", "templates", "profile", "allow", "labels", "registered_at", "updated_at", "links", "warnings")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    DIALECT_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    CURRENT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    OBJECT_TYPES_FIELD_NUMBER: _ClassVar[int]
    TEMPLATES_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    ALLOW_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    name: str
    reference: str
    engine: str
    dialect: str
    digest: str
    current_digest: str
    state: str
    size_bytes: int
    kinds: _containers.RepeatedScalarFieldContainer[str]
    object_types: _containers.RepeatedCompositeFieldContainer[ObjectType]
    templates: _containers.RepeatedCompositeFieldContainer[Template]
    profile: str
    allow: _containers.RepeatedScalarFieldContainer[str]
    labels: Json
    registered_at: str
    updated_at: str
    links: _containers.RepeatedCompositeFieldContainer[Link]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., reference: _Optional[str] = ..., engine: _Optional[str] = ..., dialect: _Optional[str] = ..., digest: _Optional[str] = ..., current_digest: _Optional[str] = ..., state: _Optional[str] = ..., size_bytes: _Optional[int] = ..., kinds: _Optional[_Iterable[str]] = ..., object_types: _Optional[_Iterable[_Union[ObjectType, _Mapping]]] = ..., templates: _Optional[_Iterable[_Union[Template, _Mapping]]] = ..., profile: _Optional[str] = ..., allow: _Optional[_Iterable[str]] = ..., labels: _Optional[_Union[Json, _Mapping]] = ..., registered_at: _Optional[str] = ..., updated_at: _Optional[str] = ..., links: _Optional[_Iterable[_Union[Link, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class ObjectType(_message.Message):
    __slots__ = ("id", "label")
    ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    id: int
    label: str
    def __init__(self, id: _Optional[int] = ..., label: _Optional[str] = ...) -> None: ...

class Template(_message.Message):
    __slots__ = ("kind", "object_type", "parameters")
    KIND_FIELD_NUMBER: _ClassVar[int]
    OBJECT_TYPE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    kind: str
    object_type: int
    parameters: _containers.RepeatedCompositeFieldContainer[Parameter]
    def __init__(self, kind: _Optional[str] = ..., object_type: _Optional[int] = ..., parameters: _Optional[_Iterable[_Union[Parameter, _Mapping]]] = ...) -> None: ...

class Parameter(_message.Message):
    __slots__ = ("name", "type", "default", "help")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_FIELD_NUMBER: _ClassVar[int]
    HELP_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: str
    default: Json
    help: str
    def __init__(self, name: _Optional[str] = ..., type: _Optional[str] = ..., default: _Optional[_Union[Json, _Mapping]] = ..., help: _Optional[str] = ...) -> None: ...

class ListImagesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ImageList(_message.Message):
    __slots__ = ("images",)
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[Image]
    def __init__(self, images: _Optional[_Iterable[_Union[Image, _Mapping]]] = ...) -> None: ...

class GetImageRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RemoveImageRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RemovedImage(_message.Message):
    __slots__ = ("removed",)
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    removed: str
    def __init__(self, removed: _Optional[str] = ...) -> None: ...

class LinkImagesRequest(_message.Message):
    __slots__ = ("training_image", "other_image")
    TRAINING_IMAGE_FIELD_NUMBER: _ClassVar[int]
    OTHER_IMAGE_FIELD_NUMBER: _ClassVar[int]
    training_image: str
    other_image: str
    def __init__(self, training_image: _Optional[str] = ..., other_image: _Optional[str] = ...) -> None: ...

class UnlinkImagesRequest(_message.Message):
    __slots__ = ("training_image", "other_image")
    TRAINING_IMAGE_FIELD_NUMBER: _ClassVar[int]
    OTHER_IMAGE_FIELD_NUMBER: _ClassVar[int]
    training_image: str
    other_image: str
    def __init__(self, training_image: _Optional[str] = ..., other_image: _Optional[str] = ...) -> None: ...

class Links(_message.Message):
    __slots__ = ("links",)
    LINKS_FIELD_NUMBER: _ClassVar[int]
    links: _containers.RepeatedCompositeFieldContainer[Link]
    def __init__(self, links: _Optional[_Iterable[_Union[Link, _Mapping]]] = ...) -> None: ...

class Link(_message.Message):
    __slots__ = ("training_image", "image", "kind")
    TRAINING_IMAGE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    training_image: str
    image: str
    kind: str
    def __init__(self, training_image: _Optional[str] = ..., image: _Optional[str] = ..., kind: _Optional[str] = ...) -> None: ...

class ImportDatasetRequest(_message.Message):
    __slots__ = ("name", "path", "format", "split", "connection", "unknown_classes", "add", "verify", "class_names", "hard_only")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_CLASSES_FIELD_NUMBER: _ClassVar[int]
    ADD_FIELD_NUMBER: _ClassVar[int]
    VERIFY_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAMES_FIELD_NUMBER: _ClassVar[int]
    HARD_ONLY_FIELD_NUMBER: _ClassVar[int]
    name: str
    path: str
    format: str
    split: str
    connection: str
    unknown_classes: str
    add: bool
    verify: bool
    class_names: _containers.RepeatedScalarFieldContainer[str]
    hard_only: bool
    def __init__(self, name: _Optional[str] = ..., path: _Optional[str] = ..., format: _Optional[str] = ..., split: _Optional[str] = ..., connection: _Optional[str] = ..., unknown_classes: _Optional[str] = ..., add: _Optional[bool] = ..., verify: _Optional[bool] = ..., class_names: _Optional[_Iterable[str]] = ..., hard_only: _Optional[bool] = ...) -> None: ...

class SampleDatasetRequest(_message.Message):
    __slots__ = ("kind", "name", "train", "val", "test", "pool", "seed")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    VAL_FIELD_NUMBER: _ClassVar[int]
    TEST_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    train: int
    val: int
    test: int
    pool: int
    seed: int
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., train: _Optional[int] = ..., val: _Optional[int] = ..., test: _Optional[int] = ..., pool: _Optional[int] = ..., seed: _Optional[int] = ...) -> None: ...

class ImportingDataset(_message.Message):
    __slots__ = ("progress", "result")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    progress: Count
    result: ImportReport
    def __init__(self, progress: _Optional[_Union[Count, _Mapping]] = ..., result: _Optional[_Union[ImportReport, _Mapping]] = ...) -> None: ...

class Count(_message.Message):
    __slots__ = ("done", "total")
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    done: int
    total: int
    def __init__(self, done: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class ImportReport(_message.Message):
    __slots__ = ("dataset", "version", "format", "detected", "images", "annotations", "object_type", "classes", "splits", "states", "hard", "unlabeled", "skipped", "mended", "unchanged", "source", "inputs", "operation", "changes", "content_hash", "folder", "report_file", "predictions")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    DETECTED_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    OBJECT_TYPE_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    SPLITS_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    HARD_FIELD_NUMBER: _ClassVar[int]
    UNLABELED_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    MENDED_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    CONTENT_HASH_FIELD_NUMBER: _ClassVar[int]
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    REPORT_FILE_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    version: str
    format: str
    detected: str
    images: int
    annotations: int
    object_type: int
    classes: _containers.RepeatedCompositeFieldContainer[NamedCount]
    splits: _containers.RepeatedCompositeFieldContainer[NamedCount]
    states: _containers.RepeatedCompositeFieldContainer[NamedCount]
    hard: int
    unlabeled: int
    skipped: _containers.RepeatedCompositeFieldContainer[Skip]
    mended: _containers.RepeatedCompositeFieldContainer[Skip]
    unchanged: bool
    source: str
    inputs: _containers.RepeatedScalarFieldContainer[str]
    operation: Json
    changes: _containers.RepeatedCompositeFieldContainer[NamedCount]
    content_hash: str
    folder: str
    report_file: str
    predictions: str
    def __init__(self, dataset: _Optional[str] = ..., version: _Optional[str] = ..., format: _Optional[str] = ..., detected: _Optional[str] = ..., images: _Optional[int] = ..., annotations: _Optional[int] = ..., object_type: _Optional[int] = ..., classes: _Optional[_Iterable[_Union[NamedCount, _Mapping]]] = ..., splits: _Optional[_Iterable[_Union[NamedCount, _Mapping]]] = ..., states: _Optional[_Iterable[_Union[NamedCount, _Mapping]]] = ..., hard: _Optional[int] = ..., unlabeled: _Optional[int] = ..., skipped: _Optional[_Iterable[_Union[Skip, _Mapping]]] = ..., mended: _Optional[_Iterable[_Union[Skip, _Mapping]]] = ..., unchanged: _Optional[bool] = ..., source: _Optional[str] = ..., inputs: _Optional[_Iterable[str]] = ..., operation: _Optional[_Union[Json, _Mapping]] = ..., changes: _Optional[_Iterable[_Union[NamedCount, _Mapping]]] = ..., content_hash: _Optional[str] = ..., folder: _Optional[str] = ..., report_file: _Optional[str] = ..., predictions: _Optional[str] = ...) -> None: ...

class NamedCount(_message.Message):
    __slots__ = ("name", "count")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    name: str
    count: int
    def __init__(self, name: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class Skip(_message.Message):
    __slots__ = ("place", "reason", "what")
    PLACE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    place: str
    reason: str
    what: str
    def __init__(self, place: _Optional[str] = ..., reason: _Optional[str] = ..., what: _Optional[str] = ...) -> None: ...

class ListDatasetsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DatasetList(_message.Message):
    __slots__ = ("datasets",)
    DATASETS_FIELD_NUMBER: _ClassVar[int]
    datasets: _containers.RepeatedCompositeFieldContainer[Dataset]
    def __init__(self, datasets: _Optional[_Iterable[_Union[Dataset, _Mapping]]] = ...) -> None: ...

class GetDatasetRequest(_message.Message):
    __slots__ = ("reference", "report")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    reference: str
    report: bool
    def __init__(self, reference: _Optional[str] = ..., report: _Optional[bool] = ...) -> None: ...

class ListDatasetVersionsRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeriveDatasetRequest(_message.Message):
    __slots__ = ("reference", "operation", "into")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    INTO_FIELD_NUMBER: _ClassVar[int]
    reference: str
    operation: Json
    into: str
    def __init__(self, reference: _Optional[str] = ..., operation: _Optional[_Union[Json, _Mapping]] = ..., into: _Optional[str] = ...) -> None: ...

class SetCurrentVersionRequest(_message.Message):
    __slots__ = ("reference",)
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    reference: str
    def __init__(self, reference: _Optional[str] = ...) -> None: ...

class RemoveDatasetRequest(_message.Message):
    __slots__ = ("reference",)
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    reference: str
    def __init__(self, reference: _Optional[str] = ...) -> None: ...

class RemovedDataset(_message.Message):
    __slots__ = ("removed",)
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    removed: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, removed: _Optional[_Iterable[str]] = ...) -> None: ...

class ListDatasetClassesRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class SetDatasetClassRequest(_message.Message):
    __slots__ = ("name", "class_name", "aliases", "color")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    COLOR_FIELD_NUMBER: _ClassVar[int]
    name: str
    class_name: str
    aliases: _containers.RepeatedScalarFieldContainer[str]
    color: str
    def __init__(self, name: _Optional[str] = ..., class_name: _Optional[str] = ..., aliases: _Optional[_Iterable[str]] = ..., color: _Optional[str] = ...) -> None: ...

class DatasetClassList(_message.Message):
    __slots__ = ("classes",)
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    classes: _containers.RepeatedCompositeFieldContainer[DatasetClass]
    def __init__(self, classes: _Optional[_Iterable[_Union[DatasetClass, _Mapping]]] = ...) -> None: ...

class DatasetClass(_message.Message):
    __slots__ = ("name", "aliases", "attributes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    aliases: _containers.RepeatedScalarFieldContainer[str]
    attributes: Json
    def __init__(self, name: _Optional[str] = ..., aliases: _Optional[_Iterable[str]] = ..., attributes: _Optional[_Union[Json, _Mapping]] = ...) -> None: ...

class Dataset(_message.Message):
    __slots__ = ("name", "version", "versions", "images", "annotations", "classes", "splits", "object_type", "source", "folder", "created_at", "report", "current", "states", "hard", "inputs", "operation", "changes", "content_hash")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    SPLITS_FIELD_NUMBER: _ClassVar[int]
    OBJECT_TYPE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    HARD_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    CONTENT_HASH_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    versions: _containers.RepeatedScalarFieldContainer[str]
    images: int
    annotations: int
    classes: _containers.RepeatedScalarFieldContainer[str]
    splits: _containers.RepeatedCompositeFieldContainer[NamedCount]
    object_type: int
    source: str
    folder: str
    created_at: str
    report: Json
    current: bool
    states: _containers.RepeatedCompositeFieldContainer[NamedCount]
    hard: int
    inputs: _containers.RepeatedScalarFieldContainer[str]
    operation: Json
    changes: _containers.RepeatedCompositeFieldContainer[NamedCount]
    content_hash: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., versions: _Optional[_Iterable[str]] = ..., images: _Optional[int] = ..., annotations: _Optional[int] = ..., classes: _Optional[_Iterable[str]] = ..., splits: _Optional[_Iterable[_Union[NamedCount, _Mapping]]] = ..., object_type: _Optional[int] = ..., source: _Optional[str] = ..., folder: _Optional[str] = ..., created_at: _Optional[str] = ..., report: _Optional[_Union[Json, _Mapping]] = ..., current: _Optional[bool] = ..., states: _Optional[_Iterable[_Union[NamedCount, _Mapping]]] = ..., hard: _Optional[int] = ..., inputs: _Optional[_Iterable[str]] = ..., operation: _Optional[_Union[Json, _Mapping]] = ..., changes: _Optional[_Iterable[_Union[NamedCount, _Mapping]]] = ..., content_hash: _Optional[str] = ...) -> None: ...

class ExportDatasetRequest(_message.Message):
    __slots__ = ("reference", "target", "format", "split", "hard", "link", "pictures", "predictions")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    HARD_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    PICTURES_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    reference: str
    target: str
    format: str
    split: str
    hard: bool
    link: bool
    pictures: bool
    predictions: str
    def __init__(self, reference: _Optional[str] = ..., target: _Optional[str] = ..., format: _Optional[str] = ..., split: _Optional[str] = ..., hard: _Optional[bool] = ..., link: _Optional[bool] = ..., pictures: _Optional[bool] = ..., predictions: _Optional[str] = ...) -> None: ...

class ExportingDataset(_message.Message):
    __slots__ = ("progress", "result")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    progress: Count
    result: ExportedDataset
    def __init__(self, progress: _Optional[_Union[Count, _Mapping]] = ..., result: _Optional[_Union[ExportedDataset, _Mapping]] = ...) -> None: ...

class ExportedDataset(_message.Message):
    __slots__ = ("dataset", "version", "split", "format", "target", "images", "annotations", "classes", "splits", "warnings", "files", "size_bytes", "predictions", "predicted")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    SPLITS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    version: str
    split: str
    format: str
    target: str
    images: int
    annotations: int
    classes: _containers.RepeatedCompositeFieldContainer[NamedCount]
    splits: _containers.RepeatedCompositeFieldContainer[NamedCount]
    warnings: _containers.RepeatedCompositeFieldContainer[Warning]
    files: int
    size_bytes: int
    predictions: str
    predicted: int
    def __init__(self, dataset: _Optional[str] = ..., version: _Optional[str] = ..., split: _Optional[str] = ..., format: _Optional[str] = ..., target: _Optional[str] = ..., images: _Optional[int] = ..., annotations: _Optional[int] = ..., classes: _Optional[_Iterable[_Union[NamedCount, _Mapping]]] = ..., splits: _Optional[_Iterable[_Union[NamedCount, _Mapping]]] = ..., warnings: _Optional[_Iterable[_Union[Warning, _Mapping]]] = ..., files: _Optional[int] = ..., size_bytes: _Optional[int] = ..., predictions: _Optional[str] = ..., predicted: _Optional[int] = ...) -> None: ...

class AnalyseDatasetRequest(_message.Message):
    __slots__ = ("reference", "features", "labels_only")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    LABELS_ONLY_FIELD_NUMBER: _ClassVar[int]
    reference: str
    features: _containers.RepeatedScalarFieldContainer[str]
    labels_only: bool
    def __init__(self, reference: _Optional[str] = ..., features: _Optional[_Iterable[str]] = ..., labels_only: _Optional[bool] = ...) -> None: ...

class CompareDatasetsRequest(_message.Message):
    __slots__ = ("references", "features", "labels_only")
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    LABELS_ONLY_FIELD_NUMBER: _ClassVar[int]
    references: _containers.RepeatedScalarFieldContainer[str]
    features: _containers.RepeatedScalarFieldContainer[str]
    labels_only: bool
    def __init__(self, references: _Optional[_Iterable[str]] = ..., features: _Optional[_Iterable[str]] = ..., labels_only: _Optional[bool] = ...) -> None: ...

class FindNearDuplicatesRequest(_message.Message):
    __slots__ = ("reference", "similarity", "limit")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    reference: str
    similarity: float
    limit: int
    def __init__(self, reference: _Optional[str] = ..., similarity: _Optional[float] = ..., limit: _Optional[int] = ...) -> None: ...

class AnalysingDataset(_message.Message):
    __slots__ = ("progress", "result")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    progress: Count
    result: Analysis
    def __init__(self, progress: _Optional[_Union[Count, _Mapping]] = ..., result: _Optional[_Union[Analysis, _Mapping]] = ...) -> None: ...

class Analysis(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: Json
    def __init__(self, values: _Optional[_Union[Json, _Mapping]] = ...) -> None: ...

class ListAnalysesRequest(_message.Message):
    __slots__ = ("dataset",)
    DATASET_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    def __init__(self, dataset: _Optional[str] = ...) -> None: ...

class AnalysisList(_message.Message):
    __slots__ = ("analyses",)
    ANALYSES_FIELD_NUMBER: _ClassVar[int]
    analyses: _containers.RepeatedCompositeFieldContainer[AnalysisEntry]
    def __init__(self, analyses: _Optional[_Iterable[_Union[AnalysisEntry, _Mapping]]] = ...) -> None: ...

class AnalysisEntry(_message.Message):
    __slots__ = ("id", "kind", "references", "features", "created_at", "duration_s", "status", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: str
    references: _containers.RepeatedScalarFieldContainer[str]
    features: _containers.RepeatedScalarFieldContainer[str]
    created_at: str
    duration_s: float
    status: str
    error: str
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[str] = ..., references: _Optional[_Iterable[str]] = ..., features: _Optional[_Iterable[str]] = ..., created_at: _Optional[str] = ..., duration_s: _Optional[float] = ..., status: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...

class GetAnalysisRequest(_message.Message):
    __slots__ = ("analysis",)
    ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    analysis: str
    def __init__(self, analysis: _Optional[str] = ...) -> None: ...

class ExportAnalysisRequest(_message.Message):
    __slots__ = ("analysis", "folder", "overwrite")
    ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    OVERWRITE_FIELD_NUMBER: _ClassVar[int]
    analysis: str
    folder: str
    overwrite: bool
    def __init__(self, analysis: _Optional[str] = ..., folder: _Optional[str] = ..., overwrite: _Optional[bool] = ...) -> None: ...

class ExportedAnalysis(_message.Message):
    __slots__ = ("id", "folder", "files")
    ID_FIELD_NUMBER: _ClassVar[int]
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    id: str
    folder: str
    files: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., folder: _Optional[str] = ..., files: _Optional[_Iterable[str]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ModelList(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "version", "reference", "description", "job", "image", "object_type", "class_names", "best_stage", "recommended_stage", "default_stage", "metrics_definition", "stages", "parameters", "evaluate_config", "attachments", "train_data", "val_data", "origin", "size_bytes", "folder", "created_at")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    OBJECT_TYPE_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAMES_FIELD_NUMBER: _ClassVar[int]
    BEST_STAGE_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDED_STAGE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_STAGE_FIELD_NUMBER: _ClassVar[int]
    METRICS_DEFINITION_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    EVALUATE_CONFIG_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENTS_FIELD_NUMBER: _ClassVar[int]
    TRAIN_DATA_FIELD_NUMBER: _ClassVar[int]
    VAL_DATA_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    reference: str
    description: str
    job: str
    image: ModelImage
    object_type: int
    class_names: _containers.RepeatedScalarFieldContainer[str]
    best_stage: str
    recommended_stage: str
    default_stage: str
    metrics_definition: str
    stages: _containers.RepeatedCompositeFieldContainer[Stage]
    parameters: Json
    evaluate_config: Json
    attachments: Json
    train_data: str
    val_data: str
    origin: Json
    size_bytes: int
    folder: str
    created_at: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., reference: _Optional[str] = ..., description: _Optional[str] = ..., job: _Optional[str] = ..., image: _Optional[_Union[ModelImage, _Mapping]] = ..., object_type: _Optional[int] = ..., class_names: _Optional[_Iterable[str]] = ..., best_stage: _Optional[str] = ..., recommended_stage: _Optional[str] = ..., default_stage: _Optional[str] = ..., metrics_definition: _Optional[str] = ..., stages: _Optional[_Iterable[_Union[Stage, _Mapping]]] = ..., parameters: _Optional[_Union[Json, _Mapping]] = ..., evaluate_config: _Optional[_Union[Json, _Mapping]] = ..., attachments: _Optional[_Union[Json, _Mapping]] = ..., train_data: _Optional[str] = ..., val_data: _Optional[str] = ..., origin: _Optional[_Union[Json, _Mapping]] = ..., size_bytes: _Optional[int] = ..., folder: _Optional[str] = ..., created_at: _Optional[str] = ...) -> None: ...

class ModelImage(_message.Message):
    __slots__ = ("name", "digest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    digest: str
    def __init__(self, name: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class Stage(_message.Message):
    __slots__ = ("name", "metrics", "timestamp", "files", "size_bytes", "checksums")
    NAME_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CHECKSUMS_FIELD_NUMBER: _ClassVar[int]
    name: str
    metrics: _containers.RepeatedCompositeFieldContainer[Metric]
    timestamp: int
    files: _containers.RepeatedScalarFieldContainer[str]
    size_bytes: int
    checksums: _containers.RepeatedCompositeFieldContainer[NamedText]
    def __init__(self, name: _Optional[str] = ..., metrics: _Optional[_Iterable[_Union[Metric, _Mapping]]] = ..., timestamp: _Optional[int] = ..., files: _Optional[_Iterable[str]] = ..., size_bytes: _Optional[int] = ..., checksums: _Optional[_Iterable[_Union[NamedText, _Mapping]]] = ...) -> None: ...

class Metric(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...

class ExportModelRequest(_message.Message):
    __slots__ = ("name", "target", "overwrite", "form")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    OVERWRITE_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    name: str
    target: str
    overwrite: bool
    form: str
    def __init__(self, name: _Optional[str] = ..., target: _Optional[str] = ..., overwrite: _Optional[bool] = ..., form: _Optional[str] = ...) -> None: ...

class ExportedModel(_message.Message):
    __slots__ = ("model", "file", "size_bytes", "sha1")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA1_FIELD_NUMBER: _ClassVar[int]
    model: str
    file: str
    size_bytes: int
    sha1: str
    def __init__(self, model: _Optional[str] = ..., file: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha1: _Optional[str] = ...) -> None: ...

class EvaluateRequest(_message.Message):
    __slots__ = ("references", "against", "kind", "iou", "confidence", "by", "common", "background")
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    AGAINST_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    IOU_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    COMMON_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    references: _containers.RepeatedScalarFieldContainer[str]
    against: str
    kind: str
    iou: float
    confidence: float
    by: _containers.RepeatedScalarFieldContainer[str]
    common: bool
    background: bool
    def __init__(self, references: _Optional[_Iterable[str]] = ..., against: _Optional[str] = ..., kind: _Optional[str] = ..., iou: _Optional[float] = ..., confidence: _Optional[float] = ..., by: _Optional[_Iterable[str]] = ..., common: _Optional[bool] = ..., background: _Optional[bool] = ...) -> None: ...

class Evaluation(_message.Message):
    __slots__ = ("document",)
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    document: Json
    def __init__(self, document: _Optional[_Union[Json, _Mapping]] = ...) -> None: ...

class ListEvaluationsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class EvaluationList(_message.Message):
    __slots__ = ("evaluations",)
    EVALUATIONS_FIELD_NUMBER: _ClassVar[int]
    evaluations: _containers.RepeatedCompositeFieldContainer[ListedEvaluation]
    def __init__(self, evaluations: _Optional[_Iterable[_Union[ListedEvaluation, _Mapping]]] = ...) -> None: ...

class ListedEvaluation(_message.Message):
    __slots__ = ("id", "kind", "data", "settings", "models", "created_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: str
    data: str
    settings: Json
    models: Json
    created_at: str
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[str] = ..., data: _Optional[str] = ..., settings: _Optional[_Union[Json, _Mapping]] = ..., models: _Optional[_Union[Json, _Mapping]] = ..., created_at: _Optional[str] = ...) -> None: ...

class GetEvaluationRequest(_message.Message):
    __slots__ = ("reference",)
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    reference: str
    def __init__(self, reference: _Optional[str] = ...) -> None: ...

class CompareEvaluationsRequest(_message.Message):
    __slots__ = ("references",)
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    references: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, references: _Optional[_Iterable[str]] = ...) -> None: ...

class ImportModelRequest(_message.Message):
    __slots__ = ("name", "path", "class_names", "object_type", "stage", "metrics", "image", "description")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAMES_FIELD_NUMBER: _ClassVar[int]
    OBJECT_TYPE_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    path: str
    class_names: _containers.RepeatedScalarFieldContainer[str]
    object_type: str
    stage: str
    metrics: _containers.RepeatedScalarFieldContainer[str]
    image: str
    description: str
    def __init__(self, name: _Optional[str] = ..., path: _Optional[str] = ..., class_names: _Optional[_Iterable[str]] = ..., object_type: _Optional[str] = ..., stage: _Optional[str] = ..., metrics: _Optional[_Iterable[str]] = ..., image: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class FetchModelRequest(_message.Message):
    __slots__ = ("name", "url", "class_names", "object_type", "stage", "metrics", "image", "description")
    NAME_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAMES_FIELD_NUMBER: _ClassVar[int]
    OBJECT_TYPE_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    url: str
    class_names: _containers.RepeatedScalarFieldContainer[str]
    object_type: str
    stage: str
    metrics: _containers.RepeatedScalarFieldContainer[str]
    image: str
    description: str
    def __init__(self, name: _Optional[str] = ..., url: _Optional[str] = ..., class_names: _Optional[_Iterable[str]] = ..., object_type: _Optional[str] = ..., stage: _Optional[str] = ..., metrics: _Optional[_Iterable[str]] = ..., image: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class ImportingModel(_message.Message):
    __slots__ = ("progress", "result")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    progress: Count
    result: ImportedModel
    def __init__(self, progress: _Optional[_Union[Count, _Mapping]] = ..., result: _Optional[_Union[ImportedModel, _Mapping]] = ...) -> None: ...

class ImportedModel(_message.Message):
    __slots__ = ("model", "unchanged", "warnings")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    model: Model
    unchanged: bool
    warnings: _containers.RepeatedCompositeFieldContainer[Warning]
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ..., unchanged: _Optional[bool] = ..., warnings: _Optional[_Iterable[_Union[Warning, _Mapping]]] = ...) -> None: ...

class CheckModelRequest(_message.Message):
    __slots__ = ("name", "stage")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    stage: str
    def __init__(self, name: _Optional[str] = ..., stage: _Optional[str] = ...) -> None: ...

class CheckedModel(_message.Message):
    __slots__ = ("model", "files", "bytes", "unknown", "faults")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    files: int
    bytes: int
    unknown: int
    faults: _containers.RepeatedCompositeFieldContainer[FileFault]
    def __init__(self, model: _Optional[str] = ..., files: _Optional[int] = ..., bytes: _Optional[int] = ..., unknown: _Optional[int] = ..., faults: _Optional[_Iterable[_Union[FileFault, _Mapping]]] = ...) -> None: ...

class FileFault(_message.Message):
    __slots__ = ("stage", "file", "fault")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    stage: str
    file: str
    fault: str
    def __init__(self, stage: _Optional[str] = ..., file: _Optional[str] = ..., fault: _Optional[str] = ...) -> None: ...

class RecommendStageRequest(_message.Message):
    __slots__ = ("name", "stage")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    stage: str
    def __init__(self, name: _Optional[str] = ..., stage: _Optional[str] = ...) -> None: ...

class DescribeModelRequest(_message.Message):
    __slots__ = ("name", "description")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class RenameModelRequest(_message.Message):
    __slots__ = ("name", "new_name")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NEW_NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    new_name: str
    def __init__(self, name: _Optional[str] = ..., new_name: _Optional[str] = ...) -> None: ...

class RemoveModelRequest(_message.Message):
    __slots__ = ("name", "all_versions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ALL_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    all_versions: bool
    def __init__(self, name: _Optional[str] = ..., all_versions: _Optional[bool] = ...) -> None: ...

class RemovedModel(_message.Message):
    __slots__ = ("removed", "freed_bytes")
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    FREED_BYTES_FIELD_NUMBER: _ClassVar[int]
    removed: _containers.RepeatedScalarFieldContainer[str]
    freed_bytes: int
    def __init__(self, removed: _Optional[_Iterable[str]] = ..., freed_bytes: _Optional[int] = ...) -> None: ...

class JobVersionsRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class JobVersionList(_message.Message):
    __slots__ = ("name", "versions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    versions: _containers.RepeatedCompositeFieldContainer[JobVersion]
    def __init__(self, name: _Optional[str] = ..., versions: _Optional[_Iterable[_Union[JobVersion, _Mapping]]] = ...) -> None: ...

class JobVersion(_message.Message):
    __slots__ = ("job", "result", "metrics", "changes")
    JOB_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    job: ComparedJob
    result: str
    metrics: Json
    changes: _containers.RepeatedCompositeFieldContainer[Change]
    def __init__(self, job: _Optional[_Union[ComparedJob, _Mapping]] = ..., result: _Optional[str] = ..., metrics: _Optional[_Union[Json, _Mapping]] = ..., changes: _Optional[_Iterable[_Union[Change, _Mapping]]] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("section", "name", "before", "after")
    SECTION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    section: str
    name: str
    before: Json
    after: Json
    def __init__(self, section: _Optional[str] = ..., name: _Optional[str] = ..., before: _Optional[_Union[Json, _Mapping]] = ..., after: _Optional[_Union[Json, _Mapping]] = ...) -> None: ...

class ComparedJob(_message.Message):
    __slots__ = ("id", "name", "version", "kind", "state", "end_reason", "user", "rerun_of", "created_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    END_REASON_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    RERUN_OF_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    version: str
    kind: str
    state: str
    end_reason: str
    user: str
    rerun_of: str
    created_at: str
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., version: _Optional[str] = ..., kind: _Optional[str] = ..., state: _Optional[str] = ..., end_reason: _Optional[str] = ..., user: _Optional[str] = ..., rerun_of: _Optional[str] = ..., created_at: _Optional[str] = ...) -> None: ...

class CompareJobsRequest(_message.Message):
    __slots__ = ("references",)
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    references: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, references: _Optional[_Iterable[str]] = ...) -> None: ...

class Comparison(_message.Message):
    __slots__ = ("jobs", "rows")
    JOBS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[ComparedJob]
    rows: _containers.RepeatedCompositeFieldContainer[ComparedRow]
    def __init__(self, jobs: _Optional[_Iterable[_Union[ComparedJob, _Mapping]]] = ..., rows: _Optional[_Iterable[_Union[ComparedRow, _Mapping]]] = ...) -> None: ...

class ComparedRow(_message.Message):
    __slots__ = ("section", "name", "values", "differs")
    SECTION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    DIFFERS_FIELD_NUMBER: _ClassVar[int]
    section: str
    name: str
    values: Json
    differs: bool
    def __init__(self, section: _Optional[str] = ..., name: _Optional[str] = ..., values: _Optional[_Union[Json, _Mapping]] = ..., differs: _Optional[bool] = ...) -> None: ...

class SavePresetRequest(_message.Message):
    __slots__ = ("name", "from_job", "request", "texts", "user")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FROM_JOB_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    name: str
    from_job: str
    request: Json
    texts: _containers.RepeatedScalarFieldContainer[str]
    user: str
    def __init__(self, name: _Optional[str] = ..., from_job: _Optional[str] = ..., request: _Optional[_Union[Json, _Mapping]] = ..., texts: _Optional[_Iterable[str]] = ..., user: _Optional[str] = ...) -> None: ...

class EditPresetRequest(_message.Message):
    __slots__ = ("name", "request", "texts", "unset")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    UNSET_FIELD_NUMBER: _ClassVar[int]
    name: str
    request: Json
    texts: _containers.RepeatedScalarFieldContainer[str]
    unset: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., request: _Optional[_Union[Json, _Mapping]] = ..., texts: _Optional[_Iterable[str]] = ..., unset: _Optional[_Iterable[str]] = ...) -> None: ...

class ListPresetsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PresetList(_message.Message):
    __slots__ = ("presets",)
    PRESETS_FIELD_NUMBER: _ClassVar[int]
    presets: _containers.RepeatedCompositeFieldContainer[Preset]
    def __init__(self, presets: _Optional[_Iterable[_Union[Preset, _Mapping]]] = ...) -> None: ...

class GetPresetRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RemovePresetRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RemovedPreset(_message.Message):
    __slots__ = ("removed",)
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    removed: str
    def __init__(self, removed: _Optional[str] = ...) -> None: ...

class Preset(_message.Message):
    __slots__ = ("name", "request", "from_job", "user", "created_at", "updated_at")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    FROM_JOB_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    name: str
    request: Json
    from_job: str
    user: str
    created_at: str
    updated_at: str
    def __init__(self, name: _Optional[str] = ..., request: _Optional[_Union[Json, _Mapping]] = ..., from_job: _Optional[str] = ..., user: _Optional[str] = ..., created_at: _Optional[str] = ..., updated_at: _Optional[str] = ...) -> None: ...

class Names(_message.Message):
    __slots__ = ("names",)
    NAMES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, names: _Optional[_Iterable[str]] = ...) -> None: ...

class ListGpusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GpuList(_message.Message):
    __slots__ = ("gpus",)
    GPUS_FIELD_NUMBER: _ClassVar[int]
    gpus: _containers.RepeatedCompositeFieldContainer[Gpu]
    def __init__(self, gpus: _Optional[_Iterable[_Union[Gpu, _Mapping]]] = ...) -> None: ...

class Gpu(_message.Message):
    __slots__ = ("uuid", "index", "name", "total_bytes", "used_bytes", "reserved_bytes", "utilization_fraction", "temperature_c", "power_w", "error_code", "kind", "parent_uuid", "profile", "gpu_instance", "compute_instance", "mig_enabled", "mig_pending", "pci", "numa_node", "compute_capability", "compute_mode", "recovery_action", "ecc_uncorrected", "remap_pending", "remap_failed", "retirement_pending", "state", "holder", "reason", "pool", "drained", "health", "health_reasons", "job", "jobs", "pids", "containers")
    UUID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESERVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    UTILIZATION_FRACTION_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_C_FIELD_NUMBER: _ClassVar[int]
    POWER_W_FIELD_NUMBER: _ClassVar[int]
    ERROR_CODE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PARENT_UUID_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    GPU_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    MIG_ENABLED_FIELD_NUMBER: _ClassVar[int]
    MIG_PENDING_FIELD_NUMBER: _ClassVar[int]
    PCI_FIELD_NUMBER: _ClassVar[int]
    NUMA_NODE_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_CAPABILITY_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_MODE_FIELD_NUMBER: _ClassVar[int]
    RECOVERY_ACTION_FIELD_NUMBER: _ClassVar[int]
    ECC_UNCORRECTED_FIELD_NUMBER: _ClassVar[int]
    REMAP_PENDING_FIELD_NUMBER: _ClassVar[int]
    REMAP_FAILED_FIELD_NUMBER: _ClassVar[int]
    RETIREMENT_PENDING_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    DRAINED_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    HEALTH_REASONS_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    PIDS_FIELD_NUMBER: _ClassVar[int]
    CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    index: int
    name: str
    total_bytes: int
    used_bytes: int
    reserved_bytes: int
    utilization_fraction: float
    temperature_c: int
    power_w: float
    error_code: str
    kind: str
    parent_uuid: str
    profile: str
    gpu_instance: int
    compute_instance: int
    mig_enabled: bool
    mig_pending: bool
    pci: str
    numa_node: int
    compute_capability: str
    compute_mode: str
    recovery_action: str
    ecc_uncorrected: int
    remap_pending: bool
    remap_failed: bool
    retirement_pending: bool
    state: str
    holder: str
    reason: str
    pool: str
    drained: bool
    health: str
    health_reasons: _containers.RepeatedScalarFieldContainer[str]
    job: str
    jobs: _containers.RepeatedScalarFieldContainer[str]
    pids: _containers.RepeatedCompositeFieldContainer[GpuProcess]
    containers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, uuid: _Optional[str] = ..., index: _Optional[int] = ..., name: _Optional[str] = ..., total_bytes: _Optional[int] = ..., used_bytes: _Optional[int] = ..., reserved_bytes: _Optional[int] = ..., utilization_fraction: _Optional[float] = ..., temperature_c: _Optional[int] = ..., power_w: _Optional[float] = ..., error_code: _Optional[str] = ..., kind: _Optional[str] = ..., parent_uuid: _Optional[str] = ..., profile: _Optional[str] = ..., gpu_instance: _Optional[int] = ..., compute_instance: _Optional[int] = ..., mig_enabled: _Optional[bool] = ..., mig_pending: _Optional[bool] = ..., pci: _Optional[str] = ..., numa_node: _Optional[int] = ..., compute_capability: _Optional[str] = ..., compute_mode: _Optional[str] = ..., recovery_action: _Optional[str] = ..., ecc_uncorrected: _Optional[int] = ..., remap_pending: _Optional[bool] = ..., remap_failed: _Optional[bool] = ..., retirement_pending: _Optional[bool] = ..., state: _Optional[str] = ..., holder: _Optional[str] = ..., reason: _Optional[str] = ..., pool: _Optional[str] = ..., drained: _Optional[bool] = ..., health: _Optional[str] = ..., health_reasons: _Optional[_Iterable[str]] = ..., job: _Optional[str] = ..., jobs: _Optional[_Iterable[str]] = ..., pids: _Optional[_Iterable[_Union[GpuProcess, _Mapping]]] = ..., containers: _Optional[_Iterable[str]] = ...) -> None: ...

class GpuProcess(_message.Message):
    __slots__ = ("pid", "command", "used_bytes", "container", "job")
    PID_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    pid: int
    command: str
    used_bytes: int
    container: str
    job: str
    def __init__(self, pid: _Optional[int] = ..., command: _Optional[str] = ..., used_bytes: _Optional[int] = ..., container: _Optional[str] = ..., job: _Optional[str] = ...) -> None: ...

class GpuEventsRequest(_message.Message):
    __slots__ = ("uuid", "limit")
    UUID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    limit: int
    def __init__(self, uuid: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class GpuEventList(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[GpuEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[GpuEvent, _Mapping]]] = ...) -> None: ...

class GpuEvent(_message.Message):
    __slots__ = ("time", "uuid", "kind", "job", "detail")
    TIME_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    time: str
    uuid: str
    kind: str
    job: str
    detail: Json
    def __init__(self, time: _Optional[str] = ..., uuid: _Optional[str] = ..., kind: _Optional[str] = ..., job: _Optional[str] = ..., detail: _Optional[_Union[Json, _Mapping]] = ...) -> None: ...

class DrainGpuRequest(_message.Message):
    __slots__ = ("uuid", "on")
    UUID_FIELD_NUMBER: _ClassVar[int]
    ON_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    on: bool
    def __init__(self, uuid: _Optional[str] = ..., on: _Optional[bool] = ...) -> None: ...

class DrainedGpu(_message.Message):
    __slots__ = ("gpu", "pool")
    GPU_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    gpu: Gpu
    pool: GpuPool
    def __init__(self, gpu: _Optional[_Union[Gpu, _Mapping]] = ..., pool: _Optional[_Union[GpuPool, _Mapping]] = ...) -> None: ...

class ClearGpuRequest(_message.Message):
    __slots__ = ("uuid",)
    UUID_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    def __init__(self, uuid: _Optional[str] = ...) -> None: ...

class ClearedGpu(_message.Message):
    __slots__ = ("gpu", "missing")
    GPU_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    gpu: Gpu
    missing: ForgottenGpu
    def __init__(self, gpu: _Optional[_Union[Gpu, _Mapping]] = ..., missing: _Optional[_Union[ForgottenGpu, _Mapping]] = ...) -> None: ...

class ForgottenGpu(_message.Message):
    __slots__ = ("uuid", "forgotten")
    UUID_FIELD_NUMBER: _ClassVar[int]
    FORGOTTEN_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    forgotten: bool
    def __init__(self, uuid: _Optional[str] = ..., forgotten: _Optional[bool] = ...) -> None: ...

class ListGpuPoolsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GpuPoolList(_message.Message):
    __slots__ = ("pools",)
    POOLS_FIELD_NUMBER: _ClassVar[int]
    pools: _containers.RepeatedCompositeFieldContainer[GpuPool]
    def __init__(self, pools: _Optional[_Iterable[_Union[GpuPool, _Mapping]]] = ...) -> None: ...

class PutGpuPoolRequest(_message.Message):
    __slots__ = ("name", "purpose", "slots", "max_gpus_per_user", "max_gpus_per_project", "users", "projects", "kinds")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    MAX_GPUS_PER_USER_FIELD_NUMBER: _ClassVar[int]
    MAX_GPUS_PER_PROJECT_FIELD_NUMBER: _ClassVar[int]
    USERS_FIELD_NUMBER: _ClassVar[int]
    PROJECTS_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    purpose: str
    slots: int
    max_gpus_per_user: int
    max_gpus_per_project: int
    users: Names
    projects: Names
    kinds: Names
    def __init__(self, name: _Optional[str] = ..., purpose: _Optional[str] = ..., slots: _Optional[int] = ..., max_gpus_per_user: _Optional[int] = ..., max_gpus_per_project: _Optional[int] = ..., users: _Optional[_Union[Names, _Mapping]] = ..., projects: _Optional[_Union[Names, _Mapping]] = ..., kinds: _Optional[_Union[Names, _Mapping]] = ...) -> None: ...

class GpuPool(_message.Message):
    __slots__ = ("name", "purpose", "slots", "max_gpus_per_user", "max_gpus_per_project", "users", "projects", "kinds", "drained", "gpus")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    MAX_GPUS_PER_USER_FIELD_NUMBER: _ClassVar[int]
    MAX_GPUS_PER_PROJECT_FIELD_NUMBER: _ClassVar[int]
    USERS_FIELD_NUMBER: _ClassVar[int]
    PROJECTS_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    DRAINED_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    name: str
    purpose: str
    slots: int
    max_gpus_per_user: int
    max_gpus_per_project: int
    users: _containers.RepeatedScalarFieldContainer[str]
    projects: _containers.RepeatedScalarFieldContainer[str]
    kinds: _containers.RepeatedScalarFieldContainer[str]
    drained: bool
    gpus: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., purpose: _Optional[str] = ..., slots: _Optional[int] = ..., max_gpus_per_user: _Optional[int] = ..., max_gpus_per_project: _Optional[int] = ..., users: _Optional[_Iterable[str]] = ..., projects: _Optional[_Iterable[str]] = ..., kinds: _Optional[_Iterable[str]] = ..., drained: _Optional[bool] = ..., gpus: _Optional[_Iterable[str]] = ...) -> None: ...

class RemoveGpuPoolRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RemovedGpuPool(_message.Message):
    __slots__ = ("removed",)
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    removed: str
    def __init__(self, removed: _Optional[str] = ...) -> None: ...

class AssignGpuRequest(_message.Message):
    __slots__ = ("uuid", "pool")
    UUID_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    pool: str
    def __init__(self, uuid: _Optional[str] = ..., pool: _Optional[str] = ...) -> None: ...

class ListSharesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ShareList(_message.Message):
    __slots__ = ("shares",)
    SHARES_FIELD_NUMBER: _ClassVar[int]
    shares: _containers.RepeatedCompositeFieldContainer[Share]
    def __init__(self, shares: _Optional[_Iterable[_Union[Share, _Mapping]]] = ...) -> None: ...

class SetShareRequest(_message.Message):
    __slots__ = ("kind", "name", "weight", "max_gpus", "max_jobs")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    MAX_GPUS_FIELD_NUMBER: _ClassVar[int]
    MAX_JOBS_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    weight: float
    max_gpus: int
    max_jobs: int
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., weight: _Optional[float] = ..., max_gpus: _Optional[int] = ..., max_jobs: _Optional[int] = ...) -> None: ...

class Share(_message.Message):
    __slots__ = ("kind", "name", "weight", "max_gpus", "max_jobs", "usage_gpu_s")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    MAX_GPUS_FIELD_NUMBER: _ClassVar[int]
    MAX_JOBS_FIELD_NUMBER: _ClassVar[int]
    USAGE_GPU_S_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    weight: float
    max_gpus: int
    max_jobs: int
    usage_gpu_s: float
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., weight: _Optional[float] = ..., max_gpus: _Optional[int] = ..., max_jobs: _Optional[int] = ..., usage_gpu_s: _Optional[float] = ...) -> None: ...

class AddConnectionRequest(_message.Message):
    __slots__ = ("name", "endpoint", "region", "bucket", "prefix", "access_key", "secret", "profile", "authority", "addressing", "overwrite")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    ACCESS_KEY_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    ADDRESSING_FIELD_NUMBER: _ClassVar[int]
    OVERWRITE_FIELD_NUMBER: _ClassVar[int]
    name: str
    endpoint: str
    region: str
    bucket: str
    prefix: str
    access_key: str
    secret: str
    profile: str
    authority: str
    addressing: str
    overwrite: bool
    def __init__(self, name: _Optional[str] = ..., endpoint: _Optional[str] = ..., region: _Optional[str] = ..., bucket: _Optional[str] = ..., prefix: _Optional[str] = ..., access_key: _Optional[str] = ..., secret: _Optional[str] = ..., profile: _Optional[str] = ..., authority: _Optional[str] = ..., addressing: _Optional[str] = ..., overwrite: _Optional[bool] = ...) -> None: ...

class ListConnectionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StoreConnectionList(_message.Message):
    __slots__ = ("connections",)
    CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    connections: _containers.RepeatedCompositeFieldContainer[StoreConnection]
    def __init__(self, connections: _Optional[_Iterable[_Union[StoreConnection, _Mapping]]] = ...) -> None: ...

class GetConnectionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class CheckConnectionRequest(_message.Message):
    __slots__ = ("name", "address")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    name: str
    address: str
    def __init__(self, name: _Optional[str] = ..., address: _Optional[str] = ...) -> None: ...

class RemoveConnectionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class StoreConnection(_message.Message):
    __slots__ = ("name", "endpoint", "region", "bucket", "prefix", "access_key", "secret", "profile", "authority", "addressing")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    ACCESS_KEY_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    ADDRESSING_FIELD_NUMBER: _ClassVar[int]
    name: str
    endpoint: str
    region: str
    bucket: str
    prefix: str
    access_key: str
    secret: str
    profile: str
    authority: str
    addressing: str
    def __init__(self, name: _Optional[str] = ..., endpoint: _Optional[str] = ..., region: _Optional[str] = ..., bucket: _Optional[str] = ..., prefix: _Optional[str] = ..., access_key: _Optional[str] = ..., secret: _Optional[str] = ..., profile: _Optional[str] = ..., authority: _Optional[str] = ..., addressing: _Optional[str] = ...) -> None: ...

class CheckedConnection(_message.Message):
    __slots__ = ("name", "answer")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    name: str
    answer: str
    def __init__(self, name: _Optional[str] = ..., answer: _Optional[str] = ...) -> None: ...

class DoctorRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Findings(_message.Message):
    __slots__ = ("findings",)
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    def __init__(self, findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("check", "status", "message", "remedy", "details")
    CHECK_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    check: str
    status: str
    message: str
    remedy: str
    details: Json
    def __init__(self, check: _Optional[str] = ..., status: _Optional[str] = ..., message: _Optional[str] = ..., remedy: _Optional[str] = ..., details: _Optional[_Union[Json, _Mapping]] = ...) -> None: ...

class GcRequest(_message.Message):
    __slots__ = ("dry_run", "older_than_days", "what")
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    OLDER_THAN_DAYS_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    dry_run: bool
    older_than_days: float
    what: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, dry_run: _Optional[bool] = ..., older_than_days: _Optional[float] = ..., what: _Optional[_Iterable[str]] = ...) -> None: ...

class Freed(_message.Message):
    __slots__ = ("dry_run", "items", "freed_bytes", "kept")
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    FREED_BYTES_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    dry_run: bool
    items: _containers.RepeatedCompositeFieldContainer[FreedItem]
    freed_bytes: int
    kept: _containers.RepeatedCompositeFieldContainer[KeptItem]
    def __init__(self, dry_run: _Optional[bool] = ..., items: _Optional[_Iterable[_Union[FreedItem, _Mapping]]] = ..., freed_bytes: _Optional[int] = ..., kept: _Optional[_Iterable[_Union[KeptItem, _Mapping]]] = ...) -> None: ...

class FreedItem(_message.Message):
    __slots__ = ("what", "path", "reference", "bytes", "why")
    WHAT_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    what: str
    path: str
    reference: str
    bytes: int
    why: str
    def __init__(self, what: _Optional[str] = ..., path: _Optional[str] = ..., reference: _Optional[str] = ..., bytes: _Optional[int] = ..., why: _Optional[str] = ...) -> None: ...

class KeptItem(_message.Message):
    __slots__ = ("what", "path", "reference", "why")
    WHAT_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    what: str
    path: str
    reference: str
    why: str
    def __init__(self, what: _Optional[str] = ..., path: _Optional[str] = ..., reference: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...
