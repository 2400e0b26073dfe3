"""Which GPUs are free, who holds the others, and the leases jobs take on them.

Three books can disagree: the leases in the registry, the containers that were given cards, and what the GPU source sees on the cards. A card is
free only when all three say so (``cards``). ``GpuPool`` is what the rest of the runner uses; docs/notes/gpus.md says why it is as it is.
"""

from runner.gpus.books import IDLE_BYTES, Books
from runner.gpus.cards import Card, CardState
from runner.gpus.classification import classify
from runner.gpus.findings import Finding, GpuLost, LeaseHolder, Orphan, Violated
from runner.gpus.pool import GpuPool

__all__ = ["IDLE_BYTES", "Books", "Card", "CardState", "Finding", "GpuLost", "GpuPool", "LeaseHolder", "Orphan", "Violated", "classify"]
