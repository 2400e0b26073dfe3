"""The seams: one abstract class for each thing that exists in several kinds.

A plugin subclasses one of these and is found through an entry point (groups in ``GROUPS``). ``tests/conformance`` has one class per seam that
every plugin, ours and foreign, real and fake, must pass. What a seam raises is from ``contracts.errors``; a plugin translates its
library's errors where they enter and keeps the cause with ``from``.
"""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from contracts.connection import Connection
from contracts.dataset import Annotation, Asset, ContainerPaths, JobInputs, Marks, Sample
from contracts.errors import DatasetError, EngineError, ImageError, RequestError
from contracts.gpu import GpuEvent, Snapshot
from contracts.image import ImageFacts, ImageMetadata, Kind, ObjectType, Parameter, Permissions, Wishes
from contracts.job import JobWarning
from contracts.results import InferenceResult, MiningResult, Progress, TrainingResult

HINT_INTERVAL_S = 1.0

GROUPS = {
    "engine": "sluice.engines",
    "gpu source": "sluice.gpus",
    "store": "sluice.stores",
    "source": "sluice.sources",
    "format": "sluice.formats",
    "dialect": "sluice.dialects",
    "listener": "sluice.listeners",
}


# ---------------------------------------------------------------------------------------------------------------- engine


@dataclass(frozen=True)
class ContainerSpec:
    """One container to create. Every path is a host path unless it says container.

    ``image`` is a digest, so that a moved tag cannot change what runs; ``reference`` is the name it was registered under, for messages and
    for engines whose digests cannot be looked up (a folder of the process engine). ``gpu_uuids`` empty means that the container must see no GPU at
    all. ``read_only_files`` maps container paths to host files that the container may watch but not change; an engine without isolation leaves
    them out. ``read_only_folders`` are host folders by the container path that ``show_folder`` was asked for. ``memory_bytes`` None means no
    limit. ``labels`` and ``name`` identify the container after a restart of the runner.
    ``gpu_injection`` is how an engine gives the cards: ``nvidia``, ``cdi`` or ``auto``, which leaves it to the engine.
    """

    name: str
    image: str
    in_dir: Path
    out_dir: Path
    reference: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    permissions: Permissions = Permissions()
    read_only_files: Mapping[str, Path] = field(default_factory=dict)
    read_only_folders: Mapping[str, Path] = field(default_factory=dict)
    gpu_uuids: tuple[str, ...] = ()
    gpu_injection: str = "auto"
    shm_bytes: int = 64 * 1024**2
    memory_bytes: int | None = None
    cpu_count: float | None = None
    pids_limit: int = 4096
    stop_grace_s: float = 10.0


@dataclass(frozen=True)
class ContainerStatus:
    """What an engine knows of a container.

    ``state`` is ``created``, ``running``, ``exited`` or ``gone`` (the engine does not have it). ``exit_code`` is None until it exited.
    ``out_of_memory`` is the engine's own flag, never guessed from 137. ``error`` is the engine's message about a failed start.
    Times are Unix seconds.
    """

    id: str
    name: str
    state: str
    exit_code: int | None = None
    out_of_memory: bool = False
    error: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    gpu_uuids: tuple[str, ...] = ()


@dataclass(frozen=True)
class ContainerStats:
    """Resource use at one moment; a value the engine does not know is None. ``memory_limit_bytes`` None also where there is no limit."""

    memory_bytes: int | None = None
    cpu_seconds: float | None = None
    pids: int | None = None
    memory_limit_bytes: int | None = None


@dataclass(frozen=True)
class PullProgress:
    """Where a pull stands. Bytes are of all layers together and never fall; ``total_bytes`` grows while the engine learns of layers.

    ``message`` is one line for people.
    """

    message: str
    current_bytes: int = 0
    total_bytes: int = 0


@dataclass(frozen=True)
class LogChunk:
    """New output of a container. ``cursor`` names the place after ``data``; it survives a restart of runner and engine."""

    data: bytes
    cursor: str


