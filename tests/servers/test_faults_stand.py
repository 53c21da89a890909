"""The faulty line does what was ordered, to real servers and their clients too."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import zlib

import pytest

from .clients import done, run
from .faults import Fault, FaultyLine

SIZE_B = 3_000_000


@pytest.fixture
def echo():
    """A server that sends back what it gets, until that ends."""

    def serve(door: socket.socket) -> None:
        while True:
            try:
                line, _ = door.accept()
            except OSError:
                return
            with line, contextlib.suppress(ConnectionError):
                while data := line.recv(65536):
                    line.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as door:
        thread = threading.Thread(target=serve, args=(door,))
        thread.start()
        yield door.getsockname()[1]
        door.shutdown(socket.SHUT_RDWR)
        thread.join()


def said(port: int, data: bytes) -> bytes:
    """What comes back, up to a reset or the end."""
    back = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as line:
        try:
            line.sendall(data)
            line.shutdown(socket.SHUT_WR)
            while more := line.recv(65536):
                back += more
        except OSError:
            back += b" reset"
    return back


def test_orders_hold_for_a_connection_each(faulty, echo):
    line = faulty(echo)
    line.next(Fault.cut(4), Fault.flip(1, up=True), Fault.refuse())
    assert said(line.port, b"0123456789") in {b"0123 reset", b" reset"}
    assert said(line.port, b"0123456789") == b"0023456789"
    assert said(line.port, b"0123456789") == b" reset"
    assert said(line.port, b"0123456789") == b"0123456789"
    assert [fault.name for fault in line.met] == ["cut", "flip", "refuse"]


def test_a_stall_ends_and_a_hold_is_ended(faulty, echo):
    line = faulty(echo)
    line.next(Fault.stall(3, 0.1), Fault.hold(3))
    assert said(line.port, b"0123456789") == b"0123456789"
    with socket.create_connection(("127.0.0.1", line.port), timeout=30) as held:
        held.sendall(b"0123456789")
        line.await_hold()
        assert held.recv(100) == b"012"
        line.let_go()
        assert held.recv(100) == b"3456789"


def test_a_line_may_end_while_it_is_used(echo):
    with FaultyLine(echo) as line:
        line.next(Fault.hold(0))
        held = socket.create_connection(("127.0.0.1", line.port), timeout=30)
        held.sendall(b"0123456789")
        line.await_hold()
    with held, pytest.raises(ConnectionError):
        held.recv(100)


def test_a_flipped_byte_passes_http(faulty, webdav, tmp_path):
    (webdav.data / "flipped").write_bytes(bytes(SIZE_B))
    line = faulty(webdav.port)
    line.next(Fault.flip(SIZE_B // 2))
    done("curl", "-fsS", "-o", tmp_path / "back", f"http://localhost:{line.port}/flipped")
    assert (tmp_path / "back").read_bytes().count(1) == 1


def test_a_cut_download_is_short(faulty, webdav, tmp_path):
    (webdav.data / "cut").write_bytes(os.urandom(SIZE_B))
    line = faulty(webdav.port)
    line.always(Fault.cut(SIZE_B // 2))
    assert run("curl", "-sS", "-o", tmp_path / "back", f"http://localhost:{line.port}/cut").returncode == 56
    assert (tmp_path / "back").stat().st_size < SIZE_B


def test_a_server_killed_in_the_middle(faulty, own_xrootd, tmp_path):
    """xrdcp holds half of a file when its server dies, finds it again at the same port, and gets the rest."""
    (own_xrootd.data / "a").write_bytes(body := os.urandom(40 * SIZE_B))
    line = faulty(own_xrootd.port)
    line.next(Fault.hold(20 * SIZE_B))
    command = ["xrdcp", "-np", f"root://localhost:{line.port}//a", tmp_path / "back"]
    env = {"PATH": os.environ["PATH"], "XRD_CONNECTIONWINDOW": "5", "XRD_STREAMERRORWINDOW": "10"}
    with subprocess.Popen(command, env=env) as client:
        line.await_hold()
        own_xrootd.daemons[0].kill()
        own_xrootd.daemons[0].start()
        line.let_go()
        assert client.wait(60) == 0
    assert zlib.adler32((tmp_path / "back").read_bytes()) == zlib.adler32(body)
