"""What Rucio's plugin makes of answers, storages and tries, and how its reports are sent, without a server of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qsl, urlsplit

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from pilot_copytools.rucio import spool as spools
from pilot_copytools.rucio import traces
from pilot_copytools.rucio.names import destinations, doors, path_of, url_of, wanted
from pilot_copytools.rucio.plugin import Plugin, plugin
from pilot_copytools.rucio.replicas import PLACED_VIRTUALLY, is_signed, list_replicas, places
from pilot_copytools.rucio.server import Server
from pilot_copytools.rucio.settings import RucioOptions
from pilot_copytools.rucio.signs import signed
from pilot_copytools.rucio.spool import Spool
from pilot_copytools.rucio.words import EXCEPTIONS, MAYBE, failure
from pilot_core.config.layers import Layer, Rank, Schema
from pilot_core.config.schema import CORE
from pilot_core.control.lanes import in_lanes
from pilot_core.errors import Code, PilotError
from pilot_core.model.files import Attempt, Checksum, FileSpec, Replica
from pilot_core.model.job import Job, JobExtras
from pilot_core.model.queue import Queue, Storage
from pilot_core.spec import staging
from pilot_core.spec.patch import Patch
from pilot_core.testing import PilotKit
from pilot_core.testing.contracts.plugin import PluginContract

pytest_plugins = ["pilot_core.testing.fixtures"]

A, B = FileSpec(lfn="a.root", scope="s"), FileSpec(lfn="b.root", scope="s")
URL = "root://h:1094//rucio/s/a.root"


# --- a server that says what it is told to say ---


class Stub:
    """Answers questions from a list, and keeps them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, object]] = []
        self.answers: dict[str, list[tuple[int, object]]] = {}
        self.waits = threading.Event()
        self.waits.set()

    def answer(self, path: str, asked: object) -> tuple[int, bytes]:
        self.asked.append((path, asked))
        if path.startswith("/auth/"):
            return 200, b""
        self.waits.wait(30)
        waiting = self.answers.get(path.partition("?")[0], [])
        status, told = waiting.pop(0) if len(waiting) > 1 else waiting[0] if waiting else (404, "")
        lines = told if isinstance(told, list) else [told]
        return status, "\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines).encode()

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


@contextmanager
def serving(stub: Stub) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(size)
            status, told = stub.answer(self.path, json.loads(body) if body else None)
            self.send_response(status)
            self.send_header("X-Rucio-Auth-Token", "a-session")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        do_POST = do_GET  # noqa: N815 - as the library calls it

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            stub.waits.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def stub() -> Stub:
    return Stub()


@pytest.fixture
def server(stub, tmp_path: Path) -> Iterator[Server]:
    password = tmp_path / "password"
    password.write_text("a very secret word")
    password.chmod(0o600)
    with serving(stub) as url:
        yield Server(RucioOptions(host=url, account="me", password=password, scope="mine"))


def record(name: str = "a.root", scope: str = "s", **pfns: object) -> dict[str, object]:
    told = pfns or {URL: {"rse": "A", "type": "DISK", "priority": 1}}
    return {"scope": scope, "name": name, "bytes": 3, "adler32": "24d0127", "md5": None, "pfns": told}


class TestPlugin(PluginContract):
    plugin = plugin
    settings: ClassVar = {"rucio.host": "https://localhost:1", "rucio.register": True}


def test_nobody_is_asked_where_no_server_is_named(tmp_path):
    """Nor does anything wait for a catalogue, or a try get told, because the plugin is installed."""
    setup = PilotKit(plugins=[plugin]).set_up(tmp_path)
    assert not setup.hooks.answers(staging.pilot_outputs_register)
    assert not setup.hooks.listens(staging.pilot_transfer_tried)


# --- where files lie ---


def test_a_catalogue_that_is_down_for_a_moment_is_asked_again(server, stub):
    """data:A-10"""
    stub.answers["/replicas/list"] = [(503, ""), (503, ""), (200, record())]
    assert [place.url for place in list_replicas(server, [A])["a.root"]] == [URL]
    assert stub.paths() == ["/auth/userpass", *["/replicas/list"] * 3]


def test_a_catalogue_that_stays_down_is_told_with_what_it_said(server, stub):
    stub.answers["/replicas/list"] = [(503, "")]
    with pytest.raises(PilotError, match="answered 503") as raised:
        list_replicas(server, [A])
    assert raised.value.code is Code.RUCIOLISTREPLICASFAILED
    assert stub.paths().count("/replicas/list") == 3


