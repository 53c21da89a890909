"""Programs by address: what is allowed, and how they come from real servers."""

from __future__ import annotations

import os
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from pilot_core.control.programs import Programs, bring_program
from pilot_core.errors import Code, PilotError
from pilot_core.io.http import Web

BASES = ("https://a.example.org/trf/", "http://b.example.org:8080/mirror")


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://a.example.org/trf/user/run-1", True),
        ("https://a.example.org:443/trf/run", True),
        ("http://b.example.org:8080/mirror/run", True),
        ("http://a.example.org/trf/run", False),
        ("https://a.example.org.evil.test/trf/run", False),
        ("https://a.example.org@evil.test/trf/run", False),
        ("https://user@a.example.org/trf/run", False),
        ("https://a.example.org/trfs/run", False),
        ("https://a.example.org/trf/../run", False),
        ("http://b.example.org/mirror/run", False),
        ("https://a.example.org:x/trf/run", False),
        ("file:///trf/run", False),
    ],
)
def test_an_address_is_compared_in_parts(url, allowed):
    assert Programs(bases=BASES).allows(url) == allowed


def test_what_one_lacks_is_sought_at_the_others():
    places = Programs(bases=BASES).places("https://a.example.org/trf/user/run")
    assert places == ("https://a.example.org/trf/user/run", "http://b.example.org:8080/mirror/user/run")


class Server(SimpleHTTPRequestHandler):
    """Shows files, and sends on what begins with ``/away/``."""

    def do_GET(self):
        if self.path.startswith("/trf/away/"):
            self.send_response(302)
            self.send_header("Location", "/elsewhere/run")
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def url(tmp_path):
    for folder in ("trf", "elsewhere"):
        (tmp_path / "www" / folder).mkdir(parents=True)
        (tmp_path / "www" / folder / "run").write_text("#!/bin/sh\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=str(tmp_path / "www")))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/trf/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def bring(tmp_path, url):
    workdir = tmp_path / "job"
    workdir.mkdir()
    programs = Programs(bases=(url, url.replace("/trf/", "/elsewhere/")), rounds=2, pause_s=0.01)
    return lambda path: bring_program(url + path, workdir, programs, lambda: Web(()))


def test_a_program_comes_whole_and_can_be_run(bring, tmp_path):
    assert bring("run") == "run"
    assert os.access(tmp_path / "job/run", os.X_OK)
    assert os.listdir(tmp_path / "job") == ["run"]


def test_one_that_is_there_already_stays(bring, tmp_path):
    (tmp_path / "job/run").write_text("mine")
    assert bring("run") == "run"
    assert (tmp_path / "job/run").read_text() == "mine"


def test_one_that_the_first_server_lacks_comes_from_the_next(bring, tmp_path):
    (tmp_path / "www/trf/run").unlink()
    bring("run")
    assert (tmp_path / "job/run").exists()


@pytest.mark.parametrize(("path", "told"), [("none", "answers 404"), ("away/run", "not among the places allowed")])
def test_one_that_cannot_be_had_leaves_nothing(bring, tmp_path, url, path, told):
    programs = Programs(bases=(url,), rounds=2, pause_s=0.01)
    with pytest.raises(PilotError, match=told) as raised:
        bring_program(url + path, tmp_path / "job", programs, lambda: Web(()))
    assert raised.value.code is Code.TRFDOWNLOADFAILURE
    assert os.listdir(tmp_path / "job") == []
