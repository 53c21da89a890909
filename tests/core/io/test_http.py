"""HTTP against a server that does everything wrong that a server can."""

from __future__ import annotations

import gzip
import io
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from email.utils import formatdate
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pilot_core.errors import Code, PilotError
from pilot_core.io import http_line
from pilot_core.io.cancel import CancelFlag, Cancelled
from pilot_core.io.http import Answer, Web
from pilot_core.io.http_address import find_proxy, read_url

BYTES = (socket.SOCK_STREAM, 6, "")
SECRET = "a-token-of-the-test"
LARGE = b"0123456789abcdef" * (1 << 16)


class Handler(BaseHTTPRequestHandler):
    """What a path does is the method of that name."""

    protocol_version = "HTTP/1.1"
    server: Server

    def answer(self) -> None:
        if "Content-Length" in self.headers:
            self.body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        getattr(self, self.path.strip("/").partition("?")[0] or "fine")()

    def log_message(self, *_: object) -> None:
        """Be silent."""

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def fine(self) -> None:
        self.say(200, b'{"success": true}')

    def echo(self) -> None:
        self.say(200, self.body)

    def large(self) -> None:
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        self.say(206 if start else 200, LARGE[start:])

    def whole(self) -> None:
        self.say(200, LARGE)

    def failing(self) -> None:
        self.say(500 if self.server.fail() else 200, b"{}")

    def hanging_up(self) -> None:
        if self.server.fail():
            self.close_connection = True
        else:
            self.say(200, b"{}")

    def denied(self) -> None:
        allowed = self.headers.get("Authorization") == f"Bearer {self.server.token}"
        self.say(200 if allowed else 403)

    def drip(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        self.trickle(b"x")

    def drip_headers(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        self.trickle(b"X: y\r\n")

    def trickle(self, data: bytes) -> None:
        with suppress(OSError):
            while not self.server.over.wait(0.01):
                self.wfile.write(data)
        self.close_connection = True

    def cut(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
        self.close_connection = True

    def cut_chunks(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n")
        self.close_connection = True

    def garbage(self) -> None:
        self.wfile.write(b"\x00\x01\x02 this is\r\n no HTTP\r\n\r\n")
        self.close_connection = True

    def too_long(self) -> None:
        self.wfile.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
        )

    def chunks(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n")

    def words(self) -> None:
        self.say(200, b"<html>hello</html>")

    def elsewhere(self) -> None:
        self.say(307, Location=self.server.elsewhere)

    def around(self) -> None:
        self.say(302, Location="/around")

    def early(self) -> None:
        self.say(507, b"full", Connection="close")


for verb in ("GET", "HEAD", "POST", "PUT"):
    setattr(Handler, f"do_{verb}", Handler.answer)


class Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, tls: ssl.SSLContext | None = None, at: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        super().__init__(at, Handler)
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.over = threading.Event()
        self.failures = 0
        self.token = SECRET
        self.elsewhere = ""
        self.connections: list[socket.socket] = []
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_port}"
        self.tls = tls

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        sock, place = super().get_request()
        if self.tls:
            sock = self.tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self.connections.append(sock)
        return sock, place

    @property
    def accepted(self) -> int:
        return len(self.connections)

    def hang_up(self) -> None:
        for sock in self.connections:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_: object) -> None:
        """Refused handshakes and cut connections are what is tested."""

    def fail(self) -> bool:
        self.failures -= 1
        return self.failures >= 0


@contextmanager
def serving(tls: ssl.SSLContext | None = None, at: tuple[str, int] = ("127.0.0.1", 0)) -> Iterator[Server]:
    with Server(tls, at) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            server.hang_up()
            thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as one:
        yield one


Make = Callable[..., Web]


@pytest.fixture(autouse=True)
def make() -> Iterator[Make]:
    """Makes sessions that are closed at the end."""
    made: list[Web] = []

    def make_one(*urls: str, **options: object) -> Web:
        made.append(Web(urls, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make_one
    for web in made:
        web.close()


@pytest.fixture
def web(server: Server, make: Make) -> Iterator[Web]:
    one = make(server.url)
    yield one
    one.close()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{SECRET}\n")
    path.chmod(0o600)
    return path


def dead_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def refusal(
    web: Web, path: str, *, limit_s: float = 20.0, code: Code = Code.COMMUNICATIONFAILURE, **options: object
) -> PilotError:
    with pytest.raises(PilotError) as raised:
        web.call("GET", path, limit_s=limit_s, **options)  # type: ignore[arg-type]
    assert raised.value.code is code
    return raised.value


def test_a_call_says_what_it_wants_in_the_servers_words(server, web):
    answer = web.call("POST", "/echo", json={"id": 1, "name": "é"}, query={"job_ids": [1, 2]})
    assert answer.json() == {"id": 1, "name": "é"}
    method, path, headers = server.seen[0]
    assert (method, path) == ("POST", "/echo?job_ids=1&job_ids=2")
    assert headers["content-type"] == headers["accept"] == "application/json"
    assert headers["content-length"] == str(len(answer.body))
    assert headers["user-agent"].startswith("pilot/")
    assert "authorization" not in headers


def test_one_connection_serves_many_calls(server, web):
    for _ in range(5):
        assert web.call("GET", "/fine").json() == {"success": True}
    assert web.call("HEAD", "/fine").headers["content-length"] == "17"
    assert web.call("GET", "/chunks").json() == [1, 2]
    assert server.accepted == 1
    assert "content-length" not in server.seen[0][2]


def test_many_threads_call_at_once(server, web):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: web.call("POST", "/echo", json=number).json(), range(100)))
    assert answers == list(range(100))
    assert server.accepted <= 8


def test_who_comes_while_a_connection_is_busy_waits_for_it(server, web, monkeypatch):
    monkeypatch.setattr(http_line, "PATIENCE_S", 600.0)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: web.call("POST", "/echo", json=number).json(), range(12)))
    assert (answers, server.accepted) == (list(range(12)), 1)


