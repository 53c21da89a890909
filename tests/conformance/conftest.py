"""The conversation of pilots and a PanDA server, scenario by scenario.

``pytest tests/conformance`` asks a dispatcher that speaks as strictly as PanDA does; with ``--own``, one that tells
pilots all that it has to tell. ``--server URL --credential FILE`` asks any server instead, with a token or a proxy in
``FILE``; what needs a job that can be ordered is then left out. A scenario's id stands in the ids of its tests;
``python tests/conformance/ids.py`` tells which test carries which.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from pilot_core.testing import PilotKit
from pilot_core.testing.fakes import Payload
from pilot_core.testing.strict import ORIGIN

from .asking import Asker, TheirServer
from .leaping import LeapingClock
from .stage import Stage


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption("--own", action="store_true", help="let the dispatcher say what is its own beside PanDA's words")
    group.addoption("--server", help="ask the PanDA server at this URL instead of a dispatcher of one's own")
    group.addoption("--credential", help="the file with the token or the proxy for that server")
    group.addoption("--origin", default="", help="in whose name a token is shown: VO or VO.ROLE")
    group.addoption("--ca", help="the file with the authorities that vouch for the server")
    group.addoption("--queue", default="local", help="a queue of the server's")


@pytest.fixture(autouse=True)
def scenario(request):
    """The id of what is tested."""
    return getattr(request, "param", "")


@pytest.fixture
def strict(request):
    """Whether the dispatcher is a strict one."""
    return not request.config.getoption("--own", False)


@pytest.fixture
def stage(tmp_path, strict):
    """A dispatcher over TLS whose every answer can be changed; what was said to it is checked in the end."""
    with Stage(tmp_path, config={"queues": {"local": {"heartbeat": "1 s"}}}, strict=strict) as stage:
        yield stage
    stage.check()


@pytest.fixture
def server(request, tmp_path, strict):
    """Whom to ask: the server that was given, or one of our own."""
    option = request.config.getoption
    if url := option("--server", None):
        with Asker(url, option("--credential"), option("--ca"), option("--origin")) as asker:
            yield TheirServer(asker, option("--queue"))
        return
    with Stage(tmp_path, strict=strict) as stage, Asker(stage.url, stage.token(), stage.certificate, ORIGIN) as asker:
        yield TheirServer(asker, "local", stage)


@pytest.fixture
def ours(server):
    """A server of our own: what a real one's process would not survive goes there, and what needs its files."""
    if server.stage is None:
        pytest.skip("the server that was given does not promise to survive this, or to show its files")
    return server


@pytest.fixture
def strict_server(ours, strict):
    """A server of our own that is a strict one."""
    if not strict:
        pytest.skip("the dispatcher does not promise to be strict with --own")
    return ours


@pytest.fixture(params=["v1", "legacy"])
def dialect(request):
    """Each generation of calls."""
    return request.param


@pytest.fixture
def leaping(monkeypatch):
    """A clock by which hours pass as soon as nobody works."""
    clock = LeapingClock()
    clock.rule(monkeypatch)
    return clock


@pytest.fixture
def pilot(stage, tmp_path):
    """Runs a pilot in this process that works for the stage, or ``on`` another; its payload writes ``out.txt``.

    ``kit`` are further arguments of the kit's, such as ``{"process": "real"}``.
    """

    def run(jobs=1, payload=None, on=stage, kit=None, **settings):
        usual = {**on.settings(), "pilot.max_jobs": jobs, "pilot.ask_again_s": 0.05, "panda.pause_s": 0.02}
        usual["report.heartbeat_s"] = 1.0
        done = payload or Payload(files={"out.txt": b"made\n"})
        place = tempfile.mkdtemp(prefix="kit", dir=tmp_path)
        return PilotKit(settings={**usual, **settings}, outcome=done, tmp=Path(place), **(kit or {})).run()

    return run