def test_a_catalogue_that_says_nothing_is_not_waited_for(server, stub):
    """data:A-11"""
    stub.waits.clear()
    with pytest.raises(PilotError) as raised:
        list_replicas(Server(server.options, 0.3), [A])
    assert raised.value.code is Code.RUCIOLISTREPLICASFAILED


def test_answers_that_are_none_are_a_failure_of_the_catalogue(server, stub):
    stub.answers["/replicas/list"] = [(200, "<html>")]
    with pytest.raises(PilotError, match="not what was asked for") as raised:
        list_replicas(server, [A])
    assert raised.value.code is Code.RUCIOLISTREPLICASFAILED


def test_a_thousand_files_are_asked_for_in_a_few_calls(server, stub):
    stub.answers["/replicas/list"] = [(200, [])]
    files = [FileSpec(lfn=f"f{number}", scope="s") for number in range(1001)]
    assert set(list_replicas(server, files)) == {file.lfn for file in files}
    asked = [body["dids"] for path, body in stub.asked if path == "/replicas/list"]
    assert [len(each) for each in asked] == [500, 500, 1]


def test_a_job_with_caches_of_its_own_asks_for_them(server, stub):
    """data:A-14"""
    stub.answers["/replicas/list"] = [(200, record())]
    extras = plugin.pilot_job_extras({"useVP": "True"})
    job = Job(id="1", inputs=(A,), extras=JobExtras({key.name: value for key, value in extras.items()}))
    assert job.extras.get(PLACED_VIRTUALLY)
    list_replicas(server, job.inputs, job)
    asked = stub.asked[-1][1]
    assert (asked["schemes"], asked["rse_expression"]) == (["root"], "istape=False\\type=SPECIAL")
    assert asked["ignore_availability"] is False
    assert plugin.pilot_job_extras({"useVP": "False"}) == {}


def test_places_keep_the_servers_order_and_say_what_lies_there():
    told = record(**{
        "davs://b/x": {"rse": "B", "type": "TAPE", "domain": "wan", "priority": 2},
        "https://c/x?X-Amz-Signature=a%2Bb&Expires=9": {"rse": "C", "type": "DISK", "priority": 3},
        "root://a//x": {"rse": "A", "type": "DISK", "domain": "lan", "priority": 1},
    })  # fmt: skip
    size_b, checksum = 3, Checksum("adler32", "024d0127")
    assert places(told) == (
        Replica("root://a//x", "A", "lan", size_b=size_b, checksum=checksum),
        Replica("davs://b/x", "B", "wan", tape=True, size_b=size_b, checksum=checksum),
        Replica("https://c/x?X-Amz-Signature=a%2Bb&Expires=9", "C", signed=True, size_b=size_b, checksum=checksum),
    )


@pytest.mark.parametrize(
    ("url", "signed"),
    [
        ("https://h/b/k?AWSAccessKeyId=k&Signature=s&Expires=1", True),
        ("https://h/b/k?GoogleAccessId=a&Expires=1&Signature=s", True),
        ("https://h/k?temp_url_sig=s&temp_url_expires=1", True),
        ("srm://h:8443/srm/managerv2?SFN=/signature", False),
        ("root://h//sig", False),
    ],
)
def test_a_signature_is_seen_by_its_name(url, signed):
    assert is_signed(url) is signed


# --- where they go ---


def door(scheme="root", port=1094, prefix="//rucio/", **domains):
    ways = domains or {"lan": {"read": 1, "write": 1}, "wan": {"read": 1, "write": 1}}
    return {"scheme": scheme, "hostname": "h", "port": port, "prefix": prefix, "domains": ways}


@given(st.from_regex(r"[a-z]+(\.[a-zA-Z0-9]+){0,2}", fullmatch=True), st.text("abz019._-é測", min_size=1))
def test_a_path_is_made_of_scope_and_name(scope, name):
    """data:D-02 (by the catalogue's plugin)"""
    digest = md5(f"{scope}:{name}".encode()).hexdigest()
    path = path_of(scope, name)
    assert path == "/".join([*scope.split("."), digest[:2], digest[2:4], name])
    assert url_of(door(), path) == f"root://h:1094//rucio/{path}"
    assert url_of(door("davs", 443, "/rucio"), path) == f"davs://h:443/rucio/{path}"


