"""The service and the Runner have the same verbs, which give the same documents."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from contracts.errors import DatasetError, UnavailableError
from contracts.job import JobSpec
from contracts.rpc import sluice_pb2 as pb
from contracts.rpc.documents import fields_of, to_document, to_message
from runner.client import RemoteRunner, find_server
from runner.rpc.servicer import SERVICE, verb_name
from runner.serve import Service
from runner.service import Runner

#: What makes or ends a Runner, and what only a process that drives jobs itself needs.
NO_METHODS = {"open", "close", "run", "attend", "sweep"}
#: The service's own: no verb of a Runner.
OWN_METHODS = {"describe"}
METHODS: dict[str, MethodDescriptor] = {verb_name(method.name): method for method in SERVICE.methods}


def _public(owner: type) -> dict[str, Callable[..., Any]]:
    return {name: value for name, value in inspect.getmembers(owner, callable) if not name.startswith("_")}


VERBS = sorted(set(_public(Runner)) - NO_METHODS)


def test_every_verb_has_a_method_and_every_method_is_a_verb() -> None:
    assert set(METHODS) == set(VERBS) | OWN_METHODS


@pytest.mark.parametrize("verb", sorted(set(_public(Runner)) - {"open"}))
def test_the_client_has_every_verb_with_the_same_parameters(verb: str) -> None:
    here, there = (inspect.signature(_public(owner)[verb]) for owner in (Runner, RemoteRunner))
    assert list(map(_comparable, here.parameters.values())) == list(map(_comparable, there.parameters.values()))
    assert verb in ("__enter__",) or here.return_annotation == there.return_annotation


def _comparable(parameter: inspect.Parameter) -> tuple[Any, ...]:
    default = "a function" if callable(parameter.default) and parameter.default is not parameter.empty else parameter.default
    return parameter.name, parameter.kind, default, parameter.annotation


@pytest.mark.parametrize("verb", VERBS)
def test_a_request_has_a_field_for_every_parameter_and_knows_which_are_paths(verb: str) -> None:
    parameters = _parameters(verb)
    fields = {field.name: field for field in fields_of(METHODS[verb].input_type)}
    assert set(fields) - {"follow"} == set(parameters)
    paths = {name for name, parameter in parameters.items() if parameter.annotation in ("Path", "Path | str")}
    assert {name for name, field in fields.items() if field.host_path} == paths


@pytest.mark.parametrize("verb", VERBS)
def test_a_field_that_is_not_set_means_what_the_parameter_has_by_itself(verb: str) -> None:
    """A field without presence arrives as zero or empty, so that must be the parameter's default, or it has none."""
    parameters = _parameters(verb)
    for field in fields_of(METHODS[verb].input_type):
        if not field.presence and field.name in parameters:
            default = parameters[field.name].default
            assert default is inspect.Parameter.empty or not default, field.name
            assert default is not None, field.name


def _parameters(verb: str) -> dict[str, inspect.Parameter]:
    found = inspect.signature(_public(Runner)[verb]).parameters
    return {name: parameter for name, parameter in found.items() if name != "self" and not name.startswith("on_")}


# ---------------------------------------------------------------------------------------------------------- the documents


@pytest.fixture(scope="module")
def jobs(busy: Service) -> dict[str, str]:
    """A job of each kind by a name for it."""
    runner = busy.runner
    specs: dict[str, dict[str, Any]] = {
        "training": {"kind": "training", "image": "probe", "train_data": "pets", "name": "first", "cpu_count": 1.0, "timeout_s": 60.0},
        "failed": {"kind": "training", "image": "probe", "train_data": "pets", "parameters": {"exit_code": 7}, "class_names": ["dog"]},
        "mining": {"kind": "mining", "model": "first", "data": "pets:test", "top_k": 2},
        "both": {"kind": "mining+inference", "model": "first@epoch_1", "data": "pets:test"},
    }
    ids = {}
    for name, spec in specs.items():
        ids[name] = runner.submit(JobSpec(**spec), user="ada")["id"]
        *_, job = runner.watch(ids[name])
        assert job["state"] == ("failed" if name == "failed" else "succeeded"), job["evidence"]
    hanging = {"kind": "training", "image": "probe", "train_data": "pets", "parameters": {"behaviour": "hang"}}
    ids["running"], ids["waiting"] = (runner.submit(JobSpec(**hanging))["id"] for _ in range(2))
    next(job for job in runner.watch(ids["running"]) if job["step"] == "follow" and job["progress"])
    return ids


@pytest.fixture(scope="module")
def there(busy: Service) -> Iterator[RemoteRunner]:
    found = find_server(busy.runner._installation.settings)
    assert found is not None
    with found:
        yield found


