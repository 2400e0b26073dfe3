"""What an image says of itself and what it is allowed: kinds, object types, templates, permissions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any


class Kind(str, Enum):
    """What a job does."""

    TRAINING = "training"
    MINING = "mining"
    INFERENCE = "inference"
    MINING_INFERENCE = "mining+inference"

    def __str__(self) -> str:
        return self.value

    @property
    def parts(self) -> tuple[Kind, ...]:
        """The single kinds an image must offer to run this one."""
        return (Kind.MINING, Kind.INFERENCE) if self is Kind.MINING_INFERENCE else (self,)


class ObjectType(IntEnum):
    """What is looked for in a picture; the numbers are YMIR's (contract reference 2.3)."""

    UNKNOWN = 0
    CLASSIFICATION = 1
    DETECTION = 2
    SEMANTIC_SEGMENTATION = 3
    INSTANCE_SEGMENTATION = 4
    MULTI_MODAL = 50

    @property
    def label(self) -> str:
        return self.name.lower().replace("_", " ")


class ParameterType(str, Enum):
    """The type of a parameter, taken from its default in the template."""

    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    STR = "str"
    LIST = "list"
    ANY = "any"  # the default is null: nothing is known about the type

    def __str__(self) -> str:
        return self.value


class Wish(str, Enum):
    """Whether an image wants something for its work: not, if it is there, or else it cannot run."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Wishes:
    """What an image wants beside its candidates: what a model predicted for them, and what that model was trained on."""

    predictions: Wish = Wish.NONE
    training_data: Wish = Wish.NONE


@dataclass(frozen=True)
class Parameter:
    """One line of a template.

    ``help`` is the comment beside or above the value, without the ``#``; '' when there is none.
    """

    name: str
    type: ParameterType
    default: Any
    help: str = ""


@dataclass(frozen=True)
class Template:
    """An image's parameters for one kind and object type, in the order of the file."""

    kind: Kind
    object_type: ObjectType
    parameters: tuple[Parameter, ...]

    def find(self, name: str) -> Parameter | None:
        return next((p for p in self.parameters if p.name == name), None)

    def defaults(self) -> dict[str, Any]:
        return {p.name: p.default for p in self.parameters}


@dataclass(frozen=True)
class ImageMetadata:
    """What ``/img-man`` declares. ``warnings`` names what was tolerated while reading it."""

    object_types: tuple[ObjectType, ...]
    templates: tuple[Template, ...]
    enable_livecode: bool = False
    is_official: bool = False
    readme: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds the image offers for any object type, in the order of ``Kind``."""
        offered = {t.kind for t in self.templates}
        return tuple(k for k in Kind if k in offered)

    def find_template(self, kind: Kind, object_type: ObjectType) -> Template | None:
        return next((t for t in self.templates if t.kind is kind and t.object_type is object_type), None)


@dataclass(frozen=True)
class ImageFacts:
    """What an engine knows about an image it has.

    ``digest`` is the content id that a job is pinned to (``sha256:...``); the reference may later point elsewhere.
    """

    reference: str
    digest: str
    size_bytes: int
    architecture: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    has_command: bool = True


class Profile(str, Enum):
    """How much an image is allowed: named sets of permissions."""

    CONFINED = "confined"
    COMPATIBLE = "compatible"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Permissions:
    """What a container may do beyond the confined default. No permission ever allows new privileges."""

    network: bool = False
    root: bool = False
    writable_root: bool = False

    @classmethod
    def of(cls, profile: Profile, extra: tuple[str, ...] = ()) -> Permissions:
        """The permissions of a profile plus single ones by name (``network``, ``root``, ``writable_root``)."""
        granted = set(extra) | ({"network", "root", "writable_root"} if profile is Profile.COMPATIBLE else set())
        return cls(**{name: name in granted for name in ("network", "root", "writable_root")})
