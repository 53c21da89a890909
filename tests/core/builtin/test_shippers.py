"""Log shippers against receivers that check every request, as strictly as the real ones."""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pilot_core.builtin import shippers
from pilot_core.builtin.shippers import Logstash, Loki
from pilot_core.config.layers import Layer, Rank, Schema
from pilot_core.config.schema import CORE
from pilot_core.errors import PilotError
from pilot_core.testing.contracts.drivers import LogShipperContract


class Receiver(ThreadingHTTPServer):
    """Takes what fits the form of one kind, answers 400 to anything else, or what a test has ordered."""

    daemon_threads = True

    def __init__(self, kind):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kind, self.records, self.headers, self.orders, self.sizes = kind, [], [], [], []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def take(self, path, headers, body):
        self.headers.append(headers)
        if self.orders:
            return self.orders.pop(0)
        if headers.get("Content-Type") != "application/json":
            return 415
        taken = loki_form(path, body) if self.kind == "loki" else logstash_form(path, body)
        if taken is None:
            return 400
        self.records += taken
        self.sizes.append(len(taken))
        return 204 if self.kind == "loki" else 200


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        data = gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data
        status = self.server.take(self.path, dict(self.headers), json.loads(data))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        return


def loki_form(path, body):
    """The records of a push, or nothing if Loki would refuse it."""
    if path != "/loki/api/v1/push" or set(body) != {"streams"}:
        return None
    taken = []
    for stream in body["streams"]:
        named = all(
            re.fullmatch(r"[a-zA-Z_]\w*", name) and isinstance(value, str) for name, value in stream["stream"].items()
        )
        if set(stream) != {"stream", "values"} or not stream["stream"] or not named:
            return None
        for at, line in stream["values"]:
            if not re.fullmatch(r"\d{19}", at):
                return None
            taken.append({**json.loads(line), "labels": stream["stream"], "at": at})
    return taken


def logstash_form(path, body):
    fit = (
        path == "/"
        and isinstance(body, list)
        and all("@timestamp" in each and each["@version"] == "1" for each in body)
    )
    return body if fit else None


@pytest.fixture(params=[Logstash, Loki], ids=["logstash", "loki"])
def kind(request):
    return request.param


@pytest.fixture
def receiver(kind):
    made = Receiver(kind.name)
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def make(kind, receiver):
    def make(**more):
        told = {"url": f"http://127.0.0.1:{receiver.server_port}", **more}
        return kind(Schema((*CORE, kind.options)).merge(Layer(Rank.SITE, "the test", {kind.name: told})))

    return make


def said(*numbers, level="INFO") -> Sequence[dict[str, str]]:
    return [{"time": "2026-07-01T12:00:00.250Z", "level": level, "message": f"line {each}"} for each in numbers]


def test_records_arrive_in_the_receivers_form(make, receiver):
    shipper = make()
    shipper.ship(said(1, 2))
    shipper.close()
    assert [each["message"] for each in receiver.records] == ["line 1", "line 2"]
    assert receiver.sizes == [2]
    if receiver.kind == "loki":
        assert receiver.records[0]["at"] == "1782907200250000000"
        assert receiver.records[0]["labels"] == {"service_name": "pilot", "level": "info"}


@pytest.mark.parametrize("status", [401, 403, 404, 408, 429, 500, 503])
def test_what_may_be_taken_later_is_an_error_in_plain_words(make, receiver, status):
    receiver.orders = [status]
    with pytest.raises(PilotError, match=rf"answers {status}"):
        make().ship(said(1))


@pytest.mark.parametrize("status", sorted(shippers.UNFIT))
def test_what_will_never_be_taken_is_left_out_and_told_once(make, receiver, caplog, status):
    shipper = make()
    receiver.orders = [status, status]
    for number in range(3):
        shipper.ship(said(number))
    assert [each["message"] for each in receiver.records] == ["line 2"]
    told = [message for message in caplog.messages if "log shipper" in message]
    assert len(told) == 1
    assert f"1 records are left out: http://127.0.0.1:{receiver.server_port}" in told[0]


def test_a_token_is_shown(make, receiver, tmp_path):
    (tmp_path / "token").write_text("abc.def")
    (tmp_path / "token").chmod(0o600)
    make(token=str(tmp_path / "token")).ship(said(1))
    assert "Bearer abc.def" in receiver.headers[0]["Authorization"]


def test_without_an_address_the_way_out_is_said(kind):
    with pytest.raises(PilotError, match=rf"{kind.name}\.url is not set"):
        kind(Schema((*CORE, kind.options)).merge())


class _Contract(LogShipperContract):
    @pytest.fixture(autouse=True)
    def _receive(self, _begin):
        yield
        self.receiver.shutdown()
        self.receiver.server_close()

    def make(self):
        if not hasattr(self, "receiver"):
            self.receiver = Receiver(self.driver.name)
        self.options = {f"{self.driver.name}.url": f"http://127.0.0.1:{self.receiver.server_port}"}
        return super().make()

    def arrived(self):
        return self.receiver.records

    def hinder(self, hindered):
        self.receiver.orders = [503] * 100 if hindered else []


class TestLogstash(_Contract):
    driver = Logstash


class TestLoki(_Contract):
    driver = Loki