@dataclass(frozen=True)
class EngineInfo:
    """What ``doctor`` shows of an engine. ``advice``: what would make it safer for long jobs, a sentence with a remedy each."""

    name: str
    version: str
    details: Mapping[str, str] = field(default_factory=dict)
    advice: tuple[str, ...] = ()


class ExitWatch(ABC):
    """A registered wait for one container's end. Made by ``Engine.watch``; use as a context manager."""

    @abstractmethod
    def wait(self, timeout_s: float) -> ContainerStatus | None:
        """The final status, or None when the container has not ended after ``timeout_s``. May be called again."""

    @abstractmethod
    def close(self) -> None:
        """Give up waiting; the container goes on. May be repeated."""

    def __enter__(self) -> ExitWatch:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class Engine(ABC):
    """Where containers run. Made with ``state_dir``, a folder of its own that it may make and keep state in; making one contacts nobody.

    What every engine guarantees:

    1. No code of an image runs before ``start``. ``read_image_files`` never runs any.
    2. ``create``, ``stop`` and ``remove`` may be repeated: creating a name that exists adopts that container when image and labels are the
       same and raises ``StartError`` otherwise; stopping or removing what has ended or is gone does nothing.
    3. A container that ended stays until ``remove``: its exit code, out-of-memory flag and log are not lost when the runner dies.
    4. Nothing is kept in the engine object that a new one, in a new process, could not find again.
    5. Any method may raise ``EngineGoneError``. It never means that the container is gone: that is the status ``gone``.
    """

    name: ClassVar[str]
    #: Which promises this engine can keep: ``isolation`` (permissions, read-only /in), ``memory_limit`` (limit and flag), ``gpu``, ``pull``, ``build``.
    capabilities: ClassVar[frozenset[str]]

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir

    def close(self) -> None:  # noqa: B027 - most engines hold none
        """Let go of connections; containers go on. May be repeated, and the engine may be used again."""

    @abstractmethod
    def info(self) -> EngineInfo:
        """Version and facts; raises ``EngineGoneError`` with what to do when it does not answer."""

    @abstractmethod
    def find_image(self, reference: str) -> ImageFacts | None:
        """The image that the reference (name, tag or digest) points to now, or None. Never pulls."""

    @abstractmethod
    def pull_image(self, reference: str, on_progress: Callable[[PullProgress], None], timeout_s: float | None = None) -> ImageFacts:
        """Fetch the image; blocks, at most ``timeout_s``. Raises ``PullError``, also when the time is over; an exception that
        ``on_progress`` raises ends the pull and goes through: it is called at least each second, also with nothing new. Several pulls of one
        reference at a time fetch it once, and go on while one of them is wanted.
        """

    @abstractmethod
    def build_image(self, folder: Path, reference: str, build_args: Mapping[str, str], on_output: Callable[[str], None]) -> ImageFacts:
        """Build ``folder`` (an image folder as in images/_template) and name it; blocks. Raises ``ImageError`` with the builder's words."""

    def import_image(self, tar: Path, reference: str) -> ImageFacts:
        """Make an image of a root file system, packed as a tar, and name it; blocks. Raises ``ImageError``, always on an engine that has no images."""
        raise ImageError(
            f"the engine {self.name} cannot make {reference} of {tar}: it has no images", hint="Use an engine that has, such as docker."
        )

    def list_images(self) -> list[ImageFacts]:
        """Every image the engine has, once under each of its names; one without a name has the reference ''. Names in alphabetical order.

        One question to the engine: ``architecture`` and ``has_command`` may be left at their defaults. [] on an engine that keeps no images.
        """
        return []

    def remove_image(self, reference: str) -> int:  # noqa: ARG002 - for engines that keep images
        """Remove an image: a name is taken from it, and the image goes with its last name; a digest removes it under every name it has.

        Returns about how many bytes were freed: 0 when it has other names, or is not there. Layers that other images use stay. Raises
        ``ConflictError`` and changes nothing when a container, running or not, uses it. An engine that keeps no images does nothing.
        """
        return 0

    @abstractmethod
    def read_image_files(self, reference: str, folder: str, max_bytes: int) -> dict[str, bytes]:
        """Regular files below a folder of the image, by path relative to it, without running it. {} when there is no such folder.

        Raises ``ImageError`` when they are larger than ``max_bytes`` together.
        """

    @abstractmethod
    def container_paths(self, in_dir: Path, out_dir: Path) -> ContainerPaths:
        """Where a container on this engine will see the two folders."""

    def show_folder(self, folder: Path, container_dir: str) -> str | None:  # noqa: ARG002 - for engines that can
        """Where a container will see a folder of the host that it is given in ``read_only_folders`` at ``container_dir``; with isolation it
        cannot change it. None, as here, on an engine that can show none but the job's own two.
        """
        return None

    @abstractmethod
    def create(self, spec: ContainerSpec) -> str:
        """Create without starting; returns the id. May be repeated (guarantee 2). Raises ``ImageMissingError``, ``StartError``."""

    @abstractmethod
    def watch(self, container_id: str) -> ExitWatch:
        """Register a wait for the end; when this returns, even an end in the next instant will be seen. Works for a container in any state."""

    @abstractmethod
    def start(self, container_id: str) -> None:
        """Start; does not wait for the end. Starting what runs or has ended does nothing. Raises ``StartError``."""

    @abstractmethod
    def status(self, container_id: str) -> ContainerStatus:
        """The container now; ``gone`` when the engine does not have it. Takes an id or a name."""

    @abstractmethod
    def list_containers(self, labels: Mapping[str, str]) -> list[ContainerStatus]:
        """Every container, running or not, that carries all these labels. One question to the engine, however many run: of a container that
        runs or was not started, ``gpu_uuids``, times and flags may be left at their defaults; one that exited has them all.
        """

    def hints(self, labels: Mapping[str, str], stop: Callable[[], bool]) -> Iterator[str]:
        """Names of containers with these labels that have just ended, as they do so; '' now and then, at least each second.

        Only a hint that it is time to look: some may be missing, and it may end or raise ``EngineGoneError`` at any moment. Ends soon after
        ``stop()`` is true. An engine that cannot tell gives '' each second; one that only sees that something changed may name others too.
        """
        del labels
        while not stop():
            time.sleep(min(1.0, HINT_INTERVAL_S))
            yield ""

    @abstractmethod
    def gpu_claims(self) -> dict[str, tuple[str, ...]]:
        """GPU uuid to the names of all running containers that were given it, ours or not, sorted. ``*`` as uuid: given all GPUs."""

    def gpus_inside(self, image: str, gpu_uuids: Sequence[str], injection: str = "auto") -> tuple[str, ...]:  # noqa: ARG002
        """The cards that a program in a container sees that is given these: a container is started to tell, and removed.

        Nothing of the image runs but its shell. Raises ``StartError`` as a job's start would, ``EngineError`` with the words of nvidia-smi,
        and always on an engine that gives no cards.
        """
        raise EngineError(f"the engine {self.name} gives no GPUs to containers", hint="Use an engine that does, such as docker.")

    @abstractmethod
    def read_log(self, container_id: str, cursor: str) -> LogChunk:
        """Output since the cursor ('' for the beginning), stdout and stderr together, at most about 1 MiB; never waits for more.

        Reading again with the same cursor gives the same bytes, also after the container ended and in another process.
        """

    @abstractmethod
    def stats(self, container_id: str) -> ContainerStats:
        """Resource use now; all None when it does not run."""

    @abstractmethod
    def copy_out(self, container_id: str, container_path: str, host_dir: Path) -> list[Path]:
        """Copy a file or folder out of the container, running or not, below ``host_dir``; never outside it, links left out."""

    @abstractmethod
    def stop(self, container_id: str, grace_s: float) -> None:
        """Ask the container to end (SIGTERM to its first process), kill it after ``grace_s``; returns when it has ended."""

    @abstractmethod
    def remove(self, container_id: str) -> None:
        """Remove an ended or created container with its anonymous volumes. Nothing is lost that the runner has not collected."""


