"""One cache for the pilots of a node: filled by some, used by others, whatever happens to either."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import zlib
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from .test_full_disk import may_mount

CONTENT = {f"in{number}": bytes([number]) * 300_000 for number in range(3)}


class Origin(BaseHTTPRequestHandler):
    """Serves the inputs and counts who asks; while it is held, half of a file is all that anybody gets."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        content, server = CONTENT[self.path.strip("/")], self.server
        with server.lock:
            server.asked[self.path.strip("/")] += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        half = len(content) // 2
        self.wfile.write(content[:half])
        if server.held.is_set():
            server.half.set()
            server.go_on.wait(60)
            self.close_connection = True
            return
        self.wfile.write(content[half:])

    def log_message(self, *_):
        pass


@pytest.fixture
def origin():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    server.lock, server.asked = threading.Lock(), Counter()
    server.held, server.half, server.go_on = threading.Event(), threading.Event(), threading.Event()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def inputs(origin):
    return [
        {
            "name": name,
            "source": f"http://127.0.0.1:{origin.server_port}/{name}",
            "size": len(content),
            "checksum": f"adler32:{zlib.adler32(content):08x}",
        }
        for name, content in CONTENT.items()
    ]


@pytest.fixture
def pilots(site, inputs):
    """``pilots("one", workflow, ...)`` is the command line of a pilot that has a box, a job and a work directory."""

    def command(name, workflow, *settings):
        work, box = site.root / f"work-{name}", site.root / f"box-{name}"
        box.mkdir()
        described = {
            "id": name,
            "script": "cat in0 in1 in2 > all",
            "inputs": inputs,
            "outputs": [{"name": "all", "destination": str(site.store / name)}],
        }
        (box / f"{name}.json").write_text(json.dumps(described))
        chosen = {
            "pilot.workflow": workflow,
            "data.cache": site.root / "cache",
            "data.copytools": "https,local",
            "data.reserve_b": 0,
            "slot.free_disk_b": 0,
        }
        sets = [f"{path}={value}" for path, value in chosen.items()]
        words = [word for each in (*sets, *settings) for word in ("--set", each)]
        return ["run", "--filebox", str(box), "--workdir", str(work), *words]

    return command


def report(site, name):
    return json.loads((site.root / f"box-{name}" / "reports" / f"{name}.json").read_text())


def ended(site, name, pilot):
    said, _ = pilot.communicate(timeout=120)
    told = report(site, name)
    assert told["final"], said
    return told["state"], told, said


def entries(site):
    return sorted(path.name.split("-")[1] for path in (site.root / "cache" / "entries").iterdir())


def test_some_fill_the_cache_and_others_run_from_it_alone(site, origin, pilots):
    """data:B-25 (of pilots, several at once)"""
    filling = {name: site.start(*pilots(name, "stagein")) for name in ("fill1", "fill2", "fill3")}
    assert [ended(site, name, pilot)[0] for name, pilot in filling.items()] == ["finished"] * 3
    assert origin.asked == dict.fromkeys(CONTENT, 1)
    assert not list(site.store.iterdir())
    running = {name: site.start(*pilots(name, "payload_stageout")) for name in ("run1", "run2")}
    for name, pilot in running.items():
        state, told, said = ended(site, name, pilot)
        assert state == "finished", said
        assert (site.store / name).read_bytes() == b"".join(CONTENT.values())
        assert {file["tool"] for file in told["files"] if file["direction"] == "in"} == {"cache"}
    assert origin.asked == dict.fromkeys(CONTENT, 1)


def test_a_pilot_that_is_killed_while_it_fills_hands_over(site, origin, pilots):
    origin.held.set()
    first = site.start(*pilots("first", "stagein"))
    assert origin.half.wait(60)
    second = site.start(*pilots("second", "stagein"))
    first.kill()
    first.communicate()
    origin.held.clear()
    origin.go_on.set()
    state, _, said = ended(site, "second", second)
    assert state == "finished", said
    assert len(entries(site)) == len(CONTENT)
    assert list((site.root / "cache" / "partial").iterdir()) == []
    state, _, said = ended(site, "third", site.start(*pilots("third", "payload_stageout")))
    assert (state, (site.store / "third").read_bytes()) == ("finished", b"".join(CONTENT.values())), said


def test_without_a_filled_cache_the_payload_does_not_run(site, origin, pilots):
    state, told, _ = ended(site, "early", site.start(*pilots("early", "payload_stageout")))
    assert (state, told["error"]["number"], origin.asked) == ("failed", 1331, {})
    assert not list(site.store.iterdir())


@pytest.mark.skipif(not may_mount(), reason="no mount in a namespace of one's own is allowed here")
def test_a_cache_on_a_full_disk_is_said_to_keep_nothing_and_fails_no_other_job(site, origin, pilots):
    """A tmpfs of 400 kB holds one of three inputs."""
    (site.root / "cache").mkdir()

    def on_small_disk(*words):
        mounted = 'mount -t tmpfs -o size=400k tmpfs "$0" && exec "$@"'
        inside = [sys.executable, "-m", "pilot_core", *words]
        return subprocess.run(
            ["unshare", "-rm", "sh", "-c", mounted, str(site.root / "cache"), *inside],
            cwd=site.root, capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    said = on_small_disk(*pilots("fill", "stagein"))
    told = report(site, "fill")
    assert (told["state"], told["error"]["number"]) == ("failed", 1098), said.stderr
    assert "does not keep it" in told["error"]["detail"]
    said = on_small_disk(*pilots("plain", "standard"))
    assert report(site, "plain")["state"] == "finished", said.stderr
    assert (site.store / "plain").read_bytes() == b"".join(CONTENT.values())
    shutil.rmtree(site.root / "cache")
