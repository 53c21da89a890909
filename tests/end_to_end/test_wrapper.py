"""The wrapper as a factory sends it to a node, in each shell that is here."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from pilot_core.cli.wrapper import SCRIPT

SHELLS = {"dash": ["dash"], "busybox": ["busybox", "sh"], "bash": ["bash", "--posix"]}
CLEAN = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
LONG = "echo $$ > {root}/pid.part; mv {root}/pid.part {root}/pid; sleep 300"
LIMIT_S = 120
SEEDS = range(4)
TOOLS = ("mktemp", "mkfifo", "date", "tr", "rm", "cp", "dirname", "cat", "sh", "env")
FETCHING = ("mkdir", "sed", "grep", "tail", "sha256sum", "cut")


@pytest.fixture(params=[name for name, words in SHELLS.items() if shutil.which(words[0])])
def shell(request):
    return SHELLS[request.param]


class Node:
    """A scratch directory, and wrappers started beside it."""

    def __init__(self, root: Path, shell: list[str]) -> None:
        self.root, self.shell, self.scratch = root, shell, root / "scratch space"
        self.scratch.mkdir()
        self.started: list[subprocess.Popen[str]] = []

    def job(self, script: str = "true") -> Path:
        path = self.root / "job.json"
        path.write_text(json.dumps({"id": "j", "script": script.format(root=self.root)}))
        return path

    def start(self, *words: object, **environ: str) -> subprocess.Popen[str]:
        line = ["/usr/bin/env", "--default-signal", *self.shell, str(SCRIPT), "-d", str(self.scratch), *map(str, words)]
        environ = {**CLEAN, "PILOT_PYTHON": sys.executable, **environ}
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self.started.append(subprocess.Popen(line, cwd=self.root, env=environ, start_new_session=True, **streams))
        return self.started[-1]

    def run(self, *words: object, **environ: str) -> tuple[int, str]:
        wrapper = self.start(*words, **environ)
        said, _ = wrapper.communicate(timeout=LIMIT_S)
        return wrapper.returncode, said

    def tools(self, *more: str) -> str:
        """A path that has these programs and what every wrapper needs."""
        folder = self.root / "tools"
        folder.mkdir()
        for tool in {*TOOLS, *more, *self.shell[:1]}:
            found = os.path.realpath(sys.executable) if tool == "python3" else shutil.which(tool)
            (folder / tool).symlink_to(str(found))
        return str(folder)

    def await_true(self, is_so) -> None:
        until = time.monotonic() + LIMIT_S
        while not is_so():
            assert time.monotonic() < until
            time.sleep(0.05)

    @property
    def processes(self) -> list[psutil.Process]:
        """Those that were started here and live."""
        return [each for each in psutil.process_iter() if str(self.root) in _place_of(each)]

    def is_clean(self) -> bool:
        return not any(self.scratch.iterdir()) and not self.processes


def _place_of(process: psutil.Process) -> str:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        return f"{process.cwd()} {process.cmdline()}"
    except psutil.Error:
        return ""


@pytest.fixture
def node(tmp_path, shell):
    made = Node(tmp_path, shell)
    yield made
    for wrapper in made.started:
        if wrapper.poll() is None:
            wrapper.kill()
            wrapper.communicate()
    for process in made.processes:
        process.kill()


def test_a_job_runs_and_nothing_stays(node):
    code, said = node.run("--", "--job", node.job())
    assert code == 0, said
    assert "the pilot ended with 0" in said
    assert node.is_clean()


def test_where_no_python_runs_the_pilot_it_says_which_were_tried(node):
    code, said = node.run("-p", "/no/python 3", "--", "-q", "Q", PILOT_PYTHON="", PATH=node.tools())
    assert code == 1
    assert "none of these runs the pilot: /no/python 3 python3 python3.14" in said
    assert node.is_clean()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["-b", "/no/bundle"], 64, "there is no bundle in /no/bundle"),
        (["-x"], 2, "usage: pilot-wrapper"),
        (["-b", "https://h/pilot.tar.gz"], 2, "a bundle that is fetched is trusted by its hash alone: say -s SHA256"),
        (["-e", "/no/release"], 1, "/no/release"),
        (["-d", "/no/place"], 1, "no place for a work directory"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_mistake_is_told(node, words, code, told):
    ended, said = node.run(*words, "--", "-q", "Q")
    assert (ended, told in said) == (code, True), said
    assert node.is_clean()


def begun(node, *words):
    """A wrapper whose pilot runs a payload."""
    wrapper = node.start(*words, "--", "--job", node.job(LONG))
    node.await_true(lambda: (node.root / "pid").exists() or wrapper.poll() is not None)
    assert wrapper.poll() is None, wrapper.communicate()
    return wrapper


def pilot_of(wrapper):
    return next(each for each in psutil.Process(wrapper.pid).children() if {"pilot_core", "run"} <= {*each.cmdline()})


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR2", "SIGXCPU"])
def test_a_signal_ends_pilot_and_payload(node, name):
    wrapper = begun(node)
    wrapper.send_signal(signal.Signals[name])
    said, _ = wrapper.communicate(timeout=LIMIT_S)
    assert wrapper.returncode == {"SIGTERM": 1, "SIGUSR2": 1, "SIGINT": 130, "SIGXCPU": 152}[name], said
    assert f"{name}, which the pilot gets as well" in said
    assert node.is_clean()


def test_a_pilot_that_is_killed_has_last_words_and_is_recovered(node):
    wrapper = begun(node, "-m", "1")
    payload = psutil.Process(int((node.root / "pid").read_text()))
    pilot_of(wrapper).kill()
    os.killpg(os.getpgid(payload.pid), signal.SIGKILL)
    said, _ = wrapper.communicate(timeout=LIMIT_S)
    assert wrapper.returncode == 1, said
    assert "the pilot died with 137; its last words:" in said
    assert "job j: running" in said
    assert node.is_clean()


def test_a_pilot_that_moves_no_more_is_ended(node):
    wrapper = begun(node, "-t", "1", "-m", "1")
    payload = psutil.Process(int((node.root / "pid").read_text()))
    pilot_of(wrapper).suspend()
    os.killpg(os.getpgid(payload.pid), signal.SIGKILL)
    (life,) = node.scratch.glob("*/pilot_heartbeat.json")
    os.utime(life, (1, 1))
    said, _ = wrapper.communicate(timeout=LIMIT_S)
    assert wrapper.returncode == 2, said
    assert "the pilot has not moved for 1 minutes" in said
    assert node.is_clean()


def test_a_wrapper_that_is_killed_leaves_nothing(node):
    wrapper = begun(node)
    wrapper.kill()
    said, _ = wrapper.communicate(timeout=LIMIT_S)
    assert "the wrapper was killed" in said
    node.await_true(node.is_clean)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_signal_at_any_moment_leaves_nothing(node, seed):
    chance = random.Random(seed)
    wrapper = node.start("--", "--job", node.job(LONG))
    time.sleep(chance.uniform(0.05, 3))
    for _ in range(chance.randint(1, 3)):
        wrapper.send_signal(chance.choice([signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT]))
    wrapper.communicate(timeout=LIMIT_S)
    node.await_true(node.is_clean)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "pilot.tar.gz"
    command = [sys.executable, "-m", "pilot_core", "bundle", "pilot-core", "pilot-copytools", "--to", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return path


def test_a_bundle_is_verified_unpacked_and_started(node, archive):
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    code, said = node.run("-b", archive, "-s", digest, "--", "--job", node.job())
    assert code == 0, said
    code, said = node.run("-b", archive, "-s", "0" * 64, "--", "--job", node.job())
    assert (code, "has another SHA-256 than 000" in said) == (64, True)
    assert node.is_clean()


class Shop:
    """Serves a file, says 404 for all others, and holds back whatever is called slow."""

    def __init__(self, file: Path) -> None:
        asked = self.asked = threading.Event()
        served = self.served = threading.Event()

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self):
                asked.set()
                if "slow" in self.path:
                    served.wait(LIMIT_S)
                super().do_GET()

            def log_message(self, *_):
                """Be quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(file.parent)))
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def shop(archive):
    made = Shop(archive)
    with made.server as server:
        threading.Thread(target=server.serve_forever).start()
        yield made
        made.served.set()
        server.shutdown()