# ------------------------------------------------------------------------------------------------------------- GPU source


class GpuSource(ABC):
    """Where the list of cards and their processes comes from. Safe to share between threads.

    A call never hangs the runner: it returns or raises ``GpuSourceError`` within ``timeout_s``, even if the driver hangs.
    A host without GPUs gives an empty list, not an error. One broken card is reported in its ``error``; the others go on.
    """

    name: ClassVar[str]

    @abstractmethod
    def snapshot(self, timeout_s: float = 5.0) -> Snapshot:
        """Every card and slice, in the order of ``index``; a fresh reading each time. Topology and names may be remembered for a minute."""

    def events(self) -> list[GpuEvent]:
        """Xid errors since the last call, oldest first; never waits. [] also where they cannot be seen: the snapshot says which."""
        return []

    @abstractmethod
    def close(self) -> None:
        """Let go of driver and child processes. May be repeated; the next ``snapshot`` opens again."""


# ------------------------------------------------------------------------------------------------------------------ store


@dataclass(frozen=True)
class NewFile:
    """A file to be stored. ``content`` is its bytes, of which ``sha1`` is taken at the caller's word, or a file, which is hashed when it is copied."""

    sha1: str
    extension: str
    content: bytes | Path


@dataclass(frozen=True)
class StoredFile:
    """A file of a store. ``stored_at``: Unix seconds. ``path``: its file on this host, None for a store that is elsewhere."""

    sha1: str
    extension: str
    size_bytes: int
    stored_at: float
    path: Path | None = None

    @property
    def file_name(self) -> str:
        return f"{self.sha1}.{self.extension}"