@pytest.mark.parametrize("path", ["/cut", "/early"])
def test_nobody_waits_for_a_connection_that_is_gone(server, web, path, monkeypatch):
    monkeypatch.setattr(http_line, "PATIENCE_S", 600.0)

    def call(_: int) -> None:
        with suppress(PilotError):
            web.call("POST", path)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(24)))
    assert server.accepted == 24


def test_one_who_keeps_a_connection_for_long_holds_nobody_up(server, web, monkeypatch):
    """A slow answer is no reason for others to be late."""
    began, drip = threading.Event(), Handler.drip
    monkeypatch.setattr(Handler, "drip", lambda self: (began.set(), drip(self)))
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(refusal, web, "/drip", limit_s=600.0)
        assert began.wait(60.0)
        assert web.call("POST", "/fine").status == 200
        assert not slow.done()
        server.over.set()
        assert slow.result().facts["cause"] == "cut off"
    assert server.accepted == 2


def test_head_and_first_bytes_of_a_request_leave_together(server, web, monkeypatch):
    """One packet wakes a server up once."""
    sent: list[bytes] = []
    sendall = http_line.TimedSocket.sendall
    monkeypatch.setattr(http_line.TimedSocket, "sendall", lambda self, data: sent.append(data) or sendall(self, data))
    assert web.call("POST", "/echo", json={"id": 1}).json() == {"id": 1}
    assert put(web, "/echo", b"a small file").body == b"a small file"
    assert put(web, "/echo", b"").body == b""
    assert [each.partition(b"\r\n\r\n")[2] for each in sent] == [b'{"id":1}', b"a small file", b""]


def test_a_connection_that_was_silent_too_long_is_not_used_again(server, web, monkeypatch):
    web.call("GET", "/fine")
    monkeypatch.setattr(http_line, "LONGEST_IDLE_S", -1.0)
    web.call("GET", "/fine")
    assert server.accepted == 2


def test_a_connection_that_the_server_closed_is_not_used_again(server, web):
    assert web.call("POST", "/fine").status == 200
    server.hang_up()
    assert web.call("POST", "/fine").status == 200
    assert web.call("POST", "/early").status == 507
    assert web.call("POST", "/fine").status == 200
    assert server.accepted == 3