def test_doors_come_by_domain_and_rank():
    far = door("davs", wan={"write": 1}, lan={"write": 0})
    near, second = door("root", lan={"write": 1}), door("https", lan={"write": 2})
    storage = {"protocols": [far, second, near, door("srm", lan={"read": 1})]}
    assert [each["scheme"] for each in doors(storage, "write", "lan")] == ["root", "https", "davs"]
    assert [each["scheme"] for each in doors(storage, "write", "wan")] == ["davs", "root", "https"]
    assert [each["scheme"] for each in doors(storage, "read", "wan")] == ["srm"]


def test_outputs_are_named_only_where_the_queue_knows_their_storage_not():
    known = Queue(name="q", storages={"A": Storage(name="A")})
    here, there = evolve(A, endpoint="A"), evolve(B, endpoint="B")
    options = RucioOptions(host="https://h")
    assert wanted([here], known, options) == []
    assert wanted([here, there], known, options) == [here, there]
    assert wanted([here], known, evolve(options, names=True)) == [here]
    assert wanted([evolve(there, scope="", replicas=(Replica(URL),))], known, options) == []


def test_each_unfit_storage_fails_its_own_files(server, stub):
    """data:D-06 (by the catalogue's plugin)"""
    stub.answers = {
        "/rses/A": [(200, {"rse": "A", "deterministic": True, "lfn2pfn_algorithm": "hash", "protocols": [door()]})],
        "/rses/B": [(200, {"rse": "B", "deterministic": False, "protocols": [door()]})],
        "/rses/C": [(200, {"rse": "C", "deterministic": True, "lfn2pfn_algorithm": "hash",
                           "protocols": [door(wan={"read": 1})]})],
    }  # fmt: skip
    queue = Queue(name="q", params={"astorages": {"write_lan": ["A"]}})
    files = [A, evolve(B, endpoint="B"), FileSpec(lfn="c", scope="s", endpoint="C")]
    found = destinations(server, files, queue)
    assert found["a.root"] == (Replica(f"root://h:1094//rucio/{path_of('s', 'a.root')}", "A", "wan"),)
    assert [found[name].code for name in ("b.root", "c")] == [Code.NONDETERMINISTICDDM, Code.NOSTORAGEPROTOCOL]


SIGNED = "https://os/b/a?Signature=s&Expires=1"
PLAIN = Replica("https://os/b/a", "OS", tools=("https",))


def test_places_in_object_stores_are_signed_whoever_named_them(server, stub):
    """data:A-13 (on the way out)"""
    stub.answers = {
        "/rses/OS": [(200, {"rse": "OS", "sign_url": "s3"})],
        "/rses/OTHER": [(200, {"rse": "OTHER"})],
        "/rses/LOST": [(404, "")],
        "/credentials/signurl": [(200, f"{SIGNED}\n")],
    }
    other = Replica("root://h//a", "OS")
    unsigned = [Replica("https://h/c", "OTHER"), Replica("https://h/c"), Replica("https://h/c", "LOST"), other]
    already = evolve(PLAIN, signed=True)
    found = signed(server, {"a.root": [PLAIN, other], "c": unsigned, "d": [already]})
    assert found == {"a.root": [evolve(PLAIN, url=SIGNED, signed=True), other]}
    (asked,) = (path for path in stub.paths() if "signurl" in path)
    query = dict(parse_qsl(urlsplit(asked).query))
    assert query == {"rse": "OS", "svc": "s3", "op": "write", "url": PLAIN.url, "lifetime": "86400"}


def test_a_place_that_is_not_signed_is_left_out_and_the_last_fails_its_file(server, stub):
    stub.answers = {
        "/rses/OS": [(200, {"rse": "OS", "sign_url": "s3"})],
        "/credentials/signurl": [(503, "")],
    }
    other = Replica("root://h//a", "OTHER")
    found = signed(server, {"a": [PLAIN], "b": [PLAIN, other]})
    assert found["b"] == [other]
    assert found["a"].code is Code.RUCIOSERVICEUNAVAILABLE
    assert found["a"].detail.startswith("a: ")


