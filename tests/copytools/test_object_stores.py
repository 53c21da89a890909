"""The copy tools "s3" and "gcs", as far as they go without their libraries: places, keys, what is missing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from pilot_copytools import gcs, s3
from pilot_copytools.gcs import Gcs
from pilot_copytools.s3 import S3, S3Options, read_keys
from pilot_core.config.layers import Layer, Rank, Schema, Settings
from pilot_core.config.schema import CORE
from pilot_core.errors import Code, PilotError
from pilot_core.model.files import Replica


def settings(**told: object) -> Settings:
    return Schema([*CORE, S3Options]).merge(Layer(Rank.SITE, "the test", {"s3": told}))


@pytest.mark.parametrize(
    ("url", "endpoint", "place"),
    [
        ("s3://h.org:9000/b/a/k", "", ("https://h.org:9000", "b", "a/k")),
        ("s3://b/a/k%20k", "https://h.org", ("https://h.org", "b", "a/k k")),
        ("s3://h.org/b/k", "https://h.org/", ("https://h.org", "b", "k")),
        ("https://h.org/b//k", "https://other.org", ("https://h.org", "b", "k")),
    ],
)
def test_places_of_objects(url, endpoint, place):
    found = s3.place_of(url, endpoint)
    assert (found.endpoint, found.bucket, found.key) == place


@pytest.mark.parametrize("url", ["s3://h.org/b", "s3://h.org", "s3:///k", "s3://h.org/b/"])
def test_what_names_no_object_is_told(url):
    with pytest.raises(PilotError, match="names no object: write s3://HOST:PORT/BUCKET/KEY"):
        s3.place_of(url, "")
    with pytest.raises(PilotError, match="names no object: write gs://BUCKET/KEY"):
        gcs.place_of("gs://bucket?X-Goog-Signature=hidden")


def test_what_they_take():
    tool = S3(settings(endpoint="https://h.org", keys={"store.org": "/k", "other.org:1": "/k"}))
    urls = ("s3://b/k", "https://h.org/b/k", "https://store.org/b/k", "https://other.org:1/b/k")
    assert all(tool.takes(Replica(url)) for url in urls)
    others = ("https://else.org/b/k", "https://h.org/b/k?X-Amz-Signature=1", "gs://b/k", "/a/path")
    assert not any(tool.takes(Replica(url)) for url in others)
    assert Gcs(settings()).takes(Replica("gs://b/k"))
    assert not Gcs(settings()).takes(Replica("s3://b/k"))


@pytest.mark.parametrize(("tool", "extra"), [(S3, "s3"), (Gcs, "gcs")])
def test_without_its_library_it_says_what_to_install(tool, extra, monkeypatch):
    monkeypatch.setattr("pilot_copytools._library.find_spec", lambda _: None)
    assert tool.probe().endswith(f"is not installed here: pip install 'pilot-copytools[{extra}]'")


@pytest.mark.parametrize(("tool", "library"), [(S3, "boto3"), (Gcs, "google.cloud")])
def test_with_its_library_it_works(tool, library):
    try:
        there = importlib.util.find_spec(library) is not None
    except ModuleNotFoundError:
        there = False
    assert (tool.probe() is None) == there


def keys(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "keys"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_keys_are_read_as_the_aws_tools_write_them(tmp_path):
    text = "[default]\naws_access_key_id = A\naws_secret_access_key = B%B\n[x]\naws_access_key_id = C\n"
    path = keys(tmp_path, text)
    assert read_keys(path, "") == {"aws_access_key_id": "A", "aws_secret_access_key": "B%B"}
    with pytest.raises(PilotError, match=r"no aws_secret_access_key in \[x\]"):
        read_keys(path, "x")


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [("nonsense", 0o600, "wants a section"), ("", 0o600, "wants a section"), ("[default]", 0o644, "chmod 600")],
)
def test_bad_keys_are_told_in_a_sentence(tmp_path, text, mode, told):
    with pytest.raises(PilotError, match=told) as raised:
        read_keys(keys(tmp_path, text, mode), "")
    assert raised.value.facts["cause"] == "keys"
    with pytest.raises(PilotError, match=r"name the right file with s3\.keys") as raised:
        read_keys(tmp_path / "none", "")
    assert raised.value.code is Code.COMMUNICATIONFAILURE
