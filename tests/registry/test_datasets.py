"""Datasets and their immutable versions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session

from contracts.errors import ConflictError, NotFoundError, RequestError
from contracts.image import ObjectType
from contracts.job import EndReason
from registry.database import Database
from registry.datasets import (
    VersionRecord,
    add_version,
    find_version,
    get_version,
    list_datasets,
    list_versions,
    next_number,
    remove_dataset,
)
from registry.jobs import finish_job

ADD_VERSIONS = """
import sys
from registry.database import Database
from registry.datasets import add_version, next_number
with Database.open(sys.argv[1]) as database:
    for _ in range(10):
        with database.writing() as session:
            add_version(session, dataset="digits", number=next_number(session, "digits"), folder="f", image_count=1, annotation_count=1,
                        class_names=(), splits={})
"""


def new_version(session: Session, dataset: str = "digits", **given: object) -> VersionRecord:
    values: dict = {"folder": "datasets/digits/V001", "image_count": 3, "annotation_count": 7}
    values |= {"class_names": ("one", "two"), "splits": {"train": 2, "": 1}}
    return add_version(session, dataset=dataset, **(values | given))


def test_versions_are_numbered_from_one_in_every_dataset(session: Session) -> None:
    assert [new_version(session).version, new_version(session).version, new_version(session, "cells").version] == ["V001", "V002", "V001"]
    assert (next_number(session, "digits"), next_number(session, "unknown")) == (3, 1)


def test_a_version_is_read_as_it_was_stored(database: Database) -> None:
    source = {"path": "/data/bccd", "format": "voc"}
    with database.writing() as session:
        new_version(session)
        stored = new_version(
            session,
            object_type=ObjectType.INSTANCE_SEGMENTATION,
            content_hash="ab" * 32,
            parent=1,
            source=source,
            job_id="t4k2m9xq",
            image_count=2**33,
        )
    with database.reading() as session:
        assert get_version(session, "digits") == get_version(session, "digits", 2) == stored
    assert (stored.splits, stored.source, stored.parent, stored.reference) == ({"train": 2, "": 1}, source, 1, "digits@V002")


def test_a_version_never_changes(session: Session) -> None:
    new_version(session)
    with pytest.raises(ConflictError, match="digits@V001 exists already"):
        new_version(session, number=1)


def test_several_programs_never_take_the_same_number(url: str, database: Database) -> None:
    programs = [subprocess.Popen([sys.executable, "-c", ADD_VERSIONS, url], stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [program.communicate(timeout=120)[1] for program in programs] == [""] * 3
    with database.reading() as session:
        assert [version.number for version in list_versions(session, "digits")] == list(range(1, 31))


def test_a_missing_version_says_which_there_are(session: Session) -> None:
    new_version(session)
    new_version(session)
    with pytest.raises(NotFoundError, match="'digits' has no version V009") as caught:
        get_version(session, "digits", 9)
    assert "It has V001 to V002" in caught.value.hint
    assert find_version(session, "digits", 9) is None


def test_a_missing_dataset_brings_the_close_names(session: Session) -> None:
    new_version(session)
    for call in (lambda: get_version(session, "digit"), lambda: list_versions(session, "digit"), lambda: remove_dataset(session, "digit")):
        with pytest.raises(NotFoundError, match="no dataset 'digit'") as caught:
            call()
        assert "digits" in caught.value.hint


@pytest.mark.parametrize("name", ["", "..", "a/b", "a@V001", "a:train", "a b", ".hidden", "x" * 65, "a\0"])
def test_a_name_that_could_leave_its_folder_is_refused(session: Session, name: str) -> None:
    for call in (lambda: new_version(session, name), lambda: next_number(session, name), lambda: new_version(session, name, number=1)):
        with pytest.raises(RequestError, match="cannot be the name of a dataset"):
            call()


def test_datasets_are_listed_with_their_newest_version(session: Session) -> None:
    for name in ("digits", "cells", "digits"):
        new_version(session, name)
    assert [(d.name, d.version_count, d.latest.version) for d in list_datasets(session)] == [("cells", 1, "V001"), ("digits", 2, "V002")]


def test_a_removed_dataset_is_gone_with_its_versions(session: Session) -> None:
    versions = [new_version(session), new_version(session)]
    assert remove_dataset(session, "digits") == versions
    assert list_datasets(session) == []
    assert new_version(session).version == "V001"


@pytest.mark.parametrize("spec", [{"train_data": "digits:train"}, {"val_data": "digits@V001:val"}, {"data": "digits"}])
def test_a_dataset_is_not_removed_under_an_unfinished_job(session: Session, new_job: Callable, spec: dict) -> None:
    new_version(session)
    new_version(session, "digits2")
    new_job(session, "t4k2m9xq", spec=spec)
    remove_dataset(session, "digits2")
    with pytest.raises(ConflictError, match="unfinished jobs: t4k2m9xq"):
        remove_dataset(session, "digits")
    finish_job(session, "t4k2m9xq", EndReason.CANCELLED)
    remove_dataset(session, "digits")