def test_places_stay_as_they_are_where_nobody_says_whether_they_are_signed(server, stub, caplog):
    stub.answers["/rses/OS"] = [(503, "")]
    assert signed(server, {"a": [PLAIN]}) == {}
    assert "places in OS are not signed" in caplog.text


def test_scopes_are_what_the_site_calls_them():
    options = RucioOptions(scope="mine", scopes=("*.1=user.me", "old=new"))
    assert [options.scope_of(scope) for scope in ("", "17.1", "old", "else")] == ["mine", "user.me", "new", "else"]


# --- what is told of tries ---


def attempt(lfn: str = "a.root", **more: object) -> Attempt:
    told = {"direction": "in", "number": 1, "tool": "rucio", **more}
    file = FileSpec(lfn=lfn, scope="s", guid="9c2b7f3e-5a41-4a0e-8a5e-1f0f1c9d7e55", dataset="d", size_b=3)
    times = {"asked": 1.0, "began": 2.0, "moved": 3.0, "ended": 4.0}
    return Attempt(**{"file": file, "replica": Replica(URL, "A"), **times, **told})


def trace(of: Attempt, **options: object) -> dict[str, object]:
    return traces.trace_of(Job(id="7", task="5"), of, "q", RucioOptions(host="https://h", **options))


def test_a_report_has_all_its_fields():
    """data:H-01, data:H-07"""
    told = json.loads(json.dumps(trace(attempt())))
    needed = ("eventType", "eventVersion", "localSite", "remoteSite", "uuid", "scope", "filename", "dataset")
    assert all(told[name] for name in needed)
    assert told["guid"] == "9c2b7f3e5a414a0e8a5e1f0f1c9d7e55"
    assert (told["clientState"], told["stateReason"], told["eventType"]) == ("DONE", "OK", "get_sm")
    assert [told[f"{name}Start"] for name in ("time", "relative", "transfer", "validate")] == [1, 2, 2, 3]
    assert (told["timeEnd"], told["appid"], told["taskid"], told["pq"]) == (4, "7", "5", "q")
    assert not {"ipv", "workdir", "usrdn"} & set(told)


@given(st.text(min_size=1, max_size=20))
def test_a_name_arrives_as_it_is(lfn):
    """data:H-02"""
    assert json.loads(json.dumps(trace(attempt(f"nullNone{lfn}"))))["filename"] == f"nullNone{lfn}"


def test_each_try_has_sites_of_its_own():
    """data:H-03"""
    other = attempt(replica=Replica("root://b//x", "B"))
    assert [(each["localSite"], each["remoteSite"]) for each in (trace(attempt()), trace(other))] == [
        ("A", "A"),
        ("B", "B"),
    ]
    assert trace(other, site="HERE")["localSite"] == "HERE"


def test_a_failure_is_told_in_a_word_and_in_its_own():
    told = trace(attempt(direction="out", error=PilotError(Code.NOREMOTESPACE, "507 at h")))
    assert (told["eventType"], told["clientState"], told["stateReason"]) == ("put_sm", "NO_SPACE", "507 at h")


def test_an_experiment_adds_and_takes_fields():
    told = trace(attempt(facts={"eventType": "get_sm_a", "usr": "abc", "suspicious": None}))
    assert (told["eventType"], told["usr"]) == ("get_sm_a", "abc")
    assert "suspicious" not in told


def settings(**rucio: object):
    return Schema([*CORE, RucioOptions]).merge(Layer(Rank.SITE, "the test", {"rucio": rucio}))


def test_reports_that_are_not_wanted_are_not_even_thought_of():
    """data:H-06"""
    unused = Plugin().pilot_config_unused
    assert "pilot_transfer_tried" in unused(settings(host="https://h", traces=False))
    assert set(unused(settings(host="https://h", register=True, spool="/spool"))) == set()
    assert set(unused(settings())) >= {"pilot_inputs_replicas", "pilot_transfer_tried", "pilot_outputs_register"}
    assert set(unused(settings(trace_url="https://h/traces"))) == {
        "pilot_started", "pilot_job_extras", "pilot_inputs_replicas",
        "pilot_outputs_replicas", "pilot_outputs_sign", "pilot_outputs_register",
    }  # fmt: skip


# --- how reports are sent ---


class Post:
    """Takes batches, or not, and says when it was asked."""

    def __init__(self, *failures: PilotError) -> None:
        self.failures, self.taken = list(failures), []
        self.asked = threading.Event()

    def __call__(self, batch) -> None:
        self.asked.set()
        if self.failures:
            raise self.failures.pop(0)
        self.taken.append([each["n"] for each in batch])


