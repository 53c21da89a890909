"""Outputs and the log: which storage they go to, under which path, and where else if that fails."""

from __future__ import annotations

from hashlib import md5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot_core.builtin import places
from pilot_core.builtin.places.outputs import ELSEWHERE, Goals
from pilot_core.builtin.places.paths import hashed, url_of
from pilot_core.errors import Code, PilotError
from pilot_core.model.files import FileSpec, Replica
from pilot_core.model.job import Job, JobExtras
from pilot_core.model.queue import Queue

OUT, LOG = FileSpec(lfn="o.root", scope="user.alice"), FileSpec(lfn="l.log.tgz", scope="user.alice")
PATH, LOG_PATH = hashed("user.alice", "o.root"), hashed("user.alice", "l.log.tgz")


def job(wish="", never="", **more):
    said = {name: value for name, value in {"wish": wish, "never": never}.items() if value}
    return Job(id="1", log=LOG, extras=JobExtras({ELSEWHERE.name: said} if said else {}), **more)


def put(queue, settings, file=OUT, *, of=None, **options):
    """The URLs of its places in order; its error; ``None`` if it is left out."""
    found = (places.pilot_outputs_replicas(of or job(), [file], queue, settings(**options)) or {}).get(file.lfn)
    return found if found is None or isinstance(found, PilotError) else [each.url for each in found]


def test_a_path_is_made_of_scope_name_and_their_hash(queue, settings):
    """data:D-02"""
    digest = md5(b"user.alice:o.root").hexdigest()
    path = f"user/alice/{digest[:2]}/{digest[2:4]}/o.root"
    users = job(transformation="https://h/run")
    assert put(queue(), settings, of=users) == [f"davs://se.example.org:443/scratch/{path}"]


def test_the_protocols_of_one_storage_follow_each_other(queue, settings):
    data = [f"davs://se.example.org:443/data/{PATH}", f"root://se.example.org:1094//pnfs/data/{PATH}"]
    assert put(queue(), settings) == data
    liked = queue(acopytools_schemas={"default": ["root", "davs"]})
    assert put(liked, settings) == data[::-1]


@pytest.mark.parametrize(("endpoint", "never", "expected"), [
    ("", "", ("DATA", "SCRATCH")),
    ("SCRATCH", "", ("SCRATCH", "FAR")),
    ("FAR", "", ("FAR", "DATA")),
    ("ELSE", "", ("DATA", "ELSE")),
    ("ELSE", "ELSE", ("DATA", "")),
    ("DATA", "SCRATCH", ("DATA", "FAR")),
])  # fmt: skip
def test_which_storage_and_which_other(queue, settings, endpoint, never, expected):
    """data:D-03"""
    goals = Goals.of(job(never=never), queue(), settings().of(places.PlacesOptions), log=False)
    assert goals.endpoints(FileSpec(lfn="o", endpoint=endpoint)) == expected


def test_a_single_storage_has_no_other(queue, settings):
    assert len(put(queue(astorages={"write_lan": ["SCRATCH"]}), settings, of=job("force"))) == 1


def test_a_storage_that_nobody_knows_fails_its_file_alone(queue, settings):
    """data:D-04"""
    lists = {"write_lan": ["GONE", "SCRATCH"], "pl": ["OBJECTS"]}
    found = places.pilot_outputs_replicas(job(), [OUT, LOG], queue(astorages=lists), settings())
    assert (found["o.root"].code, len(found[LOG.lfn])) == (Code.NOSTORAGE, 1)
    assert put(queue(astorages=lists), settings, of=job("force")) == [f"davs://se.example.org:443/scratch/{PATH}"]


def test_a_storage_without_a_protocol_that_tools_speak(queue, settings):
    """data:D-05"""
    error = put(queue(acopytools_schemas={"default": ["srm"]}), settings)
    assert (error.code, "DATA has no protocol for write_lan" in error.detail) == (Code.NOSTORAGEPROTOCOL, True)


def test_paths_that_only_a_catalogue_knows(queue, settings):
    """data:D-06"""
    assert put(queue(astorages={"write_lan": ["CATALOGUED"]}), settings).code is Code.NONDETERMINISTICDDM
    assert put(queue(), settings, LOG) == ["s3://os.example.org:443/bucket/l.log.tgz"]


def test_one_directory_takes_all_with_the_storages_own_paths(queue, settings):
    """data:D-19"""
    assert put(queue(), settings, output_dir="/out/") == [f"/out/{PATH}"]
    assert put(queue(astorages={"write_lan": ["PLAIN"]}), settings, output_dir="/out") is None


