"""Models and their stages."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session

from contracts.errors import ConflictError, NotFoundError, RequestError
from contracts.job import EndReason
from registry.database import Database
from registry.jobs import finish_job
from registry.models import (
    ModelRecord,
    StageRecord,
    add_model,
    describe_model,
    find_model,
    find_model_of_job,
    get_model,
    list_models,
    list_versions,
    recommend_stage,
    remove_model,
    rename_model,
)
from registry.predictions import add_prediction, list_predictions

STAGES = (
    StageRecord("epoch_1", {"mAP": 0.5, "tp": 3}, 1_700_000_000, ("model.pt", "config.yaml"), 10),
    StageRecord("epoch_2", {"mAP": 0.8}, 1_700_000_100, ("model.pt",), 20),
)


def new_model(session: Session, name: str = "digits-1", **given: object) -> ModelRecord:
    values: dict = {
        "image_name": "tinydet", "image_digest": "sha256:1", "object_type": 2, "class_names": ("one", "two"), "best_stage": "epoch_2",
        "parameters": {"lr": 0.1, "zero": 0, "empty": "", "off": False, "none": None}, "folder": f"models/{name}", "stages": STAGES,
    }  # fmt: skip
    return add_model(session, name=name, **(values | given))


def test_a_model_is_read_as_it_was_stored(database: Database) -> None:
    given = {"job_id": "t4k2m9xq", "train_data": "digits@V001:train", "val_data": "digits@V001:val"}
    with database.writing() as session:
        stored = new_model(session, evaluate_config={"iou": 0.5}, attachments={"images": ["a.png"]}, **given)
    with database.reading() as session:
        assert get_model(session, "digits-1") == find_model(session, "digits-1") == find_model_of_job(session, "t4k2m9xq") == stored
        assert list_models(session) == [stored]
    assert stored.stages == STAGES
    assert stored.parameters == {"lr": 0.1, "zero": 0, "empty": "", "off": False, "none": None}
    assert stored.size_bytes == 30


def test_stages_keep_their_order(session: Session) -> None:
    stages = [StageRecord(f"s{n}", {}, 0, (), 0) for n in (3, 1, 2, 10)]
    new_model(session, stages=stages, best_stage="s1")
    session.expire_all()
    assert [stage.name for stage in get_model(session, "digits-1").stages] == ["s3", "s1", "s2", "s10"]


def test_a_name_counts_its_versions_and_the_bare_name_is_the_newest(session: Session) -> None:
    assert [new_model(session, folder=f"models/{n}").reference for n in range(2)] == ["digits-1@V0001", "digits-1@V0002"]
    assert get_model(session, "digits-1").version == 2
    assert [model.version for model in list_versions(session, "digits-1")] == [1, 2]
    with pytest.raises(NotFoundError, match="no version V0003") as caught:
        get_model(session, "digits-1@V0003")
    assert "digits-1@V0002" in caught.value.hint


def test_a_version_can_be_used_once(session: Session) -> None:
    new_model(session)
    with pytest.raises(ConflictError, match="digits-1@V0001 is taken"):
        new_model(session, version=1)


def test_all_versions_are_renamed_and_their_predictions_follow(session: Session) -> None:
    for number in range(2):
        new_model(session, folder=f"models/{number}")
    told = {
        "stage_name": "epoch_2",
        "dataset": "digits",
        "number": 1,
        "file": "predictions/i1.parquet",
        "image_count": 1,
        "annotation_count": 0,
    }
    add_prediction(session, job_id="i1", model_name="digits-1@V0002", **told)
    assert [model.reference for model in rename_model(session, "digits-1", "numbers")] == ["numbers@V0001", "numbers@V0002"]
    assert [p.job_id for p in list_predictions(session, model_name="numbers@V0002")] == ["i1"]
    assert find_model(session, "digits-1") is None
    assert new_model(session, "numbers", folder="models/n").version == 3
    new_model(session, "third")
    with pytest.raises(ConflictError, match="third@V0001 is, or was, another"):
        rename_model(session, "numbers", "third")


def test_one_version_alone_cannot_be_renamed(session: Session) -> None:
    new_model(session)
    with pytest.raises(RequestError, match=r"'digits-1@V0001' names one version") as refused:
        rename_model(session, "digits-1@V0001", "numbers")
    assert refused.value.hint == "Name it without a version: digits-1."


def test_a_rename_can_be_taken_back_but_no_reference_comes_to_mean_another_thing(session: Session, new_job: Callable) -> None:
    assert new_job(session, "t4k2m9xq", name="digits-1").version == 1
    finish_job(session, "t4k2m9xq", EndReason.SUCCEEDED)
    new_model(session, version=1, job_id="t4k2m9xq")
    rename_model(session, "digits-1", "numbers")
    assert rename_model(session, "numbers", "digits-1")[0].reference == "digits-1@V0001"
    new_model(session, "other", folder="models/other")
    told = {"stage_name": "epoch_2", "dataset": "digits", "number": 1, "file": "f", "image_count": 1, "annotation_count": 0}
    add_prediction(session, job_id="i1", model_name="removed@V0001", **told)
    for name in ("digits-1", "removed"):
        with pytest.raises(ConflictError, match=f"{name}@V0001 is, or was, another"):
            rename_model(session, "other", name)
    remove_model(session, "digits-1")
    with pytest.raises(ConflictError, match="digits-1@V0001 is, or was, another"):
        rename_model(session, "other", "digits-1")


def test_a_bare_name_with_several_versions_is_not_removed_by_mistake(session: Session) -> None:
    for number in range(3):
        new_model(session, folder=f"models/{number}")
    with pytest.raises(ConflictError, match="digits-1 has 3 versions"):
        remove_model(session, "digits-1")
    assert [model.version for model in remove_model(session, "digits-1@V0002")] == [2]
    assert [model.version for model in remove_model(session, "digits-1", all_versions=True)] == [1, 3]
    assert list_models(session) == []


def test_a_description_can_be_changed(session: Session) -> None:
    new_model(session)
    assert describe_model(session, "digits-1", "for the night shift").description == "for the night shift"
    assert get_model(session, "digits-1").description == "for the night shift"


def test_the_bare_name_means_the_best_stage_until_a_person_chooses(session: Session) -> None:
    assert new_model(session).get_stage().name == "epoch_2"
    assert recommend_stage(session, "digits-1", "epoch_1").get_stage().name == "epoch_1"
    assert get_model(session, "digits-1").get_stage("epoch_2").name == "epoch_2"
    assert recommend_stage(session, "digits-1", None).default_stage == "epoch_2"


def test_an_unknown_stage_is_named_with_the_close_ones(session: Session) -> None:
    model = new_model(session)
    for call in (lambda: model.get_stage("epoch_3"), lambda: recommend_stage(session, "digits-1", "epoch_3")):
        with pytest.raises(NotFoundError, match="no stage 'epoch_3'") as caught:
            call()
        assert "epoch_1" in caught.value.hint


def test_the_best_stage_must_be_one_of_the_stages(session: Session) -> None:
    with pytest.raises(NotFoundError, match="'last' is not one of the model's stages"):
        new_model(session, best_stage="last")
    assert list_models(session) == []


def test_two_stages_of_one_name_are_refused(session: Session) -> None:
    with pytest.raises(RequestError, match="two stages have the same name"):
        new_model(session, stages=STAGES + STAGES[:1])


def test_a_time_no_database_can_hold_does_not_cost_the_model(session: Session) -> None:
    model = new_model(session, stages=[StageRecord("epoch_2", {"mAP": float("inf")}, 10**40, (), 0)])
    assert (model.stages[0].timestamp, model.stages[0].metrics) == (0, {"mAP": float("inf")})


def test_an_impossible_name_is_refused(session: Session) -> None:
    with pytest.raises(RequestError, match="cannot be the name of a model"):
        new_model(session, "../digits")


def test_models_are_listed_newest_first(session: Session) -> None:
    for name in ("a", "c", "b"):
        new_model(session, name)
    assert [model.name for model in list_models(session)] == ["b", "c", "a"]


def test_an_unknown_model_brings_the_close_names(session: Session) -> None:
    new_model(session)
    with pytest.raises(NotFoundError, match="no model 'digits'") as caught:
        get_model(session, "digits")
    assert "digits-1" in caught.value.hint


def test_a_model_is_not_removed_under_an_unfinished_job(session: Session, new_job: Callable) -> None:
    new_model(session)
    new_model(session, "other")
    new_job(session, "m4k2m9xq", plan={"model": "digits-1@V0001"})
    assert [model.name for model in remove_model(session, "other")] == ["other"]
    for change in (lambda: remove_model(session, "digits-1"), lambda: rename_model(session, "digits-1", "numbers")):
        with pytest.raises(ConflictError, match="unfinished jobs: m4k2m9xq"):
            change()


def test_a_number_is_never_given_again(session: Session) -> None:
    """Predictions of a model that was removed say ``digits-1@V0001``: no other model may be called so."""
    removed = new_model(session)
    assert remove_model(session, "digits-1") == [removed]
    assert find_model(session, "digits-1") is None
    assert new_model(session, stages=STAGES[1:]).reference == "digits-1@V0002"


def test_jobs_and_models_of_a_name_count_together(session: Session, new_job: Callable) -> None:
    assert new_job(session, "t4k2m9xq", name="digits-1").version == 1
    assert new_model(session).version == 2
    assert new_job(session, "t4k2m9xr", name="digits-1").version == 3
    assert new_job(session, "t4k2m9xs").version is None
