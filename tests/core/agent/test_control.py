"""Orders to a running pilot, by its socket and by a file where there is none."""

from __future__ import annotations

import json
import os
import socket
import threading
import time

import pytest

from pilot_core.agent import control
from pilot_core.io.box import Box
from pilot_core.io.files import Lock


@pytest.fixture
def directory(tmp_path):
    own = tmp_path / "pilot.control"
    own.mkdir(mode=0o700)
    return own


class Served:
    """A control socket that is served by a thread, as the loop would."""

    def __init__(self, directory):
        self.obeyed = []
        self.box = Box()
        self.door = control.ControlSocket(directory, self.obey)
        self.box.lend(self.door.listener, self.door.accept)
        self.going = True
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def obey(self, request):
        self.obeyed.append(request["order"])
        return {"mode": "open"}

    def serve(self):
        while self.going:
            self.box.wait(0.05)

    def close(self):
        self.going = False
        self.thread.join()
        self.door.close()
        self.box.close()


@pytest.fixture
def served(directory):
    pilot = Served(directory)
    yield pilot
    pilot.close()


def test_an_order_is_obeyed_and_answered(directory, served):
    assert control.ask(directory, {"order": "drain"}) == {"mode": "open"}
    assert served.obeyed == ["drain"]


def test_the_socket_is_for_its_owner_only(directory, served):
    assert (directory / control.SOCKET).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("line", [b"{}\n", b"nonsense\n", b'{"order": "explode"}\n', b"[]\n", b"\xff\xfe\n"])
def test_a_bad_request_is_answered_and_nothing_is_obeyed(directory, served, line):
    with socket.socket(socket.AF_UNIX) as client:
        fd = os.open(directory, os.O_PATH)
        client.connect(f"/proc/self/fd/{fd}/{control.SOCKET}")
        os.close(fd)
        client.sendall(line)
        assert "error" in json.loads(client.recv(4096))
    assert served.obeyed == []


def test_a_guest_who_says_nothing_does_not_stop_the_pilot(directory, served):
    with socket.socket(socket.AF_UNIX) as silent:
        fd = os.open(directory, os.O_PATH)
        silent.connect(f"/proc/self/fd/{fd}/{control.SOCKET}")
        os.close(fd)
        assert control.ask(directory, {"order": "status"}) == {"mode": "open"}


def test_a_path_of_any_length_will_do(tmp_path):
    deep = tmp_path / ("d" * 120) / ("e" * 120) / "pilot.control"
    deep.mkdir(parents=True)
    pilot = Served(deep)
    try:
        assert control.ask(deep, {"order": "pause"}) == {"mode": "open"}
    finally:
        pilot.close()


def test_where_no_socket_can_be_a_file_does(directory):
    obeyed = []
    (directory / control.SOCKET).mkdir()
    (directory / control.SOCKET / "in the way").touch()
    door = control.ControlSocket(directory, lambda request: obeyed.append(request["order"]) or {"mode": "paused"})
    assert door.listener is None
    (directory / control.SOCKET / "in the way").unlink()
    (directory / control.SOCKET).rmdir()
    with Lock(directory / "lock"):
        looking = threading.Timer(0.1, door.look)
        looking.start()
        assert control.ask(directory, {"order": "pause"}) == {"mode": "paused"}
        looking.join()
    assert obeyed == ["pause"]


def test_without_a_pilot_it_says_so(directory, tmp_path):
    with pytest.raises(control.NoPilot, match="no pilot runs in"):
        control.ask(directory, {"order": "status"})
    with pytest.raises(control.NoPilot, match="is not the work directory of a pilot"):
        control.ask(tmp_path / "elsewhere" / "pilot.control", {"order": "status"})


def knock(directory, *parts, then_wait_s=0.0):
    """Say something at the door in parts; the answer, read to its end."""
    with socket.socket(socket.AF_UNIX) as client:
        fd = os.open(directory, os.O_PATH)
        client.connect(f"/proc/self/fd/{fd}/{control.SOCKET}")
        os.close(fd)
        for part in parts:
            client.sendall(part)
            time.sleep(then_wait_s)
        return json.loads(b"".join(iter(lambda: client.recv(4096), b"")))


@pytest.mark.parametrize("line", [b"[" * 4000 + b"\n", b" " * control.LONGEST_REQUEST_B, b'{"order": "stop"'])
def test_a_request_that_json_cannot_bear_is_answered_and_the_door_stays_open(directory, served, line):
    assert "one line of JSON" in knock(directory, line)["error"]
    assert control.ask(directory, {"order": "status"}) == {"mode": "open"}


def test_a_request_ends_with_its_newline_and_not_with_a_packet(directory, served):
    assert knock(directory, b'{"ord', b'er": "drain"}\n', then_wait_s=0.05) == {"mode": "open"}
    assert served.obeyed == ["drain"]


@pytest.fixture
def unheard(directory, monkeypatch):
    """A door without a socket: orders come as files."""
    monkeypatch.setattr(control, "_listen", lambda directory: None)
    return control.ControlSocket(directory, lambda request: {"mode": "open"})


PUT_IN_THE_WAY = {
    "a directory": lambda path: path.mkdir(),
    "a FIFO": os.mkfifo,
    "a symbolic link": lambda path: path.symlink_to("/etc/passwd"),
}


@pytest.mark.parametrize("put", PUT_IN_THE_WAY.values(), ids=PUT_IN_THE_WAY)
@pytest.mark.timeout(10)
def test_what_lies_in_the_place_of_an_order_is_told_once(directory, unheard, put, caplog):
    put(directory / control.ORDER)
    unheard.look()
    unheard.look()
    assert "remove it" in json.loads((directory / control.ANSWER).read_text())["error"]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("text", ["[" * 4000, "\udcff", "nonsense"])
def test_a_bad_order_in_a_file_is_answered(directory, unheard, text):
    (directory / control.ORDER).write_bytes(text.encode(errors="surrogateescape"))
    unheard.look()
    assert "one line of JSON" in json.loads((directory / control.ANSWER).read_text())["error"]


def test_an_answer_that_cannot_be_written_is_told_to_the_log(directory, unheard, caplog):
    (directory / control.ANSWER).mkdir()
    (directory / control.ORDER).write_text('{"order": "drain"}')
    unheard.look()
    assert "could not be written" in caplog.text
