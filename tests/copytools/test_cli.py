"""Programs of copy tools: how they are started, how they end, and what is known of it then."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pilot_copytools._cli import KEPT_B, Access, Program
from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import CancelFlag
from pilot_core.spec.drivers import Moving

PYTHON = sys.executable


def python(script: str, *words: str) -> list[str]:
    return [PYTHON, "-c", script, *words]


def run(argv: list[str], access: Access | None = None, **moving: object):
    return Program(access or Access(), "in").run(argv, Moving(**{"cancel": CancelFlag(), **moving}))


def test_arguments_come_as_they_are():
    words = ["$(id)", "a b", "`x`;", "é'\"", ""]
    ended = run(python("import sys; print(sys.argv[1:])", *words))
    assert (ended.status, ended.out.strip()) == (0, repr(words))


def test_what_it_said_is_kept_up_to_its_end():
    """T-17: ten megabytes of complaints fill no memory."""
    ended = run(python("import sys; sys.stderr.write('x' * 10_000_000 + 'the reason'); sys.exit(3)"))
    assert ended.status == 3
    assert len(ended.err) == KEPT_B
    assert ended.err.endswith("the reason")


def test_a_program_that_crashes_is_told_by_its_signal():
    """T-16."""
    ended = run(python("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"))
    with pytest.raises(PilotError, match="was ended by signal 11"):
        ended.checked("in")


def test_words_decide_and_then_the_number():
    by_words = run(python("import sys; sys.stderr.write('No space left on device'); sys.exit(1)"))
    assert by_words.error("in").code is Code.NOLOCALSPACE
    assert by_words.error("out").code is Code.NOREMOTESPACE
    by_number = run(python("import errno, sys; sys.exit(errno.ETIMEDOUT)"))
    assert by_number.error("in").code is Code.STAGEINTIMEOUT
    assert run(python("import sys; sys.exit(9)")).error("out").code is Code.STAGEOUTFAILED


def test_a_missing_program_is_named():
    with pytest.raises(PilotError, match="no-such-mover: No such file") as raised:
        run(["no-such-mover"])
    assert raised.value.code is Code.UNKNOWNCOPYTOOL


FAMILY = """
import os, pathlib, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.signal(15, signal.SIG_IGN); signal.pause()"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
os.rename(sys.argv[1], sys.argv[2])
signal.pause()
"""


@pytest.mark.parametrize("how", ["cancelled", "out of time"])
def test_it_is_ended_with_all_that_it_started(how, tmp_path):
    """It listens to no request to end, and neither does its child."""
    flag, ready = CancelFlag(), tmp_path / "ready"

    def cancel() -> None:
        while not ready.exists():
            flag.wait(0.01)
        flag.set()

    waiting = threading.Thread(target=cancel)
    waiting.start()
    moving = {"cancel": flag} if how == "cancelled" else {"cancel": Over(ready)}
    with pytest.raises(PilotError, match="given up"):
        run(python(FAMILY, str(tmp_path / "pid"), str(ready)), **moving)
    waiting.join()
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(ready.read_text())).wait(20)


class Over:
    """A cancellation that comes when a file is there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def is_set(self) -> bool:
        return self.path.exists()

    def wait(self, limit_s: float) -> bool:
        return self.is_set()


def test_a_budget_ends_it():
    with pytest.raises(PilotError, match="given up"):
        run(python("import signal; signal.pause()"), budget_s=0.1)


def test_the_environment_is_built(monkeypatch, tmp_path):
    monkeypatch.setenv("PANDA_AUTH_TOKEN", "secret")
    monkeypatch.setenv("X509_CERT_DIR", "/authorities")
    monkeypatch.setenv("X509_USER_PROXY", "/old")
    access = Access(proxy=tmp_path / "proxy", token=tmp_path / "token")
    seen = Program(access, "in", {"XRD_CPRETRY": "0"}).environment()
    assert "PANDA_AUTH_TOKEN" not in seen
    assert seen["X509_CERT_DIR"] == "/authorities"
    assert seen["X509_USER_PROXY"] == str(tmp_path / "proxy")
    assert seen["BEARER_TOKEN_FILE"] == str(tmp_path / "token")
    assert seen["XRD_CPRETRY"] == "0"
    assert os.environ["X509_USER_PROXY"] == "/old"


def test_the_sites_shell_file_comes_before(tmp_path):
    setup = tmp_path / "a setup.sh"
    setup.write_text("export LSM_SITE=here; echo noise\n")
    argv = python("import os, sys; print(os.environ['LSM_SITE'], sys.argv[1])", "$(id)")
    assert run(argv, Access(setup=setup)).out == "here $(id)\n"


def test_the_growth_of_a_file_is_told(tmp_path):
    target, seen, told = tmp_path / "target", [], threading.Event()

    def tell(size_b: int) -> None:
        seen.append(size_b)
        told.set()

    reader, writer = os.pipe()
    command = python(f"import os, sys; open(sys.argv[1], 'wb').write(bytes(7)); os.read({reader}, 1)", str(target))

    def end() -> None:
        told.wait()
        os.write(writer, b"x")

    ending = threading.Thread(target=end)
    ending.start()
    Program(Access(), "in").run(command, Moving(cancel=CancelFlag(), progress=tell), grows=target, keeps=[reader])
    ending.join()
    os.close(reader)
    os.close(writer)
    assert seen
    assert set(seen) <= {0, 7}
