"""Why a card is not given to new jobs: taints, each with its effect. Several may be on a card at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from contracts.gpu import Gpu


class Effect(str, Enum):
    """What a taint does, from harmless to worst. ``xid.cfg`` says what each means for a job that is on the card."""

    NONE = "none"
    DRAIN = "drain"
    LOOK = "look"
    QUARANTINE = "quarantine"
    LOST = "lost"

    def __str__(self) -> str:
        return self.value

    @property
    def severity(self) -> int:
        return list(Effect).index(self)

    @property
    def is_fatal(self) -> bool:
        """Whether a job on the card cannot go on."""
        return self in (Effect.QUARANTINE, Effect.LOST)


@dataclass(frozen=True)
class Taint:
    """``reason`` tells taints apart (``xid 79``), ``text`` is for people. ``since`` is Unix seconds; boot and driver are those it arose under.

    ``condition``: the card itself says so, and the taint goes with what it says. ``until``: it counts no longer from then on, 0 where no time ends it.
    """

    reason: str
    effect: Effect
    text: str
    since: float = 0.0
    boot_id: str = ""
    driver: str = ""
    condition: bool = False
    until: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "effect": str(self.effect)}

    def told(self) -> dict[str, str]:
        """As events have it."""
        return {"reason": self.reason, "effect": str(self.effect), "text": self.text}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Taint:
        known = {name: stored[name] for name in cls.__dataclass_fields__ if name in stored}
        return cls(**{**known, "effect": Effect(known["effect"])})


def conditions_of(gpu: Gpu) -> list[Taint]:
    """What the card itself says now."""
    found = []
    if gpu.error_code == "lost":
        found.append(_condition("lost", Effect.LOST, gpu.error))
    if gpu.recovery_action not in ("", "none"):
        effect = Effect.DRAIN if gpu.recovery_action == "drain_p2p" else Effect.QUARANTINE
        found.append(_condition(f"recovery {gpu.recovery_action}", effect, f"the driver asks for: {gpu.recovery_action.replace('_', ' ')}"))
    if gpu.remap_failed:
        found.append(_condition("remap failed", Effect.QUARANTINE, "memory rows could not be remapped"))
    if gpu.remap_pending:
        found.append(_condition("remap pending", Effect.DRAIN, "memory rows are remapped at the next reset"))
    if gpu.retirement_pending:
        found.append(_condition("retirement pending", Effect.DRAIN, "memory pages are retired at the next reset"))
    if gpu.mig_pending is not None and gpu.mig_enabled is not None and gpu.mig_pending != gpu.mig_enabled:
        found.append(_condition("mig pending", Effect.DRAIN, f"MIG is {'on' if gpu.mig_pending else 'off'} after the next reset"))
    return found


def worst(taints: Iterable[Taint]) -> Taint | None:
    """The one that decides."""
    return max(taints, key=lambda taint: taint.effect.severity, default=None)


def health_of(taints: Iterable[Taint], *, monitored: bool) -> str:
    """``lost``, ``quarantined``, ``suspect``, ``ok``, or ``unmonitored`` where nothing is wrong but Xid errors cannot be seen."""
    decisive = worst(taints)
    if decisive is None or decisive.effect is Effect.NONE:
        return "ok" if monitored else "unmonitored"
    return {Effect.LOST: "lost", Effect.DRAIN: "suspect"}.get(decisive.effect, "quarantined")


def _condition(reason: str, effect: Effect, text: str) -> Taint:
    return Taint(reason, effect, text, condition=True)
