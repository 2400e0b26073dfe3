"""Every error Sluice raises on purpose, in one tree.

::

    SluiceError                     exit  who can act
    ├── RequestError                  2   the request is wrong: the caller
    │   ├── ParameterError            2   an unknown or ill-typed parameter
    │   ├── DatasetError              2   a dataset or file that cannot be used as asked
    │   ├── ImageError                2   an image that does not keep the contract
    │   ├── LinkError                 2   an image that is not linked, or cannot be
    │   ├── ConflictError             2   the name is taken, or the thing is in use
    │   ├── ConfigurationError        2   a setting, or a plugin that cannot load
    │   └── NotFoundError             3   no image, job, dataset, model of that name
    ├── UnavailableError              5   not now: the machine or the operator
    │   ├── NoGpuError                4   the GPUs asked for are not free, or do not exist
    │   ├── EngineError               5   the engine answered with an error
    │   │   ├── EngineGoneError       5   the engine does not answer
    │   │   ├── ImageMissingError     5   the engine does not have the image
    │   │   ├── PullError             5   the image could not be pulled
    │   │   └── StartError            5   the container could not be created or started
    │   └── GpuSourceError            5   the GPUs could not be read
    ├── ResultError                   1   the image left no usable result: its author
    │   ├── ResultMissingError        1   the result file is not there
    │   └── ResultMalformedError      1   the result file cannot be read
    ├── JobFailedError                1   a job that was waited for did not succeed
    └── InternalError                70   we failed: a defect in Sluice

Each class has a stable ``code`` for programs and an ``exit_code`` for the shell. The message says what happened and with which value;
``hint`` says what to do; ``fields`` carries the same values for programs.
"""

from __future__ import annotations

from typing import Any, ClassVar


class SluiceError(Exception):
    """Root of the tree: never raised itself."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, *, hint: str = "", **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.fields = fields

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message

    def to_dict(self) -> dict[str, Any]:
        """The one error shape of every door: CLI ``--json``, RPC and REST."""
        return {"error": {"code": self.code, "message": self.message, "hint": self.hint, "fields": self.fields}}


class RequestError(SluiceError):
    """The request is wrong; repeating it unchanged cannot help."""

    code = "request"
    exit_code = 2


class ParameterError(RequestError):
    """A parameter the template does not know, or a value of the wrong type."""

    code = "parameter"


class DatasetError(RequestError):
    """A dataset, split or annotation file that cannot be used as asked."""

    code = "dataset"


class ImageError(RequestError):
    """The image does not keep the contract, or does not offer what is asked of it."""

    code = "image"


class LinkError(RequestError):
    """No link allows these images to work together, or the link asked for does not fit."""

    code = "link"


class ConflictError(RequestError):
    """The name is taken, or the thing is in use and cannot be removed or changed."""

    code = "conflict"


class ConfigurationError(RequestError):
    """A setting with an impossible value, or an enabled plugin that cannot load."""

    code = "configuration"


class NotFoundError(RequestError):
    """There is no such image, job, dataset, version, model or stage."""

    code = "not_found"
    exit_code = 3


class UnavailableError(SluiceError):
    """Not now: the same request may succeed later, or on another machine."""

    code = "unavailable"
    exit_code = 5


class NoGpuError(UnavailableError):
    """The GPUs asked for are held by others, unhealthy, or more than the host has."""

    code = "no_gpu"
    exit_code = 4


class EngineError(UnavailableError):
    """The engine answered with an error that none of the classes below names."""

    code = "engine"


class EngineGoneError(EngineError):
    """The engine does not answer. What it runs may well go on running."""

    code = "engine_gone"


class ImageMissingError(EngineError):
    """The engine does not have the image and was not asked to pull it."""

    code = "image_missing"


class PullError(EngineError):
    """The registry refused, does not know the image, or could not be reached."""

    code = "pull_failed"


class StartError(EngineError):
    """The container could not be created or started; no code of the image has run."""

    code = "start_failed"


class GpuSourceError(UnavailableError):
    """The GPU source failed or did not answer in time: nothing is known about the cards."""

    code = "gpu_source"


class ResultError(SluiceError):
    """The image ended, but what it left is not a result."""

    code = "result"
    exit_code = 1


class ResultMissingError(ResultError):
    """The image ended without writing the result file its kind must leave."""

    code = "result_missing"


class ResultMalformedError(ResultError):
    """The result file is there but no reader, however tolerant, can make sense of it."""

    code = "result_malformed"


class JobFailedError(SluiceError):
    """A job that a door waited for ended without success; ``fields['job']`` is the whole job."""

    code = "job_failed"
    exit_code = 1


class InternalError(SluiceError):
    """A defect in Sluice. The job's journal and the traceback say where."""

    code = "internal"
    exit_code = 70
