import hashlib
import json
import os
import re
import signal
import socket
import sqlite3
import ssl
import stat
import subprocess
import sys
import threading
from argparse import ArgumentTypeError
from contextlib import closing, contextmanager, suppress

import pytest
import requests

from pilot_core.cli.client import NoDispatcher, dispatcher_at
from pilot_core.cli.serve import address, advertised
from pilot_core.dispatcher.http import Response
from pilot_core.dispatcher.serve import CannotServe, Dispatcher
from pilot_core.dispatcher.tls import own_certificate
from pilot_core.io.files import Lock, Taken
from pilot_core.io.join import Join

PILOT = """
import sys
from pilot_core.cli import main
main.COMMANDS["Run jobs"].setdefault("serve", "serve jobs")
sys.exit(main.main(sys.argv[1:]))
"""


class Jobs:
    """Answers with the role, keeps the file that it is sent, and waits where it is told to."""

    def __init__(self, place):
        self.place = place
        self.inside, self.go = threading.Event(), threading.Event()
        self.swept, self.closed = threading.Semaphore(0), False

    def answer(self, request):
        if request.path == "/wait":
            self.inside.set()
            assert self.go.wait(10)
            assert not self.closed
        if request.method == "PUT":
            digest = request.headers.get("digest", "")
            return self.place.storage.put("7.1", "out", request.body, request.body.length, digest)
        return Response.of({"role": request.role, "scheme": self.place.scheme})

    def sweep(self):
        self.swept.release()
        raise ZeroDivisionError

    def let_go(self):
        self.go.set()

    def close(self):
        self.closed = self.go.is_set()


@contextmanager
def running(home, **more):
    with Dispatcher(home, opening=Jobs, **more) as dispatcher:
        yield dispatcher


def bearer(dispatcher, role):
    return {"Authorization": f"Bearer {dispatcher.tokens.path(role).read_text().strip()}"}


def test_it_answers_by_roles_and_says_where_it_is(tmp_path):
    home = tmp_path / "deep" / "home"
    with running(home) as dispatcher:
        told = json.loads((home / "server.json").read_text())
        known = {"url": dispatcher.url, "fingerprint": "", "queue": "local"}
        assert told == {**known, "pid": os.getpid(), "started": told["started"]}
        assert stat.S_IMODE((home / "server.json").stat().st_mode) == 0o600
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        for role in ("run", "submit", "admin"):
            got = requests.get(told["url"], headers=bearer(dispatcher, role), timeout=10).json()
            assert got == {"role": role, "scheme": "http"}
        assert requests.get(told["url"], timeout=10).json()["role"] is None
        put = requests.put(told["url"], b"hello", headers={"Digest": "adler32=062c0215"}, timeout=10)
        assert (put.status_code, (home / "storage/7.1/out").read_bytes()) == (201, b"hello")
    assert not (home / "server.json").exists()


def test_one_home_has_one_dispatcher(tmp_path):
    with running(tmp_path), pytest.raises(Taken, match=rf"lock is held by process {os.getpid()}"):
        Dispatcher(tmp_path)
    with running(tmp_path) as again:
        assert requests.get(again.url, timeout=10).ok


def test_its_configuration_is_given_or_lies_at_home(tmp_path):
    (tmp_path / "server.yaml").write_text(f"storages: {{DISK: {{path: {tmp_path}/disk}}}}\nqueues: {{one: {{}}}}\n")
    (tmp_path / "other.yaml").write_text("queues: {two: {}}\n")
    with running(tmp_path) as dispatcher:
        assert [*dispatcher.config.queues] == ["one"]
        assert (tmp_path / "disk").is_dir()
        assert not (tmp_path / "storage").exists()
    with running(tmp_path, config=tmp_path / "other.yaml") as dispatcher:
        assert [*dispatcher.config.queues] == ["two"]


def test_beyond_loopback_all_is_encrypted_and_the_join_string_brings_others_in(tmp_path):
    with running(tmp_path, address=("0.0.0.0", 0)) as dispatcher:
        told = json.loads((tmp_path / "server.json").read_text())
        assert re.fullmatch(r"https://127\.0\.0\.1:\d+", told["url"])
        assert re.fullmatch(r"[0-9a-f]{64}", told["fingerprint"])
        join = Join.read(dispatcher.join().text())
        assert (join.fingerprint, join.queue, join.url) == (told["fingerprint"], "local", dispatcher.url)
        got = requests.get(
            told["url"], headers={"Authorization": f"Bearer {join.token}"}, verify=tmp_path / "cert.pem", timeout=10
        )
        assert got.json() == {"role": "run", "scheme": "https"}
    with running(tmp_path, address=("0.0.0.0", 0)) as again:
        assert again.fingerprint == join.fingerprint


