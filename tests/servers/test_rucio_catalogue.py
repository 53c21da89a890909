"""What Rucio's plugin answers, asked of a real server: places, names, registration, and who may ask."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path

import pytest
from attrs import evolve

from pilot_copytools.https import Https, HttpsOptions
from pilot_copytools.rucio.names import destinations
from pilot_copytools.rucio.registers import register
from pilot_copytools.rucio.replicas import list_replicas
from pilot_copytools.rucio.server import Server
from pilot_copytools.rucio.settings import RucioOptions
from pilot_copytools.rucio.signs import signed
from pilot_core.config.layers import Settings
from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import CancelFlag
from pilot_core.model.files import Checksum, FileSpec, Receipt, Replica
from pilot_core.model.job import Job
from pilot_core.model.queue import Queue
from pilot_core.spec.drivers import Moving
from pilot_core.testing.contracts.copytool import CONTENT, describe

from . import rucio as servers
from .places import settings_of
from .rucio_storage import options, password
from .s3 import BUCKET, REGION

KNOWN = [FileSpec(lfn=name, scope=servers.SCOPE) for name in servers.FILES]
NOWHERE = "https://localhost:1"
QUEUE = Queue(name="q")
MOVING = Moving(cancel=CancelFlag())


@pytest.fixture
def asking(rucio, pki, tmp_path: Path):
    """Makes a server with a session of its own."""

    def make(**more: object) -> Server:
        settings: Settings = options(rucio, pki, tmp_path, **more)
        return Server(settings.of(RucioOptions))

    return make


def receipt(name: str, url: str, storage: str = "XRD", size_b: int = 3, digits: str = "024d0127") -> Receipt:
    checksum = Checksum("adler32", digits)
    return Receipt(lfn=name, direction="out", url=url, tool="rucio", size_b=size_b, checksum=checksum, endpoint=storage)


def new_job() -> Job:
    return Job(id="1", outputs=(FileSpec(lfn=f"made-{uuid.uuid4()}", scope="user.pilot"),))


# --- places ---


def test_places_of_many_files_come_in_one_answer(asking, xrootd):
    """data:A-01"""
    unknown = FileSpec(lfn="lost", scope=servers.SCOPE)
    found = list_replicas(asking(), [*KNOWN, unknown])
    assert set(found) == {*servers.FILES, "lost"}
    assert found["lost"] == ()
    for name, body in servers.FILES.items():
        assert {place.endpoint for place in found[name]} == {"XRD", "SEC", "DAV"}
        assert {place.size_b for place in found[name]} == {len(body)}
        assert not any(place.signed or place.tape for place in found[name])
    path = servers.path_of(servers.SCOPE, "first.root")
    assert f"root://localhost:{xrootd.port}//rucio/{path}" in [place.url for place in found["first.root"]]


def test_only_schemes_and_storages_that_are_wanted_are_told(asking):
    found = list_replicas(asking(schemes=["davs"], expression="SEC|XRD"), KNOWN)
    assert {place.endpoint for places in found.values() for place in places} == {"SEC"}


# --- who asks ---


def test_a_proxy_and_a_token_open_as_well_as_a_password(asking, tmp_path):
    by_password = asking()
    token = tmp_path / "token"
    token.write_text(by_password._began())
    token.chmod(0o600)
    for other in (asking(password=None), asking(password=None, token=str(token))):
        assert list_replicas(other, KNOWN).keys() == servers.FILES.keys()


def test_a_session_that_has_expired_is_begun_anew(asking):
    server = asking()
    server.call("GET", "/rses/XRD")
    server._session = evolve(server._session, token="pilot-pilot-unknown-of-yesterday")
    assert list_replicas(server, KNOWN).keys() == servers.FILES.keys()


def test_a_wrong_password_is_told_to_nobody(asking, tmp_path):
    with pytest.raises(PilotError) as raised:
        list_replicas(asking(password=str(password(tmp_path, "verywrongword"))), KNOWN)
    assert raised.value.code is Code.STAGEINAUTHENTICATIONFAILURE
    assert "verywrongword" not in f"{raised.value} {raised.value.facts}"


def test_a_token_that_has_expired_is_named(asking, tmp_path):
    token = tmp_path / "token"
    token.write_text("pilot-pilot-unknown-of-yesterday")
    token.chmod(0o600)
    with pytest.raises(PilotError, match="Cannot authenticate") as raised:
        list_replicas(asking(password=None, token=str(token)), KNOWN)
    assert raised.value.code is Code.STAGEINAUTHENTICATIONFAILURE


def test_a_proxy_that_has_expired_is_named(asking, pki):
    with pytest.raises(PilotError, match="expired") as raised:
        list_replicas(asking(password=None, proxy=str(pki.expired_proxy)), KNOWN)
    assert raised.value.code is Code.NOPROXY


def test_a_server_that_is_away_is_a_passing_failure(asking):
    away = asking(host=NOWHERE)
    with pytest.raises(PilotError) as raised:
        list_replicas(away, KNOWN)
    assert raised.value.code is Code.RUCIOLISTREPLICASFAILED
    told = destinations(away, [FileSpec(lfn="a", scope="test", endpoint="XRD")], QUEUE)["a"]
    assert isinstance(told, PilotError)
    assert told.code is Code.RUCIOSERVICEUNAVAILABLE
    job = new_job()
    errors = register(away, job, [receipt(job.outputs[0].lfn, "root://h/f")])
    assert [error.code for error in errors.values()] == [Code.RUCIOSERVICEUNAVAILABLE]


# --- names ---


def test_names_are_those_that_the_server_would_make(asking):
    server = asking()
    files = [FileSpec(lfn=name, scope="user.pilot", endpoint=storage)
             for storage, name in (("XRD", "a"), ("SEC", "b.root"), ("DAV", "c_1"))]  # fmt: skip
    found = destinations(server, files, QUEUE)
    for file in files:
        asked = {"lfn": f"user.pilot:{file.lfn}", "domain": "wan", "operation": "write"}
        told = server.call("GET", f"/rses/{file.endpoint}/lfns2pfns", query=asked).json()
        assert found[file.lfn] == (Replica(told[f"user.pilot:{file.lfn}"], file.endpoint, "wan"),)


def test_the_server_makes_names_by_rules_that_are_not_known_here(asking):
    server = asking()
    server._storages["XRD"] = {**server.storage("XRD"), "lfn2pfn_algorithm": "of our own"}
    files = [FileSpec(lfn=f"file {number}", scope="user.pilot", endpoint="XRD") for number in range(60)]
    found = destinations(server, files, QUEUE)
    assert all(places[0].url.endswith(servers.path_of("user.pilot", name)) for name, places in found.items())
    assert len(found) == len(files)


def test_a_storage_that_nobody_knows_fails_its_files_alone(asking):
    files = [FileSpec(lfn=name, scope="test", endpoint=storage) for name, storage in (("a", "NOPE"), ("b", "XRD"))]
    found = destinations(asking(), files, QUEUE)
    assert isinstance(found["a"], PilotError)
    assert found["a"].code is Code.NOSTORAGE
    assert [place.endpoint for place in found["b"]] == ["XRD"]


# --- signed addresses ---


@pytest.fixture
def object_store(asking, rucio, s3) -> tuple[Server, str]:
    """A server that signs for a storage in SeaweedFS, and that storage's name."""
    server, name = asking(), f"S3-{uuid.uuid4().hex[:12].upper()}"
    ways = {way: {"read": 1, "write": 1, "delete": 1} for way in ("lan", "wan")}
    door = {"hostname": "127.0.0.1", "port": s3.port, "prefix": f"/{BUCKET}/rucio/", "domains": ways,
            "impl": "rucio.rse.protocols.gfal.NoRename", "extended_attributes": None}  # fmt: skip
    for path, asked in (
        ("", {"deterministic": True}),
        ("/protocols/https", door),
        ("/attr/sign_url", {"value": "s3"}),
        ("/attr/lfn2pfn_algorithm", {"value": "hash"}),
    ):
        server.call("POST", f"/rses/{name}{path}", json=asked, headers={"Accept": "*/*"})
    keys = {"access_key": s3.key, "secret_key": s3.secret, "signature_version": "s3v4", "region": REGION}
    accounts = rucio.home / "etc" / "rse-accounts.cfg"
    accounts.parent.mkdir(exist_ok=True)
    accounts.write_text(json.dumps({server.storage(name)["id"]: keys}))
    accounts.parent.chmod(0o755)
    accounts.chmod(0o644)
    return server, name


