"""What the cards offer to a job in the queue."""

from __future__ import annotations

from contracts.job import GpuWish
from runner.gpus.books import DEFAULT_POOL, Books
from runner.gpus.cards import Card
from runner.gpus.choice import groups_of, order
from runner.gpus.wishes import Asker, is_free, is_waited_for, refusal, remaining, suitable
from runner.queue.terms import Offer


def offer_of(books: Books, wish: GpuWish, asker: Asker) -> Offer:
    """By the queue's rules: a card that a rule of its pool keeps from the asker is neither free nor eligible."""
    pool = books.pools.get(wish.pool) if wish.pool else DEFAULT_POOL
    if pool is None:
        return Offer((), (), {str(wish.pool): f"there is no GPU pool {wish.pool}"})
    if refused := refusal(pool, asker):
        return Offer((), (), {pool.name: refused})
    found = sorted(suitable(books, wish), key=lambda card: order(card.gpu))
    free = [card.uuid for card in found if is_free(books, card, wish)]
    waited_for = [card.uuid for card in found if card.uuid not in free and is_waited_for(card)]
    busy = {card.uuid: _busy_text(card) for card in found if card.uuid not in free}
    left, quota = remaining(pool, asker, books)
    if left is not None and left < len(free) + len(waited_for):
        busy = {pool.name: quota, **busy}
        free, waited_for = free[:left], waited_for[: max(0, left - len(free))]
    eligible = (*free, *waited_for)
    cards = {card.uuid: card.gpu for card in found}
    groups = [tuple(gpu.uuid for gpu in group) for group in groups_of([cards[uuid] for uuid in eligible], mixed=bool(wish.model))]
    return Offer(tuple(free), eligible, busy, groups if len(set(map(frozenset, groups))) > 1 else ())


def _busy_text(card: Card) -> str:
    drained = " and drained" if card.drained and card.leases else ""
    return f"{card.busy_text}{drained}"
