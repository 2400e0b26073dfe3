"""Secrets that mask themselves, and addresses that are split at the first slash and nowhere else."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.connection import MASK, Address, Connection, Secret, parse_address, scheme_of, shown_url
from contracts.errors import ConfigurationError


def test_a_secret_is_never_printed() -> None:
    secret = Secret("hush")
    connection = Connection(access_key="k", secret=secret)
    assert [str(secret), repr(secret), f"{secret}"] == [MASK] * 3
    assert "hush" not in repr(connection)
    assert (secret.reveal(), bool(secret), bool(Secret("")), repr(Secret(""))) == ("hush", True, False, "(none)")
    for pack in (pickle.dumps, json.dumps):
        with pytest.raises(TypeError):
            pack(secret)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("s3://b/a/b.png", Address("s3", "b", "a/b.png")),
        ("OBS://b", Address("obs", "b", "")),
        ("s3://b//lead", Address("s3", "b", "/lead")),
        ("s3://b/what?#&%2e", Address("s3", "b", "what?#&%2e")),
    ],
)
def test_an_address_is_split_and_joined_again(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize("text", ["s3://", "s3:///key", "bucket/key", ""])
def test_an_address_without_a_bucket_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_address(text)


def test_what_is_secret_in_a_url_is_not_shown() -> None:
    assert shown_url("https://user:pass@host:8443/a/b.zip?X-Amz-Signature=1#x") == "https://host:8443/a/b.zip"
    assert [scheme_of(text) for text in ("S3://x", "/a://b", "C:\\x", "a b://c", "s3:/x")] == ["s3", "", "", "", ""]


@given(st.text(st.characters(blacklist_characters="/"), min_size=1), st.text())
def test_any_bucket_and_key_survive_the_round_trip(bucket: str, key: str) -> None:
    address = Address("s3", bucket, key)
    assert parse_address(str(address)) == address