@dataclass(frozen=True)
class StoreSite:
    """What a store is made from. ``installation`` tells this home from others that use the same place. ``address``: where the
    files lie, for a store that is not in the home; '' is the default place of the ``connection``. ``cache_bytes``: the largest local cache.
    """

    home: Path
    installation: str
    address: str = ""
    connection: Connection = Connection()
    cache_bytes: int = 0


OnProblem = Callable[[str, str], None]


class Store(ABC):
    """Where assets and model files lie, by content. Immutable: what is in is never changed, and adding it again changes nothing.

    Threads and processes use one place at once. Staging needs files on this host: a store that is elsewhere keeps a cache, and a file is
    sure to be at its ``path`` only inside ``holding``. Raises ``DatasetError`` (another content, no such file) and ``UnavailableError``
    (the disk, the network), naming the place.
    """

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def open(cls, site: StoreSite) -> Store:
        """The store of a home; touches neither disk nor network. Raises ``ConfigurationError``."""

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the files lie, for people: a folder or an address."""

    @abstractmethod
    def add_many(self, files: Sequence[NewFile]) -> None:
        """Store them durably: afterwards every one is there and survives a power cut, and whatever happens meanwhile, each is whole or absent.

        Faster than one by one: give some hundred at once. May be repeated. Raises ``DatasetError`` for a file that cannot be read or has another content.
        """

    def add_bytes(self, content: bytes, sha1: str, extension: str) -> None:
        """One content. Raises ``DatasetError`` when it is not that of ``sha1``."""
        if hashlib.sha1(content, usedforsecurity=False).hexdigest() != sha1:
            raise DatasetError(f"the content given for {sha1:.60}.{extension:.20} is another one", sha1=sha1)
        self.add_many([NewFile(sha1, extension, content)])

    def add_file(self, path: Path, sha1: str, extension: str) -> None:
        """One file, which is copied and left alone."""
        self.add_many([NewFile(sha1, extension, path)])

    @abstractmethod
    def path(self, sha1: str, extension: str) -> Path | None:
        """Where the file is, or will be inside ``holding``. None when it is known not to be stored; asks nobody over a network."""

    @abstractmethod
    def find(self, sha1: str, extension: str) -> Path | None:
        """The file, fetched when it is elsewhere, or None. To be opened soon: outside of ``holding`` a cache may let go of it."""

    @abstractmethod
    def holding(self, files: Sequence[Asset]) -> AbstractContextManager[None]:
        """Inside, every one of the files is whole at its ``path``, and stays. A hard link made inside keeps the file for good.

        Blocks while files are fetched. Raises ``DatasetError`` naming one that the store lacks (a store on this host leaves that to whoever opens
        it), ``ConfigurationError`` for a cache that is too small,
        ``UnavailableError`` for one that is full of what others use.
        """

    @abstractmethod
    def list_files(self, on_problem: OnProblem) -> Iterator[StoredFile]:
        """Everything stored, in no order; what is no file of the store is left out. ``on_problem`` hears (place, reason) of what cannot be read."""

    @abstractmethod
    def remove(self, files: Sequence[StoredFile], on_problem: OnProblem) -> list[StoredFile]:
        """Take files out; returns those that are gone, also when somebody else was quicker. ``on_problem`` hears of the others."""

    def folder_of_all(self) -> Path | None:
        """The folder in which every file lies as ``ab/<sha1>.<extension>`` (ab: the last two digits), so that jobs can be given links to them, or
        be shown it as a whole. None, as here, where there is no such folder: then each file is found by itself.
        """
        return None

    def missing(self, folder: str, file_names: Sequence[str]) -> list[str]:  # noqa: ARG002 - for stores that look by folder
        """Those of the files ``<sha1>.<extension>``, all of one folder ``ab``, that are known not to be stored, as ``path`` knows it: a store that is
        elsewhere says it in ``holding``. Asked for a million, a few thousand at a time.
        """
        return [name for name in file_names if self.path(*name.split(".", 1)) is None]

    @abstractmethod
    def other_homes(self) -> tuple[str, ...]:
        """Ids of other installations that keep files in the same place: what they need is not known here."""

    @abstractmethod
    def check(self) -> str:
        """Words on where the files lie, after a look at whether it answers and may be written. Raises as above."""


# ------------------------------------------------------------------------------------------------------------------ source


@dataclass(frozen=True)
class RemoteFile:
    """A file at an address. ``name``: relative to what was listed, as the source has it: any text at all, so never a path before it is checked.

    ``size_bytes`` None: not known before it is fetched. ``etag``: what the source says of its content, '' when nothing.
    """

    address: str
    name: str
    size_bytes: int | None = None
    etag: str = ""


class Source(ABC):
    """Files that can be fetched from addresses of one scheme (``name``: ``s3``, ``https``). Threads use one source at once.

    Trouble that may pass (5xx, time-outs, a cut line) is tried again with growing waits. Raises ``DatasetError`` (it is not there, must not be
    read, or is too large) and ``UnavailableError`` (it does not answer, or what arrives is damaged), naming the address and what to do.
    """

    name: ClassVar[str]
    #: Whether a named connection says how addresses of this scheme are reached.
    connects: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, connection: Connection) -> None:
        """Contacts nobody."""

    @abstractmethod
    def list_files(self, address: str) -> Iterator[RemoteFile]:
        """Every file below a folder address, or the one file that the address is. Nothing when there is none."""

    @abstractmethod
    def fetch(self, file: RemoteFile, target: Path, largest_bytes: int) -> int:
        """Write it to ``target``, a new file, streamed and checked against size and checksums that the source tells; returns the bytes.

        Whole or not at all. Raises ``DatasetError`` for more than ``largest_bytes``.
        """

    @abstractmethod
    def check(self, address: str) -> str:
        """Words on what answers at the address; '' is the connection itself."""


# ----------------------------------------------------------------------------------------------------------------- format


@dataclass(frozen=True)
class Skip:
    """Something an import left out or mended. ``place`` is a path inside the source, with ``:line`` or ``#object`` where known."""

    place: str
    reason: str
    what: str = "image"  # image, box, file; mended: something that was kept after a change, or in spite of a doubt