def test_addresses_of_an_object_store_are_signed_for_both_ways(object_store, s3, tmp_path):
    """data:A-13 (by the catalogue's plugin)"""
    server, storage = object_store
    source, job = tmp_path / "source", new_job()
    source.write_bytes(CONTENT)
    name = job.outputs[0].lfn
    found = destinations(server, [evolve(job.outputs[0], endpoint=storage)], QUEUE)[name]
    assert not isinstance(found, PilotError), found
    (put,) = signed(server, {name: found})[name]
    file = describe(name, CONTENT)
    stored = Receipt(
        lfn=name, direction="out", url=put.shown, tool="https", size_b=len(CONTENT), checksum=file.checksum,
        endpoint=storage,
    )  # fmt: skip
    tool = Https(settings_of(HttpsOptions))
    tool.store(source, _plain(put), file, MOVING)
    assert register(server, job, [stored]) == {}
    (get,) = list_replicas(server, job.outputs)[name]
    tool.fetch(_plain(get), tmp_path / "back", file, MOVING)
    assert (tmp_path / "back").read_bytes() == CONTENT
    assert put.signed
    assert get.signed
    assert "Signature" not in put.shown + get.shown


def _plain(place: Replica) -> Replica:
    """SeaweedFS listens without TLS here, which a signature does not cover."""
    return evolve(place, url=place.url.replace("https://", "http://", 1))


