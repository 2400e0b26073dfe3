"""How a bucket is reached: an endpoint, and who asks. What is secret masks itself wherever it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from contracts.errors import ConfigurationError

MASK = "********"


class Secret:
    """A text that is never printed: only ``reveal`` gives it away, which is searched for easily."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return MASK if self._text else "(none)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not written into a file with other things")


@dataclass(frozen=True)
class Connection:
    """A way to an S3 store. ``endpoint`` '' is AWS itself, or what the environment of boto3 says.

    Who asks: ``access_key`` with ``secret``, or ``profile`` of the AWS files, or with neither of them what boto3 finds in its environment.
    ``bucket`` and ``prefix`` are where an address without a bucket leads. ``authority``: a file with the authorities (PEM) that vouch for the
    endpoint, '' means the public ones. ``addressing``: how the bucket stands in the URL: ``path``, ``virtual`` or ``auto``.
    """

    name: str = "environment"
    endpoint: str = ""
    region: str = ""
    bucket: str = ""
    prefix: str = ""
    access_key: str = ""
    secret: Secret = Secret("")
    profile: str = ""
    authority: str = ""
    addressing: str = "auto"

    def shown_endpoint(self) -> str:
        """For messages."""
        return self.endpoint or "the endpoint of the environment"


@dataclass(frozen=True)
class Address:
    """``s3://bucket/key``: ``scheme`` s3 or obs, ``key`` '' for a whole bucket. ``str`` gives the text again."""

    scheme: str
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}"


def scheme_of(text: str) -> str:
    """``s3`` of ``s3://bucket``, in lower case; '' for what is no address."""
    scheme, colon, _ = text.partition("://")
    return scheme.lower() if colon and scheme.isascii() and scheme.isalnum() else ""


def parse_address(text: str) -> Address:
    """Splits at the first slash and nowhere else: a key is any text. Raises ``ConfigurationError`` without a bucket."""
    scheme, _, rest = text.partition("://")
    bucket, _, key = rest.partition("/")
    if not scheme or not bucket:
        raise ConfigurationError(f"{text!r:.200} names no bucket", hint="Write s3://bucket/prefix.", address=text[:200])
    return Address(scheme.lower(), bucket, key)


def shown_url(url: str) -> str:
    """A URL without what may be secret in it: user, password, query (signatures) and fragment."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"
