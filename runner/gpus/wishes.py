"""Which devices a wish can be met with: ever, when they are free, and now; and in words why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from contracts.errors import NoGpuError
from contracts.image import Kind
from contracts.job import GpuWish
from registry.gpus import PoolRecord
from runner.gpus.books import DEFAULT_POOL, Books
from runner.gpus.cards import Card, CardState

ANY = GpuWish.model_validate({})
_GIB = 1024**3
#: States in which a card is never given to a job, whoever holds it; the others pass.
_NEVER = (CardState.MISSING, CardState.MIG, CardState.PROHIBITED)


@dataclass(frozen=True)
class Asker:
    """For whom: what a pool's rules look at. None where it does not matter."""

    user: str | None = None
    project: str | None = None
    kind: Kind | None = None


#: Cards that are left, and in words what they have in common.
_Step: TypeAlias = tuple[Callable[[Card], bool], str]


def suitable(books: Books, wish: GpuWish) -> list[Card]:
    """Devices that could meet the wish at some time, whoever holds them."""
    found = list(books.cards)
    for suits, _ in _steps(books, wish):
        found = [card for card in found if suits(card)]
    return found


def refuse_impossible(books: Books, wish: GpuWish, count: int, asker: Asker = Asker()) -> None:
    """Raises ``NoGpuError`` naming the first limit that the wish meets."""
    pool = _wished_pool(books, wish)
    found, said = list(books.cards), ""
    for suits, words in _steps(books, wish):
        found, said = [card for card in found if suits(card)], said + words
        if len(found) < count:
            raise _too_few(books, wish, count, len(found), said)
    if count > 1 and not wish.mig_profile and not all(map(_is_whole, found)):
        raise NoGpuError(
            f"{_gpus(count)} asked for, and this host has slices only: a job gets one of them",
            hint="Ask for one, or for several of one profile with --mig.",
            asked=count,
        )
    _refuse_mixed(wish, count, found)
    refused = refusal(pool, asker) or _quota_refusal(pool, count)
    if refused:
        raise NoGpuError(
            refused, hint="Ask for another pool, or its operator to change it: `sluice gpu pool list`.", asked=count, pool=pool.name
        )


def room_bytes(card: Card) -> int:
    """How many bytes jobs that share the card may declare in all: less what the driver keeps and what is used beyond all declarations."""
    declared = sum(lease.shared_bytes or 0 for lease in card.leases)
    return card.gpu.total_bytes - card.gpu.reserved_bytes - max(0, card.gpu.used_bytes - declared)


def is_free(books: Books, card: Card, wish: GpuWish) -> bool:
    """Whether a suitable card can be taken now: it is nobody's, or shared and has a slot and memory left."""
    if card.state is CardState.FREE:
        return not wish.shared_bytes or wish.shared_bytes <= room_bytes(card)
    if not wish.shared_bytes or card.state is not CardState.LEASED or any(lease.shared_bytes is None for lease in card.leases):
        return False
    declared = sum(lease.shared_bytes or 0 for lease in card.leases)
    slots = books.pool_of(card.uuid).slots
    usable = not card.taints and not card.drained and len(card.leases) < slots
    return usable and wish.shared_bytes + declared <= room_bytes(card)


def is_waited_for(card: Card) -> bool:
    """Whether the card will be free when its holder has gone, or its health has come back: an operator or a restart is not waited for."""
    return not card.drained and card.state is not CardState.LOST


# ------------------------------------------------------------------------------------------------------- rules of the pools


def refusal(pool: PoolRecord, asker: Asker) -> str:
    """Why nothing of the pool is for who asks; '' when it is."""
    for word, allowed, asked in (
        ("user", pool.users, asker.user),
        ("project", pool.projects, asker.project),
        ("kind", pool.kinds, None if asker.kind is None else str(asker.kind)),
    ):
        if allowed and asked is not None and asked not in allowed:
            return f"the GPU pool {pool.name} is for {word}s {', '.join(allowed)}, not {asked}"
    return ""


def remaining(pool: PoolRecord, asker: Asker, books: Books) -> tuple[int | None, str]:
    """How many more cards of the pool the asker may hold, None for any number, and the quota in words."""
    limits = []
    for place, (word, quota) in enumerate((("user", pool.max_gpus_per_user), ("project", pool.max_gpus_per_project))):
        asked = asker.user if word == "user" else asker.project
        if quota is not None and asked is not None:
            held = _held(pool, books, place)[asked]
            limits.append((max(0, quota - held), f"{word} {asked} may hold {_gpu_count(quota)} of pool {pool.name} and holds {held}"))
    return min(limits, default=(None, ""))


def _held(pool: PoolRecord, books: Books, place: int) -> Counter[str]:
    """Cards of the pool by user (place 0) or project (1)."""
    held: Counter[str] = Counter()
    for lease in books.leases:
        owner = books.owners.get(lease.job_id)
        if owner:
            held[owner[place]] += sum(books.pool_of(uuid).name == pool.name for uuid in lease.uuids)
    return held