def _same(verb: str, here: Any, there: Any) -> None:
    """Equal as text, so also in the order of keys and the types of numbers; and the message leaves nothing out."""
    assert json.dumps(there, indent=1) == json.dumps(here, indent=1)
    answer = GetMessageClass(METHODS[verb].output_type)
    assert to_document(to_message(here, answer, strict=True)) == here


@pytest.mark.parametrize("name", ["training", "failed", "mining", "both", "running", "waiting"])
def test_a_job_of_any_kind_and_state_is_the_same_document(name: str, jobs: dict[str, str], busy: Service, there: RemoteRunner) -> None:
    _same("get_job", busy.runner.get_job(jobs[name]), there.get_job(jobs[name]))


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("list_jobs", {}),
        ("list_jobs", {"states": ["failed"], "kinds": ["training"], "users": ["ada"], "projects": ["default"], "limit": 1}),
        ("list_jobs", {"offset": 3}),
        ("list_images", {}),
        ("get_image", {"name": "probe"}),
        ("list_datasets", {}),
        ("get_dataset", {"reference": "pets@V001"}),
        ("get_dataset", {"reference": "pets", "report": False}),
        ("list_dataset_versions", {"name": "pets"}),
        ("set_current_version", {"reference": "pets@V001"}),
        ("derive_dataset", {"reference": "pets", "operation": {"op": "filter", "where": "true"}}),
        ("list_dataset_classes", {"name": "pets"}),
        ("set_dataset_class", {"name": "pets", "class_name": "a thing", "aliases": ["thing"], "color": "#00ff00"}),
        ("list_models", {}),
        ("list_models", {"name": "first"}),
        ("get_model", {"name": "first"}),
        ("check_model", {"name": "first@V0001", "stage": "epoch_1"}),
        ("recommend_stage", {"name": "first", "stage": "epoch_1"}),
        ("recommend_stage", {"name": "first"}),
        ("describe_model", {"name": "first", "description": "the first one"}),
        ("job_versions", {"name": "first"}),
        ("compare_jobs", {"references": ["first", "first@V0001"]}),
        ("list_presets", {}),
        ("list_gpus", {}),
        ("gpu_events", {}),
        ("list_gpu_pools", {}),
        ("set_share", {"kind": "user", "name": "ada", "weight": 2.0, "max_gpus": 3}),
        ("set_share", {"kind": "project", "name": "default", "max_jobs": 7}),
        ("list_shares", {}),
        ("gc", {"older_than_days": 0.0, "what": ["runs"]}),
        ("doctor", {}),
        ("add_connection", {"name": "team", "endpoint": "http://127.0.0.1:1", "access_key": "k", "secret": "s", "overwrite": True}),
        ("list_connections", {}),
        ("get_connection", {"name": "team"}),
    ],
)
def test_what_a_verb_says_is_the_same_document(verb: str, arguments: dict[str, Any], jobs: Any, busy: Service, there: RemoteRunner) -> None:
    _same(verb, getattr(busy.runner, verb)(**arguments), getattr(there, verb)(**arguments))


def test_a_store_is_asked_and_its_connection_forgotten_by_the_service(there: RemoteRunner, s3_server: Any) -> None:
    from tests.s3 import KEY, SECRET

    there.add_connection("asked", endpoint=s3_server.endpoint, access_key=KEY, secret=SECRET, addressing="path")
    assert s3_server.endpoint in there.check_connection("asked")["answer"]
    with pytest.raises(DatasetError, match="no bucket 'nothing'"):
        there.import_dataset("cells", "s3://nothing/cells", connection="asked")
    assert there.remove_connection("asked")["secret"] == "********"
    assert "asked" not in [connection["name"] for connection in there.list_connections()]


