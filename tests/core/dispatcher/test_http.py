import gzip
import json
import logging
import os
import resource
import socket
import threading
from contextlib import contextmanager

import pytest
import requests

from pilot_core.dispatcher.head import LONGEST_HEAD_B, LONGEST_LINE_B
from pilot_core.dispatcher.http import Cut, Limits, Refused, Response, serve

SHORT = Limits(head_s=0.2, stall_s=0.3, linger_s=0.3, idle_s=20, grace_s=5)


@contextmanager
def served(handler, **more):
    server = serve(("127.0.0.1", 0), handler, **more)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()


def dialled(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def heard(sock):
    """All that comes until the server closes."""
    return b"".join(iter(lambda: sock.recv(65536), b""))


def talk(server, *data):
    with dialled(server) as sock:
        for piece in data:
            sock.sendall(piece)
        return heard(sock)


def url(server, path="/"):
    return f"http://127.0.0.1:{server.port}{path}"


def echo(request):
    told = {"method": request.method, "path": request.path, "query": request.query, "role": request.role}
    return Response.of(told | {"body": request.read().decode()})


def test_an_honest_client_is_answered_again_and_again_on_one_connection():
    with served(echo, roles={"good": "run"}.get) as server, requests.Session() as client:
        for number in range(3):
            got = client.post(
                url(server, f"/a%20b?n={number}"), data="x" * 10**6, headers={"Authorization": "Bearer good"}
            )
            assert got.headers["Connection"] == "keep-alive"
            assert got.json() == {
                "method": "POST", "path": "/a b", "query": {"n": [f"{number}"]}, "role": "run", "body": "x" * 10**6,
            }  # fmt: skip
        assert client.get(url(server), headers={"Authorization": "Bearer bad"}).json()["role"] is None
        assert len(server._guests) == 1


def test_requests_that_come_in_pieces_or_all_at_once_are_told_apart():
    one = b"POST /one HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
    two = b"GET /two HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    with served(echo) as server:
        both = talk(server, one + two)
        drops = talk(server, *(bytes([byte]) for byte in one + two))
    assert both.count(b"HTTP/1.1 200 OK") == drops.count(b"HTTP/1.1 200 OK") == 2
    assert both.index(b'"/one"') < both.index(b'"hello"') < both.index(b'"/two"')


def test_head_is_answered_without_a_body():
    with served(lambda request: Response(200, b"hello", "text/plain")) as server:
        said = talk(server, b"HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert b"Content-Length: 5\r\n" in said
    assert said.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", 411),
        (b"GET /" + b"a" * LONGEST_LINE_B, 414),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * (LONGEST_HEAD_B // 6), 431),
        (b"GET / HTTP/1.1\r\nHost:", 408),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 408),
    ],
)
def test_what_is_no_request_gets_one_sentence_and_the_door(data, status):
    with served(echo, limits=SHORT) as server:
        said = talk(server, data)
    top, _, body = said.partition(b"\r\n\r\n")
    assert top.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close" in top
    assert list(json.loads(body)) == ["error"]


def test_a_refused_client_reads_why_although_it_has_sent_more_than_anybody_will_read():
    def refuse(request):
        raise Refused(403, "not you")

    with served(refuse) as server:
        top = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 90000000\r\n\r\n"
        said = talk_and_leave(server, top + b"x" * 5_000_000)
    assert b"403 Forbidden" in said
    assert said.endswith(b'{"error":"not you"}')


def talk_and_leave(server, data):
    with dialled(server) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return heard(sock)


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked():
    with served(echo) as server, dialled(server) as sock:
        sock.sendall(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"hello")
        assert b"200 OK" in sock.recv(65536)


def test_who_is_refused_is_not_asked_for_its_body():
    with served(lambda request: Response.error(403, "no")) as server:
        data = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        said = talk_and_leave(server, data)
    assert said.startswith(b"HTTP/1.1 403 ")
    assert b"Connection: close" in said


def test_a_short_body_that_nobody_read_does_not_end_the_connection():
    with served(lambda request: Response.of("ok")) as server, requests.Session() as client:
        for _ in range(2):
            assert client.post(url(server), data="x" * 1000).headers["Connection"] == "keep-alive"


