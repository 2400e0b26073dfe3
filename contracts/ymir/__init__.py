"""The native contract, YMIR's ``/in``, ``/out`` and ``/img-man``, as pure functions on files: written strictly, read tolerantly.

Written for the image: ``stage``. Read from the image: ``read_metadata`` (from its files alone), ``read_progress``, ``collect_training``,
``collect_mining``, ``collect_inference``. For people: ``write_package``. Every tolerance that was used is a ``JobWarning``.
"""

from contracts.ymir.collect_inference import collect_inference
from contracts.ymir.collect_mining import collect_mining
from contracts.ymir.collect_training import collect_training
from contracts.ymir.environment import LIVE_CODE_PARAMETERS, PLATFORM_PARAMETERS, reserved_parameters
from contracts.ymir.metadata import FOLDER as METADATA_FOLDER
from contracts.ymir.metadata import read_metadata
from contracts.ymir.package import ModelPackage, write_package
from contracts.ymir.progress import read_progress
from contracts.ymir.shared_memory import shm_bytes
from contracts.ymir.stage import stage
from contracts.ymir.wishes import wishes

__all__ = [
    "LIVE_CODE_PARAMETERS",
    "METADATA_FOLDER",
    "PLATFORM_PARAMETERS",
    "ModelPackage",
    "collect_inference",
    "collect_mining",
    "collect_training",
    "read_metadata",
    "read_progress",
    "reserved_parameters",
    "shm_bytes",
    "stage",
    "wishes",
    "write_package",
]