def test_a_certificate_that_is_given_is_used_on_loopback_too(tmp_path):
    with running(tmp_path / "one", address=("0.0.0.0", 0)) as first:
        certificate = (tmp_path / "one/cert.pem", tmp_path / "one/key.pem")
        with running(tmp_path / "two", certificate=certificate) as second:
            assert second.url.startswith("https://127.0.0.1:")
            assert second.fingerprint == first.fingerprint
            assert requests.get(second.url, verify=certificate[0], timeout=10).ok


def test_it_keeps_its_port_unless_somebody_took_it(tmp_path):
    with running(tmp_path / "one") as first:
        pass
    with running(tmp_path / "one") as again:
        assert again.url == first.url
    (tmp_path / "two").mkdir()
    with running(tmp_path / "one") as holder:
        (tmp_path / "two/port").write_text(f"{holder.server.port}\n")
        with running(tmp_path / "two") as other:
            assert other.server.port != holder.server.port
            assert requests.get(other.url, timeout=10).ok
    (tmp_path / "one/port").write_text("none\n")
    with running(tmp_path / "one") as renewed:
        assert (tmp_path / "one/port").read_text() == f"{renewed.server.port}\n"


def test_what_a_killed_one_said_of_itself_is_gone_before_the_next_one_listens(tmp_path):
    (tmp_path / "server.json").write_text('{"url": "http://127.0.0.1:1"}')

    def opening(place):
        assert not (tmp_path / "server.json").exists()
        return Jobs(place)

    with Dispatcher(tmp_path, opening=opening):
        assert (tmp_path / "server.json").exists()


def test_the_queue_that_pilots_are_told_to_serve(tmp_path):
    (tmp_path / "server.yaml").write_text("queues: {one: {}, two: {}}\n")
    with running(tmp_path) as dispatcher:
        assert dispatcher.join().queue == "one"
    with running(tmp_path, queue="two") as dispatcher:
        assert json.loads((tmp_path / "server.json").read_text())["queue"] == "two"
        assert dispatcher.join().queue == "two"
    with pytest.raises(CannotServe, match=r"no queue 'twoo'; did you mean 'two'\?"):
        Dispatcher(tmp_path, queue="twoo")


def test_who_only_looks_whether_it_lives_does_not_stop_it(tmp_path, monkeypatch):
    looking = Lock(tmp_path / "lock").take()
    monkeypatch.setattr(threading.Event, "wait", lambda *_: looking.release() or True)
    Dispatcher(tmp_path, opening=Jobs).close()


def test_where_it_cannot_listen_it_says_so_and_leaves_the_home_free(tmp_path):
    with running(tmp_path / "one") as dispatcher:
        port = dispatcher.server.port
        with pytest.raises(CannotServe, match=rf"cannot listen at 127\.0\.0\.1 port {port}: Address already in use"):
            Dispatcher(tmp_path / "two", address=("127.0.0.1", port))
        with pytest.raises(CannotServe, match=r"no address 'no\.such"):
            Dispatcher(tmp_path / "two", address=("no.such.host.invalid", 0))
    with running(tmp_path / "two"):
        pass


def test_it_ends_when_running_requests_have_ended_and_none_is_kept_waiting(tmp_path):
    with running(tmp_path) as dispatcher:
        jobs, got = dispatcher._service, []
        asking = threading.Thread(target=lambda: got.append(requests.get(f"{dispatcher.url}/wait", timeout=10)))
        asking.start()
        assert jobs.inside.wait(10)
    asking.join()
    assert got[0].status_code == 200
    assert jobs.closed


