"""What a notice may say, and what is no notice."""

from __future__ import annotations

import json
import socket
import threading

import pytest

from pilot_core.io.notice import read_notice

NOW = 1_788_264_000.0
ISO = "2026-09-01T12:02:00Z"
AWS = {"action": "terminate", "time": ISO}


def said(tmp_path, text):
    (tmp_path / "notice").write_text(text)
    return read_notice(str(tmp_path / "notice"), (), NOW)


@pytest.mark.parametrize(("text", "left_s"), [
    ("", None), ("FALSE\n", None), ("NONE", None), ("TRUE\n", 0.0), (ISO, 120.0), ("2026-09-01T12:02:00", 120.0),
    ("2026-09-01T14:02:00+02:00", 120.0), (f"{NOW + 540:.0f}\n", 540.0), (str(NOW - 5), 0.0), (json.dumps(AWS), 120.0),
])  # fmt: skip
def test_what_is_understood(tmp_path, text, left_s):
    assert said(tmp_path, text) == left_s


def test_no_file_is_no_notice(tmp_path):
    assert read_notice(str(tmp_path / "none"), (), NOW) is None


@pytest.mark.parametrize("text", ["soon", "{", "{}", "[1]", '{"time": {}}', "\xff"])
def test_what_is_not_understood_is_said(tmp_path, text):
    with pytest.raises(ValueError, match=r"."):
        said(tmp_path, text)


def answering(*answer):
    """An address that gives one answer to whoever asks, and what it was asked."""
    door, asked = socket.create_server(("127.0.0.1", 0)), []

    def serve():
        guest = door.accept()[0]
        with guest, door:
            asked.append(guest.recv(65536).decode())
            guest.sendall(b"\r\n".join(answer))

    thread = threading.Thread(target=serve)
    thread.start()
    return f"http://127.0.0.1:{door.getsockname()[1]}/instance/preempted?x=1", asked, thread


def test_a_server_is_asked_with_what_it_wants_to_be_told():
    url, asked, thread = answering(b"HTTP/1.1 200 OK", b"Content-Length: 4", b"", b"TRUE")
    assert read_notice(url, ("Metadata-Flavor: Some",), NOW) == 0.0
    thread.join()
    assert asked[0].startswith("GET /instance/preempted?x=1 HTTP/1.1\r\n")
    assert "\r\nMetadata-Flavor: Some\r\n" in asked[0]


@pytest.mark.parametrize(("answer", "said"), [
    ((b"HTTP/1.1 500 Oh", b"Content-Length: 0", b"", b""), "HTTP 500"), ((b"hello", b""), "no HTTP"),
])  # fmt: skip
def test_an_answer_that_is_none_is_said(answer, said):
    url, _, thread = answering(*answer)
    with pytest.raises(ValueError, match=said):
        read_notice(url, (), NOW)
    thread.join()


def test_nobody_there_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    with pytest.raises(OSError, match=r"."):
        read_notice(f"http://127.0.0.1:{port}/", (), NOW)
