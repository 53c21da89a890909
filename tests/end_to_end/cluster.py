"""A small cluster as people run it: a dispatcher and pilots, each the installed command in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from tempfile import NamedTemporaryFile
from urllib.request import Request, urlopen

CLEAN = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH") if name in os.environ}
PILOT = [sys.executable, "-m", "pilot_core"]
OVER = {"finished", "failed", "cancelled"}
LIMIT_S = 60


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as door:
        return int(door.getsockname()[1])


class Cluster:
    """A home for a dispatcher, and work directories for pilots."""

    def __init__(self, root: Path) -> None:
        self.root, self.home = root, root / "home"
        self.home.mkdir()
        self.port = free_port()
        self.processes: list[subprocess.Popen[str]] = []
        self.said: dict[int, Path] = {}

    # --- the dispatcher ---

    def configure(self, **queue: object) -> None:
        """What the queue ``local`` allows; a lease is lost in seconds, and pilots speak as often."""
        local = {"heartbeat": 1, "lost_after": 30, **queue}
        (self.home / "server.yaml").write_text(json.dumps({"queues": {"local": local}}))

    def serve(self, *wrapped: str) -> subprocess.Popen[str]:
        """A dispatcher that listens."""
        line = [*wrapped, *PILOT, "serve", "--home", str(self.home), "--listen", f"127.0.0.1:{self.port}"]
        with (self.root / "serve.log").open("a") as log:
            self.server = self._start(line, stdout=subprocess.PIPE, stderr=log)
        assert self.server.stdout
        said = self.server.stdout.readline()
        assert said.startswith("page:"), said + (self.root / "serve.log").read_text()
        return self.server

    def kill(self) -> None:
        """End the dispatcher where it stands."""
        self.server.kill()
        self.server.communicate()

    def stop(self) -> None:
        """Ask the dispatcher to end."""
        self.server.terminate()
        self.server.communicate(timeout=LIMIT_S)
        assert self.server.returncode == 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def token(self, role: str = "run") -> Path:
        return self.home / "tokens" / role

    # --- its commands ---

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One of the commands that speak with the dispatcher."""
        line = [*PILOT, *words, "--home", str(self.home)]
        return subprocess.run(line, capture_output=True, text=True, cwd=self.root, env=CLEAN, timeout=LIMIT_S)

    def ask(self, *words: str) -> object:
        """What such a command answers in JSON."""
        done = self.command(*words, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def submit(self, script: str, count: int = 1, **more: object) -> list[int]:
        """So many jobs of one description; their numbers."""
        path = self.root / f"job{len(list(self.root.glob('job*.json')))}.json"
        path.write_text(json.dumps({"script": script, **more}))
        return self.ask("submit", str(path), "--count", str(count))["ids"]

    def jobs(self) -> list[dict]:
        """All jobs, the oldest first."""
        return self.ask("jobs", "--limit", "1000")["jobs"][::-1]

    def states(self) -> dict[str, int]:
        """How many jobs there are in each state."""
        return self.ask("jobs", "--limit", "1")["states"]

    def stored(self, name: str, scope: str = "1.1") -> bytes:
        """What an attempt has stored under a name."""
        token = self.token("submit").read_text().strip()
        asked = Request(f"{self.url}/storage/{scope}/{name}", headers={"Authorization": f"Bearer {token}"})
        with urlopen(asked, timeout=LIMIT_S) as answer:
            return answer.read()

    def job(self, number: int = 1) -> dict:
        (told,) = self.ask("jobs", str(number))
        return told

    def wait(self, until, limit_s: float = 30.0) -> list[dict]:
        """The jobs, as soon as they are so."""
        end = time.monotonic() + limit_s
        while not until(jobs := self.jobs()):
            assert time.monotonic() < end, [(job["id"], job["state"], job["attempt"]) for job in jobs]
            time.sleep(0.1)
        return jobs

    # --- pilots ---

    def arguments(self, work: str = "work", *settings: str, urls: tuple[str, ...] = (), token: Path | None = None):
        """The command line of a pilot for this dispatcher."""
        told = ("pilot.communicator=panda", "connection.info_sources=server", "pilot.empty_answers=1")
        line = ["run", "--queue", "local", "--token-file", str(token or self.token())]
        line += ["--workdir", str(self.root / work), "--set", f"connection.url={','.join(urls or (self.url,))}"]
        return [*line, *(word for setting in (*told, *settings) for word in ("--set", setting))]

    def start(self, work: str = "work", *settings: str, **more) -> subprocess.Popen[str]:
        """A pilot in its work directory; a pipe that nobody reads would stop it sooner or later."""
        return self._pilot(work, self.arguments(work, *settings, **more))

    def join(self, work: str, *settings: str) -> subprocess.Popen[str]:
        """A pilot that was told of the dispatcher by its join string only."""
        line = ["run", "--join", str(self.home / "join"), "--workdir", str(self.root / work)]
        return self._pilot(work, [*line, *(word for setting in settings for word in ("--set", setting))])

    def _pilot(self, work: str, words: list[str]) -> subprocess.Popen[str]:
        line = [*PILOT, *words]
        with NamedTemporaryFile("w", dir=self.root, prefix=f"{work}.", delete=False) as said:
            pilot = self._start(line, stdout=said, stderr=subprocess.STDOUT)
        self.said[pilot.pid] = Path(said.name)
        return pilot

    def run(self, work: str = "work", *settings: str, **more) -> tuple[int, str]:
        """Let a pilot work until nothing is left to do; its exit code and what it said."""
        return self.end(self.start(work, *settings, **more))

    def end(self, pilot: subprocess.Popen[str]) -> tuple[int, str]:
        """The exit code of a pilot and what it said, as soon as it has ended."""
        code = pilot.wait(timeout=LIMIT_S)
        return code, self.said[pilot.pid].read_text()

    def await_file(self, name: str, limit_s: float = 30.0) -> str:
        """The text of a file that a payload writes, as soon as it is there."""
        path, end = self.root / name, time.monotonic() + limit_s
        while not (path.exists() and path.read_text()):
            assert time.monotonic() < end, f"{path} did not come"
            time.sleep(0.02)
        return path.read_text()

    def _start(self, line, **more) -> subprocess.Popen[str]:
        self.processes.append(subprocess.Popen(line, text=True, cwd=self.root, env=CLEAN, **more))
        return self.processes[-1]

    def close(self) -> None:
        """End whatever a test left running."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()


def alive(pid: int) -> bool:
    """Whether a process runs, and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int, limit_s: float = 20.0) -> bool:
    """Whether a process ends in time."""
    end = time.monotonic() + limit_s
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)