@pytest.mark.parametrize(("size_b", "coding"), [(2000, "gzip"), (10, None)])
def test_a_large_body_is_compressed_where_the_caller_allows(server, web, size_b, coding):
    answer = web.call("POST", "/echo", data=b"x" * size_b, compress=True)
    assert server.seen[0][2].get("content-encoding") == coding
    assert (gzip.decompress(answer.body) if coding else answer.body) == b"x" * size_b
    web.call("POST", "/echo", data=b"x" * size_b)
    assert "content-encoding" not in server.seen[1][2]


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("/drip", "timed out"),
        ("/drip_headers", "timed out"),
        ("/cut", "cut off"),
        ("/cut_chunks", "cut off"),
        ("/hanging_up", "cut off"),
        ("/garbage", "no HTTP"),
        ("/around", "redirects"),
    ],
)
def test_a_bad_answer_is_none_and_is_not_asked_for_again(server, web, path, cause):
    server.failures = 10
    error = refusal(web, path, limit_s=0.3 if cause == "timed out" else 30)
    assert error.facts["cause"] == cause
    assert error.facts["sent"] is True
    assert server.url in error.detail
    assert len([1 for _, seen, _ in server.seen if seen == path]) == (5 if path == "/around" else 1)


def test_what_follows_an_answer_is_not_taken_for_the_next_one(server, web):
    assert web.call("GET", "/too_long").body == b"{}"
    assert web.call("GET", "/fine").json() == {"success": True}


def test_an_answer_that_is_no_json_is_shown(web):
    answer = web.call("GET", "/words")
    with pytest.raises(PilotError, match=r"/words: the answer \(200\) is no JSON: '<html>hello"):
        answer.json()


@pytest.mark.parametrize("repeat", [True, False])
def test_what_may_have_arrived_is_not_said_again_at_once(server, web, repeat):
    """Found: a server that could not keep up was asked three times a second for every update."""
    server.failures = 2
    with pytest.raises(PilotError) as raised:
        web.call("POST", "/hanging_up", repeat=repeat)
    assert raised.value.facts["sent"] is True
    assert web.call("POST", "/failing", repeat=repeat).status == 500, "which is an answer"
    assert len(server.seen) == 2


def test_what_only_reads_may_be_asked_for_again(server, web):
    server.failures = 2
    assert web.call("GET", "/hanging_up", repeat=True).status == 200
    assert len(server.seen) == 3
    server.failures = 2
    assert web.call("POST", "/hanging_up", repeat=True, reads=True).status == 200, "which is a question as well"
    assert len(server.seen) == 6


def test_a_dead_first_server_is_passed_over_and_the_good_one_kept(server, make):
    web = make(dead_url(), server.url)
    assert web.call("POST", "/fine").status == 200
    assert web._first == 1
    assert web.call("POST", "/fine").status == 200


def test_what_may_have_arrived_is_not_sent_to_another_server(server, make):
    with serving() as other:
        web = make(server.url, other.url)
        refusal(web, "/cut")
        assert other.seen == []
        other.failures = 1
        assert web.call("POST", "/hanging_up", repeat=True).status == 200
        assert [len(other.seen), len(server.seen)] == [1, 2]


@pytest.mark.parametrize(("path", "repeat"), [("/failing", True), ("/failing", False), ("/hanging_up", False)])
def test_a_server_that_fails_is_passed_over_by_the_next_call(server, make, path, repeat):
    server.failures = 10**6
    with serving() as other:
        web = make(server.url, other.url)
        with suppress(PilotError):
            assert web.call("POST", path, repeat=repeat).status == (200 if repeat else 500)
        assert len(other.seen) == int(repeat), "what may have done something is not said to another"
        for _ in range(3):
            assert web.call("POST", path, repeat=repeat).status == 200
        assert len(server.seen) == 1


def test_where_all_servers_fail_the_answer_is_what_one_said(server, make):
    server.failures = 10**6
    assert make(server.url, dead_url()).call("POST", "/failing", repeat=True).status == 500


def test_all_that_failed_is_told(make):
    first, second = dead_url(), dead_url()
    error = refusal(make(first, second), "/fine", limit_s=0.5)
    assert first in error.detail
    assert second in error.detail
    assert "nobody listens there" in error.detail
    assert error.facts["sent"] is False


