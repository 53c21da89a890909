"""The copy tool "s3" against SeaweedFS: the contracts, faults, objects in parts, signed addresses, keys."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest
from attrs import evolve

from pilot_core.config.layers import Layer, Rank, Schema, Settings
from pilot_core.config.schema import CORE
from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import CancelFlag
from pilot_core.model.files import FileSpec, Replica
from pilot_core.spec.drivers import Found, Moving
from pilot_core.testing.contracts.copytool import describe

pytest.importorskip("boto3", reason="needs pilot-copytools[s3]")

from pilot_copytools.https import Https, HttpsOptions
from pilot_copytools.s3 import S3, SMALLEST_PART_B, S3Options

from .faulted import LARGE, FaultedFetch, FaultedStore, small_disk  # noqa: F401
from .s3 import BUCKET

NUMBERS = itertools.count()
MOVING = Moving(cancel=CancelFlag())
PARTS = os.urandom(2 * SMALLEST_PART_B + 1000)


def write_keys(folder: Path, key: str, secret: str) -> Path:
    path = folder / f"keys-of-{key}"
    path.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
    path.chmod(0o600)
    return path


def settings(**s3: object) -> Settings:
    told = {"s3": {"part_b": SMALLEST_PART_B, **s3}}
    return Schema([*CORE, S3Options]).merge(Layer(Rank.SITE, "the test", told))


class TestSeaweed(FaultedFetch, FaultedStore):
    stall_s = 6.0

    @pytest.fixture(autouse=True)
    def _at(self, s3, faulty, tmp_path: Path):
        self.server, self.line, self.folder = s3, faulty(s3.port), f"{os.getpid()}-{next(NUMBERS)}"
        self.keys = write_keys(tmp_path, s3.key, s3.secret)
        self.client = s3.client()
        yield
        self.client.close()

    def make_tool(self, _: Settings) -> S3:
        doors = (f"127.0.0.1:{self.server.port}", f"127.0.0.1:{self.line.port}")
        return S3(settings(keys={door: str(self.keys) for door in doors}))

    def make_place(self, name: str) -> Replica:
        return Replica(f"{self.server.url}/{BUCKET}/{self.folder}/deep/{quote(name)}")

    def make_replica(self, name: str, content: bytes | None) -> Replica:
        if content is not None:
            self.client.put_object(Bucket=BUCKET, Key=f"{self.folder}/deep/{name}", Body=content)
        return self.make_place(name)

    def read(self, place: Replica) -> bytes | None:
        key = unquote(urlsplit(place.url).path).removeprefix(f"/{BUCKET}/")
        return self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read() if key in self.keys_stored() else None

    def keys_stored(self) -> list[str]:
        whole = self.client.list_objects_v2(Bucket=BUCKET, Prefix=f"{self.folder}/").get("Contents", ())
        return [each["Key"] for each in whole]

    def names_stored(self) -> list[str]:
        return [key.rpartition("/")[2] for key in self.keys_stored()]

    def behind(self, place: Replica) -> Replica:
        return Replica(urlsplit(place.url)._replace(netloc=f"127.0.0.1:{self.line.port}").geturl())


@pytest.fixture
def made(s3, tmp_path: Path):
    """A tool, a file to store and a new place for it."""
    keys = write_keys(tmp_path, s3.key, s3.secret)
    source = tmp_path / "source"
    source.write_bytes(PARTS)
    place = Replica(f"s3://{BUCKET}/made/{os.getpid()}-{next(NUMBERS)}", "ENDPOINT")
    return S3(settings(endpoint=s3.url, keys={"ENDPOINT": str(keys)})), source, place


def test_a_large_file_goes_in_parts_and_is_known_again(made, tmp_path):
    tool, source, place = made
    file = describe("f", PARTS, place)
    assert tool.store(source, place, file, MOVING) == tool.store(source, place, file, MOVING)
    assert tool.look(place, file, MOVING) == Found(size_b=len(PARTS), checksum=file.checksum)
    tool.fetch(place, tmp_path / "back", evolve(file, checksum=None), MOVING)
    assert (tmp_path / "back").read_bytes() == PARTS


def test_parts_that_nobody_will_end_are_gone_after_the_next_try(made, s3):
    tool, source, place = made
    client, key = s3.client(), urlsplit(place.url).path.lstrip("/")
    client.create_multipart_upload(Bucket=BUCKET, Key=key)
    tool.store(source, place, describe("f", PARTS, place), MOVING)
    assert not client.list_multipart_uploads(Bucket=BUCKET, Prefix=key).get("Uploads")
    client.close()


def test_parts_that_are_given_up_are_taken_back(made, s3):
    tool, source, place = made
    client, key, flag = s3.client(), urlsplit(place.url).path.lstrip("/"), CancelFlag()
    with pytest.raises(PilotError):
        tool.store(source, place, describe("f", PARTS, place), Moving(cancel=flag, progress=lambda _: flag.set()))
    assert not client.list_multipart_uploads(Bucket=BUCKET, Prefix=key).get("Uploads")
    client.close()


@pytest.mark.parametrize(
    ("key", "secret", "code"),
    [
        ("reader", "reader-secret", Code.STAGEOUTAUTHENTICATIONFAILURE),
        ("writer", "of another", Code.STAGEOUTAUTHENTICATIONFAILURE),
        ("writer", "", Code.MISSINGCREDENTIALS),
    ],
)
def test_wrong_keys_have_a_fitting_code_and_are_not_told(made, s3, tmp_path, key, secret, code):
    _, source, place = made
    tool = S3(settings(endpoint=s3.url, keys={"*": str(write_keys(tmp_path, key, secret))}))
    with pytest.raises(PilotError) as raised:
        tool.store(source, place, describe("f", PARTS, place), MOVING)
    assert raised.value.code is code
    assert not secret or secret not in str(raised.value)


def test_a_signed_address_needs_no_key_and_is_shown_to_nobody(s3, tmp_path):
    """The tool "https" moves by such an address, and without any credential."""
    source, client = tmp_path / "source", s3.client()
    source.write_bytes(LARGE)
    key = f"signed/{os.getpid()}-{next(NUMBERS)}"
    put, get, elsewhere = (
        Replica(client.generate_presigned_url(call, Params={"Bucket": BUCKET, "Key": name}), signed=True)
        for call, name in (("put_object", key), ("get_object", key), ("get_object", f"{key}-not"))
    )
    tool = Https(Schema([*CORE, HttpsOptions]).merge())
    file = describe("f", LARGE, get)
    assert tool.store(source, put, file, MOVING).checksum == file.checksum
    tool.fetch(get, tmp_path / "back", file, MOVING)
    assert (tmp_path / "back").read_bytes() == LARGE
    with pytest.raises(PilotError) as raised:
        tool.fetch(elsewhere, tmp_path / "lost", FileSpec(lfn="f"), MOVING)
    assert raised.value.code is Code.MISSINGINPUTFILE
    assert "Signature" not in str(raised.value)
    for web in (tool._server, tool._storage, tool._nobody):
        web.close()
    client.close()


def test_a_file_that_changed_is_not_stored(made, s3):
    tool, source, place = made
    source.write_bytes(PARTS[::-1])
    with pytest.raises(PilotError) as raised:
        tool.store(source, place, describe("f", PARTS, place), MOVING)
    assert raised.value.code is Code.PUTADMISMATCH
    assert tool.look(place, FileSpec(lfn="f"), MOVING) is None
