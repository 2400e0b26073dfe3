"""What every dialect must do. Subclass ``DialectConformance``; the fixtures say how an image of that dialect looks and answers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.dataset import Annotation, Asset, ContainerPaths, JobInputs, ListedSamples, ModelInput, Sample
from contracts.errors import DatasetError, ImageError, ResultError, ResultMissingError
from contracts.image import Kind, ObjectType
from contracts.seams import Dialect

NOISE = [
    b"",
    b"\x00" * 500,
    bytes(range(256)) * 9,
    b"[" * 300,
    b"{" * 300,
    b"a: &a [*a]",
    b'{"a": NaN}',
    b"\t\t\t\n" * 50,
    b"1 2 3 4 5\n",
]
CLASSES = ("cat", "dog")


def sample(folder: Path, content: str) -> Sample:
    """A stored picture of these bytes with one box."""
    data = content.encode()
    asset = Asset(hashlib.sha1(data).hexdigest(), "jpg", 64, 48, len(data))
    path = folder / "assets" / asset.relative_path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return Sample(asset, path, (Annotation("cat", 1, 2, 10, 20),), f"{content}.jpg")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class DialectConformance:
    """Provide ``dialect``, ``image_files`` and the four ``answer_*`` methods of an image that does everything right."""

    @pytest.fixture
    def dialect(self) -> Dialect:
        raise NotImplementedError

    @pytest.fixture
    def image_files(self) -> Mapping[str, bytes]:
        """The metadata files of an image that offers training, mining and inference for detection."""
        raise NotImplementedError

    def answer_progress(self, out_dir: Path, fraction: float) -> None:
        """Write what an image writes when it is so far."""
        raise NotImplementedError

    def answer_training(self, out_dir: Path) -> None:
        """Write one stage ``best`` with the file ``weights.bin``."""
        raise NotImplementedError

    def answer_mining(self, in_dir: Path, out_dir: Path) -> None:
        """Rank every candidate."""
        raise NotImplementedError

    def answer_inference(self, in_dir: Path, out_dir: Path) -> None:
        """One box of class cat in every candidate."""
        raise NotImplementedError

    @pytest.fixture
    def inputs(self, tmp_path: Path) -> dict[Kind, JobInputs]:
        """A job of each kind over small pictures."""
        pictures = [sample(tmp_path, name) for name in ("one", "two", "three")]
        weights = tmp_path / "weights.bin"
        weights.write_text("weights")
        model = ModelInput("m", "best", {"weights.bin": weights}, CLASSES, ObjectType.DETECTION)
        base = JobInputs("t1234567", Kind.TRAINING, ObjectType.DETECTION, CLASSES, {}, train=pictures[:2], val=pictures[2:])
        others = {
            kind: replace(base, kind=kind, train=(), val=(), candidates=pictures, model=model) for kind in Kind if kind is not Kind.TRAINING
        }
        return {Kind.TRAINING: base, **others}

    # ------------------------------------------------------------------------------------------------------------ metadata

    def test_it_has_a_name_and_a_metadata_folder(self, dialect: Dialect) -> None:
        assert dialect.name
        assert dialect.metadata_folder.startswith("/")

    def test_an_image_tells_what_it_offers(self, dialect: Dialect, image_files: Mapping[str, bytes]) -> None:
        metadata = dialect.read_metadata(image_files)
        assert metadata.kinds == (Kind.TRAINING, Kind.MINING, Kind.INFERENCE)
        assert all(metadata.find_template(kind, ObjectType.DETECTION) for kind in metadata.kinds)

    def test_an_image_that_offers_nothing_is_an_image_error(self, dialect: Dialect) -> None:
        with pytest.raises(ImageError) as raised:
            dialect.read_metadata({})
        assert raised.value.hint

    @pytest.mark.parametrize("noise", NOISE, ids=range(len(NOISE)))
    def test_broken_metadata_is_an_image_error_or_a_warning(self, dialect: Dialect, image_files: Mapping[str, bytes], noise: bytes) -> None:
        for name in image_files:
            with suppress(ImageError):
                assert dialect.read_metadata({**image_files, name: noise}).templates

    # -------------------------------------------------------------------------------------------------------------- staging

    @pytest.mark.parametrize("kind", Kind)
    def test_staging_again_after_a_half_try_gives_the_same_input(
        self, dialect: Dialect, inputs: dict[Kind, JobInputs], kind: Kind, tmp_path: Path
    ) -> None:
        in_dir, out_dir = tmp_path / "in", tmp_path / "out"
        dialect.stage(inputs[kind], in_dir, out_dir)
        first = snapshot(in_dir)
        (in_dir / "left-over").write_text("of a half try")
        (out_dir / "left-over").write_text("of an earlier attempt")
        dialect.stage(inputs[kind], in_dir, out_dir)
        assert snapshot(in_dir) == first
        assert not (out_dir / "left-over").exists()

    @pytest.mark.parametrize("kind", Kind)
    def test_samples_may_come_as_a_table(self, dialect: Dialect, inputs: dict[Kind, JobInputs], kind: Kind, tmp_path: Path) -> None:
        dialect.stage(inputs[kind], tmp_path / "in", tmp_path / "out")
        listed = snapshot(tmp_path / "in")
        splits = ("train", "val") if kind is Kind.TRAINING else ("candidates",)
        tables = {split: ListedSamples(getattr(inputs[kind], split)) for split in splits}
        dialect.stage(replace(inputs[kind], **tables), tmp_path / "in", tmp_path / "out")  # type: ignore[arg-type]
        assert snapshot(tmp_path / "in") == listed

    @pytest.mark.parametrize("kind", [Kind.MINING, Kind.INFERENCE])
    def test_a_job_that_is_shown_the_store_gets_no_picture_of_its_own(
        self, dialect: Dialect, inputs: dict[Kind, JobInputs], kind: Kind, tmp_path: Path
    ) -> None:
        shown = replace(inputs[kind], paths=ContainerPaths(assets_dir=str(tmp_path / "assets")))
        dialect.stage(shown, tmp_path / "in", tmp_path / "out")
        pictures = {sample.path.name for sample in inputs[kind].candidates}
        assert not [path for path in (tmp_path / "in").rglob("*") if path.name in pictures]

    @pytest.mark.parametrize("kind", Kind)
    def test_staging_leaves_the_store_as_it_was(self, dialect: Dialect, inputs: dict[Kind, JobInputs], kind: Kind, tmp_path: Path) -> None:
        before = snapshot(tmp_path / "assets")
        dialect.stage(inputs[kind], tmp_path / "in", tmp_path / "out")
        assert snapshot(tmp_path / "assets") == before

    def test_out_may_be_written_by_any_user(self, dialect: Dialect, inputs: dict[Kind, JobInputs], tmp_path: Path) -> None:
        dialect.stage(inputs[Kind.TRAINING], tmp_path / "in", tmp_path / "out")
        assert (tmp_path / "out").stat().st_mode & 0o777 == 0o777

    @pytest.mark.parametrize(("kind", "split"), [(Kind.TRAINING, "train"), (Kind.TRAINING, "val"), (Kind.MINING, "candidates")])
    def test_an_empty_split_is_a_dataset_error(
        self, dialect: Dialect, inputs: dict[Kind, JobInputs], kind: Kind, split: str, tmp_path: Path
    ) -> None:
        empty: dict[str, tuple[Sample, ...]] = {split: ()}
        with pytest.raises(DatasetError):
            dialect.stage(replace(inputs[kind], **empty), tmp_path / "in", tmp_path / "out")  # type: ignore[arg-type]

    def test_a_picture_in_train_and_val_is_a_dataset_error(self, dialect: Dialect, inputs: dict[Kind, JobInputs], tmp_path: Path) -> None:
        both = replace(inputs[Kind.TRAINING], val=inputs[Kind.TRAINING].train)
        with pytest.raises(DatasetError):
            dialect.stage(both, tmp_path / "in", tmp_path / "out")

    def test_a_lost_picture_is_a_dataset_error(self, dialect: Dialect, inputs: dict[Kind, JobInputs], tmp_path: Path) -> None:
        inputs[Kind.MINING].candidates[0].path.unlink()
        with pytest.raises(DatasetError):
            dialect.stage(inputs[Kind.MINING], tmp_path / "in", tmp_path / "out")

    # --------------------------------------------------------------------------------------------------- progress and results

    def test_progress_is_what_the_image_wrote_last(self, dialect: Dialect, inputs: dict[Kind, JobInputs], tmp_path: Path) -> None:
        dialect.stage(inputs[Kind.TRAINING], tmp_path / "in", tmp_path / "out")
        for fraction in (0.25, 0.5):
            self.answer_progress(tmp_path / "out", fraction)
            progress = dialect.read_progress(tmp_path / "out")
            assert progress
            assert (progress.fraction, progress.state) == (fraction, "running")

    def test_no_folder_is_no_progress(self, dialect: Dialect, tmp_path: Path) -> None:
        assert dialect.read_progress(tmp_path / "nothing") is None

    @pytest.mark.parametrize("noise", NOISE, ids=range(len(NOISE)))
    def test_progress_never_raises_for_what_the_image_wrote(self, dialect: Dialect, noise: bytes, tmp_path: Path) -> None:
        self.answer_progress(tmp_path, 0.5)
        for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
            path.write_bytes(noise)
        progress = dialect.read_progress(tmp_path)
        assert progress is None or 0 <= progress.fraction <= 1

    def test_a_training_gives_its_stages(self, dialect: Dialect, inputs: dict[Kind, JobInputs], tmp_path: Path) -> None:
        dialect.stage(inputs[Kind.TRAINING], tmp_path / "in", tmp_path / "out")
        self.answer_training(tmp_path / "out")
        result = dialect.collect_training(tmp_path / "out")
        assert (result.best_stage_name, result.warnings) == ("best", ())
        assert list(result.stages[0].files) == ["weights.bin"]
        assert result.stages[0].files["weights.bin"].is_file()

    def test_a_mining_gives_its_ranking(self, dialect: Dialect, inputs: dict[Kind, JobInputs], tmp_path: Path) -> None:
        assets = [picture.asset for picture in inputs[Kind.MINING].candidates]
        dialect.stage(inputs[Kind.MINING], tmp_path / "in", tmp_path / "out")
        self.answer_mining(tmp_path / "in", tmp_path / "out")
        result = dialect.collect_mining(tmp_path / "out", assets)
        assert {asset_id for asset_id, _ in result.ranking} == {asset.id for asset in assets}
        assert result.warnings == ()

    def test_an_inference_gives_its_predictions(self, dialect: Dialect, inputs: dict[Kind, JobInputs], tmp_path: Path) -> None:
        assets = [picture.asset for picture in inputs[Kind.INFERENCE].candidates]
        dialect.stage(inputs[Kind.INFERENCE], tmp_path / "in", tmp_path / "out")
        self.answer_inference(tmp_path / "in", tmp_path / "out")
        result = dialect.collect_inference(tmp_path / "out", assets, ObjectType.DETECTION, CLASSES)
        assert set(result.predictions) == {asset.id for asset in assets}
        assert all([box.class_name for box in boxes] == ["cat"] for boxes in result.predictions.values())
        assert result.warnings == ()

    def test_no_result_is_missing(self, dialect: Dialect, inputs: dict[Kind, JobInputs], tmp_path: Path) -> None:
        dialect.stage(inputs[Kind.TRAINING], tmp_path / "in", tmp_path / "out")
        with pytest.raises(ResultMissingError):
            dialect.collect_training(tmp_path / "out")
        with pytest.raises(ResultMissingError):
            dialect.collect_mining(tmp_path / "out", ())
        with pytest.raises(ResultMissingError):
            dialect.collect_inference(tmp_path / "out", (), ObjectType.DETECTION, CLASSES)

    @pytest.mark.parametrize("noise", NOISE, ids=range(len(NOISE)))
    def test_a_broken_result_is_a_result_error(self, dialect: Dialect, inputs: dict[Kind, JobInputs], noise: bytes, tmp_path: Path) -> None:
        in_dir, out_dir = tmp_path / "in", tmp_path / "out"
        assets = [picture.asset for picture in inputs[Kind.MINING].candidates]
        dialect.stage(inputs[Kind.MINING_INFERENCE], in_dir, out_dir)
        self.answer_training(out_dir)
        self.answer_mining(in_dir, out_dir)
        self.answer_inference(in_dir, out_dir)
        for path in [path for path in out_dir.rglob("*") if path.is_file()]:
            path.write_bytes(noise)
        for collect in (
            lambda: dialect.collect_training(out_dir),
            lambda: dialect.collect_mining(out_dir, assets),
            lambda: dialect.collect_inference(out_dir, assets, ObjectType.DETECTION, CLASSES),
        ):
            with pytest.raises(ResultError) as raised:
                collect()
            assert raised.value.hint

    # ------------------------------------------------------------------------------------------------------------- resources

    @pytest.mark.parametrize("gpu_count", [0, 1, 8])
    def test_shared_memory_is_never_more_than_the_host_has(self, dialect: Dialect, gpu_count: int) -> None:
        size, _ = dialect.shm_bytes({}, gpu_count, 2**30)
        assert 0 < size <= 2**30

    @pytest.mark.parametrize("kind", Kind)
    def test_reserved_parameters_are_names(self, dialect: Dialect, kind: Kind) -> None:
        assert all(isinstance(name, str) and name for name in dialect.reserved_parameters(kind))