def _quota_refusal(pool: PoolRecord, count: int) -> str:
    for word, quota in (("user", pool.max_gpus_per_user), ("project", pool.max_gpus_per_project)):
        if quota is not None and count > quota:
            return f"{_gpus(count)} asked for, of the pool {pool.name} a {word} may hold {quota}"
    return ""


# ---------------------------------------------------------------------------------------------------------- rules of wishes


def _steps(books: Books, wish: GpuWish) -> list[_Step]:
    """What a card must be, one after the other, each with the words that follow ``this host has N``."""
    pool = wish.pool or ""
    steps: list[_Step] = [
        (_kind_rule(books, wish), _kind_words(books, wish)),
        (lambda card: card.pool == pool, f" in the pool {pool}" if pool else " in no pool" if _has_pools(books) else ""),
    ]
    if wish.model:
        steps.append((_model_rule(books, wish.model), f" of model {wish.model}"))
    if (memory := wish.memory_bytes) is not None:
        steps.append((lambda card: card.gpu.total_bytes >= memory, f" with at least {memory / _GIB:.4g} GiB"))
    if (shared := wish.shared_bytes) is not None:
        steps.append((lambda card: _can_share(books, card, shared), f" that can be shared by a job of {shared / _GIB:.4g} GiB"))
    return steps


def _has_pools(books: Books) -> bool:
    return any(card.pool for card in books.cards)


def _kind_rule(books: Books, wish: GpuWish) -> Callable[[Card], bool]:
    """Cards; slices where their profile is asked for, or a size where there is no whole card to have it from."""
    usable = [card for card in books.cards if card.state not in _NEVER]
    if wish.mig_profile:
        fitting = [card for card in usable if card.gpu.profile == wish.mig_profile]
    elif wish.memory_bytes is not None and not any(_is_whole(card) for card in usable if card.pool == (wish.pool or "")):
        fitting = usable
    else:
        fitting = [card for card in usable if _is_whole(card)]
    uuids = {card.uuid for card in fitting}
    return lambda card: card.uuid in uuids


def _kind_words(books: Books, wish: GpuWish) -> str:
    if wish.mig_profile:
        return f" that are MIG slices {wish.mig_profile}"
    return "" if all(_is_whole(card) for card in books.cards) else " that are whole cards"


def _is_whole(card: Card) -> bool:
    return card.gpu.kind == "gpu"


def _model_rule(books: Books, model: str) -> Callable[[Card], bool]:
    """A part of the name; where it is the whole name of a card, no other."""
    asked = model.casefold()
    exact = any(_model_of(books, card) == asked for card in books.cards)
    return lambda card: _model_of(books, card) == asked if exact else asked in _model_of(books, card)


def _model_of(books: Books, card: Card) -> str:
    """A slice without a name has its card's."""
    parent = books.gpus.get(card.gpu.parent_uuid)
    return (card.gpu.name or (parent.name if parent else "")).casefold()


def _can_share(books: Books, card: Card, declared_bytes: int) -> bool:
    if books.pool_of(card.uuid).slots < 2 or card.gpu.compute_mode == "exclusive_process":
        return False
    return declared_bytes <= card.gpu.total_bytes - card.gpu.reserved_bytes


def _wished_pool(books: Books, wish: GpuWish) -> PoolRecord:
    if not wish.pool:
        return DEFAULT_POOL
    pool = books.pools.get(wish.pool)
    if pool is None:
        known = ", ".join(sorted(books.pools)) or "none"
        raise NoGpuError(f"there is no GPU pool {wish.pool!r}", hint=f"Known: {known}.", pool=wish.pool)
    return pool


def _refuse_mixed(wish: GpuWish, count: int, found: Sequence[Card]) -> None:
    """A job gets cards of one model, unless it names a part of several models' names."""
    by_model = Counter((card.gpu.name, card.gpu.profile) for card in found)
    if wish.model or not by_model or max(by_model.values()) >= count:
        return
    models = ", ".join(f"{number} {name}" for (name, _), number in sorted(by_model.items()))
    raise NoGpuError(
        f"{_gpus(count)} asked for, and no model has as many here: {models}",
        hint="Ask for fewer, or for different models in one job with --gpu-model and a part of the name that they share.",
        asked=count,
    )


def _too_few(books: Books, wish: GpuWish, count: int, there: int, said: str) -> NoGpuError:
    missing = [card.name for card in books.cards if card.state is CardState.MISSING]
    gone = f"; {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing" if missing else ""
    return NoGpuError(
        f"{_gpus(count)} asked for, this host has {there}{said}{gone}",
        hint="Ask for fewer with --gpus, or for others; `sluice gpu list` shows what there is.",
        asked=count,
        total=there,
        wish=wish.model_dump(exclude_none=True),
    )


def _gpus(count: int) -> str:
    return f"{_gpu_count(count)} {'is' if count == 1 else 'are'}"


def _gpu_count(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"