def test_the_log_has_storages_and_tools_of_its_own(queue, settings):
    (place,) = places.pilot_outputs_replicas(job(), [LOG], queue(), settings())[LOG.lfn]
    assert (place.endpoint, place.activity, place.tools) == ("OBJECTS", "pl", ("logger",))
    assert put(queue(astorages={"pw": ["SCRATCH"]}), settings, LOG) == [f"davs://se.example.org:443/scratch/{LOG_PATH}"]


@pytest.mark.parametrize(("queue_says", "wish", "forced", "allowed"), [
    (True, "", True, True),  # data:F-01
    (True, "off", True, True),
    (False, "on", True, False),  # data:F-02
    ("false", "on", True, False),  # data:F-03
    (False, "force", True, True),  # data:F-04
    (False, "force", False, False),
    (None, "force", False, True),
    (None, "on", True, True),
    (None, "off", True, False),
    (None, "", True, False),
])  # fmt: skip
def test_whether_another_storage_may_be_used(queue, settings, queue_says, wish, forced, allowed):
    """data:F-02 data:F-03 data:F-04"""
    params = {} if queue_says is None else {"allow_altstageout": queue_says}
    found = put(queue(params=params), settings, of=job(wish), forced=forced)
    assert (f"davs://se.example.org:443/scratch/{PATH}" in found) is allowed


def test_the_other_storage_is_reached_by_its_own_protocol(queue, settings):
    """data:F-06 data:F-07"""
    lists = {"read_lan": ["SCRATCH"], "write_lan": ["SCRATCH", "FAR"]}
    found = places.pilot_outputs_replicas(
        job("on"), [OUT, LOG], queue(astorages=lists, acopytools_schemas=None), settings()
    )
    for lfn, path in (("o.root", PATH), (LOG.lfn, LOG_PATH)):
        assert [(each.url, each.endpoint, each.domain) for each in found[lfn]] == [
            (f"davs://se.example.org:443/scratch/{path}", "SCRATCH", "lan"),
            (f"davs://dav.example.net:443/data/{path}", "FAR", "wan"),
        ]


def test_a_queue_without_storages_leaves_files_to_their_own_endpoint(queue, settings):
    bare = queue(astorages=None)
    assert put(bare, settings) is None
    assert put(bare, settings, FileSpec(lfn="o", scope="7.1", endpoint="PLAIN")) == ["file:///disk/7.1/o"]
    assert put(bare, settings, FileSpec(lfn="o", endpoint="NOWHERE")) is None
    assert put(queue(), settings, FileSpec(lfn="o", replicas=(Replica("mem://o"),))) is None


@pytest.mark.parametrize(("begin", "name", "url"), [
    ("davs://h/p", "große_測試.root", "davs://h/p/gro%C3%9Fe_%E6%B8%AC%E8%A9%A6.root"),
    ("https://h/p/", "100%41#?+ x", "https://h/p/100%2541%23%3F%2B%20x"),
    ("root://h//p", "a b+c", "root://h//p/a b+c"),
    ("/disk", "a b%20", "/disk/a b%20"),
])  # fmt: skip
def test_names_are_encoded_once_where_urls_are(begin, name, url):
    """data:I-05 data:I-06 (in places made of names)"""
    assert url_of(begin, name) == url


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(scope=NAMES, lfn=NAMES)
def test_a_path_keeps_name_and_scope_and_has_two_parts_of_the_hash(scope, lfn):
    digest = md5(f"{scope}:{lfn}".encode(), usedforsecurity=False).hexdigest()
    parts = [part for part in scope.split(".") if part]
    assert hashed(scope, lfn) == "/".join([*parts, digest[:2], digest[2:4], lfn])


ENDPOINTS = st.sampled_from(["A", "B", "C", "D", ""])


@given(st.lists(st.sampled_from("ABC"), min_size=1, unique=True), ENDPOINTS, ENDPOINTS)
def test_the_first_storage_is_the_queues_and_the_other_is_another(names, endpoint, never):
    told = Queue(name="q", params={"astorages": {"write_lan": tuple(names)}})
    goals = Goals.of(job(never=never), told, places.PlacesOptions(), log=False)
    first, other = goals.endpoints(FileSpec(lfn="o", endpoint=endpoint))
    assert first == (endpoint if endpoint in names else names[0])
    assert other not in ({first, never} - {""})
    assert other in {*names, endpoint, ""}
    if {*names} - {never, first}:
        assert bool(other) == (endpoint in {*names, ""} or endpoint != never)
