"""A job run again from its record: the same image by digest, the same data by content hash, the same stage, parameters and seed.

What has changed since then, a moved tag, a new version of the data, other defaults in a template, does not reach the job. What is gone is
named, never replaced in silence.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from contracts.errors import DatasetError, ImageMissingError, NotFoundError
from contracts.image import ObjectType, Permissions
from contracts.job import JobSpec, JobWarning
from contracts.parameters import complete_parameters
from registry import datasets, images, jobs, models
from registry.images import ImageRecord
from registry.jobs import JobRecord
from registry.models import ModelRecord
from registry.tables import DatasetRow, VersionRow
from runner.images import short
from runner.installation import Installation
from runner.mining_inputs import pinned_prediction
from runner.model_files import refuse_changed
from runner.references import parse_dataset_reference
from runner.submission import columns_of_request, new_job_id, refuse_impossible, template_of

_ROLES = ("train", "val", "data")


def rerun(installation: Installation, job: JobRecord, *, user: str, current_image: bool = False) -> JobRecord:
    """A queued job with what ``job`` ran with; it is the next version of the name.

    ``current_image`` takes what is registered under the image's name now and leaves the rest as it was. Raises ``ImageMissingError``,
    ``DatasetError``, ``NotFoundError`` and ``RequestError`` for what is gone or is no longer what it was.
    """
    spec = JobSpec.model_validate(job.spec)
    warnings: list[JobWarning] = []
    with installation.database.reading() as session:
        registered = images.find_image(session, job.image_name)
        plan = {**job.plan, **_pinned_data(session, job, warnings)}
        model = _pinned_model(session, job)
        if plan.get("predictions"):
            pinned_prediction(session, plan["predictions"])
    if model:
        refuse_changed(installation.folder(model.folder), model, [plan["stage"]])
        plan["model"] = model.reference
    image = _current_image(installation, job, spec, registered, plan) if current_image else _recorded_image(installation, job, registered)
    _keep_permissions(job, registered, plan, warnings)
    refuse_impossible(installation, spec, user)
    job_id = new_job_id(spec.kind)
    columns = {
        **columns_of_request(spec, str(installation.run_dir(job_id).path)),
        **image,
        "id": job_id,
        "plan": {**plan, "output_name": spec.name or f"{job.image_name}-{job_id}"},
        "warnings": [warning.to_dict() for warning in warnings],
        "user": user,
        "rerun_of": job.id,
    }
    return installation.database.write(lambda session: jobs.add_job(session, **columns))


# ------------------------------------------------------------------------------------------------------------------ image


def _recorded_image(installation: Installation, job: JobRecord, registered: ImageRecord | None) -> dict[str, Any]:
    engine = installation.engine_named(job.engine)
    references = (job.image_digest, job.image_reference)
    if not any(facts and facts.digest == job.image_digest for facts in map(engine.find_image, references)):
        moved = registered is None or registered.digest != job.image_digest
        if moved or "pull" not in engine.capabilities:
            raise _image_gone(job, registered)
    return {
        "image_name": job.image_name,
        "image_reference": job.image_reference,
        "image_digest": job.image_digest,
        "engine": job.engine,
        "dialect": job.dialect,
    }


def _image_gone(job: JobRecord, registered: ImageRecord | None) -> ImageMissingError:
    what = f"the image that the job {job.id} ran, {job.image_name} {short(job.image_digest)}, is gone from the {job.engine} engine"
    if registered is None:
        return ImageMissingError(what, hint=f"Get it back: sluice image add {job.image_reference} --name {job.image_name}")
    if registered.digest == job.image_digest:
        return ImageMissingError(what, hint=f"Build it again as it was: nothing else is registered as {job.image_name}.")
    return ImageMissingError(
        what,
        hint=f"To take {job.image_name} as it is registered now ({short(registered.digest)}) and keep the rest: --current-image.",
        registered=registered.digest,
    )


def _current_image(
    installation: Installation, job: JobRecord, spec: JobSpec, registered: ImageRecord | None, plan: dict[str, Any]
) -> dict[str, Any]:
    """Its template must still take the recorded parameters; ones that it has beyond them get its defaults."""
    if registered is None:
        raise NotFoundError(f"no image {job.image_name!r} is registered", hint="sluice image list shows what is.", name=job.image_name)
    dialect = installation.dialect(registered.dialect)
    template = template_of(registered, spec, ObjectType(plan["object_type"]))
    reserved, also = dialect.reserved_parameters(spec.kind), dialect.extra_parameters(registered.metadata)
    plan["parameters"] = complete_parameters(template, plan["parameters"], reserved, also)
    plan["permissions"] = vars(Permissions.of(registered.profile, registered.allow))
    return {
        "image_name": registered.name,
        "image_reference": registered.reference,
        "image_digest": registered.digest,
        "engine": registered.engine,
        "dialect": registered.dialect,
    }


def _keep_permissions(job: JobRecord, registered: ImageRecord | None, plan: dict[str, Any], warnings: list[JobWarning]) -> None:
    """SECURITY: what an image may do is its registration's to say, also when a record says more."""
    if registered is None or registered.digest != job.image_digest:
        return
    now = vars(Permissions.of(registered.profile, registered.allow))
    if now != plan["permissions"]:
        warnings.append(JobWarning("permissions_changed", f"{registered.name} may do other things than when the job {job.id} ran"))
        plan["permissions"] = now


