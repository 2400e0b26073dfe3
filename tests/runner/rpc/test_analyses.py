"""Analyses by way of the service: the same documents, and progress on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import ParameterError
from runner.client import RemoteRunner
from runner.serve import Service


def test_an_analysis_is_the_same_document_and_says_how_far_it_is(service: Service, remote: RemoteRunner, tmp_path: Path) -> None:
    counted: list[tuple[int, int | None]] = []
    made = remote.analyse_dataset("pets:train", features=["brightness"], on_progress=lambda *count: counted.append(count))
    assert counted[-1] == (6, 6)
    assert made == remote.get_analysis(made["id"]) == service.runner.get_analysis(made["id"])
    compared = remote.compare_datasets(["pets:train", "pets:val"], labels_only=True)
    assert compared == service.runner.get_analysis(compared["id"])
    assert remote.list_analyses("pets") == service.runner.list_analyses("pets")
    exported = remote.export_analysis(made["id"], tmp_path / "out")
    assert sorted(exported["files"]) == sorted(path.name for path in (tmp_path / "out").iterdir())


def test_near_duplicates_are_the_same_document(service: Service, remote: RemoteRunner) -> None:
    found = remote.find_near_duplicates("pets", similarity=0.95, limit=3)
    assert found == service.runner.get_analysis(found["id"])
    assert found["similarity"] == 0.95


def test_a_refusal_of_an_analysis_is_the_same_error(remote: RemoteRunner) -> None:
    with pytest.raises(ParameterError, match="no feature 'beauty'"):
        remote.analyse_dataset("pets", features=["beauty"])
