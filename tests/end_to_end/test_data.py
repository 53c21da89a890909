"""Files without a pilot: the Data API and ``pilot data``, with real copy tools, a real queue file and a real server."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pilot_core.api.data import CancelFlag, Checksum, Data, FileSpec, PilotError, Replica
from pilot_core.builtin.places.paths import hashed
from pilot_core.errors import Code

QUEUE = {"OURS": {"astorages": {"read_lan": ["NEAR"], "write_lan": ["BROKEN", "NEAR"]},
                  "params": {"allow_altstageout": True}}}  # fmt: skip
BIG_B = 64 * 2**20


@pytest.fixture
def edge(tmp_path):
    """A site's file with a queue of two storages on this disk, one of them a file where a directory should be."""
    (tmp_path / "broken").write_text("no directory")
    storages = {name: _storage(tmp_path / name.lower()) for name in ("NEAR", "BROKEN")}
    for name, told in (("queue", QUEUE), ("storages", storages)):
        (tmp_path / f"{name}.json").write_text(json.dumps(told))
    site = {
        "data": {"copytools": ["local"], "reserve_b": 0, "attempts": 1},
        "queue_file": {"path": "queue.json", "storages": "storages.json"},
    }
    (tmp_path / "site.yaml").write_text(json.dumps(site))
    return tmp_path


def _storage(path):
    place = [{"endpoint": "file://", "path": f"{path}/"}]
    return {"is_deterministic": True, "arprotocols": {"read_lan": place, "write_lan": place, "write_wan": place}}


@pytest.fixture
def data(edge):
    with Data("OURS", config=edge / "site.yaml", environ={}) as data:
        yield data


def test_what_is_put_where_the_queue_says_is_found_and_got_again(data, edge):
    """data:F-01"""
    (edge / "o.root").write_bytes(b"events")
    (stored,) = data.put([FileSpec(lfn="o.root", scope="user.alice")], edge)
    place = edge / "near" / hashed("user.alice", "o.root")
    assert (stored.url, stored.endpoint, place.read_bytes()) == (place.as_uri(), "NEAR", b"events")
    (seen,) = data.stat(["user.alice:o.root"])
    assert (seen.url, seen.size_b, seen.checksum) == (stored.url, 6, stored.checksum)
    known = FileSpec(lfn="o.root", scope="user.alice", size_b=6, checksum=stored.checksum)
    got, again = data.get([known], edge / "in"), data.get([known], edge / "in")
    assert (edge / "in" / "o.root").read_bytes() == b"events"
    assert [each.tool for each in (*got, *again)] == ["local", "present"]


def test_of_many_each_has_its_own_answer_in_order(data, edge):
    (edge / "src").mkdir()
    for number in range(0, 60, 2):
        (edge / "src" / f"f{number}").write_text(str(number))
    heard = []
    words = [str(edge / "src" / f"f{number}") for number in range(60)]
    done = data.get(words, edge / "in", progress=lambda each: heard.append((each.name, each.over)))
    codes = [each.code if isinstance(each, PilotError) else each.lfn for each in done]
    expected = [Code.MISSINGINPUTFILE if number % 2 else f"f{number}" for number in range(60)]
    assert codes == expected
    assert {name for name, over in heard if over} == {f"f{number}" for number in range(60)}
    assert len(list((edge / "in").iterdir())) == 30


def test_what_is_wrong_gets_no_name_and_beside_it_nothing(data, edge):
    (edge / "a").write_bytes(b"right")
    wrong = FileSpec(lfn="a", guid="G", replicas=(Replica(str(edge / "a")),), checksum=Checksum.parse("ad:1"))
    (error,) = data.get([wrong], edge / "in")
    assert (error.code, list((edge / "in").iterdir())) == (Code.GETADMISMATCH, [])
    (right,) = data.get([FileSpec(lfn="a", guid="G", replicas=(Replica(str(edge / "a")),))], edge / "in")
    assert [path.name for path in (edge / "in").iterdir()] == ["a"]
    assert right.guid == "G"


@pytest.fixture
def big(edge):
    with (edge / "big").open("wb") as file:
        file.truncate(BIG_B)
    return str(edge / "big")


def test_what_is_cancelled_is_given_up(data, edge, big):
    """data:B-28 (without a pilot)"""
    flag = CancelFlag()
    (error,) = data.get([big], edge / "in", cancel=flag, progress=lambda _: flag.set())
    assert "given up" in error.detail
    assert list((edge / "in").iterdir()) == []