AWAY, REFUSED = PilotError(Code.COMMUNICATIONFAILURE, "away"), PilotError(Code.COMMUNICATIONFAILURE, "", refused=True)


def test_reports_go_in_batches():
    sender = traces.Sender(post := Post(), gather_s=60)
    for number in range(traces.AT_ONCE + 2):
        sender.give({"n": number})
    assert sender.end() == 0
    assert [len(batch) for batch in post.taken] == [traces.AT_ONCE, 2]
    assert [number for batch in post.taken for number in batch] == [*range(traces.AT_ONCE + 2)]


def test_reports_wait_for_a_server_that_is_away_and_are_counted_if_it_stays_so(caplog):
    """data:H-04"""
    sender = traces.Sender(post := Post(AWAY, AWAY, AWAY), gather_s=0)
    sender.give({"n": 1})
    assert post.asked.wait(30)
    sender.give({"n": 2})
    assert sender.end() == 2
    assert post.taken == []
    assert "2 reports of transfers did not get to Rucio" in caplog.text


def test_reports_come_through_when_the_server_is_back():
    sender = traces.Sender(post := Post(AWAY), gather_s=0)
    sender.give({"n": 1})
    assert post.asked.wait(30)
    sender.give({"n": 2})
    assert sender.end() == 0
    assert [number for batch in post.taken for number in batch] == [1, 2]


def test_what_the_server_refuses_is_not_sent_for_ever():
    sender = traces.Sender(post := Post(REFUSED), gather_s=0)
    sender.give({"n": 1})
    assert post.asked.wait(30)
    sender.give({"n": 2})
    assert sender.end() == 1 + sum(2 not in batch for batch in post.taken)


def test_no_more_wait_than_fit(monkeypatch):
    monkeypatch.setattr(traces, "MOST_WAITING", 3)
    monkeypatch.setattr(traces, "AT_ONCE", 100)
    sender = traces.Sender(post := Post(), gather_s=60)
    for number in range(5):
        sender.give({"n": number})
    assert sender.end() == 2
    assert post.taken == [[2, 3, 4]]


def test_what_a_server_did_not_take_is_sent_by_a_later_pilot(tmp_path, caplog):
    """data:H-04 (a spool)"""
    spool = Spool(tmp_path / "spool")
    sender = traces.Sender(Post(AWAY, AWAY, AWAY), 0, spool)
    sender.give({"n": 1}, {"n": 2})
    with caplog.at_level("INFO"):
        assert sender.end() == 0
    assert f"2 reports of transfers wait in {spool.folder}" in caplog.text
    (kept,) = spool.folder.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert all(each["hostname"] for each in json.loads(kept.read_text()))
    later = traces.Sender(post := Post(), 60, spool)
    later.take_up()
    later.give({"n": 3})
    assert later.end() == 0
    assert post.taken == [[1, 2, 3]]
    assert not [*spool.folder.iterdir()]


def test_reports_for_a_server_that_says_nothing_are_not_lost_with_the_pilot(tmp_path):
    asked, answers = threading.Event(), threading.Event()

    def post(batch) -> None:
        asked.set()
        answers.wait(60)
        raise AWAY

    sender = traces.Sender(post, 0, spool := Spool(tmp_path))
    sender.give({"n": 1})
    assert asked.wait(30)
    sender.give({"n": 2})
    thread = sender._thread
    try:
        assert sender.end(0.01) == 0
    finally:
        answers.set()
    thread.join(30)
    assert [each["n"] for each in spool.take()] == [1, 2]
    assert sender.end() == 0


def test_a_spool_keeps_the_latest_that_fit_and_others_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(spools, "SPOOL_B", 60)
    monkeypatch.setattr(traces, "this_node", dict)
    first = traces.Sender(Post(AWAY, AWAY), 60, spool := Spool(tmp_path))
    first.give(*({"n": number} for number in range(9)))
    assert first.end() == 3
    second = traces.Sender(Post(AWAY, AWAY), 60, spool)
    second.give({"n": 9})
    assert second.end() == 1
    assert [each["n"] for each in spool.take()] == [*range(3, 9)]


