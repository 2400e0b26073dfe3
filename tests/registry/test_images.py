"""Images: names, pinned digests, metadata."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from contracts.errors import ConflictError, NotFoundError, RequestError
from contracts.image import ImageMetadata, Kind, ObjectType, Parameter, ParameterType, Profile, Template
from contracts.job import EndReason
from registry.database import Database
from registry.free_json import decode, encode
from registry.images import (
    find_image,
    get_image,
    list_digests,
    list_images,
    metadata_from_json,
    metadata_to_json,
    remove_image,
    replace_image,
    shared_object_types,
)
from registry.jobs import finish_job
from registry.links import add_link, list_links

defaults = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.dates(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=5,
)
parameters = st.builds(Parameter, st.text(), st.sampled_from(ParameterType), defaults, st.text())
templates = st.builds(Template, st.sampled_from(Kind), st.sampled_from(ObjectType), st.lists(parameters, max_size=4).map(tuple))
declared = st.builds(
    ImageMetadata,
    object_types=st.lists(st.sampled_from(ObjectType), max_size=4).map(tuple),
    templates=st.lists(templates, max_size=4).map(tuple),
    enable_livecode=st.booleans(),
    is_official=st.booleans(),
    readme=st.text(),
    warnings=st.lists(st.text(), max_size=3).map(tuple),
)


@given(declared)
def test_metadata_comes_back_exactly(metadata: ImageMetadata) -> None:
    stored = json.dumps(encode(metadata_to_json(metadata)), allow_nan=False)
    assert metadata_from_json(decode(json.loads(stored))) == metadata


def test_metadata_comes_back_through_the_database(database: Database, new_image: Callable) -> None:
    parameters = (
        Parameter("lr", ParameterType.FLOAT, float("inf"), "learning rate"),
        Parameter("anchors", ParameterType.LIST, [[1, 2.5], []]),
        Parameter("weights", ParameterType.ANY, None, "path, empty for none"),
        Parameter("zero", ParameterType.INT, 0),
        Parameter("off", ParameterType.BOOL, False),
        Parameter("empty", ParameterType.STR, ""),
    )
    types = (ObjectType.DETECTION, ObjectType.INSTANCE_SEGMENTATION)
    metadata = ImageMetadata(types, tuple(Template(Kind.TRAINING, t, parameters) for t in types), True, True, "# größe\n", ("a", "b"))
    with database.writing() as session:
        new_image(session, metadata=metadata)
    with database.reading() as session:
        read = get_image(session, "tinydet").metadata
    assert read == metadata
    assert [type(p.default) for p in read.templates[0].parameters] == [float, list, type(None), int, bool, str]


def test_a_registered_image_is_found_as_it_was_given(session: Session, new_image: Callable) -> None:
    added = new_image(session, profile=Profile.COMPATIBLE, allow=("network",), labels={"a": "b"}, size_bytes=2**40)
    assert get_image(session, "tinydet") == find_image(session, "tinydet") == added == list_images(session)[0]
    assert (added.profile, added.allow, added.labels, added.size_bytes) == (Profile.COMPATIBLE, ("network",), {"a": "b"}, 2**40)
    assert added.registered_at.tzinfo is timezone.utc
    assert added.permissions.root


def test_a_name_can_be_used_once(session: Session, new_image: Callable) -> None:
    new_image(session)
    with pytest.raises(ConflictError, match="'tinydet' is taken"):
        new_image(session)


@pytest.mark.parametrize("name", ["", " a", "a b", "-a", "a\n", "ä", "x" * 201, "../x"])
def test_an_impossible_name_is_refused(session: Session, new_image: Callable, name: str) -> None:
    with pytest.raises(RequestError, match="cannot be the name of an image"):
        new_image(session, name=name)


def test_an_unknown_name_brings_the_close_ones_and_the_way_to_list(session: Session, new_image: Callable) -> None:
    for name in ("tinydet", "other"):
        new_image(session, name=name)
    with pytest.raises(NotFoundError, match="no image 'tinydte'") as caught:
        get_image(session, "tinydte")
    assert caught.value.hint == "Did you mean tinydet? `sluice image list` shows all."
    assert find_image(session, "tinydte") is None


def test_a_moved_tag_keeps_the_history_of_digests(session: Session, new_image: Callable, metadata: Callable) -> None:
    first = new_image(session, digest="sha256:1", size_bytes=5, labels={"kept": "yes"})
    replaced = replace_image(session, "tinydet", digest="sha256:2", metadata=metadata((Kind.MINING,)), size_bytes=6)
    assert (replaced.digest, replaced.size_bytes, replaced.kinds, replaced.labels) == ("sha256:2", 6, (Kind.MINING,), {"kept": "yes"})
    assert (replaced.id, replaced.registered_at) == (first.id, first.registered_at)
    assert replaced.updated_at > first.updated_at
    assert [record.digest for record in list_digests(session, "tinydet")] == ["sha256:1", "sha256:2"]


def test_the_same_digest_again_is_no_history(session: Session, new_image: Callable, metadata: Callable) -> None:
    image = new_image(session)
    replace_image(session, "tinydet", digest=image.digest, metadata=metadata())
    assert len(list_digests(session, "tinydet")) == 1


def test_new_content_drops_the_links_it_can_no_longer_keep(session: Session, new_image: Callable, metadata: Callable) -> None:
    for name in ("trainer", "other"):
        new_image(session, name=name)
    add_link(session, "trainer", "other")
    replace_image(session, "other", digest="sha256:new", metadata=metadata((Kind.INFERENCE,)))
    assert [link.kind for link in list_links(session)] == [Kind.INFERENCE]


def test_an_image_is_not_removed_under_an_unfinished_job(session: Session, new_image: Callable, new_job: Callable) -> None:
    new_image(session)
    new_job(session, "t4k2m9xq")
    with pytest.raises(ConflictError, match="1 unfinished job: t4k2m9xq"):
        remove_image(session, "tinydet")
    finish_job(session, "t4k2m9xq", EndReason.SUCCEEDED)
    assert remove_image(session, "tinydet").name == "tinydet"
    assert list_images(session) == []


def test_removing_an_image_drops_its_links_and_frees_its_name(session: Session, new_image: Callable) -> None:
    for name in ("trainer", "other"):
        new_image(session, name=name)
    add_link(session, "trainer", "other")
    remove_image(session, "other")
    assert list_links(session) == []
    assert new_image(session, name="other").digest == "sha256:other"
    assert len(list_digests(session, "other")) == 1


def test_object_types_are_shared_for_a_kind_not_for_the_image(metadata: Callable) -> None:
    trains = metadata((Kind.TRAINING,), (ObjectType.DETECTION, ObjectType.CLASSIFICATION))
    mines = metadata((Kind.MINING,), (ObjectType.DETECTION,))
    assert shared_object_types(trains, mines, Kind.MINING) == (ObjectType.DETECTION,)
    assert shared_object_types(trains, mines, Kind.INFERENCE) == ()