@dataclass(frozen=True)
class ClassNames:
    """The classes in the order of the ids that the source itself defines (COCO categories, YOLO names).

    ``aliases``: other names of a class that the source knows. ``attributes``: what it says of a class, such as ``color`` (``#rrggbb``).
    """

    names: tuple[str, ...]
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class PredictedBy:
    """The model that made the predictions of a source, as the source names it. ``facts``: what else it says of it, values of JSON."""

    model: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelContent:
    """What the label file of one picture says, as the fields of that name of an ``ImportedImage``."""

    annotations: tuple[Annotation, ...] | None = ()
    declared_size: tuple[int, int] | None = None
    marks: Marks = Marks()


@dataclass(frozen=True)
class UnreadLabel:
    """The label file of one picture, known by its name and read when the picture is: a million labels need not wait in memory.

    1. ``plainly`` can be pickled: it may be called in another process. It gives what a file says of which there is nothing to report and
       nothing to look up elsewhere, else None; raises ``DatasetError`` for one that cannot be read. None: there is no such way for this file.
    2. ``fully`` is called in this process where ``plainly`` gave nothing: every note, and the picture unless it is left out.
    3. ``place``: how many ``Skip`` the format gave before it came to this file, and the file's number: there its notes stand in the report.
    """

    plainly: Callable[[], LabelContent | None] | None
    fully: Callable[[], Iterable[ImportedImage | Skip]]
    place: tuple[int, int]


