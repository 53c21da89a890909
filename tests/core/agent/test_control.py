"""Orders to a running pilot, by its socket and by a file where there is none."""

from __future__ import annotations

import json
import os
import socket
import threading

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