def test_a_cancelled_coroutine_ends_what_is_under_way_first(data, edge, big):
    async def begin_and_cancel():
        loop, begun = asyncio.get_running_loop(), asyncio.Event()
        hear = lambda _: loop.call_soon_threadsafe(begun.set)  # noqa: E731
        task = asyncio.ensure_future(data.aget([big], edge / "in", progress=hear, cancel=flag))
        await begun.wait()
        task.cancel()
        await task

    flag = CancelFlag()
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(begin_and_cancel())
    assert flag.is_set()
    assert not [path for path in (edge / "in").iterdir() if path.name != "big"]


# --- the command ---


class Halves(BaseHTTPRequestHandler):
    """Sends half of a file, then waits to be told to go on."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(2 * 10**6))
        self.end_headers()
        self.wfile.write(b"a" * 10**6)
        self.server.half.set()
        self.server.go_on.wait(60)
        if not self.server.shut:
            self.wfile.write(b"b" * 10**6)

    def log_message(self, *_):
        pass


@pytest.fixture
def halves():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Halves)
    server.half, server.go_on, server.shut = threading.Event(), threading.Event(), False
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shut = True
    server.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


def command(*words):
    return [sys.executable, "-m", "pilot_core", "data", *map(str, words)]


@pytest.fixture
def said(edge):
    """``said("get", ...)``: exit code, standard output and error of ``pilot data``."""

    def run(*words, **more):
        done = subprocess.run(command(*words), cwd=edge, capture_output=True, text=True, **more)
        return done.returncode, done.stdout, done.stderr

    return run


def test_commands_bring_store_and_look(said, edge):
    (edge / "a b").write_bytes(b"x" * 1000)
    (edge / "c").write_bytes(b"y")
    queue = ("--queue", "OURS", "--config", "site.yaml")
    code, out, _ = said("put", "a b", "c", "--scope", "s", *queue)
    assert (code, [line.split("  ")[0] for line in out.splitlines()]) == (0, ["a b", "c"])
    code, out, _ = said("stat", "s:a b", "s:gone", "--json", *queue)
    found, gone = json.loads(out)
    assert (code, found["size_b"], gone["error"]["acronym"]) == (1, 1000, "MISSINGINPUTFILE")
    code, out, err = said("get", "s:a b", "--to", "in", *queue)
    assert (code, (edge / "in" / "a b").read_bytes(), "INFO" in err) == (0, b"x" * 1000, True)
    code, _, err = said("get", "s:a b", "--to", "in", *queue)
    assert (code, "--force replaces it" in err) == (2, True)
    assert said("get", "s:a b", "--to", "in", "--force", *queue)[0] == 0


def test_a_list_is_read_and_a_bad_one_explained(said, edge):
    (edge / "a").write_bytes(b"x")
    listed = [{"name": "a", "places": [str(edge / "store" / "a")]}]
    code, out, _ = said("put", "--from", "-", "--json", input=json.dumps(listed))
    assert (code, json.loads(out)[0]["tool"], (edge / "store" / "a").read_bytes()) == (0, "local", b"x")
    for text, what in (("[{]", "line 1"), ("{}", "wants a JSON list"), ('[{"scope": "a"}]', "name")):
        code, _, err = said("put", "--from", "-", input=text)
        assert (code, what in err, "Traceback" in err) == (2, True, False)
    assert "wants a FILE" in said("stat")[2]


def test_a_signal_ends_it_and_leaves_nothing_half_way(halves, edge):
    url = f"http://127.0.0.1:{halves.server_port}/f"
    getting = subprocess.Popen(command("get", url, "--to", "in"), cwd=edge, stderr=subprocess.PIPE, text=True)
    assert halves.half.wait(60)
    getting.send_signal(signal.SIGTERM)
    _, err = getting.communicate(timeout=60)
    assert (getting.returncode, "Traceback" in err) == (143, False)
    assert list((edge / "in").iterdir()) == []


def test_on_a_terminal_progress_is_drawn_in_place(halves, edge):
    ours, theirs = pty.openpty()
    words = command("get", f"http://127.0.0.1:{halves.server_port}/f", "--to", "in")
    environ = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(words, cwd=edge, stderr=theirs, stdout=subprocess.PIPE, env=environ) as getting:
        os.close(theirs)
        drawn = b""
        while b"\x1b[1A" not in drawn:
            drawn += os.read(ours, 1000)
        halves.go_on.set()
        out, _ = getting.communicate(timeout=60)
    os.close(ours)
    assert re.search(rb"<- f  [\d.]+ [kM]B", drawn)
    assert (getting.returncode, out.split()[0]) == (0, b"f")
    assert (edge / "in" / "f").stat().st_size == 2 * 10**6