@dataclass(frozen=True)
class ImportedImage:
    """A picture found by a format: its file, the boxes that go with it (None: not annotated at all) and the splits it is listed in.

    ``path`` is a file, or the address (``s3://bucket/key``) of one that the importer is to fetch. ``declared_size``: the width and height
    that the annotations were drawn for, as their file says; None when it does not say. ``predictions``: None when no model looked.
    ``label``: annotations, size and marks stand in this file and are still to be read (``Format.read_late``).
    """

    path: Path | str
    name: str
    annotations: tuple[Annotation, ...] | None
    splits: tuple[str, ...] = ()
    declared_size: tuple[int, int] | None = None
    marks: Marks = Marks()
    predictions: tuple[Annotation, ...] | None = None
    label: UnreadLabel | None = None


#: Everything that reading a source may give.
Found = ImportedImage | Skip | ClassNames | PredictedBy
#: The file behind an address in a source (``s3://bucket/key``, ``/data/a.xml``), fetched where it has to be. Raises ``DatasetError`` (it is not
#: there, or must not be read) and ``UnavailableError`` (its store does not answer).
Locate = Callable[[str], Path]


def not_located(address: str) -> Path:
    """For sources that may not lead out of their folder."""
    raise DatasetError(f"{address} lies outside of the source", hint="Import from the place that it names, or copy it into the folder.")


@dataclass(frozen=True)
class Export:
    """What a format is asked to write. ``hard``: the marks of hard examples too. ``predictions``: those instead of the annotations, where the
    format has no place of its own for them. ``link``: hard links to the store instead of copies of the pictures; ``pictures`` False: none at all.
    """

    dataset: str
    version: str
    class_names: tuple[str, ...]
    hard: bool = False
    predictions: bool = False
    link: bool = False
    pictures: bool = True


class Format(ABC):
    """A way to lay out pictures and annotations in a folder. Reading never writes into the folder and never follows a link out of it."""

    name: ClassVar[str]
    #: Formats whose folders this one recognises better: where both recognise one, this one is meant (a manifest beside its VOC files).
    more_specific_than: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def detect(self, folder: Path) -> str:
        """Why this folder looks like this format, in a few words for the report; '' when it does not. Fast: looks at names and file heads."""

    @abstractmethod
    def read(self, folder: Path, locate: Locate = not_located) -> Iterator[Found]:
        """Every picture with its annotations, and everything that is skipped, by name with a reason.

        Boxes are passed on as drawn except those that cannot be read; the importer checks them against the picture. Class names are
        stripped and lower-case. ``ClassNames`` is given once at most; without it the classes are in alphabetical order; ``PredictedBy`` once
        at most. ``locate`` is for files that the source names by an address. Raises ``DatasetError`` only when nothing at all can be read.
        """

    def read_late(self, folder: Path, locate: Locate = not_located) -> Iterator[Found]:
        """As ``read``, for an importer: labels may be left unread until their pictures are taken in (``ImportedImage.label``).

        Once they are, and the notes on them are in their places, pictures and notes are those of ``read`` in the same order.
        """
        return self.read(folder, locate)

    def write(self, folder: Path, samples: Iterable[Sample], export: Export) -> list[JobWarning]:  # noqa: ARG002 - for those that can
        """Write the samples, which come in the order of their asset ids, into an empty folder; returns what the format could not hold.

        What was written reads back equal, but for what is returned. Samples are read once and in passing: a million fit. Raises
        ``RequestError`` always in a format that is only read.
        """
        raise RequestError(f"the format {self.name} is only read", hint="Choose another format to write.")


