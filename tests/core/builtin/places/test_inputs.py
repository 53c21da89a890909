"""Inputs: which places a queue allows, and which of them are first."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from pilot_core.builtin import places
from pilot_core.builtin.places import PlacesOptions
from pilot_core.builtin.places.inputs import ranked
from pilot_core.builtin.places.paths import hashed
from pilot_core.errors import Code, PilotError
from pilot_core.model.files import FileSpec, Replica
from pilot_core.model.job import Job
from pilot_core.model.queue import Queue

A = FileSpec(lfn="a.root", scope="s", endpoint="DATA")
DATA, SCRATCH = (
    Replica("root://se.example.org:1094//pnfs/data/a", "DATA"),
    Replica("davs://se.example.org/a", "SCRATCH"),
)
AWAY, OTHER = Replica("davs://dav.example.net/a", "FAR"), Replica("root://x.example.net//a", "OTHER")


def rank(queue, settings, *found, file=A, transformation="", **options):
    job = Job(id="1", inputs=(file,), transformation=transformation)
    chosen = places.pilot_inputs_rank(job, queue, {file.lfn: found}, settings(**options))[file.lfn]
    return chosen if isinstance(chosen, PilotError) else [each.url for each in chosen]


def urls(*replicas):
    return [each.url for each in replicas]


def test_what_is_near_comes_first_in_the_queues_order(queue, settings):
    """data:A-01 data:A-02"""
    assert rank(queue(), settings, AWAY, SCRATCH, OTHER, DATA) == urls(DATA, SCRATCH, AWAY, OTHER)


def test_a_user_on_a_queue_for_all_has_storages_of_its_own(queue, settings):
    """data:A-03"""
    lists = {"read_lan": ["DATA", "SCRATCH"], "read_lan_analysis": ["SCRATCH", "DATA"]}
    unified, other = queue(astorages=lists), queue(astorages=lists, type="production")
    users = {"transformation": "https://h/run"}
    assert rank(unified, settings, DATA, SCRATCH, **users) == urls(SCRATCH, DATA)
    assert rank(unified, settings, SCRATCH, DATA) == urls(DATA, SCRATCH)
    assert rank(other, settings, SCRATCH, DATA, **users) == urls(DATA, SCRATCH)


@pytest.mark.parametrize(("found", "facts", "why"), [
    ([Replica("root://h//a", "DATA", tape=True)], {}, "1 on tape"),
    ([AWAY, OTHER], {"allow_wan": False}, "2 over WAN, which the queue does not allow"),
    ([AWAY], {"allow_wan": None}, "1 over WAN"),
    ([Replica("srm://h/a", "DATA"), AWAY], {"allow_wan": False}, "1 over WAN.*, 1 no copy tool may use"),
    ([Replica("file:///etc/shadow", "DATA")], {"acopytools_schemas": None}, "1 of no storage but the node's own"),
    ([Replica("/etc/shadow", "DATA")], {"acopytools_schemas": None}, "of no storage"),
    ([Replica("http://169.254.169.254/latest", "FAR")], {"acopytools_schemas": None}, "of no storage"),
    ([Replica("http://[::1/latest", "FAR")], {"acopytools_schemas": None}, "of no storage"),
])  # fmt: skip
def test_what_may_not_be_used_is_left_out_and_said(queue, settings, found, facts, why):
    """data:A-04 data:A-05 data:I-08"""
    error = rank(queue(**facts), settings, *found)
    assert error.code is Code.NOREPLICAS
    assert re.search(f"s:a.root: of {len(found)} places .*{why}", error.detail)


def test_a_path_of_the_node_is_a_place_where_its_storage_says_so_and_nowhere_else(queue, settings):
    """data:I-08 (a storage that is mounted)"""
    near = queue(astorages={"read_lan": ["DISK"]}, acopytools_schemas=None)
    inside = Replica("file:///disk/rucio/a", "DISK")
    outside = [Replica(f"file:///disk/{up}/etc/shadow", "DISK") for up in ("..", "x/../..", "%2e%2e", ".%2E/x")]
    assert rank(near, settings, *outside, inside, Replica("file:///diskette", "DISK")) == urls(inside)


def test_a_library_may_come_from_afar(queue, settings):
    """data:A-05"""
    library = FileSpec(lfn="x.lib.tgz", scope="s")
    assert rank(queue(allow_wan=False), settings, AWAY, file=library) == urls(AWAY)
    assert rank(queue(allow_wan=False, catchall=None), settings, AWAY, file=library).code is Code.NOREPLICAS


def test_what_is_near_may_be_forbidden(queue, settings):
    """data:A-06"""
    assert rank(queue(allow_lan=False), settings, DATA, AWAY) == urls(AWAY)


def test_a_scheme_is_allowed_near_and_far_alike_and_file_by_file(queue, settings):
    """data:A-07 data:A-08"""
    assert rank(queue(), settings, AWAY) == urls(AWAY)
    job = Job(id="1", inputs=(A, FileSpec(lfn="b", scope="s")))
    chosen = ranked(job, queue(), {"a.root": [OTHER], "b": [SCRATCH]}, PlacesOptions())
    assert {lfn: urls(*found) for lfn, found in chosen.items()} == {"a.root": urls(OTHER), "b": urls(SCRATCH)}


def test_near_places_are_tried_by_the_schemes_that_the_tool_likes(queue, settings):
    dav = Replica("https://se.example.org/a", "DATA")
    job = Job(id="1", inputs=(A,))
    found = ranked(job, queue(), {"a.root": [DATA, dav]}, PlacesOptions())["a.root"]
    assert [(each.url, each.tools) for each in found] == [(dav.url, ("browser",)), (DATA.url, ("browser", "runner"))]


@pytest.mark.parametrize(("historic", "tool_in", "tool_out"), [(True, "xrdcp", "gfal"), (False, "rucio", "rucio")])
def test_tools_are_listed_under_older_words_too(queue, settings, historic, tool_in, tool_out):
    """data:A-16"""
    tools = {"pr": ["xrdcp"], "pw": ["gfal"], "default": ["rucio"]}
    old = queue(acopytools=tools, acopytools_schemas=None)
    job, out = Job(id="1", inputs=(A,)), FileSpec(lfn="o", scope="s")
    taken = places.pilot_inputs_rank(job, old, {"a.root": [DATA]}, settings(historic=historic))
    put = places.pilot_outputs_replicas(job, [out], old, settings(historic=historic))
    assert [each.tools for each in taken["a.root"]] == [(tool_in,)]
    assert {each.tools for each in put["o"]} == {(tool_out,)}


def test_a_signed_address_stays_as_it_is(queue, settings):
    """data:A-13"""
    url = "https://os.example.org/bucket/k?X-Amz-Signature=a%2Bb&Expires=9"
    (found,) = ranked(Job(id="1", inputs=(A,)), queue(), {"a.root": [Replica(url, "FAR", signed=True)]},
                      PlacesOptions(direct_wan=("https",)))["a.root"]  # fmt: skip
    assert (found.url, found.signed, found.direct) == (url, True, False)


@pytest.mark.parametrize(("facts", "schemes", "direct"), [
    ({}, {}, [False, False, False]),
    ({"direct_access_lan": True}, {}, [True, False, False]),
    ({"direct_access_lan": True, "direct_access_wan": True}, {}, [True, False, True]),
    ({"direct_access_lan": True}, {"direct_lan": ("davs",)}, [False, True, False]),
])  # fmt: skip
def test_where_a_payload_may_read_files_itself(queue, settings, facts, schemes, direct):
    """data:C-02 data:C-01 (which places the queue allows)"""
    replicas = {"a.root": [DATA, SCRATCH, OTHER]}
    found = ranked(Job(id="1", inputs=(A,)), queue(**facts), replicas, PlacesOptions(**schemes))["a.root"]
    assert [each.direct for each in found] == direct


def test_a_tool_that_makes_links_does_not_go_with_direct_access(queue, settings):
    """data:B-30"""
    links = queue(acopytools={"default": ["mv"]}, acopytools_schemas=None, direct_access_lan=True)
    direct = FileSpec(lfn="a.root", scope="s", direct=True)
    error = rank(links, settings, DATA, file=direct)
    assert (error.code, "bad queue configuration" in error.detail) == (Code.BADQUEUECONFIGURATION, True)
    assert rank(links, settings, DATA) == urls(DATA)


def test_without_a_catalogue_the_storages_say_where_files_lie(queue, settings):
    """data:D-02 (of inputs)"""
    files = (
        A, FileSpec(lfn="b", scope="s", endpoint="FAR"), FileSpec(lfn="c", scope="s"), FileSpec(lfn="d"),
        FileSpec(lfn="e", endpoint="CATALOGUED"), FileSpec(lfn="f", endpoint="NOWHERE"),
        FileSpec(lfn="g", replicas=(Replica("mem://g"),)), FileSpec(lfn="h i", scope="s", endpoint="OBJECTS"),
    )  # fmt: skip
    found = places.pilot_inputs_replicas(Job(id="1", inputs=files), queue())
    below = {lfn: hashed("s", lfn) for lfn in ("a.root", "b", "c")}
    assert {lfn: urls(*each) for lfn, each in found.items()} == {
        "a.root": [f"root://se.example.org:1094//pnfs/data/{below['a.root']}",
                   f"davs://se.example.org:443/data/{below['a.root']}"],
        "b": [f"davs://dav.example.net:443/data/{below['b']}"],
        "c": [f"root://se.example.org:1094//pnfs/data/{below['c']}", f"davs://se.example.org:443/data/{below['c']}",
              f"davs://se.example.org:443/scratch/{below['c']}"],
        "h i": ["s3://os.example.org:443/bucket/h%20i"],
    }  # fmt: skip
    assert places.pilot_inputs_replicas(Job(id="1", inputs=files[6:7]), queue()) is None


def test_a_queue_that_says_nothing_of_storage_refuses_nothing(settings):
    job, found = Job(id="1", inputs=(A,)), {"a.root": [AWAY, DATA]}
    chosen = places.pilot_inputs_rank(job, Queue(name="q"), found, settings())["a.root"]
    assert sorted(each.url for each in chosen) == sorted(urls(AWAY, DATA))
    assert {each.tools for each in chosen} == {()}


ENDPOINTS = st.sampled_from(["DATA", "SCRATCH", "FAR", "OTHER", ""])
SCHEMES = st.sampled_from(["root", "davs", "https", "srm", "file"])
REPLICAS = st.lists(
    st.builds(lambda scheme, where, n, tape: Replica(f"{scheme}://h/{n}", where, tape=tape),
              SCHEMES, ENDPOINTS, st.integers(0, 9), st.booleans()),
    max_size=8, unique_by=lambda each: each.url,
)  # fmt: skip


@given(found=REPLICAS, lan=st.booleans(), wan=st.booleans())
@budget(max_examples=200, deadline=None)
def test_whatever_is_told_what_is_chosen_is_allowed_and_in_order(found, lan, wan):
    near = ("DATA", "SCRATCH")
    params = {"astorages": {"read_lan": near}, "allow_lan": lan, "allow_wan": wan}
    chosen = ranked(Job(id="1", inputs=(A,)), Queue(name="q", params=params), {"a.root": found}, PlacesOptions())
    kept = chosen["a.root"]
    if isinstance(kept, PilotError):
        assert found
        kept = []
    assert {each.url for each in kept} == {
        each.url
        for each in found
        if not each.tape and not each.url.startswith("file:") and (lan if each.endpoint in near else wan)
    }
    order = [near.index(each.endpoint) if each.endpoint in near else len(near) for each in kept]
    assert order == sorted(order)
    far = [each.url for each in kept if each.endpoint not in near]
    assert far == [each.url for each in found if each.url in far]