def test_lost_jobs_are_looked_for_again_and_again_even_after_a_defect(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("pilot_core.dispatcher.serve.SWEEP_S", 0.01)
    with running(tmp_path) as dispatcher:
        for _ in range(3):
            assert dispatcher._service.swept.acquire(timeout=10)
    assert "the dispatcher failed at its round for lost jobs" in caplog.text


def renewed(dispatcher):
    """It has looked at its tokens and its certificate since this was asked."""
    jobs = dispatcher._service
    while jobs.swept.acquire(blocking=False):
        pass
    for _ in range(2):
        assert jobs.swept.acquire(timeout=10)


def test_join_strings_are_kept_true_when_tokens_and_certificate_are_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr("pilot_core.dispatcher.serve.SWEEP_S", 0.01)
    read = lambda name: Join.read((tmp_path / "home" / name).read_text())  # noqa: E731
    learnt = []
    with running(tmp_path / "home", address=("0.0.0.0", 0), learn=learnt.append) as dispatcher:
        first, people = read("join"), read("join-submit")
        assert first.token in learnt
        dispatcher.tokens.path("run").write_text("another-token-that-is-long-enough\n")
        cert, key = own_certificate(made(tmp_path / "new"), ["localhost"])
        cert.replace(tmp_path / "home/cert.pem")
        renewed(dispatcher)
        assert read("join").fingerprint == first.fingerprint, "half of a pair is not taken"
        assert shown(dispatcher) == first.fingerprint
        key.replace(tmp_path / "home/key.pem")
        renewed(dispatcher)
        now = read("join")
        assert (now.token, now.url) == ("another-token-that-is-long-enough", first.url)
        assert now.fingerprint == read("join-submit").fingerprint != people.fingerprint
        assert read("join-submit").token == people.token
        assert json.loads((tmp_path / "home/server.json").read_text())["fingerprint"] == now.fingerprint
        assert shown(dispatcher) == now.fingerprint
        assert {now.token, now.text()} <= {*learnt}
        assert stat.S_IMODE((tmp_path / "home/join").stat().st_mode) == 0o600
        dispatcher.tokens.path("run").unlink()
        renewed(dispatcher)
        assert not (tmp_path / "home/join").exists(), "nobody comes in by it"
        assert (tmp_path / "home/join-submit").exists()


def shown(dispatcher):
    """The fingerprint of the certificate by which it encrypts."""
    pem = ssl.get_server_certificate(("127.0.0.1", dispatcher.server.port))
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def made(folder):
    folder.mkdir()
    return folder


@pytest.mark.parametrize(("advertise", "url"), [
    (("jobs.example.org", 0), "https://jobs.example.org:{}"),
    (("jobs.example.org", 443), "https://jobs.example.org:443"),
    (("2001:db8::1", 443), "https://[2001:db8::1]:443"),
])  # fmt: skip
def test_others_are_told_where_they_reach_it(tmp_path, advertise, url):
    with running(tmp_path, advertise=advertise) as dispatcher:
        join = Join.read((tmp_path / "join").read_text())
        assert join.url == dispatcher.url == url.format(dispatcher.server.port)
        near = json.loads((tmp_path / "server.json").read_text())["url"]
        assert near == dispatcher.near == f"https://127.0.0.1:{dispatcher.server.port}"
        assert requests.get(near, verify=tmp_path / "cert.pem", timeout=10).ok
        known = subprocess.check_output(["openssl", "x509", "-in", tmp_path / "cert.pem", "-noout", "-text"], text=True)
        assert "jobs.example.org" in known or "2001:DB8" in known


@contextmanager
def command(home, *words):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PILOT_")}
    argv = [sys.executable, "-c", PILOT, "serve", "--home", str(home), *words]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ) as process:
        try:
            yield process
        finally:
            process.kill()


def url_of(process):
    return process.stdout.readline().split()[1].rstrip("/")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_the_command_says_how_to_come_in_and_ends_on_a_signal(tmp_path, signum):
    with command(tmp_path / "home") as process:
        lines = [process.stdout.readline() for _ in range(4)]
        url = lines[0].split()[1].rstrip("/")
        assert requests.get(url, timeout=10).status_code == 200
        assert f"pilot run --queue local --url {url} --token-file {tmp_path}/home/tokens/run\n" in lines[2]
        process.send_signal(signum)
        rest, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
    join = (tmp_path / "home/join").read_text()
    assert Join.read(join).url == url
    assert stat.S_IMODE((tmp_path / "home/join").stat().st_mode) == 0o600
    people = (tmp_path / "home/join-submit").read_text()
    assert Join.read(people).token == (tmp_path / "home/tokens/submit").read_text().strip()
    assert stat.S_IMODE((tmp_path / "home/join-submit").stat().st_mode) == 0o600
    secrets = [
        join.strip(),
        people.strip(),
        *(path.read_text().strip() for path in (tmp_path / "home/tokens").iterdir()),
    ]
    assert not any(secret in "".join(lines) + rest for secret in secrets)


def test_the_command_answers_in_json_and_shows_the_join_string_if_asked(tmp_path):
    with command(tmp_path, "--json", "--show-join", "--listen", "0.0.0.0:0") as process:
        told = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
        process.terminate()
        process.wait(20)
    assert told["join_string"] == (tmp_path / "join").read_text().strip()
    assert told["queues"] == ["local"]
    assert told["run"][told["run"].index("--fingerprint") + 1] == told["fingerprint"]


