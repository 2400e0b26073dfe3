"""Models from elsewhere: packages as people make them, folders, bare weights; and packages that mean harm."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.errors import LinkError, NotFoundError, RequestError
from contracts.job import JobSpec
from runner.service import Runner
from runner.settings import environment_of, load_settings
from tests.conformance.main_job import PROBE, voc_folder

INFO: dict[str, Any] = {
    "executor_config": {"class_names": ["cat", "dog"], "epochs": 3},
    "task_context": {"executor": "trainer:1", "producer": "ymir", "mAP": 0.5, "type": 1},
    "stages": {
        "epoch_1": {"stage_name": "epoch_1", "files": ["best.pt"], "timestamp": 1_700_000_000, "mAP": 0.25},
        "epoch_2": {"stage_name": "epoch_2", "files": ["best.pt", "net.cfg"], "timestamp": 1_700_000_100, "mAP": 0.5, "tp": 3},
    },
    "best_stage_name": "epoch_2",
    "package_version": "2.0.0",
    "object_type": 2,
    "attachments": {"plots": ["curve.png"]},
    "evaluate_config": {"iou_thr": 0.5},
}
FILES = {
    "epoch_1/best.pt": b"weights of epoch 1",
    "epoch_2/best.pt": b"weights of epoch 2",
    "epoch_2/net.cfg": b"[net]",
    "attachments/plots/curve.png": b"a curve",
}
Change = Callable[[tarfile.TarFile], None]


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    with Runner.open(load_settings({"home": str(tmp_path / "home"), "engine": "process"})) as runner:
        yield runner


def add(archive: tarfile.TarFile, name: str, content: bytes = b"", **header: Any) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in header.items():
        setattr(member, key, value)
    archive.addfile(member, io.BytesIO(content))


def package(
    path: Path, info: dict[str, Any] | None = None, files: dict[str, bytes] | None = None, *, mode: str = "w:gz", also: Change | None = None
) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in (FILES if files is None else files).items():
            add(archive, name, content)
        if also:
            also(archive)
        add(archive, "ymir-info.yaml", yaml.safe_dump({**INFO, **(info or {})}).encode())
    return path


def codes(imported: dict[str, Any]) -> list[str]:
    return [warning["code"] for warning in imported["warnings"]]


def nothing_stored(runner: Runner) -> bool:
    home = runner._installation.home
    left = [path for name in ("models", "tmp") for path in (home / name).glob("*") if (home / name).exists()]
    return runner.list_models() == [] and left == []


# ------------------------------------------------------------------------------------------------------------- packages


@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_a_package_becomes_a_model_with_everything_it_says(runner: Runner, tmp_path: Path, mode: str) -> None:
    imported = runner.import_model("detector", package(tmp_path / "m", mode=mode), description="from the other site")
    assert codes(imported) == ["no_image"]
    assert (imported["reference"], imported["class_names"], imported["best_stage"]) == ("detector@V0001", ["cat", "dog"], "epoch_2")
    assert [(s["name"], s["metrics"], s["timestamp"]) for s in imported["stages"]] == [
        ("epoch_1", {"mAP": 0.25}, 1_700_000_000),
        ("epoch_2", {"mAP": 0.5, "tp": 3.0}, 1_700_000_100),
    ]
    assert imported["stages"][1]["checksums"]["net.cfg"] == hashlib.sha256(b"[net]").hexdigest()
    assert (imported["parameters"], imported["evaluate_config"]) == ({"epochs": 3}, {"iou_thr": 0.5})
    assert (imported["description"], imported["origin"]["form"]) == ("from the other site", "ymir package 2.0.0")
    folder = Path(imported["folder"])
    assert {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == FILES
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o444}


def test_what_is_exported_comes_back_as_it_was(runner: Runner, tmp_path: Path) -> None:
    first = runner.import_model("one", package(tmp_path / "m"))
    exported = runner.export_model("one", tmp_path / "out.tar.gz")
    again = runner.import_model("two", tmp_path / "out.tar.gz")
    kept = ("class_names", "object_type", "best_stage", "stages", "parameters", "evaluate_config", "attachments", "size_bytes")
    assert {key: again[key] for key in kept} == {key: first[key] for key in kept}
    assert again["origin"]["task_context"]["executor"] == "trainer:1"
    assert exported["sha1"] == hashlib.sha1((tmp_path / "out.tar.gz").read_bytes()).hexdigest()
    runner.export_model("one", tmp_path / "folder", form="folder")
    assert runner.import_model("two", tmp_path / "folder")["unchanged"]
    with pytest.raises(RequestError, match="exists"):
        runner.export_model("one", tmp_path / "folder", form="folder", overwrite=True)


def test_the_same_package_again_makes_no_other_version(runner: Runner, tmp_path: Path) -> None:
    source = package(tmp_path / "m")
    assert [runner.import_model("detector", source)["unchanged"] for _ in range(2)] == [False, True]
    changed = runner.import_model("detector", package(tmp_path / "m2", files={**FILES, "epoch_1/best.pt": b"other weights"}))
    assert (changed["reference"], changed["unchanged"]) == ("detector@V0002", False)
    assert [model["version"] for model in runner.list_models("detector")] == ["V0002", "V0001"]


def test_files_at_the_root_dots_and_what_a_mac_adds_are_tolerated_and_named(runner: Runner, tmp_path: Path) -> None:
    stages = {"epoch_2": INFO["stages"]["epoch_2"]}
    files = {"./best.pt": b"weights", "./net.cfg": b"[net]", "./._best.pt": b"mac", "./._ymir-info.yaml": b"mac", "left.txt": b"over"}
    imported = runner.import_model("mac", package(tmp_path / "m", {"stages": stages, "attachments": {}}, files))
    expected = {"package_dot_prefix", "package_mac_files", "package_file_at_root", "package_extra_files", "no_image"}
    assert set(codes(imported)) == expected
    assert sorted(path.name for path in Path(imported["folder"], "epoch_2").iterdir()) == ["best.pt", "net.cfg"]


def test_a_package_in_a_folder_of_its_own_is_found(runner: Runner, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "m", "w") as archive:
        for name, content in {**FILES, "ymir-info.yaml": yaml.safe_dump(INFO).encode()}.items():
            add(archive, f"model/{name}", content)
    assert codes(runner.import_model("nested", tmp_path / "m")) == ["package_in_folder", "no_image"]


def test_a_package_that_does_not_name_its_classes_needs_them(runner: Runner, tmp_path: Path) -> None:
    source = package(tmp_path / "m", {"executor_config": {"epochs": 3}})
    with pytest.raises(RequestError, match="its classes in the order of their ids") as caught:
        runner.import_model("detector", source)
    assert caught.value.fields["missing"] == ["class_names"]
    assert nothing_stored(runner)
    assert runner.import_model("detector", source, class_names=["Cat", "dog"])["class_names"] == ["cat", "dog"]


@pytest.mark.parametrize("lacking", ["epoch_1/best.pt", "attachments/plots/curve.png"])
def test_a_package_that_lacks_a_file_is_refused_whole(runner: Runner, tmp_path: Path, lacking: str) -> None:
    files = {name: content for name, content in FILES.items() if name != lacking}
    with pytest.raises(RequestError, match="the package lacks"):
        runner.import_model("half", package(tmp_path / "m", files=files))
    assert nothing_stored(runner)


# --------------------------------------------------------------------------------------------------- that mean harm


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> Change:
    return lambda archive: add(archive, name, type=kind, linkname=target)


HARM: dict[str, Change] = {
    "climbs out": lambda archive: add(archive, "../../evil", b"x"),
    "absolute": lambda archive: add(archive, "/tmp/sluice-evil", b"x"),
    "climbs inside": lambda archive: add(archive, "epoch_1/../../../evil", b"x"),
    "windows": lambda archive: add(archive, "C:\\evil", b"x"),
    "link out": link("epoch_1/out", "/etc"),
    "link then file": lambda archive: (link("epoch_9", "/tmp")(archive), add(archive, "epoch_9/sluice-evil", b"x"))[0],
    "hard link": link("epoch_1/passwd", "/etc/passwd", tarfile.LNKTYPE),
    "device": lambda archive: add(archive, "epoch_1/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    "pipe": lambda archive: add(archive, "epoch_1/pipe", type=tarfile.FIFOTYPE),
    "twice": lambda archive: add(archive, "epoch_1/best.pt", b"another"),
    "twice otherwise written": lambda archive: add(archive, "./epoch_1//best.pt", b"another"),
    "control characters": lambda archive: add(archive, "epoch_1/a\x1b[2Jb", b"x"),
    "newline": lambda archive: add(archive, "epoch_1/a\nb", b"x"),
    "long name": lambda archive: add(archive, "epoch_1/" + "n" * 300, b"x"),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_package_that_means_harm_is_refused_and_leaves_nothing(runner: Runner, tmp_path: Path, harm: str) -> None:
    before = sorted(path for path in tmp_path.rglob("*") if "home" not in path.parts)
    source = package(tmp_path / "m", also=HARM[harm])
    with pytest.raises(RequestError) as caught:
        runner.import_model("evil", source)
    assert all(c.isprintable() for c in caught.value.message)
    assert nothing_stored(runner)
    assert sorted(path for path in tmp_path.rglob("*") if "home" not in path.parts) == sorted([*before, source])
    assert not Path("/tmp/sluice-evil").exists()


def test_a_million_members_are_not_even_counted(runner: Runner, tmp_path: Path) -> None:
    header = tarfile.TarInfo("epoch_1")
    header.type = tarfile.DIRTYPE
    block = header.tobuf() * 10_000
    with gzip.open(tmp_path / "m", "wb", 1) as file:
        for _ in range(100):
            file.write(block)
    with pytest.raises(RequestError, match="lists more than 20,000 members"):
        runner.import_model("many", tmp_path / "m")
    assert nothing_stored(runner)


def test_a_bomb_is_refused_before_it_fills_the_disk(runner: Runner, tmp_path: Path) -> None:
    with gzip.open(tmp_path / "m", "wb", 1) as file:
        member = tarfile.TarInfo("epoch_1/best.pt")
        member.size = 2 * 1024**3
        file.write(member.tobuf())
        for _ in range(640):
            file.write(bytes(1024**2))
    with pytest.raises(RequestError, match="unpacks to more than"):
        runner.import_model("bomb", tmp_path / "m")
    assert nothing_stored(runner)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_name_of_a_gigabyte_is_not_read_into_memory(runner: Runner, tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = kind, 4 * 1024**3
    with gzip.open(tmp_path / "m", "wb", 1) as file:
        add_info = tarfile.TarInfo("a")
        file.write(add_info.tobuf() + member.tobuf())
        file.write(bytes(1024**2))
    with pytest.raises(RequestError, match=r"broken archive|its classes"):
        runner.import_model("long", tmp_path / "m")
    assert nothing_stored(runner)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_truncated_package_is_refused(runner: Runner, tmp_path: Path, share: float) -> None:
    whole = package(tmp_path / "m", files={**FILES, "epoch_1/best.pt": os.urandom(300_000)}).read_bytes()
    (tmp_path / "m").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(RequestError):
        runner.import_model("cut", tmp_path / "m")
    assert nothing_stored(runner)


# -------------------------------------------------------------------------------------------- folders and bare weights


def test_bare_weights_need_their_facts_by_name(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(b"weights")
    with pytest.raises(RequestError) as caught:
        runner.import_model("bare", tmp_path / "best.pt")
    assert caught.value.fields["missing"] == ["class_names", "object_type"]
    facts: dict[str, Any] = {"class_names": ["cat"], "object_type": "detection"}
    imported = runner.import_model("bare", tmp_path / "best.pt", **facts, stage="final", metrics=["mAP=0.7", "tp=4"])
    assert [(s["name"], s["metrics"], s["files"]) for s in imported["stages"]] == [("final", {"mAP": 0.7, "tp": 4.0}, ["best.pt"])]
    assert imported["metrics_definition"] == "as the imported model, or who imported it, gave them"


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"metrics": ["mAP=70"]}, r"\[0, 1\]"),
        ({"metrics": ["mAP"]}, "is not a metric"),
        ({"metrics": ["loss=1"]}, "no metric 'loss'"),
        ({"object_type": "people"}, "no object type 'people'"),
        ({"stage": "a/b"}, "cannot be the name of a stage"),
        ({"class_names": ["cat", "CAT"]}, "cannot be the classes"),
        ({"class_names": ["cat", "a\nb"]}, "cannot be the classes"),
        ({"image": "nobody"}, "no image 'nobody'"),
    ],
)
def test_a_wrong_fact_is_refused(runner: Runner, tmp_path: Path, facts: dict[str, Any], message: str) -> None:
    (tmp_path / "best.pt").write_bytes(b"weights")
    with pytest.raises(RequestError, match=message):
        runner.import_model("bare", tmp_path / "best.pt", **{"class_names": ["cat"], "object_type": "2", **facts})
    assert nothing_stored(runner)


def test_a_folder_of_folders_has_as_many_stages_and_another_one(runner: Runner, tmp_path: Path) -> None:
    for stage in ("epoch_1", "epoch_2"):
        (tmp_path / "many" / stage / "config").mkdir(parents=True)
        (tmp_path / "many" / stage / "best.pt").write_bytes(stage.encode())
        (tmp_path / "many" / stage / "config" / "net.cfg").write_bytes(b"[net]")
    facts: dict[str, Any] = {"class_names": ["cat"], "object_type": "detection", "metrics": ["mAP=0.5"]}
    imported = runner.import_model("many", tmp_path / "many", **facts, stage="epoch_1")
    assert [(s["name"], s["files"], s["metrics"]) for s in imported["stages"]] == [
        ("epoch_1", ["best.pt", "config/net.cfg"], {"mAP": 0.5}),
        ("epoch_2", ["best.pt", "config/net.cfg"], {}),
    ]
    assert imported["best_stage"] == "epoch_1"
    one = runner.import_model("one", tmp_path / "many" / "epoch_1", **facts)
    assert [(s["name"], s["files"]) for s in one["stages"]] == [("default_best_stage", ["best.pt", "config/net.cfg"])]


def test_links_in_a_folder_are_followed_inside_and_never_outside(runner: Runner, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "epoch_9.pth").write_bytes(b"weights")
    (folder / "latest.pth").symlink_to("epoch_9.pth")
    facts: dict[str, Any] = {"class_names": ["cat"], "object_type": "detection"}
    imported = runner.import_model("inside", folder, **facts)
    assert "package_link" in codes(imported)
    assert not Path(imported["folder"], "default_best_stage", "latest.pth").is_symlink()
    (tmp_path / "secret").write_bytes(b"secret")
    for target in (tmp_path / "secret", tmp_path, Path("nowhere")):
        (folder / "out").unlink(missing_ok=True)
        (folder / "out").symlink_to(target)
        with pytest.raises(RequestError, match="out is a link to no file inside"):
            runner.import_model("outside", folder, **facts)
    (folder / "out").unlink()
    os.mkfifo(folder / "out")
    with pytest.raises(RequestError, match="out is no file"):
        runner.import_model("outside", folder, **facts)


# -------------------------------------------------------------------------------------------------------- kept and used


def test_a_file_that_changed_is_found_and_not_exported(runner: Runner, tmp_path: Path) -> None:
    imported = runner.import_model("detector", package(tmp_path / "m"))
    assert runner.check_model("detector")["faults"] == []
    file = Path(imported["folder"], "epoch_1", "best.pt")
    file.chmod(0o644)
    file.write_bytes(b"weights of epoch X")
    Path(imported["folder"], "epoch_2", "net.cfg").unlink()
    assert runner.check_model("detector")["faults"] == [
        {"stage": "epoch_1", "file": "best.pt", "fault": "changed"},
        {"stage": "epoch_2", "file": "net.cfg", "fault": "missing"},
    ]
    assert runner.check_model("detector", stage="epoch_1")["files"] == 1
    with pytest.raises(RequestError, match=r"best\.pt of detector@V0001@epoch_1 is changed"):
        runner.export_model("detector", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_removed_model_takes_its_files_along(runner: Runner, tmp_path: Path) -> None:
    folder = Path(runner.import_model("detector", package(tmp_path / "m"))["folder"])
    assert runner.remove_model("detector")["removed"] == ["detector@V0001"]
    assert not folder.exists()
    assert nothing_stored(runner)
    with pytest.raises(NotFoundError):
        runner.remove_model("detector")


def test_a_renamed_model_keeps_its_files_when_its_old_name_comes_again(runner: Runner, tmp_path: Path) -> None:
    runner.import_model("first", package(tmp_path / "m"))
    (renamed,) = runner.rename_model("first", "second")
    again = runner.import_model("first", package(tmp_path / "m2", files={**FILES, "epoch_1/best.pt": b"other"}))
    assert again["folder"] != renamed["folder"]
    assert runner.check_model("second")["faults"] == runner.check_model("first")["faults"] == []


def test_an_imported_model_infers_through_the_links_of_its_image(runner: Runner, tmp_path: Path) -> None:
    runner.import_dataset("pets", voc_folder(tmp_path / "pets", {"train": 4, "val": 2}))
    runner.build_image(PROBE, name="probe")
    runner.link_images("probe", "probe")
    source = package(tmp_path / "m")
    runner.import_model("foreign", source)
    with pytest.raises(LinkError, match="nobody has said which image"):
        runner.submit(JobSpec(kind="inference", model="foreign", data="pets"))
    owned = runner.import_model("foreign", source, image="probe")
    assert (owned["reference"], owned["image"]["name"], codes(owned)) == ("foreign@V0002", "probe", [])
    job = runner.submit(JobSpec(kind="inference", model="foreign", data="pets:train"))
    *_, ended = runner.watch(job["id"])
    assert (ended["state"], ended["model"]) == ("succeeded", "foreign@V0002@epoch_2"), ended["evidence"]
    runner.recommend_stage("foreign", "epoch_1")
    assert runner.submit(JobSpec(kind="inference", model="foreign", data="pets:train"))["model"] == "foreign@V0002@epoch_1"
    with pytest.raises(RequestError, match="used by unfinished jobs"):
        runner.remove_model("foreign@V0002")


def test_an_import_that_is_killed_leaves_nothing_that_the_next_does_not_clear(runner: Runner, tmp_path: Path) -> None:
    source = package(tmp_path / "m", files={**FILES, "epoch_1/best.pt": os.urandom(1024**2)})
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nimport runner.model_import as m\nfrom runner.service import Runner\n"
        "from runner.settings import load_settings\n"
        "def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)\n"
        "setattr(m, sys.argv[2], die) if sys.argv[2] == 'show_folder' else setattr(m.models, 'add_model', die)\n"
        "Runner.open(load_settings({})).import_model('killed', Path(sys.argv[1]))\n"
    )
    environment = {**os.environ, **environment_of(runner._installation.settings)}
    for moment in ("show_folder", "add_model"):
        died = subprocess.run([sys.executable, "-c", program, str(source), moment], env=environment, check=False, capture_output=True)
        assert died.returncode == -9, died.stderr
        assert runner.list_models() == []
    assert runner.import_model("killed", source)["reference"] == "killed@V0001"
    assert list((runner._installation.home / "tmp").iterdir()) == []
    assert [path.name for path in (runner._installation.home / "models").iterdir()] == ["killed"]