# --- registration ---


def test_to_register_twice_is_to_register_once(asking):
    """data:D-11 (in the catalogue)"""
    server, job = asking(), new_job()
    name = job.outputs[0].lfn
    url = destinations(server, [evolve(job.outputs[0], endpoint="XRD")], QUEUE)[name][0].url
    for _ in range(2):
        assert register(server, job, [receipt(name, url)]) == {}
    known = list_replicas(server, job.outputs)[name]
    assert [(place.url, place.size_b, place.checksum) for place in known] == [(url, 3, Checksum("adler32", "024d0127"))]


def test_another_file_under_a_known_name_is_an_error(asking):
    server, job = asking(), new_job()
    name = job.outputs[0].lfn
    url = destinations(server, [evolve(job.outputs[0], endpoint="XRD")], QUEUE)[name][0].url
    assert register(server, job, [receipt(name, url)]) == {}
    for other in (receipt(name, url, size_b=4), receipt(name, url, digits="00000001")):
        assert [error.code for error in register(server, job, [other]).values()] == [Code.FILEEXISTS]


def test_what_has_no_scope_is_an_error_and_what_lies_elsewhere_is_nobodys(asking):
    job = Job(id="1", outputs=(FileSpec(lfn="a", scope="user.pilot"), FileSpec(lfn="b")))
    told = [receipt("a", "root://h/a", "ELSEWHERE"), receipt("b", "root://h/b"), receipt("c", "/a/path", "")]
    errors = register(asking(scope=""), job, told)
    assert [*errors] == ["b"]
    assert "no scope" in errors["b"].detail


def test_a_place_that_the_catalogue_does_not_expect_is_not_registered(asking):
    job = new_job()
    name = job.outputs[0].lfn
    errors = register(asking(), job, [receipt(name, f"root://elsewhere:1094//{os.getpid()}/{name}")])
    assert [*errors] == [name]