def test_a_model_is_imported_renamed_and_removed_from_there(busy: Service, there: RemoteRunner, tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(b"weights")
    facts: dict[str, Any] = {
        "class_names": ["cat"],
        "object_type": "detection",
        "metrics": ["mAP=0.5"],
        "image": "probe",
        "description": "d",
    }
    imported = there.import_model("far", tmp_path / "best.pt", **facts)
    assert busy.runner.import_model("far", tmp_path / "best.pt", **facts) == {**imported, "unchanged": True}
    _same("get_model", busy.runner.get_model("far"), there.get_model("far"))
    with pytest.raises(UnavailableError, match="cannot be fetched"):
        there.fetch_model("far", "http://127.0.0.1:9/best.pt", **facts)
    _same("rename_model", there.rename_model("far", "further"), there.list_models("further"))
    assert there.remove_model("further", all_versions=True) == {"removed": ["further@V0001"], "freed_bytes": 7}


def test_a_preset_is_saved_changed_and_removed_from_there(jobs: dict[str, str], busy: Service, there: RemoteRunner) -> None:
    there.save_preset("usual", from_job=jobs["failed"], request={"kind": "training", "seed": 3}, texts=["sleep_s=1"])
    there.edit_preset("usual", request={"priority": 2}, texts=["exit_code=0"], unset=["class_names"])
    saved = there.get_preset("usual")
    assert saved["request"]["parameters"] == {"exit_code": 0, "sleep_s": 1.0}
    _same("get_preset", busy.runner.get_preset("usual"), saved)
    _same("list_presets", busy.runner.list_presets(), there.list_presets())
    _same("remove_preset", there.remove_preset("usual"), {"removed": "usual"})


def test_a_ranking_is_the_same_document(jobs: dict[str, str], busy: Service, there: RemoteRunner) -> None:
    for limit in (None, 0, 1):
        _same("mining_ranking", busy.runner.mining_ranking(jobs["mining"], limit), there.mining_ranking(jobs["mining"], limit))


def test_an_evaluation_is_the_same_document(jobs: dict[str, str], busy: Service, there: RemoteRunner) -> None:
    here = busy.runner.evaluate([jobs["both"]], against="pets:test", confidence=0.1)
    _same("evaluate", here, there.evaluate([jobs["both"]], against="pets:test", confidence=0.1))
    _same("get_evaluation", here, there.get_evaluation(here["id"][:5]))
    _same("list_evaluations", busy.runner.list_evaluations(), there.list_evaluations())
    _same("compare_evaluations", busy.runner.compare_evaluations([here["id"]]), there.compare_evaluations([here["id"]]))


def test_parameters_keep_the_types_of_the_template(busy: Service, there: RemoteRunner) -> None:
    spec = JobSpec(kind="training", image="probe", train_data="pets")
    texts = ["sleep_s=1", "behaviour=ok", "expected_map=0.5"]
    _same("parse_parameters", busy.runner.parse_parameters(spec, texts), there.parse_parameters(spec, texts))


def test_files_are_written_as_the_runner_writes_them(jobs: dict[str, str], busy: Service, there: RemoteRunner, tmp_path: Path) -> None:
    here = busy.runner.export_model("first", tmp_path / "a.tar", overwrite=True)
    _same("export_model", here, {**there.export_model("first", tmp_path / "b.tar"), "file": here["file"]})
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    sheet = there.contact_sheet(jobs["both"], tmp_path / "sheet.png", limit=4, columns=2)
    _same("contact_sheet", busy.runner.contact_sheet(jobs["both"], tmp_path / "sheet.png", limit=4, columns=2), sheet)


def test_an_export_is_written_as_the_runner_writes_it(busy: Service, there: RemoteRunner, tmp_path: Path) -> None:
    said: list[tuple[int, int | None]] = []
    here = busy.runner.export_dataset("pets:val", tmp_path / "here", format="class-folders", pictures=False)
    wanted = {"format": "class-folders", "pictures": False}
    remote = there.export_dataset("pets:val", tmp_path / "there", **wanted, on_progress=lambda *count: said.append(count))
    assert json.dumps({**remote, "target": here["target"]}) == json.dumps(here)
    assert to_document(to_message(here, pb.ExportedDataset, strict=True)) == here
    assert remote["target"] == str(tmp_path / "there")
    assert said[-1] == (3, 3)


def test_an_export_carries_the_predictions_of_a_job(busy: Service, there: RemoteRunner, jobs: dict[str, str], tmp_path: Path) -> None:
    here = busy.runner.export_dataset("pets:test", tmp_path / "here", format="coco", predictions=jobs["both"])
    remote = there.export_dataset("pets:test", tmp_path / "there", format="coco", predictions=jobs["both"])
    assert {**remote, "target": here["target"]} == here
    assert (here["predictions"], here["predicted"]) == (jobs["both"], here["images"])
    assert (tmp_path / "there" / "results" / "instances_test.json").read_bytes() == (
        tmp_path / "here" / "results" / "instances_test.json"
    ).read_bytes()


def test_a_log_is_read_from_any_offset_in_pieces_of_any_size(jobs: dict[str, str], busy: Service, there: RemoteRunner) -> None:
    whole, end, _ = busy.runner.read_job_log(jobs["training"])
    for offset, size in ((0, 10), (3, 1 << 20), (end, 5), (end + 7, 5), (0, 1)):
        assert there.read_job_log(jobs["training"], offset, size) == busy.runner.read_job_log(jobs["training"], offset, size)
    assert b"".join(data for data, _, _ in there.follow_job_log(jobs["training"])) == whole


def test_an_older_client_is_told_apart_by_its_messages(there: RemoteRunner) -> None:
    described = there.describe()
    assert set(described) == {field.name for field in pb.Description.DESCRIPTOR.fields}
    assert described["engine"] == "process"