def test_killed_at_any_moment_it_starts_again_at_the_same_port_with_all_it_had(tmp_path):
    port, tokens = "0", None
    for _ in range(3):
        with command(tmp_path) as process, requests.Session() as client:
            url = url_of(process)
            assert client.get(url, timeout=10).ok
            assert dispatcher_at(tmp_path).url == url
            assert port in ("0", url.rpartition(":")[2])
            port = url.rpartition(":")[2]
            now = {path.name: path.read_text() for path in (tmp_path / "tokens").iterdir()}
            assert tokens in (None, now)
            tokens = now
            process.send_signal(signal.SIGKILL)
            process.wait(20)
    assert json.loads((tmp_path / "server.json").read_text())["url"] == url
    with pytest.raises(NoDispatcher, match="no dispatcher runs in"):
        dispatcher_at(tmp_path)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--listen", "here"), 2, "'here' is not HOST:PORT, such as 0.0.0.0:8443"),
        (("--listen", "localhost:70000"), 2, "is not HOST:PORT"),
        (("--cert", "c.pem"), 2, "--cert and --key go together"),
        (("--cert", "/no/c.pem", "--key", "/no/k.pem"), 2, "/no/c.pem: there is no such file"),
        (("--queue", "locl"), 2, "no queue 'locl'; did you mean 'local'?"),
        (("--config", "/no/file.yaml"), 2, "/no/file.yaml"),
        (("--listen", "no.such.host.invalid:0"), 2, "there is no address"),
        (("--home", "/proc/none"), 1, "/proc/none: "),
        (("--prot", "1"), 2, "no option --prot"),
    ],
)
def test_a_mistake_gets_one_clear_sentence(tmp_path, words, code, said):
    with command(tmp_path, *words) as process:
        out, errors = process.communicate(timeout=20)
    assert (process.returncode, out) == (code, "")
    assert said in errors
    assert "Traceback" not in errors


def test_a_second_one_is_told_who_has_the_home(tmp_path):
    with command(tmp_path) as first:
        url_of(first)
        with command(tmp_path) as second:
            assert second.wait(20) == 1
            assert f"lock is held by process {first.pid}" in second.stderr.read()
        first.terminate()
        assert first.wait(20) == 0


def test_who_is_turned_away_is_told_of_with_the_reason(tmp_path):
    with command(tmp_path, "--listen", "0.0.0.0:0", "--json") as process:
        told = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
        port = int(told["url"].rpartition(":")[2])
        near, trust = f"https://127.0.0.1:{port}/dispatcher/v1/jobs", {"verify": tmp_path / "cert.pem", "timeout": 10}
        for token in ("", "Bearer wrong", "Bearer worse"):
            assert requests.get(near, headers={"Authorization": token} if token else {}, **trust).status_code == 403
        context = ssl._create_unverified_context()
        with socket.create_connection(("127.0.0.1", port)) as raw, context.wrap_socket(raw) as sock:
            sock.sendall(b"\x1b[31m nonsense\r\n\r\n")
            assert b"400 Bad Request" in sock.recv(4096)
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with suppress(ConnectionError):
                raw.recv(4096)
        assert requests.get(told["url"].replace(told["url"].split("/")[2], f"127.0.0.1:{port}"), **trust).ok
        process.terminate()
        _, errors = process.communicate(timeout=20)
    lines = [line.partition("127.0.0.1 was turned away: ")[2] for line in errors.splitlines()]
    begins = ["no token", "a token that is none", "the request does not begin with", "no TLS came about: "]
    assert [line[: len(begin)] for line, begin in zip(lines, begins, strict=True)] == begins
    assert "\x1b" not in errors
    assert "wrong" not in errors


def test_addresses_that_are_told_are_read_as_they_are_written():
    assert advertised("jobs.example.org") == ("jobs.example.org", 0)
    assert advertised("jobs.example.org:443") == ("jobs.example.org", 443)
    assert advertised("[::1]") == ("::1", 0)
    assert advertised("[::1]:443") == ("::1", 443)
    for wrong in ("", ":443", "a b", "h:port", "https://h", "h/x:1", "::1:70000"):
        with pytest.raises(ArgumentTypeError, match="HOST:PORT"):
            advertised(wrong)


def test_addresses_are_read_as_they_are_written():
    assert address("localhost:80") == ("localhost", 80)
    assert address("[::1]:0") == ("::1", 0)


def spoilt(path):
    path.write_bytes(b"SQLite format 3\0" + b"spoilt" * 900)


def newer(path):
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 999")


@pytest.mark.parametrize(
    ("spoil", "told"), [(spoilt, "move it away, or choose another home"), (newer, "written by a newer version")]
)
def test_a_database_that_it_cannot_use_is_told_in_a_sentence(tmp_path, spoil, told):
    Dispatcher(tmp_path / "home").close()
    spoil(tmp_path / "home/dispatcher.sqlite")
    with command(tmp_path / "home") as process:
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert told in errors
    assert "internal error" not in errors
