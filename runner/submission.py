"""Checks what a door asks for and plans the job. Everything that can be refused is refused here, before anything exists.

The plan pins what the request leaves open: dataset versions and splits, the stage, the complete parameters, the permissions. A job runs by
its plan, so that a later import, rename or registration cannot change it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import Session

from contracts.errors import ConflictError, DatasetError, ImageError, LinkError, ParameterError, RequestError
from contracts.image import Kind, ObjectType, Permissions, Template, Wishes
from contracts.job import JobSpec, JobWarning
from contracts.parameters import complete_parameters, find_parameter, merge_templates, parse_parameter
from registry import images, jobs, links
from registry.dataset_classes import list_classes
from registry.images import ImageRecord
from registry.jobs import JobRecord
from registry.models import ModelRecord, StageRecord
from registry.stamp import catalogue_stamp
from runner import job_data, mining_inputs
from runner.images import moved_warning
from runner.installation import Installation
from runner.job_data import INDEX, ISOLATED, PinnedData
from runner.mining_inputs import MiningInputs
from runner.model_classes import refuse_other_classes
from runner.models import get_stage
from runner.references import parse_model_reference
from runner.scheduler import cpu_count, wish_text

#: An image's label: how many seconds it may take to end after SIGTERM, to save what it has.
STOP_GRACE_LABEL = "sluice.stop_grace_s"
_MAX_GRACE_S = 3600.0
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # without what is easily misread; 32, so that a byte picks fairly


@dataclass(frozen=True)
class Choice:
    """What a request means now: the image, and for mining and inference the model that it is to read."""

    image: ImageRecord
    model: ModelRecord | None
    stage: StageRecord | None
    template: Template


def submit(
    installation: Installation, spec: JobSpec, *, user: str, idempotency_key: str | None = None, rerun_of: str | None = None
) -> JobRecord:
    """The queued job. Raises ``RequestError`` and its kinds, ``NoGpuError`` for GPUs that the host does not have.

    A key that was used for the same spec gives that job, for another spec ``ConflictError``.
    """
    if idempotency_key and (former := _submitted_before(installation, idempotency_key, spec)):
        return former
    columns = _columns(installation, spec, _prepared(installation, spec, user))

    def store(session: Session) -> JobRecord:
        if idempotency_key and (former := _same(session, idempotency_key, spec)):
            return former
        return jobs.add_job(session, **columns, user=user, idempotency_key=idempotency_key, rerun_of=rerun_of)

    return installation.database.write(store)


@dataclass(frozen=True)
class Prepared:
    """A request that was checked, planned and can be queued."""

    image: ImageRecord
    plan: Mapping[str, Any]
    warnings: tuple[JobWarning, ...]


def _prepared(installation: Installation, spec: JobSpec, user: str) -> Prepared:
    """Checked anew unless the same was asked for moments ago and the registry has not changed since: then only what lies outside it, a
    picture that was lost or a tag that moved, can be missed, and the job itself finds that.
    """
    with installation.database.reading() as session:
        stamp = catalogue_stamp(session, parse_model_reference(spec.model)[0] if spec.model else None)
    key = (user, spec.model_dump_json(exclude={"name", "priority"}))
    found: Prepared | None = installation.recent.get((key, stamp))
    if found is None:
        found = _prepare(installation, spec, user)
        installation.recent.put((key, stamp), found)
    return found


def _prepare(installation: Installation, spec: JobSpec, user: str) -> Prepared:
    with installation.database.reading() as session:
        choice = choose(installation, session, spec)
        data = _pin_data(session, spec, choice)
    warnings = _warnings(installation, choice, data)
    plan = _plan(installation, spec, choice, data, warnings)
    refuse_impossible(installation, spec, user)
    return Prepared(choice.image, plan, tuple(warnings))


def _submitted_before(installation: Installation, key: str, spec: JobSpec) -> JobRecord | None:
    with installation.database.reading() as session:
        return _same(session, key, spec)


def _same(session: Session, key: str, spec: JobSpec) -> JobRecord | None:
    former = jobs.find_submitted(session, key)
    if former and JobSpec.model_validate(former.spec) != spec:
        raise ConflictError(
            f"the idempotency key {key!r} was used for another request, which made the job {former.id}",
            hint="Use a new key for a new request.",
            job=former.id,
        )
    return former


def parse_parameters(installation: Installation, spec: JobSpec, texts: Sequence[str]) -> dict[str, Any]:
    """``key=text`` pairs as typed values, by the template of the image that the request means. Raises ``ParameterError``."""
    with installation.database.reading() as session:
        choice = choose(installation, session, spec)
    dialect = installation.dialect(choice.image.dialect)
    reserved, also = dialect.reserved_parameters(spec.kind), dialect.extra_parameters(choice.image.metadata)
    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ParameterError(f"{text!r} is not a parameter", hint="Write --set name=value.")
        parameter = find_parameter(choice.template, name.strip(), reserved, also)
        values[parameter.name] = parse_parameter(parameter, value)
    return values


# ---------------------------------------------------------------------------------------------- which image, model, template


def choose(installation: Installation, session: Session, spec: JobSpec) -> Choice:
    """Image, model, stage and template of a request. An image that is not linked is only taken when ``unlinked`` says so."""
    model, stage = get_stage(session, spec.model) if spec.model else (None, None)
    image = images.get_image(session, spec.image) if spec.image else _linked_image(session, spec, model)
    object_type = _object_type(installation, session, spec, image, model)
    template = template_of(image, spec, object_type)
    if model and spec.kind is not Kind.TRAINING and not spec.unlinked:
        _refuse_unlinked(session, spec.kind, image, model)
    return Choice(image, model, stage, template)


def _linked_image(session: Session, spec: JobSpec, model: ModelRecord | None) -> ImageRecord:
    if model is None or spec.kind is Kind.TRAINING:
        raise RequestError("a training job needs an image", hint="sluice image list shows what is registered.")
    if not model.image_name:
        raise LinkError(
            f"nobody has said which image the model {model.reference} is of, so none is known to read it",
            hint="Name an image and say --unlinked; or import it again with --image NAME, its training image.",
        )
    found = links.linked_images(session, model.image_name, spec.kind)
    if len(found) == 1:
        return images.get_image(session, found[0])
    if not found:
        raise LinkError(
            f"no image is linked to {model.image_name} for {spec.kind}, so none is known to read the model {model.name}",
            hint=f"Link one: sluice image link {model.image_name} IMAGE; or name an image and say --unlinked.",
        )
    raise LinkError(f"several images are linked to {model.image_name} for {spec.kind}: {', '.join(found)}", hint="Name the one to use.")


def _refuse_unlinked(session: Session, kind: Kind, image: ImageRecord, model: ModelRecord) -> None:
    if not model.image_name:
        raise LinkError(
            f"nobody has said which image made the model {model.reference}, so {image.name} is not known to read it",
            hint="To try it: --unlinked.",
        )
    for part in kind.parts:
        if not links.is_linked(session, model.image_name, image.name, part):
            raise LinkError(
                f"{image.name} is not linked to {model.image_name} for {part}: nobody has said that it can read the model {model.name}",
                hint=f"If it can: sluice image link {model.image_name} {image.name}; to try it without: --unlinked.",
            )


# What annotations of a type can teach, best first: outlines also teach boxes, boxes no outlines, and labels of whole pictures are neither.
_TEACHES = {
    ObjectType.CLASSIFICATION: (ObjectType.CLASSIFICATION, ObjectType.MULTI_MODAL),
    ObjectType.DETECTION: (ObjectType.DETECTION, ObjectType.MULTI_MODAL),
    ObjectType.INSTANCE_SEGMENTATION: (
        ObjectType.INSTANCE_SEGMENTATION,
        ObjectType.SEMANTIC_SEGMENTATION,
        ObjectType.DETECTION,
        ObjectType.MULTI_MODAL,
    ),
}


_SHOWS = {
    ObjectType.CLASSIFICATION: "labels of whole pictures",
    ObjectType.DETECTION: "boxes",
    ObjectType.INSTANCE_SEGMENTATION: "outlines",
}


def _object_type(installation: Installation, session: Session, spec: JobSpec, image: ImageRecord, model: ModelRecord | None) -> ObjectType:
    """Of a model its own; else what the image is to learn: the first of its object types that the data can teach."""
    if model and spec.kind is not Kind.TRAINING:
        return ObjectType(model.object_type)
    if spec.kind is not Kind.TRAINING:
        return mining_inputs.object_type_of(installation, session, spec, image)
    data = job_data.pin(session, spec.train_data or "")
    labelled = ObjectType(data.version.object_type)
    taught = _TEACHES.get(labelled, tuple(ObjectType)) if data.version.annotation_count else tuple(ObjectType)
    wanted = (ObjectType(model.object_type),) if model else image.metadata.object_types
    for object_type in taught:
        if object_type in wanted:
            return object_type
    learner = f"the model {model.reference}" if model else image.name
    raise ImageError(
        f"{learner} handles {', '.join(t.label for t in wanted)}, which {data} cannot teach: its annotations are {_SHOWS[labelled]}",
        hint=f"Name another image (sluice image list), or data with {_needed(wanted)}.",
    )


def _needed(wanted: Sequence[ObjectType]) -> str:
    """What annotations these types learn from."""
    shows = dict.fromkeys(_SHOWS.get(object_type, "outlines") for object_type in wanted)
    return " or ".join(shows)


def template_of(image: ImageRecord, spec: JobSpec, object_type: ObjectType) -> Template:
    """The parameters of the image for what is asked. Raises ``ImageError`` when it does not offer that."""
    missing = [part for part in spec.kind.parts if part not in image.metadata.kinds]
    if missing:
        offered = ", ".join(map(str, image.metadata.kinds))
        raise ImageError(f"{image.name} does not offer {missing[0]}", hint=f"It offers: {offered}. sluice image list shows the others.")
    templates = [image.metadata.find_template(part, object_type) for part in spec.kind.parts]
    found = [template for template in templates if template]
    if len(found) < len(templates):
        known = ", ".join(t.label for t in image.metadata.object_types)
        raise ImageError(f"{image.name} does not offer {spec.kind} for {object_type.label}", hint=f"It handles: {known}.")
    return merge_templates(infer=found[1], mining=found[0]) if len(found) == 2 else found[0]


# ------------------------------------------------------------------------------------------------------------------- data


@dataclass(frozen=True)
class JobData:
    """The pinned data of a request. ``val`` None in a training: a share of ``train`` is set aside. ``mining``: what a mining gets beside ``data``."""

    train: PinnedData | None = None
    val: PinnedData | None = None
    data: PinnedData | None = None
    class_names: tuple[str, ...] = ()
    mining: MiningInputs = MiningInputs()

    def pinned(self) -> dict[str, PinnedData]:
        """What there is, by its role."""
        found = {role: getattr(self, role) for role in ("train", "val", "data")} | ({"train": t} if (t := self.mining.training) else {})
        return {role: pinned for role, pinned in found.items() if pinned}


def _pin_data(session: Session, spec: JobSpec, choice: Choice) -> JobData:
    if spec.kind is not Kind.TRAINING:
        class_names = choice.model.class_names if choice.model else ()
        return JobData(data=job_data.pin(session, spec.data or ""), class_names=class_names)
    train, val = job_data.pin_training(session, spec.train_data or "", spec.val_data)
    return JobData(train=train, val=val, class_names=_class_names(session, spec, train, choice.model))


def _class_names(session: Session, spec: JobSpec, train: PinnedData, pretrained: ModelRecord | None) -> tuple[str, ...]:
    known = train.version.class_names
    called = {other: name for c in list_classes(session, train.version.dataset) if (name := c.named_in(known)) for other in c.names}
    wanted = tuple(called.get(name.strip().lower(), name.strip().lower()) for name in spec.class_names)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise DatasetError(f"{train} has no class {unknown[0]!r}", hint=f"Its classes: {', '.join(known)}.")
    if len(set(wanted)) < len(wanted):
        raise DatasetError(f"a class is named twice: {', '.join(wanted)}", hint="Name each class once.")
    if pretrained is None:
        return wanted or known
    # Continuing a model keeps its class ids where the data has the same classes.
    chosen = wanted or (pretrained.class_names if set(pretrained.class_names) == set(known) else known)
    if not spec.new_classes:
        refuse_other_classes(pretrained, chosen, str(train))
    return chosen


def _refuse_unusable(installation: Installation, spec: JobSpec, data: JobData) -> int:
    """Read once at submit, only to refuse what could not be staged: an empty split, an overlap, a lost asset. How many pictures there are."""
    if data.data:
        return len(job_data.read(installation, data.data))
    if data.train is None:
        return 0
    return sum(map(len, job_data.read_training(installation, data.train, data.val, installation.settings.val_fraction, spec.seed)))


def _asset_view(installation: Installation, spec: JobSpec, engine: str, count: int, warnings: list[JobWarning]) -> str:
    """``isolated``: the job sees its own pictures alone. ``index``: for very many of them, where an operator has allowed it, the whole store.

    A training is never shown what it must not learn from. Raises ``RequestError`` where store or engine cannot do what the setting asks for.
    """
    least = installation.settings.index_view_from
    if not least or count < least or spec.kind is Kind.TRAINING:
        return ISOLATED
    folder = installation.store.folder_of_all()
    if folder is None or installation.engine_named(engine).show_folder(folder, "/in/assets") is None:
        lacking = f"the store {installation.store.name}" if folder is None else f"the engine {engine}"
        raise RequestError(
            f"index_view_from = {least} asks that a job over {count} pictures is shown the whole store, which {lacking} cannot do",
            hint="Set index_view_from = 0: each job gets a view of its own pictures.",
        )
    message = f"over {count} pictures (index_view_from = {least}): the job is shown the store as it is and can read every picture in it"
    warnings.append(JobWarning("sees_whole_store", message, "assets"))
    return INDEX


# ------------------------------------------------------------------------------------------------------------------- plan


def _plan(installation: Installation, spec: JobSpec, choice: Choice, data: JobData, warnings: list[JobWarning]) -> dict[str, Any]:
    dialect = installation.dialect(choice.image.dialect)
    reserved, also = dialect.reserved_parameters(spec.kind), dialect.extra_parameters(choice.image.metadata)
    parameters = complete_parameters(choice.template, spec.parameters, reserved, also)
    data = _with_mining_inputs(installation, spec, choice, data, dialect.wishes(spec.kind, parameters))
    warnings += data.mining.warnings
    shm_bytes, shm_warnings = dialect.shm_bytes(parameters, spec.gpu_count, installation.host_memory_bytes)
    warnings += shm_warnings
    count = _refuse_unusable(installation, spec, data)
    warnings += _unlabelled_warnings(data, count)
    return {
        "asset_view": _asset_view(installation, spec, choice.image.engine, count, warnings),
        "object_type": int(choice.template.object_type),
        "class_names": list(data.class_names),
        "parameters": parameters,
        "train": str(data.train) if data.train else None,
        "val": str(data.val) if data.val else None,
        "data": str(data.data) if data.data else None,
        "val_fraction": installation.settings.val_fraction,
        "data_hashes": {role: pinned.version.content_hash for role, pinned in data.pinned().items()},
        "model": choice.model.reference if choice.model else None,
        "model_id": choice.model.id if choice.model else None,
        "stage": choice.stage.name if choice.stage else None,
        "stage_checksums": choice.stage.checksums if choice.stage else None,
        "permissions": vars(Permissions.of(choice.image.profile, choice.image.allow)),
        "shm_bytes": shm_bytes,
        "stop_grace_s": _stop_grace_s(installation, choice.image, warnings),
        "memory_bytes": spec.memory_bytes or int(installation.host_memory_bytes * installation.settings.memory_fraction),
        **data.mining.plan,
    }


def _with_mining_inputs(installation: Installation, spec: JobSpec, choice: Choice, data: JobData, wishes: Wishes) -> JobData:
    if Kind.MINING not in spec.kind.parts or data.data is None:
        return data
    chosen = mining_inputs.choose_inputs(installation, spec, choice, data.data, wishes)
    return replace(data, mining=chosen, class_names=data.class_names or chosen.class_names)


def _unlabelled_warnings(data: JobData, count: int) -> list[JobWarning]:
    """A training is only given labelled pictures: the others would say that there is nothing in them. It should be known how many those are."""
    if data.train is None:
        return []
    asked = sum(pinned.image_count for pinned in (data.train, data.val) if pinned)
    if asked <= count:
        return []
    return [JobWarning("unlabelled_left_out", f"{asked - count} of {asked} images are not labelled and are left out", str(data.train))]


def _stop_grace_s(installation: Installation, image: ImageRecord, warnings: list[JobWarning]) -> float:
    """Seconds between the request to end and the kill: what the image asks for by its label, else the setting."""
    asked = image.labels.get(STOP_GRACE_LABEL)
    if asked is None:
        return installation.settings.stop_grace_s
    if not _SECONDS.fullmatch(asked):
        warnings.append(JobWarning("stop_grace", f"the label {STOP_GRACE_LABEL} is {asked!r}, not a number of seconds", image.name))
        return installation.settings.stop_grace_s
    return min(float(asked), _MAX_GRACE_S)


def _warnings(installation: Installation, choice: Choice, data: JobData) -> list[JobWarning]:
    found = [JobWarning("image_metadata", text, choice.image.name) for text in choice.image.metadata.warnings]
    if moved := moved_warning(installation, choice.image):
        found.append(JobWarning("tag_moved", moved, choice.image.reference))
    if data.train and data.val is None:
        share = f"{installation.settings.val_fraction:.0%}"
        found.append(JobWarning("val_set_aside", f"{data.train} names no validation data: {share} of its images are set aside for it"))
    return [*found, *_pretrained_warnings(choice, data)] if data.train and choice.model else found


def _pretrained_warnings(choice: Choice, data: JobData) -> list[JobWarning]:
    model = choice.model
    if model is None:
        return []
    found = []
    if tuple(data.class_names) != model.class_names:
        text = f"the model that it starts from, {model.reference}, knows {', '.join(model.class_names)}: the class list is a new one"
        found.append(JobWarning("new_classes", text))
    if model.image_name != choice.image.name:
        maker = model.image_name or "an unknown image"
        found.append(
            JobWarning("pretrained_elsewhere", f"{model.reference} was made by {maker}: {choice.image.name} may not read its files")
        )
    return found


def refuse_impossible(installation: Installation, spec: JobSpec, user: str) -> None:
    """What this host can never give, whoever holds it now."""
    if spec.gpu_count:
        installation.gpus.refuse_impossible(spec.gpu, spec.gpu_count, user=user, project=spec.project, kind=spec.kind)
    if spec.memory_bytes and spec.memory_bytes > installation.host_memory_bytes:
        asked, there = (f"{size / 1024**3:.1f} GiB" for size in (spec.memory_bytes, installation.host_memory_bytes))
        raise RequestError(f"{asked} of memory are asked for, this host has {there}", hint="Ask for less with --memory.")
    if spec.cpu_count and spec.cpu_count > cpu_count():
        raise RequestError(f"{spec.cpu_count:g} processors are asked for, this host has {cpu_count()}", hint="Ask for fewer with --cpus.")


def new_job_id(kind: Kind) -> str:
    """Short, and its first letter tells the kind."""
    return str(kind)[0] + "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in secrets.token_bytes(7))


def columns_of_request(spec: JobSpec, run_dir: str) -> dict[str, Any]:
    """The columns of a job that follow from its request alone."""
    return {
        "name": spec.name,
        "kind": spec.kind,
        "spec": spec.model_dump(mode="json"),
        "run_dir": run_dir,
        "project": spec.project,
        "priority": spec.priority,
        "gpu_count": spec.gpu_count,
        "cpu_count": spec.cpu_count or 0.0,
        "memory_bytes": spec.memory_bytes or 0,
        "gpu_wish": wish_text(spec.gpu),
        "runtime_s": spec.timeout_s,
    }


def _columns(installation: Installation, spec: JobSpec, prepared: Prepared) -> dict[str, Any]:
    job_id, image = new_job_id(spec.kind), prepared.image
    return {
        **columns_of_request(spec, str(installation.run_dir(job_id).path)),
        "id": job_id,
        "plan": {**prepared.plan, "output_name": spec.name or f"{image.name}-{job_id}"},
        "image_name": image.name,
        "image_reference": image.reference,
        "image_digest": image.digest,
        "engine": image.engine,
        "dialect": image.dialect,
        "warnings": [warning.to_dict() for warning in prepared.warnings],
    }