def test_all_addresses_of_a_name_are_tried_and_the_good_one_kept(server, make, monkeypatch):
    port = server.server_port
    tried: list[object] = []
    connect = http_line.TimedSocket.connect
    monkeypatch.setattr(http_line.TimedSocket, "connect", lambda sock, to: (tried.append(to[0]), connect(sock, to)))
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.9", "127.0.0.1")]
    monkeypatch.setattr(http_line, "random", iter([0.1, 0.9, 0.1, 0.9]).__next__)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
    web = make(f"http://localhost:{port}")
    assert web.call("GET", "/early").status == 507
    assert web.call("GET", "/fine").status == 200
    assert tried == ["127.0.0.9", "127.0.0.1", "127.0.0.1"]


def addresses(*hosts: str, port: int) -> list[object]:
    return [(socket.AF_INET, *BYTES, (host, port)) for host in hosts]


@pytest.mark.parametrize("path", ["/failing", "/hanging_up"])
def test_an_address_that_fails_is_passed_over_by_what_may_be_repeated(server, make, monkeypatch, path):
    server.failures = 10**6
    with serving(at=("127.0.0.9", server.server_port)) as other:
        monkeypatch.setattr(http_line, "random", iter([0.1, 0.9] * 9).__next__)
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda *_: addresses("127.0.0.1", "127.0.0.9", port=server.server_port)
        )
        web = make(f"http://localhost:{server.server_port}")
        assert [web.call("POST", path, repeat=True).status for _ in range(4)] == [200] * 4
        assert [server.accepted, other.accepted] == [1, 1]


def test_an_address_that_let_a_call_wait_in_vain_is_not_asked_next(server, make, monkeypatch):
    with serving(at=("127.0.0.9", server.server_port)) as other:
        monkeypatch.setattr(http_line, "random", iter([0.1, 0.9] * 9).__next__)
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda *_: addresses("127.0.0.1", "127.0.0.9", port=server.server_port)
        )
        web = make(f"http://localhost:{server.server_port}")
        refusal(web, "/drip", limit_s=0.2)
        assert [web.call("GET", "/fine").status for _ in range(3)] == [200] * 3
        assert [server.accepted, other.accepted] == [1, 1]


def test_an_address_that_never_ends_its_handshake_costs_one_wait(tls_server, certificate, make, monkeypatch):
    port = tls_server.server_port
    with socket.create_server(("127.0.0.9", port)):
        monkeypatch.setattr(http_line, "random", iter([0.1, 0.9] * 9).__next__)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: addresses("127.0.0.9", "127.0.0.1", port=port))
        web = make(f"https://localhost:{port}", fingerprint=fingerprint_of(certificate), connect_s=1.0)
        assert web.call("POST", "/fine", limit_s=60.0).status == 200


def test_only_ipv4_is_asked_for_where_that_is_wanted(server, make, monkeypatch):
    asked: list[object] = []
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a: (asked.append(a[2]), resolve(*a))[1])
    make(server.url, ipv4_only=True).call("GET", "/fine")
    make(server.url).call("GET", "/fine")
    assert asked == [socket.AF_INET, socket.AF_UNSPEC]


@pytest.fixture
def black_hole(server):
    """The server's port at IPv6, where who connects is neither taken in nor turned away."""
    with ExitStack() as closing:
        hole = closing.enter_context(socket.socket(socket.AF_INET6))
        try:
            hole.bind(("::1", server.server_port))
        except OSError as error:
            pytest.skip(f"no IPv6 on this machine: {error}")
        hole.listen(0)
        for _ in range(3):
            waiting = closing.enter_context(socket.socket(socket.AF_INET6))
            waiting.setblocking(False)
            waiting.connect_ex(hole.getsockname())
        yield hole.getsockname()


