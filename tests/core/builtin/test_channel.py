"""Messages over a Unix socket, between this process and another."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import contextmanager, suppress

import pytest

from pilot_core.builtin.channel import VARIABLE, SocketChannel
from pilot_core.sdk import Code, PilotError

PAYLOAD = """
import os, socket
with socket.socket(socket.AF_UNIX) as line:
    line.connect(os.environ["PILOT_EVENT_CHANNEL"])
    line.sendall(b"Ready for events\\n")
    print(line.makefile().readline(), end="")
"""


@pytest.fixture
def channel(make):
    channel = make(SocketChannel)
    yield channel
    channel.close()


@contextmanager
def connected(environment):
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(10)
        line.connect(environment[VARIABLE])
        yield line


def send_and_receive(channel, line, rest):
    while True:
        with suppress(BlockingIOError):
            rest = rest[line.send(rest) :]
        channel.receive(0.05)


def test_a_payload_asks_and_is_answered(channel, tmp_path):
    environment = channel.open(tmp_path)
    payload = subprocess.Popen([sys.executable, "-c", PAYLOAD], env=environment, stdout=subprocess.PIPE, text=True)
    assert channel.receive(20) == "Ready for events"
    channel.send("range 1-10")
    assert payload.communicate(timeout=20)[0] == "range 1-10\n"


def test_nothing_comes(channel, tmp_path):
    channel.open(tmp_path)
    assert channel.receive(0.01) is None


def test_lines_arrive_whole_in_order_and_answers_go_to_who_asked(channel, tmp_path):
    environment = channel.open(tmp_path)
    with connected(environment) as one, connected(environment) as two:
        one.sendall(b"first\na\nb")
        assert [channel.receive(10), channel.receive(10)] == ["first", "a"]
        assert channel.receive(0.01) is None
        two.sendall(b"c\n")
        assert channel.receive(10) == "c"
        channel.send("for two")
        assert two.recv(100) == b"for two\n"
        one.sendall(b"\n")
        assert channel.receive(10) == "b"
        channel.send("for one")
        assert one.recv(100) == b"for one\n"


def test_who_left_is_forgotten_and_what_was_said_still_counts(channel, tmp_path):
    environment = channel.open(tmp_path)
    with connected(environment) as line:
        line.sendall(b"last words\nhalf a")
    assert channel.receive(10) == "last words"
    assert channel.receive(0.05) is None
    with pytest.raises(PilotError, match="did not arrive"):
        channel.send("too late")


@pytest.mark.parametrize(("said", "why"), [(b"\xff\n", "UTF-8"), (b"x" * (2 << 20), "longer than")])
def test_a_message_that_makes_no_sense_is_an_error(channel, tmp_path, said, why):
    environment = channel.open(tmp_path)
    with connected(environment) as line:
        line.setblocking(False)
        line.sendall(said[:1000])
        with pytest.raises(PilotError, match=why) as raised:
            send_and_receive(channel, line, memoryview(said)[1000:])
    assert raised.value.code is Code.MESSAGEHANDLINGFAILURE
    with connected(environment) as line:
        line.sendall(b"fine\n")
        assert channel.receive(10) == "fine"


def test_answers_are_one_line_to_somebody(channel, tmp_path):
    channel.open(tmp_path)
    with pytest.raises(PilotError, match="nobody"):
        channel.send("hello")
    channel._asker = channel._listener
    with pytest.raises(PilotError, match="one line"):
        channel.send("a\nb")


@pytest.mark.parametrize("depth", [0, 4])
def test_nothing_is_left_behind(make, tmp_path, depth):
    workdir = tmp_path.joinpath(*["a-long-name-of-a-directory"] * depth)
    workdir.mkdir(parents=True, exist_ok=True)
    channel = make(SocketChannel)
    environment = channel.open(workdir)
    assert len(environment[VARIABLE]) < 108
    with connected(environment) as line:
        line.sendall(b"x\n")
        assert channel.receive(10) == "x"
        channel.close()
        assert line.recv(10) == b""
    with pytest.raises(FileNotFoundError), connected(environment):
        pass
    assert list(workdir.iterdir()) == []