# ----------------------------------------------------------------------------------------------------------- data, model


def _pinned_data(session: Session, job: JobRecord, warnings: list[JobWarning]) -> dict[str, str]:
    """The recorded references, or others to the same content."""
    hashes = job.plan.get("data_hashes") or {}
    if not hashes:
        warnings.append(
            JobWarning("no_data_hash", f"the job {job.id} was recorded without hashes of its data: only their versions are known")
        )
    return {role: _same_content(session, job.plan[role], hashes.get(role), warnings) for role in _ROLES if job.plan.get(role)}


def _same_content(session: Session, recorded: str, content_hash: str | None, warnings: list[JobWarning]) -> str:
    reference = parse_dataset_reference(recorded)
    version = datasets.find_version(session, reference.name, reference.number)
    if version and content_hash in (None, version.content_hash):
        return recorded
    split = f":{reference.split}" if reference.split else ""
    for name, number in _versions_of(session, content_hash or ""):
        found = f"{name}@V{number:03d}{split}"
        warnings.append(JobWarning("data_moved", f"{recorded} is {'another now' if version else 'gone'}; {found} has the same content"))
        return found
    raise DatasetError(
        f"{recorded} {'is no longer what the job was given' if version else 'is gone'}, and no version has its content",
        hint="Import it again as it was; or take the data of today: --latest.",
        reference=recorded,
        content_hash=content_hash,
    )


def _versions_of(session: Session, content_hash: str) -> list[tuple[str, int]]:
    columns = select(DatasetRow.name, VersionRow.number).join(DatasetRow, VersionRow.dataset_id == DatasetRow.id)
    found = columns.where(VersionRow.content_hash == content_hash, VersionRow.content_hash != "").order_by(VersionRow.created_at)
    return [(name, number) for name, number in session.execute(found)]


def _pinned_model(session: Session, job: JobRecord) -> ModelRecord | None:
    """The model that the job read, whatever it is called now: told by the checksums of its stage's files."""
    recorded, stage = job.plan["model"], job.plan["stage"]
    if not recorded:
        return None
    known = job.plan.get("model_id")
    for model in (models.find_by_id(session, known) if known else None, models.find_model(session, recorded)):
        if model and _is_recorded(model, stage, job.plan.get("stage_checksums")):
            return model
    raise NotFoundError(
        f"the model {recorded}@{stage} that the job {job.id} read is gone, or another now",
        hint="Import it again and submit a new job with it.",
        name=recorded,
    )


def _is_recorded(model: ModelRecord, stage_name: str, checksums: Any) -> bool:
    stage = next((stage for stage in model.stages if stage.name == stage_name), None)
    return stage is not None and checksums in (None, stage.checksums)