@pytest.mark.parametrize("goes", [True, False])
def test_a_body_that_ends_early_or_stalls_reaches_the_handler_as_cut(goes):
    seen = []

    def read(request):
        try:
            request.read()
        except Cut as cut:
            seen.append(str(cut))
            raise
        return Response.of("read")

    with served(read, limits=SHORT) as server, dialled(server) as sock:
        sock.sendall(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello")
        if goes:
            sock.shutdown(socket.SHUT_WR)
        assert heard(sock) == b""
    assert len(seen) == 1


def test_bodies_are_limited_and_read_as_json():
    def read(request):
        return Response.of(request.json(limit_b=1000))

    def post(data, **headers):
        answer = requests.post(url(server), data=data, headers=headers, timeout=10)
        return answer.status_code, answer.json()

    with served(read) as server:
        assert post(b"[1]") == (200, [1])
        assert post(gzip.compress(b"[1]"), **{"Content-Encoding": "gzip"}) == (200, [1])
        packed = {"Content-Encoding": "gzip"}
        assert post(b" " * 1001)[0] == 413
        assert post(gzip.compress(b" " * 10**5), **packed)[0] == 413
        assert post(gzip.compress(b"[1]")[:-1], **packed)[0] == 400
        assert post(gzip.compress(b"[1]") + b"x", **packed)[0] == 400
        assert post(b"[1]", **packed)[0] == 400
        assert post(b"[1]", **{"Content-Encoding": "br"})[0] == 415
        for bad in (b"", b"[", b"\xff", b"[" * 999):
            assert post(bad)[0] == 400, bad


def test_a_defect_is_answered_with_one_sentence_and_told_to_the_log(caplog):
    def fail(request):
        raise KeyError("secret detail")

    with served(fail) as server, requests.Session() as client, caplog.at_level(logging.ERROR):
        got = client.get(url(server, "/x"))
        assert client.get(url(server, "/x")).status_code == 500
    assert (got.status_code, list(got.json())) == (500, ["error"])
    assert "secret" not in got.text
    assert "the dispatcher failed at GET /x" in caplog.text
    assert "secret detail" in caplog.text


def test_no_header_can_be_smuggled_into_an_answer():
    for value in ("a\r\nSet-Cookie: b", "a\nb", "ä", "\0"):
        with pytest.raises(ValueError, match="X-Name"):
            Response(200, headers={"X-Name": value})


def test_files_are_sent_from_where_they_stand_and_closed(tmp_path):
    data = os.urandom(3_000_000)
    (tmp_path / "file").write_bytes(data)
    files = []

    def give(request):
        files.append(open(tmp_path / "file", "rb"))  # noqa: SIM115
        files[-1].seek(1000)
        return Response(200, file=files[-1], length=2_000_000)

    with served(give) as server, requests.Session() as client:
        assert client.get(url(server)).content == data[1000:2_001_000]
        assert client.head(url(server)).headers["Content-Length"] == "2000000"
        assert client.get(url(server)).content == data[1000:2_001_000]
    assert all(file.closed for file in files)


def test_a_client_that_takes_nothing_is_left():
    left = threading.Event()

    def give(request):
        return Response(200, b"x" * 50_000_000)

    with served(give, limits=SHORT) as server, dialled(server) as sock:
        original = server.left
        server.left = lambda guest: (original(guest), left.set())
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert left.wait(10)


def test_when_all_places_are_taken_the_longest_idle_one_goes_and_no_more_than_these_are_let_in():
    idle = threading.Semaphore(0)
    with served(echo, limits=Limits(connections=3)) as server:
        falls_idle = server.falls_idle
        server.falls_idle = lambda guest: (falls_idle(guest), idle.release())[0]
        guests = [dialled(server) for _ in range(3)]
        assert all(idle.acquire(timeout=10) for _ in guests)
        for guest in guests:
            guest.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert b"200 OK" in guest.recv(65536)
            assert idle.acquire(timeout=10)
        for _ in range(5):
            said = talk(server, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            assert b"200 OK" in said
            assert len(server._guests) <= 3
        assert guests[0].recv(1) == b""
        for guest in guests:
            guest.close()


def test_when_all_places_are_busy_the_next_one_waits_until_one_is_free():
    go, inside = threading.Event(), threading.Semaphore(0)

    def wait(request):
        inside.release()
        assert go.wait(10)
        return Response.of(threading.active_count())

    with served(wait, limits=Limits(connections=2)) as server:
        guests = [dialled(server) for _ in range(6)]
        for guest in guests:
            guest.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        for _ in range(2):
            assert inside.acquire(timeout=10)
        assert not inside.acquire(timeout=0.1)
        assert len(server._guests) == 2
        go.set()
        for guest in guests:
            assert b"200 OK" in guest.recv(65536)
            guest.close()


def test_a_server_that_closes_ends_idle_connections_at_once_and_lets_running_requests_end():
    go, inside = threading.Event(), threading.Event()

    def wait(request):
        if request.path == "/wait":
            inside.set()
            assert go.wait(10)
        return Response.of("done")

    with served(wait) as server, dialled(server) as idle, dialled(server) as busy:
        idle.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        idle.recv(65536)
        busy.sendall(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
        assert inside.wait(10)
        server.stop()
        assert idle.recv(65536) == b""
        go.set()
        said = heard(busy)
        assert b"200 OK" in said
        assert b"Connection: close" in said
    with pytest.raises(ConnectionRefusedError):
        dialled(server)


def test_what_does_not_end_in_time_is_cut_off():
    go, inside = threading.Event(), threading.Event()

    def wait(request):
        inside.set()
        go.wait(10)
        return Response.of("late")

    with served(wait, limits=Limits(grace_s=0.1)) as server, dialled(server) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert inside.wait(10)
        server.close()
        assert heard(sock) == b""
        go.set()


def test_out_of_descriptors_it_waits_and_goes_on():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    with served(echo) as server, dialled(server) as first, socket.socket() as second:
        first.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert b"200 OK" in first.recv(65536)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, limit[1]))
        try:
            second.connect(("127.0.0.1", server.port))
            second.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            first.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert b"200 OK" in first.recv(65536)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        second.settimeout(10)
        assert b"200 OK" in heard(second)


def test_out_of_threads_it_turns_one_away_and_goes_on(monkeypatch, caplog):
    monkeypatch.setattr("pilot_core.dispatcher.http.BREATH_S", 0.01)
    start = threading.Thread.start

    def fail(thread):
        monkeypatch.setattr(threading.Thread, "start", start)
        raise RuntimeError("can't start new thread")

    ask = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    with served(echo) as server:
        monkeypatch.setattr(threading.Thread, "start", fail)
        with dialled(server) as sock:
            assert heard(sock) == b""
        assert b"200 OK" in talk(server, ask)
    assert "can't start new thread" in caplog.text