# ---------------------------------------------------------------------------------------------------------------- dialect


class Dialect(ABC):
    """A contract between the runner and an image: how it is asked, and how its answer is read. Pure functions on files; runs nothing."""

    name: ClassVar[str]
    #: The folder of the image that ``read_metadata`` wants the files of.
    metadata_folder: ClassVar[str]
    #: Where the image may read its own output so far; '' when the contract has no such place.
    output_log: ClassVar[str] = ""

    @abstractmethod
    def read_metadata(self, files: Mapping[str, bytes]) -> ImageMetadata:
        """What the image declares. Raises ``ImageError`` when it offers no kind at all."""

    @abstractmethod
    def stage(self, inputs: JobInputs, in_dir: Path, out_dir: Path) -> list[JobWarning]:
        """Write everything the image will read below ``in_dir`` and prepare ``out_dir``. May be repeated: the result is the same.

        Raises ``DatasetError`` when the data cannot be given to the image.
        """

    def wishes(self, kind: Kind, parameters: Mapping[str, Any]) -> Wishes:  # noqa: ARG002 - for dialects in which an image can ask
        """What the image wants beside its candidates, by the complete parameters of a job."""
        return Wishes()

    @abstractmethod
    def read_progress(self, out_dir: Path) -> Progress | None:
        """The last readable progress, or None when there is none yet. Never raises for what the image wrote."""

    @abstractmethod
    def collect_training(self, out_dir: Path) -> TrainingResult:
        """The stages, also those of a failed training. Raises ``ResultMissingError``, ``ResultMalformedError``."""

    @abstractmethod
    def collect_mining(self, out_dir: Path, candidates: Sequence[Asset]) -> MiningResult:
        """The ranking over the candidates that were given. Raises as above."""

    @abstractmethod
    def collect_inference(
        self, out_dir: Path, candidates: Sequence[Asset], object_type: ObjectType, class_names: Sequence[str]
    ) -> InferenceResult:
        """The predictions over the candidates that were given. Raises as above."""

    @abstractmethod
    def shm_bytes(self, parameters: Mapping[str, Any], gpu_count: int, host_bytes: int) -> tuple[int, list[JobWarning]]:
        """The shared memory to give, as the contract rules, never more than the host has. Raises ``ParameterError``."""

    @abstractmethod
    def reserved_parameters(self, kind: Kind) -> frozenset[str]:
        """Names that the runner sets itself: refused as a user's parameter."""

    def extra_parameters(self, metadata: ImageMetadata) -> tuple[Parameter, ...]:  # noqa: ARG002 - for dialects that have some
        """What a user may set beside the template's parameters: requests to the platform. They have no default."""
        return ()


# --------------------------------------------------------------------------------------------------------------- listener


class Listener(ABC):
    """Somebody who is told what happens to jobs. Made with its own options from the settings (``listener.<name>.<option>``)."""

    name: ClassVar[str]

    @abstractmethod
    def __init__(self, options: Mapping[str, str]) -> None:
        """Check the options; contacts nobody. Raises ``ConfigurationError`` naming the option that is wrong, missing or unknown."""

    @abstractmethod
    def deliver(self, delivery_id: str, message: Mapping[str, Any], timeout_s: float) -> None:
        """Tell it; returns when it was taken. Raises ``UnavailableError`` when it may work later, ``RequestError`` when it never will.

        May be repeated after a kill between delivery and record: ``delivery_id`` is the same then, and the listener hands it on so that the
        receiver can leave out what it has seen.
        """