def test_a_bundle_is_fetched_and_started(node, archive, shop):
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    code, said = node.run("-b", f"{shop.url}/{archive.name}", "-s", digest, "--", "--job", node.job())
    assert code == 0, said
    assert node.is_clean()


@pytest.mark.parametrize("tool", ["curl", "python3", "wget"])
def test_a_bundle_that_is_fetched_has_to_be_the_right_one(node, archive, shop, tool):
    if not shutil.which(tool):
        pytest.skip(f"this machine has no {tool}")
    url, environ = f"{shop.url}/{archive.name}", {"PATH": node.tools(*FETCHING, tool), "PILOT_PYTHON": ""}
    code, said = node.run("-b", f"{url}?key=secret", "-s", "0" * 64, "--", "-q", "Q", **environ)
    assert (code, f"the bundle {url} has another SHA-256 than 000" in said) == (64, True), said
    code, more = node.run("-b", f"{url}s?key=secret", "-s", "0" * 64, "--", "-q", "Q", **environ)
    assert (code, f"the bundle {url}s cannot be fetched: " in more, "404" in more) == (64, True, True), more
    assert "secret" not in said + more
    assert node.is_clean()


def test_where_nothing_fetches_it_says_so(node, shop):
    """Busybox has a wget of its own."""
    environ = {"PATH": node.tools(*FETCHING), "PILOT_PYTHON": ""}
    code, said = node.run("-b", f"{shop.url}/any", "-s", "0" * 64, "--", "-q", "Q", **environ)
    reason = "wget: " if "busybox" in node.shell else "there is no curl, Python or wget"
    assert (code, f"/any cannot be fetched: {reason}" in said) == (64, True), said
    assert node.is_clean()