def test_an_address_that_answers_nothing_costs_one_wait_and_is_tried_less_often(server, make, monkeypatch, black_hole):
    """server:T-11, server:T-10 (a black hole)"""
    tried: list[int] = []
    connect = http_line.TimedSocket.connect
    monkeypatch.setattr(
        http_line.TimedSocket, "connect", lambda sock, to: (tried.append(sock.family), connect(sock, to))
    )
    both = [(socket.AF_INET6, *BYTES, black_hole), (socket.AF_INET, *BYTES, ("127.0.0.1", server.server_port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, port, family, kind: [a for a in both if family in (0, a[0])])
    for options, families in (({}, [socket.AF_INET6, socket.AF_INET]), ({"ipv4_only": True}, [socket.AF_INET])):
        tried.clear()
        web = make(f"http://localhost:{server.server_port}", connect_s=0.2, **options)
        assert web.call("GET", "/early").status == 507
        assert tried == families
        assert web.call("GET", "/fine").status == 200
        assert tried == [*families, socket.AF_INET]


def test_a_resolver_that_hangs_is_left_behind(make, monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: over.wait() and [])
    error = refusal(make("https://nowhere.example.org"), "/fine", limit_s=0.1)
    over.set()
    assert error.facts["cause"] == "timed out"
    assert error.facts["sent"] is False


def test_a_name_that_nobody_knows_is_told_at_once(make, monkeypatch):
    def unknown(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = refusal(make("https://nowhere.example.org"), "/fine")
    assert "https://nowhere.example.org:443: its name has no address" in error.detail
    assert error.facts["cause"] == "name unknown"


def test_closing_ends_the_pause_before_another_attempt(make, monkeypatch):
    monkeypatch.setattr("pilot_core.io.http.PAUSES_S", (3600.0,))
    web = make(dead_url())
    closing = threading.Timer(0.05, web.close)
    closing.start()
    assert refusal(web, "/fine", limit_s=1e6).facts["cause"] == "refused"
    closing.join()


@pytest.mark.parametrize(
    "url",
    ["http://server.example.org/", "ftp://localhost", "https://", "https://a b", "https://h:x", "https://me:pw@host"],
)
def test_an_address_that_must_not_be_called_is_refused(url):
    with pytest.raises(PilotError, match="not called") as raised:
        read_url(url)
    assert "pw" not in raised.value.detail


@pytest.fixture
def far(monkeypatch):
    """Two hosts that are not this node, by their names, though they are."""
    here = [(socket.AF_INET, *BYTES, ("127.0.0.1", 0))]

    def found(host: str, port: int, *_: object) -> object:
        assert host in ("facts.example.org", "else.example.org")
        return [(*address[:4], ("127.0.0.1", port)) for address in here]

    monkeypatch.setattr(socket, "getaddrinfo", found)


@pytest.mark.parametrize("plain", [["facts.example.org"], ["*.Example.org"], ["facts.example.org:{port}"], ["*"]])
def test_a_host_that_is_named_may_be_called_by_plain_http_and_is_shown_nothing(server, make, token, far, plain):
    port = server.server_port
    allowed = [each.format(port=port) for each in plain]
    web = make("https://server.example.org", token=token, plain=allowed, shown={"*": token})
    server.elsewhere = "/fine"
    assert web.call("GET", f"http://facts.example.org:{port}/elsewhere").status == 200
    assert [path for _, path, seen in server.seen if "authorization" not in seen] == ["/elsewhere", "/fine"]


def test_plain_http_is_refused_wherever_else_it_would_go(server, make, far):
    port = server.server_port
    web = make(plain=["facts.example.org"])
    told = refusal(web, f"http://else.example.org:{port}/fine").detail
    assert told.endswith("use https, or let connection.plain_http name else.example.org")
    server.elsewhere = f"http://else.example.org:{port}/fine"
    assert "not called" in refusal(web, f"http://facts.example.org:{port}/elsewhere").detail
    assert [path for _, path, _ in server.seen] == ["/elsewhere"]
    with pytest.raises(PilotError, match=r"localhost\); use https$"):
        make("http://facts.example.org", plain=["facts.example.org"])


def test_without_a_server_one_is_asked_for(make):
    assert "--url" in refusal(make(), "/fine").detail


# --- tokens ---------------------------------------------------------------------------------------------------------


def test_a_token_is_shown_and_read_again_when_it_changes(server, make, token):
    web = make(server.url, token=token, origin="vo.role")
    assert web.call("GET", "/denied").status == 200
    assert server.seen[0][2]["origin"] == "vo.role"
    server.token = "another"
    assert web.call("GET", "/denied").status == 403
    token.write_text("another")
    assert web.call("GET", "/denied").status == 200


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [
        ("x", 0o644, "chmod 600"),
        ("", 0o600, "is empty"),
        (" \n", 0o600, "is empty"),
        ("one\r\nX: y", 0o600, "something else than one token"),
        (None, 0, "cannot be read"),
    ],
)
def test_a_bad_token_file_is_told_before_anything_is_sent(server, make, token, content, mode, told):
    if content is None:
        token.unlink()
    else:
        token.write_text(content)
        token.chmod(mode)
    error = refusal(make(server.url, token=token), "/fine", code=Code.NOPROXY)
    assert told in error.detail
    assert str(token) in error.detail
    assert error.facts["sent"] is False
    assert server.seen == []


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_token_does_not_go_along_to_another_place(server, make, token, method):
    web = make(server.url, token=token)
    with serving() as other:
        server.elsewhere = f"{other.url}/echo"
        if method == "PUT":
            source = io.BytesIO(b"content")
            answer = web.put("/elsewhere", source, 7, headers={}, limit_s=20, cancel=CancelFlag())
            assert answer.body == b"content"
        else:
            server.elsewhere = f"{other.url}/fine"
            assert web.call("GET", "/elsewhere").status == 200
        web.call("GET", f"{other.url}/fine")
        web.close()
    assert "authorization" in server.seen[0][2]
    assert [seen for _, _, seen in other.seen if "authorization" in seen] == []
    assert len(other.seen) == 2


def test_a_post_is_not_sent_on(server, web):
    server.elsewhere = "/fine"
    assert web.call("POST", "/elsewhere", json={}).status == 307


# --- files ----------------------------------------------------------------------------------------------------------


def fetch(web: Web, path: str, file: io.BytesIO, **options: object) -> Answer:
    return web.fetch(path, file, **{"limit_s": 20.0, "cancel": CancelFlag(), **options})  # type: ignore[arg-type]


def test_a_file_is_fetched_only_from_places_that_are_allowed(server, web):
    seen = []
    with pytest.raises(PilotError, match=r"sent on to .*/around, which is not among the places allowed"):
        fetch(web, "/around", io.BytesIO(), allowed=lambda url: bool(seen.append(url)))
    assert seen == [f"{server.url}/around"]
    assert [path for _, path, _ in server.seen] == ["/around"]


def test_a_file_streams(web):
    file, seen = io.BytesIO(), []
    assert fetch(web, "/large", file, progress=seen.append).status == 200
    assert file.getvalue() == LARGE
    assert len(seen) > 1
    assert seen == sorted(seen)
    assert seen[-1] == len(LARGE)


@pytest.mark.parametrize(("path", "status"), [("/large", 206), ("/whole", 200)])
def test_a_file_goes_on_where_it_ended(web, path, status):
    file = io.BytesIO()
    assert fetch(web, path, file, start_b=300_001).status == status
    assert file.getvalue() == LARGE[300_001:]


def test_a_refusal_is_no_content(server, web):
    file = io.BytesIO()
    server.failures = 1
    assert fetch(web, "/failing", file).body == b"{}"
    assert file.getvalue() == b""


@pytest.mark.parametrize(("path", "cause"), [("/cut", "cut off"), ("/drip", "timed out")])
def test_a_part_of_a_file_is_an_error(web, path, cause):
    with pytest.raises(PilotError) as raised:
        fetch(web, path, io.BytesIO(), limit_s=0.3)
    assert raised.value.facts["cause"] == cause


def test_a_transfer_that_waits_can_be_cancelled(server, web):
    flag = CancelFlag()
    asked = threading.Thread(target=lambda: (server.over.wait(0.1), flag.set()))
    asked.start()
    with pytest.raises(Cancelled):
        fetch(web, "/drip_headers", io.BytesIO(), cancel=flag, limit_s=3600.0)
    asked.join()


def test_a_full_disk_here_is_not_the_servers_fault(web):
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(OSError, match="No space left"):
        web.fetch("/large", full, limit_s=20, cancel=CancelFlag())


def put(web: Web, path: str, content: bytes, **options: object) -> Answer:
    named = {"headers": {}, "limit_s": 20.0, "cancel": CancelFlag(), **options}
    return web.put(path, io.BytesIO(content), len(content), **named)  # type: ignore[arg-type]


def test_a_file_is_sent(server, web):
    seen: list[int] = []
    assert put(web, "/echo", LARGE, headers={"Digest": "x"}, progress=seen.append).body == LARGE
    assert server.seen[0][2]["digest"] == "x"
    assert seen[-1] == len(LARGE)
    assert put(web, "/echo", b"").body == b""


def test_a_server_that_refuses_before_it_has_read_all_is_heard(make):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 507 Full\r\nContent-Length: 4\r\n\r\nfull")

        thread = threading.Thread(target=refuse)
        thread.start()
        web = make(place)
        answer = put(web, "/full", LARGE * 16)
        web.close()
        thread.join()
    assert (answer.status, answer.body) == (507, b"full")


def test_a_file_that_became_shorter_is_our_own_fault(web):
    with pytest.raises(OSError, match="the file ended after 3 of 10 bytes"):
        web.put("/echo", io.BytesIO(b"abc"), 10, headers={}, limit_s=20, cancel=CancelFlag())


# --- encryption -----------------------------------------------------------------------------------------------------


def certify(folder: Path, name: str, days: int = 2) -> Path:
    """A key and a certificate for localhost in one file."""
    key, request, made = folder / "key", folder / "request", folder / name
    make_key = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(
        [*make_key, "-keyout", key, "-out", request, "-subj", "/CN=localhost"], check=True, capture_output=True
    )
    names = folder / "names"
    names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    sign = ["openssl", "x509", "-req", "-in", request, "-key", key, "-days", str(days), "-extfile", names]
    certificate = subprocess.run(sign, check=True, capture_output=True).stdout
    made.write_bytes(certificate + key.read_bytes())
    return made


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certify(tmp_path_factory.mktemp("tls"), "good.pem")


@contextmanager
def serving_tls(certificate: Path) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(context) as server:
        yield server


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[Server]:
    with serving_tls(certificate) as server:
        yield server


def fingerprint_of(certificate: Path) -> str:
    pem = certificate.read_text().partition("-----END CERTIFICATE-----")
    return sha256(ssl.PEM_cert_to_DER_cert(pem[0] + pem[1])).hexdigest()


def test_an_authority_of_ones_own_vouches(tls_server, certificate, make, tmp_path):
    authority = tmp_path / "ca.pem"
    authority.write_text(certificate.read_text().partition("-----BEGIN PRIVATE")[0])
    with_ca = make(tls_server.url, ca_file=authority)
    for _ in range(3):
        assert with_ca.call("GET", "/fine").status == 200
    file = io.BytesIO()
    assert fetch(with_ca, "/large", file).status == 200
    assert file.getvalue() == LARGE
    assert put(with_ca, "/echo", LARGE).body == LARGE
    assert refusal(with_ca, "/drip", limit_s=0.3).facts["cause"] == "timed out"
    with_ca.close()
    assert tls_server.accepted == 1


def test_a_stranger_is_not_believed(tls_server, make, token):
    web = make(tls_server.url, token=token)
    error = refusal(web, "/fine")
    assert "connection.fingerprint" in error.detail
    assert error.facts == {"sent": False, "cause": "certificate", "address": tls_server.url}
    assert tls_server.seen == []


def test_a_pinned_certificate_needs_no_authority_and_no_other_will_do(tls_server, certificate, make):
    right = fingerprint_of(certificate)
    written = ":".join(right.upper()[at : at + 2] for at in range(0, 64, 2))
    web = make(tls_server.url, fingerprint=written)
    assert web.call("GET", "/fine").status == 200
    web.close()
    error = refusal(make(tls_server.url, fingerprint="0" * 64), "/fine")
    assert right in error.detail
    assert error.facts["cause"] == "fingerprint"
    assert len(tls_server.seen) == 1


def test_a_pin_is_for_the_server_alone(tls_server, certificate, make):
    web = make("https://localhost:1", fingerprint=fingerprint_of(certificate))
    assert refusal(web, f"{tls_server.url}/fine").facts["cause"] == "certificate"


def test_a_fingerprint_that_is_none_is_refused(make):
    with pytest.raises(PilotError, match="64 hexadecimal digits"):
        make("https://localhost", fingerprint="12:34")


def test_an_expired_certificate_and_a_wrong_clock_are_told_apart(make, tmp_path, monkeypatch):
    expired = certify(tmp_path, "expired.pem", days=-1)
    with serving_tls(expired) as server:
        web = make(server.url, ca_file=expired)
        told = refusal(web, "/fine").detail
        assert "has expired" in told
        assert "clock" not in told
        assert server.seen[-1][0] == "HEAD"
        monkeypatch.setattr(Handler, "date_time_string", lambda _: formatdate(time.time() - 86400 * 400, usegmt=True))
        assert "this node's clock is 400 days, 0:00:00 ahead of the server's" in refusal(web, "/fine").detail
        web.close()


def test_a_port_that_speaks_no_tls_is_told(server, make):
    error = refusal(make(server.url.replace("http", "https")), "/fine")
    assert "https port" in error.detail


def test_a_ca_file_that_is_none_is_told(make, tmp_path):
    assert str(tmp_path / "ca.pem") in refusal(make("https://localhost:1", ca_file=tmp_path / "ca.pem"), "/fine").detail


def test_an_encrypted_place_sends_nobody_to_one_that_is_not(tls_server, server, certificate, make):
    tls_server.elsewhere = f"{server.url}/fine"
    web = make(tls_server.url, fingerprint=fingerprint_of(certificate))
    assert "would not be encrypted" in refusal(web, "/elsewhere").detail
    web.close()
    assert server.seen == []


# --- proxies --------------------------------------------------------------------------------------------------------


@contextmanager
def proxying(to: int) -> Iterator[tuple[int, list[bytes]]]:
    """A proxy that leads one connection to a port of this node, whatever it is asked for."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def carry(source: socket.socket, sink: socket.socket) -> None:
            with suppress(OSError):
                while data := source.recv(1 << 16):
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)

        def lead() -> None:
            near, _ = listener.accept()
            with near, socket.create_connection(("127.0.0.1", to)) as far:
                asked.append(near.recv(1 << 16))
                near.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=carry, args=[far, near])
                back.start()
                carry(near, far)
                back.join()

        thread = threading.Thread(target=lead)
        thread.start()
        yield listener.getsockname()[1], asked
        thread.join()


def test_a_proxy_of_the_environment_leads_there(tls_server, certificate, make, monkeypatch):
    with proxying(tls_server.server_port) as (port, asked):
        monkeypatch.setenv("https_proxy", f"http://me:secret@127.0.0.1:{port}")
        web = make("https://server.example.org:8443", fingerprint=fingerprint_of(certificate))
        assert web.call("GET", "/fine").status == 200
        web.close()
    assert asked[0].startswith(b"CONNECT server.example.org:8443 ")
    assert b"Proxy-Authorization: Basic bWU6c2VjcmV0" in asked[0]


def test_no_proxy_is_asked_where_none_should_be(monkeypatch):
    monkeypatch.setenv("https_proxy", "proxy.example.org:3128")
    monkeypatch.setenv("no_proxy", ".site.example.org")
    assert find_proxy(read_url("https://localhost:1").origin) is None
    assert find_proxy(read_url("https://a.site.example.org").origin) is None
    found = find_proxy(read_url("https://a.example.org").origin)
    assert found is not None
    assert str(found[0]) == "http://proxy.example.org:3128"


# --- the whole ------------------------------------------------------------------------------------------------------


def test_a_session_that_nobody_has_any_more_is_closed(server):
    web = Web([server.url])
    web.call("GET", "/fine")
    assert web._lines is not None
    sock = web._lines._idle[read_url(server.url).origin][0].sock
    assert sock.fileno() >= 0
    del web
    assert sock.fileno() == -1


def test_importing_it_loads_nothing_heavy():
    heavy = ["ssl", "http.client", "requests", "urllib3", "email", "urllib.request"]
    script = f"import sys, json, pilot_core.io.http; print(json.dumps([m for m in {heavy} if m in sys.modules]))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env={**os.environ})
    assert json.loads(run.stdout) == []
