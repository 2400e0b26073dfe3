"""GPUs as their source sees them at one moment. Cards and MIG slices are both devices with a uuid, their address everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class GpuProcess:
    """A process with memory on a device. ``pid`` is a host pid; ``used_bytes`` None when the driver does not say."""

    pid: int
    used_bytes: int | None = None
    command: str = ""


@dataclass(frozen=True)
class Gpu:
    """One card (``kind`` gpu) or one MIG slice (``kind`` mig). ``uuid`` is its address everywhere; ``index`` is for display and may change.

    ``error`` is '' for a device that answers; otherwise it says what failed, and ``error_code`` is ``lost``, ``no_permission`` or ``unknown``:
    it must not be leased. ``processes`` None: the driver does not tell, and then ``used_bytes`` must decide; () means that there are none.
    ``used_bytes`` leaves out what the driver reserves for itself (``reserved_bytes``, 0 where it cannot be told apart).
    None in any other field: the device does not say.
    """

    uuid: str
    index: int
    name: str = ""
    total_bytes: int = 0
    used_bytes: int = 0
    reserved_bytes: int = 0
    utilization_fraction: float | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    processes: tuple[GpuProcess, ...] | None = ()
    error: str = ""
    error_code: str = ""
    kind: str = "gpu"
    #: Of a slice: the card it is cut from, its profile (``1g.18gb``) and NVML's numbers for it.
    parent_uuid: str = ""
    profile: str = ""
    gpu_instance: int | None = None
    compute_instance: int | None = None
    #: Of a card: whether MIG is on, and whether it will be after the next reset. A card with MIG on is never leased itself.
    mig_enabled: bool | None = None
    mig_pending: bool | None = None
    #: Bus address, which orders cards; NUMA node; CUDA compute capability as ``9.0``.
    pci: str = ""
    numa_node: int | None = None
    compute_capability: str = ""
    #: ``default``, ``exclusive_process`` or ``prohibited`` (no job may use it).
    compute_mode: str = "default"
    #: The driver's own verdict (NVML field 230): ``none``, ``reset``, ``reboot``, ``drain_p2p``, ``drain_and_reset`` or '' where it has none.
    recovery_action: str = ""
    #: Counters of the health check: uncorrected ECC errors since boot; row remapping and page retirement.
    ecc_uncorrected: int | None = None
    remap_pending: bool | None = None
    remap_failed: bool | None = None
    retirement_pending: bool | None = None


@dataclass(frozen=True)
class GpuEvent:
    """An Xid error that the driver reported. ``uuid`` is the card's; the instances tell which MIG slice it was about, None for the card.

    ``sequence`` grows with each event of one source object; ``time`` is Unix seconds.
    """

    sequence: int
    uuid: str
    xid: int
    time: float
    gpu_instance: int | None = None
    compute_instance: int | None = None


#: Closeness of two cards, closest first, by NVML's topology levels (0 same board .. 50 across sockets).
TOPOLOGY_LEVELS = (0, 10, 20, 30, 40, 50)


@dataclass(frozen=True)
class Snapshot:
    """One reading of a host. ``taken_at`` is Unix seconds; ``boot_id`` changes with every boot.

    ``gpus`` are cards by index, each followed by its slices. ``topology`` and ``nvlinks`` (number of links) know a pair of cards under
    ``(smaller uuid, larger uuid)`` and leave out what could not be read: a pair that is missing is a pair of which nothing is known.
    ``events_monitored`` False: Xid events cannot be seen here, so health rests on the counters alone.
    """

    gpus: tuple[Gpu, ...]
    taken_at: float = 0.0
    boot_id: str = ""
    driver: str = ""
    topology: Mapping[tuple[str, str], int] = field(default_factory=dict)
    nvlinks: Mapping[tuple[str, str], int] = field(default_factory=dict)
    events_monitored: bool = False


def pair(one: str, other: str) -> tuple[str, str]:
    """The key of two cards in ``Snapshot.topology`` and ``nvlinks``."""
    return (one, other) if one < other else (other, one)


#: What nvidia-smi, NVML and CUDA print in a container whose card went away: control groups forget the devices that the toolkit allowed when
#: systemd reloads, cards fall off the bus, and memory breaks. A program that was given no card to begin with says other things.
_LOST = (
    "failed to initialize nvml: unknown error",
    "gpu is lost",
    "gpu has fallen off the bus",
    "unable to determine the device handle for gpu",
    "uncorrectable ecc error encountered",
)


def says_gpu_lost(text: str) -> bool:
    """Whether a container's output says that a GPU it had went away or broke: the job may succeed in a new container, or on another card."""
    spoken = text.lower()
    return any(phrase in spoken for phrase in _LOST)
