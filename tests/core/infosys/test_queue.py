"""Facts of queues: ranked, cast by rule, turned into options."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilot_core.config.layers import Rank, Schema
from pilot_core.config.schema import CORE, Connection
from pilot_core.errors import Code, PilotError
from pilot_core.infosys.facts import age
from pilot_core.infosys.queue import resolve
from pilot_core.model.queue import Queue
from pilot_core.spec.drivers import InfoSource


class Source(InfoSource):
    """A source that tells what the test says, or fails with it."""

    def __init__(self, told, name="made"):
        self.told, self.name = told, name

    def queue(self, name):
        if isinstance(self.told, PilotError):
            raise self.told
        return self.told


def queue_of(**facts) -> Queue:
    return resolve("q", [Source(facts)])[0]


def test_a_queue_that_nobody_describes_has_defaults():
    assert resolve("q", []) == (Queue(name="q"), None)
    assert resolve("q", [Source(None)]) == (Queue(name="q"), None)


def test_facts_become_a_queue():
    """data:J-05 (numbers)"""
    queue = queue_of(
        corecount=8,
        maxrss="16000",
        maxwdir=20000,
        maxtime="86400",
        copytools={"local": {"setup": ""}, "other": {}},
        container_type="runtime:wrapper;boxes:pilot",
        environ="A=1,B=x=y  C",
        state="ACTIVE",
        status="online",
        params={"job_maxwalltime": True},
        catchall="something",
    )
    assert queue == Queue(
        name="q",
        cores=8,
        memory_b=16000 * 10**6,
        disk_b=20000 * 10**6,
        wall_limit_s=86400.0,
        copytools=("local", "other"),
        container="boxes",
        environment={"A": "1", "B": "x=y"},
        params={
            "job_maxwalltime": True,
            "catchall": "something",
            "container_type": {"pilot": "boxes", "wrapper": "runtime"},
            "copytools": {"local": {"setup": ""}, "other": {}},
        },
    )


@pytest.mark.parametrize("nothing", [None, "NULL", "null", "", 0, "0", -1])
def test_nothing_is_no_limit(nothing):
    """data:J-05 (numbers)"""
    queue = queue_of(corecount=nothing, maxrss=nothing, maxwdir=nothing, maxtime=nothing)
    assert queue == Queue(name="q")


@pytest.mark.parametrize(
    "params", [{"a": 1}, '{"a": 1}', "{'a': 1}", " {'a': 1} ", '{"a": 1, "b": null}'], ids=range(5)
)
def test_a_mapping_may_be_a_text(params):
    """data:J-05 (tables)"""
    assert queue_of(params=params).params["a"] == 1


def test_a_part_that_names_no_user_says_nothing():
    """data:J-06"""
    told = queue_of(container_type="boxes:pilot;crates:wrapper;tins:middleware;bad;a:b:c").params["container_type"]
    assert told == {"pilot": "boxes", "wrapper": "crates", "middleware": "tins"}


@pytest.mark.parametrize("copytools", [["x", "y"], "x, y", {"x": 1, "y": 2}])
def test_names_come_as_list_text_or_mapping(copytools):
    assert queue_of(copytools=copytools).copytools == ("x", "y")


def test_what_cannot_be_cast_is_told_and_left_out(caplog):
    queue = queue_of(maxrss="a lot", params="{", copytools=3, maxwdir=10)
    assert queue == Queue(name="q", disk_b=10**7)
    assert [record.getMessage() for record in caplog.records] == [
        "queue q: params: '{' is left out: it cannot be read",
        "queue q: maxrss: 'a lot' is left out: it cannot be read",
        "queue q: copytools: 3 is left out: it cannot be read",
    ]


@pytest.mark.parametrize("number", [float("inf"), float("nan"), "1e3", [], {}, "9" * 5000], ids=range(6))
def test_what_is_no_number_is_no_limit(number):
    assert queue_of(maxrss=number) == Queue(name="q")


def test_the_first_source_that_knows_a_fact_tells_it():
    one, two = Source({"corecount": 4, "copytools": "x"}, "one"), Source({"corecount": 8, "maxtime": 9}, "two")
    queue, layer = resolve("q", [one, Source(None), two])
    assert (queue.cores, queue.wall_limit_s) == (4, 9.0)
    assert (layer.rank, layer.where) == (Rank.QUEUE, "queue q (one, two)")


def test_a_source_that_does_not_know_the_queue_leaves_it_to_the_next():
    unknown = Source(PilotError(Code.QUEUEDATA, "no queue 'q'; did you mean 'p'?"))
    assert resolve("q", [unknown, Source({"corecount": 2})])[0].cores == 2
    with pytest.raises(PilotError, match="did you mean 'p'"):
        resolve("q", [unknown, Source(None)])


def test_tables_are_joined_row_by_row_and_nothing_is_no_fact():
    """data:J-10"""
    near = Source(
        {"params": "{'a': 1, 'n': None}", "acopytools": {"pr": ["x"]}, "maxrss": None, "maxtime": "null"}, "near"
    )
    far = {"params": {"a": 2, "b": 3, "n": 4}, "acopytools": {"pr": ["y"], "pw": "y,z"}, "maxrss": 5, "maxtime": 6}
    queue, _ = resolve("q", [near, Source({**far, "copytools": {"z": {}}}, "far")])
    assert (queue.memory_b, queue.wall_limit_s) == (5 * 10**6, 6.0)
    assert {name: queue.params[name] for name in "abn"} == {"a": 1, "b": 3, "n": 4}
    assert queue.params["acopytools"] == {"pr": ("x",), "pw": ("y", "z")}


def test_copytools_come_whole_from_one_source_and_those_of_activities_after_them():
    one, two = Source({"copytools": {"x": {}}}), Source({"copytools": {"y": {}}, "acopytools": {"pr": ["z"]}})
    assert resolve("q", [one, two])[0].copytools == ("x", "z")
    assert queue_of(acopytools={"pr": ["z", "x"], "pw": ["x"]}).copytools == ("z", "x")


def test_known_fields_have_their_types():
    """data:J-05 (yes and no)"""
    told = {
        "allow_lan": "False", "allow_wan": " yes ", "use_pcache": "", "direct_access_lan": 1,
        "direct_access_wan": False, "maxinputsize": "-1", "timefloor": "200", "pledgedcpu": -1.0,
        "appdir": " /sw ", "gstat": "NULL", "acopytools_schemas": '{"default": ["davs"]}',
        "astorages": "{'pw': ['A', 'B'], 'pr': None}",
        "container_options": "none", "params": {"allow_altstageout": "false", "pilot_rss_grace": "10", "own": "false"},
    }  # fmt: skip
    assert queue_of(**told).params == {
        "allow_lan": False, "allow_wan": True, "use_pcache": False, "direct_access_lan": True,
        "direct_access_wan": False, "maxinputsize": -1, "timefloor": 200, "pledgedcpu": -1, "appdir": "/sw",
        "acopytools_schemas": {"default": ["davs"]}, "astorages": {"pw": ("A", "B")},
        "allow_altstageout": False, "pilot_rss_grace": 10, "own": "false",
    }  # fmt: skip


def test_a_flag_that_is_none_is_left_out(caplog):
    assert "allow_wan" not in queue_of(allow_wan="perhaps").params
    assert "allow_wan: 'perhaps' is left out" in caplog.text


@pytest.mark.parametrize(
    ("told", "options"),
    [
        ({"container_options": "-B /x"}, "-B /x"),
        ({"container_options": "-B /x", "catchall": "box_options=-C"}, "-B /x"),
        ({"container_options": "None", "catchall": "a box_options='-B /x,/y -C' b"}, "-B /x,/y -C"),
        ({"catchall": "a b=c"}, None),
    ],
)
def test_options_of_the_runtime_may_stand_among_the_remarks(told, options):
    """data:J-07 (what runtimes are told is our own)"""
    assert queue_of(**told).params.get("container_options") == options


def test_a_source_that_does_not_answer_is_passed_over_with_a_warning(caplog):
    away = Source(PilotError(Code.COMMUNICATIONFAILURE, "nobody answers"), "far")
    assert resolve("q", [away, Source({"corecount": 2}, "near")])[0].cores == 2
    assert "queue q: source far did not tell: nobody answers" in caplog.text


def test_when_no_source_is_reached_all_say_why():
    away = [Source(PilotError(Code.COMMUNICATIONFAILURE, f"{name} is away"), name) for name in ("one", "two")]
    with pytest.raises(PilotError) as raised:
        resolve("q", away)
    assert (raised.value.code, raised.value.code.exit_code) == (Code.QUEUEDATA, 71)
    assert raised.value.detail == "no source tells of queue 'q': one: one is away; two: two is away"
    with pytest.raises(PilotError) as raised:
        resolve("q", away[:1])
    assert raised.value.code is Code.COMMUNICATIONFAILURE


def test_a_refusal_names_who_said_so():
    source = Source({"state": "BROKEN"}, "far")
    source.whence = lambda name: ("https://h/q.json", 7300.0)
    with pytest.raises(PilotError, match=r"queue q is BROKEN, says far \(https://h/q.json, 2 h old\)"):
        resolve("q", [source])


@pytest.mark.parametrize(
    ("age_s", "told"), [(-5, "0 s old"), (119, "119 s old"), (120, "2 min old"), (7200, "2 h old"), (2.5e5, "3 d old")]
)
def test_ages_are_for_people(age_s, told):
    assert age(age_s) == told


def test_a_source_that_is_broken_is_not_passed_over():
    with pytest.raises(PilotError) as raised:
        resolve("q", [Source(PilotError(Code.QUEUEDATANOTOK, "no YAML")), Source({})])
    assert raised.value.code is Code.QUEUEDATANOTOK


@pytest.mark.parametrize(
    ("facts", "number", "exit_code"),
    [
        ({"state": "INACTIVE"}, 1359, 78),
        ({"state": "active"}, 1359, 78),
        ({"status": "Offline"}, 1386, 83),
        ({"status": "brokeroff"}, None, None),
        ({"status": "test", "state": " ACTIVE "}, None, None),
    ],
)
def test_a_queue_that_takes_no_work_is_refused(facts, number, exit_code):
    """data:J-08 (state and status)"""
    if number is None:
        assert queue_of(**facts).state == "ACTIVE"
        return
    with pytest.raises(PilotError) as raised:
        queue_of(**facts)
    assert (raised.value.code.number, raised.value.code.exit_code) == (number, exit_code)


def test_facts_set_options_and_say_where_they_came_from():
    facts = {"copytools": ["a", "b"], "container_type": {"pilot": "boxes"}, "params": {"pilot_rss_grace": "50"}}
    _, layer = resolve("q", [Source(facts)])
    assert layer.values == {
        "data": {"copytools": ("a", "b")},
        "payload": {"container": "boxes"},
        "memory": {"grace": 1.5},
    }
    core = {name: layer.values[name] for name in ("data", "payload")}
    settings = Schema(CORE).merge(type(layer)(layer.rank, layer.where, core))
    where = {row.path: row.where for row in settings.explain()}
    assert where["data.copytools"] == where["payload.container"] == "queue q (made)"


@pytest.mark.parametrize(("told", "only"), [("IPv4", True), (" ipv4 ", True), ("IPv6", None), ("", None), (None, None)])
def test_a_queue_may_keep_the_pilot_from_ipv6(told, only):
    """server:T-11 (the queue)"""
    _, layer = resolve("q", [Source({"params": {"internet_protocol_version": told, "pilot_rss_grace": 1}})])
    assert layer.values.get("connection") == (only and {"ipv4_only": True})
    settings = Schema(CORE).merge(type(layer)(layer.rank, layer.where, {"connection": {"ipv4_only": bool(only)}}))
    assert settings.of(Connection).ipv4_only is bool(only)


def test_a_queue_that_says_nothing_of_options_sets_none():
    assert resolve("q", [Source({"maxrss": 1})])[1] is None


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("corecount", "maxrss", "maxwdir", "maxtime", "copytools", "container_type", "environ", "params")


@settings(max_examples=150)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, anything)))
def test_whatever_a_document_holds_a_queue_comes_of_it(facts):
    queue = queue_of(**facts)
    assert queue.cores is None or queue.cores > 0
    assert all(isinstance(name, str) and name for name in queue.copytools)
