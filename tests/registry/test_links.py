"""Links: who can read whose models."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session

from contracts.errors import LinkError, NotFoundError
from contracts.image import Kind, ObjectType
from registry.links import LinkRecord, add_link, is_linked, linked_images, list_links, remove_link


@pytest.fixture(autouse=True)
def images(session: Session, new_image: Callable) -> None:
    new_image(session, "trainer", (Kind.TRAINING,))
    new_image(session, "miner", (Kind.MINING,))
    new_image(session, "both", (Kind.MINING, Kind.INFERENCE))
    new_image(session, "all")
    new_image(session, "classifier", object_types=(ObjectType.CLASSIFICATION,))


def test_a_link_is_made_for_every_kind_the_other_image_offers(session: Session) -> None:
    assert add_link(session, "trainer", "miner") == [LinkRecord("trainer", "miner", Kind.MINING)]
    assert [link.kind for link in add_link(session, "trainer", "both")] == [Kind.MINING, Kind.INFERENCE]


def test_linking_again_gives_the_same(session: Session) -> None:
    assert add_link(session, "trainer", "both") == add_link(session, "trainer", "both") == list_links(session)


def test_an_image_may_be_linked_to_itself(session: Session) -> None:
    assert {(link.training_image, link.image) for link in add_link(session, "all", "all")} == {("all", "all")}
    assert linked_images(session, "all", Kind.MINING_INFERENCE) == ["all"]


def test_an_image_that_does_not_train_cannot_be_linked_from(session: Session) -> None:
    with pytest.raises(LinkError, match=r"does not offer training, only mining \(detection\)"):
        add_link(session, "miner", "both")


def test_an_image_that_neither_mines_nor_infers_cannot_be_linked_to(session: Session) -> None:
    with pytest.raises(LinkError, match=r"offers neither mining nor inference, only training \(detection\)"):
        add_link(session, "all", "trainer")


def test_images_for_different_object_types_cannot_be_linked(session: Session) -> None:
    with pytest.raises(LinkError, match="share no object type") as caught:
        add_link(session, "trainer", "classifier")
    assert "training (detection)" in caught.value.message
    assert "inference (classification)" in caught.value.message
    assert list_links(session) == []


def test_linked_images_are_those_linked_for_every_part_of_the_kind(session: Session) -> None:
    for other in ("miner", "both"):
        add_link(session, "trainer", other)
    assert linked_images(session, "trainer", Kind.MINING) == ["both", "miner"]
    assert linked_images(session, "trainer", Kind.INFERENCE) == ["both"]
    assert linked_images(session, "trainer", Kind.MINING_INFERENCE) == ["both"]
    assert linked_images(session, "no longer registered", Kind.MINING) == []


def test_a_link_holds_in_one_direction_and_for_its_kinds(session: Session) -> None:
    add_link(session, "all", "miner")
    assert is_linked(session, "all", "miner", Kind.MINING)
    assert not is_linked(session, "all", "miner", Kind.MINING_INFERENCE)
    assert not is_linked(session, "miner", "all", Kind.MINING)


def test_links_are_listed_from_and_to_an_image(session: Session) -> None:
    add_link(session, "trainer", "miner")
    add_link(session, "all", "both")
    assert [link.image for link in list_links(session, "trainer")] == ["miner"]
    assert [link.training_image for link in list_links(session, "both")] == ["all", "all"]
    assert len(list_links(session)) == 3


def test_a_removed_link_is_gone_and_cannot_be_removed_again(session: Session) -> None:
    added = add_link(session, "trainer", "both")
    assert remove_link(session, "trainer", "both") == added
    assert list_links(session) == []
    with pytest.raises(NotFoundError, match="no link from 'trainer' to 'both'"):
        remove_link(session, "trainer", "both")


def test_unknown_images_are_named(session: Session) -> None:
    for call in (
        lambda: add_link(session, "trainer", "minre"),
        lambda: remove_link(session, "minre", "all"),
        lambda: list_links(session, "minre"),
    ):
        with pytest.raises(NotFoundError, match="no image 'minre'"):
            call()