def test_two_pilots_that_take_up_one_spool_send_nothing_twice(tmp_path):
    spool = Spool(tmp_path)
    for number in range(20):
        assert spool.put([{"n": number}]) == 1
    took = in_lanes(lambda _: [each["n"] for each in spool.take()], range(4), 4, "take")
    assert sorted(number for each in took for number in each) == [*range(20)]


@pytest.mark.parametrize(("content", "told"), [("[{", "are lost"), ('{"n": 1}', ""), ('[1, {"n": 1}]', "")])
def test_a_broken_file_in_the_spool_is_told_and_gone(tmp_path, caplog, content, told):
    (tmp_path / f"a{spools.ENDING}").write_text(content)
    assert Spool(tmp_path).take() == ([{"n": 1}] if content.startswith("[1") else [])
    assert told in caplog.text
    assert not [*tmp_path.iterdir()]


def test_a_spool_that_cannot_be_is_told_and_its_reports_are_lost(tmp_path, caplog):
    (tmp_path / "file").touch()
    sender = traces.Sender(Post(AWAY, AWAY), 60, Spool(tmp_path / "file" / "spool"))
    sender.give({"n": 1})
    assert sender.end() == 1
    assert "rucio.spool" in caplog.text


def test_the_last_update_of_a_job_counts_the_reports_that_were_not_taken(monkeypatch, tmp_path):
    """data:H-04 (a metric)"""
    ours, asked = Plugin(), threading.Event()

    def post(batch) -> None:
        asked.set()
        raise AWAY

    sender = traces.Sender(post, 0)
    monkeypatch.setattr(traces, "sender_of", lambda _: sender)
    assert ours.pilot_report_fields(True) == ()
    ours.pilot_transfer_tried(Job(id="7"), attempt(), settings(host="https://h"))
    ours.pilot_transfer_tried(Job(id="7"), attempt(), settings(host="https://h"))
    assert asked.wait(30)
    with sender._changed:
        assert sender._changed.wait_for(lambda: sender._resting and len(sender._waiting) == 2, 30)
    assert ours.pilot_report_fields(False) == ()
    assert ours.pilot_report_fields(True) == [Patch.append("job_metrics", "rucioTraceError=2", between=" ")]
    assert sender.end() == 2
    assert ours.pilot_report_fields(True) == ()


def test_who_shows_no_good_certificate_is_told_nothing(caplog, panda_server):
    """data:H-05"""
    with caplog.at_level("INFO"):
        sender = traces.Sender(lambda batch: traces._post(RucioOptions(host=panda_server.url), batch), gather_s=0)
        sender.give({"n": 1})
        assert sender.end() == 1
    assert not [path for path in panda_server.heard if "traces" in path]


# --- words ---


class RucioException(Exception):
    """As the client library has it."""


def raised(name: str, *args: object) -> Exception:
    kind: type[Exception] = type(name, (RucioException,), {})
    return kind(*args)


@pytest.mark.parametrize(
    ("error", "fetched", "stored"),
    [
        (raised("ServiceUnavailable", raised("SourceNotFound")), Code.MISSINGINPUTFILE, Code.STAGEOUTFAILED),
        (raised("ServiceUnavailable", "No space left on device"), Code.NOLOCALSPACE, Code.NOREMOTESPACE),
        (raised("ServiceUnavailable", "something"), Code.SERVICENOTAVAILABLE, Code.SERVICENOTAVAILABLE),
        (raised("RSEAccessDenied", "[FATAL] Connection refused"), Code.SERVICENOTAVAILABLE, Code.SERVICENOTAVAILABLE),
        (raised("RSEAccessDenied", "no"), Code.STAGEINAUTHENTICATIONFAILURE, Code.STAGEOUTAUTHENTICATIONFAILURE),
        (raised("FileReplicaAlreadyExists", "x"), Code.STAGEINFAILED, Code.FILEEXISTS),
        (raised("NobodyKnows", "checksum mismatch"), Code.GETADMISMATCH, Code.PUTADMISMATCH),
        (raised("NobodyKnows", ""), Code.STAGEINFAILED, Code.STAGEOUTFAILED),
    ],
)
def test_an_exception_means_what_is_sure_of_it(error, fetched, stored):
    assert failure("in", "root://h//f", error).code is fetched
    assert failure("out", "root://h//f", error).code is stored


def test_no_exception_is_sure_and_not():
    assert not set(EXCEPTIONS) & set(MAYBE)