def test_a_signal_ends_a_wrapper_that_fetches(node, shop):
    wrapper = node.start("-b", f"{shop.url}/slow", "-s", "0" * 64, "--", "-q", "Q")
    assert shop.asked.wait(LIMIT_S)
    wrapper.send_signal(signal.SIGTERM)
    said, _ = wrapper.communicate(timeout=LIMIT_S)
    assert (wrapper.returncode, "SIGTERM came before the bundle was here" in said) == (1, True), said
    node.await_true(node.is_clean)


def test_a_bundle_that_was_changed_is_not_started(node, archive):
    with tarfile.open(archive) as tar:
        tar.extractall(node.root / "bundles", filter="data")
    tree = next((node.root / "bundles").iterdir())
    assert (tree / "bin" / "pilot-wrapper").read_text() == SCRIPT.read_text()
    with next((tree / "lib").rglob("pluggy/__init__.py")).open("a") as file:
        file.seek(0, os.SEEK_END)
        file.truncate(file.tell() - 1)
        file.write("#")
    code, said = node.run("-b", tree, "--", "--job", node.job())
    assert code == 64, said
    assert "is not whole" in said
    next((tree / "lib").rglob("pluggy/__init__.py")).write_text("")
    code, said = node.run("-b", tree, "--", "--job", node.job())
    assert code == 64, said
    assert "pluggy/__init__.py has 0 bytes" in said
    assert node.is_clean()


def test_the_script_is_well_written():
    if not shutil.which("shellcheck"):
        pytest.skip("this machine has no shellcheck: nothing checks the wrapper here")
    done = subprocess.run(["shellcheck", str(SCRIPT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
