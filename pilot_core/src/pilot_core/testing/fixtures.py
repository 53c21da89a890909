"""A pytest plugin: ``pytest_plugins = ["pilot_core.testing.fixtures"]`` in a conftest, or ``-p`` on the command line.

``pilot_kit`` makes kits below ``tmp_path`` and adds their pilots' stories to the report of a test that fails.
``unchanged_process`` fails a test that leaves the environment, the current directory, signal handlers or threads other
than it found them; ``pytestmark = pytest.mark.usefixtures("unchanged_process")`` asks for it.
``panda_server`` is a dispatcher that answers over TLS, with faults to order.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from pilot_core.testing.kit import PilotKit
from pilot_core.testing.server import PilotServer

KITS = pytest.StashKey[list[PilotKit]]()
ENDING_S = 5.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1, signal.SIGHUP)


@pytest.fixture
def pilot_kit(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., PilotKit]:
    """A maker of kits: ``pilot_kit(plugins=[mine]).run(a_job())``."""
    kits: list[PilotKit] = request.node.stash.setdefault(KITS, [])

    def make(**options: Any) -> PilotKit:
        kits.append(PilotKit(tmp=tmp_path / f"kit{len(kits)}", **options))
        return kits[-1]

    return make


@pytest.fixture
def panda_server(tmp_path: Path) -> Iterator[PilotServer]:
    """A dispatcher of its own for a test."""
    with PilotServer(tmp_path) as server:
        yield server


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the stories of a failed test's pilots to its report."""
    report = yield
    if report.when == "call" and report.failed:
        stories = [run.story() for kit in item.stash.get(KITS, []) for run in kit.runs]
        report.sections += [("pilot", story) for story in stories]
    return report


@pytest.fixture
def unchanged_process() -> Iterator[None]:
    """Fail a test that leaves the process other than it found it."""
    before, threads = _process(), set(threading.enumerate())
    yield
    assert _process() == before, "the test changed its process"
    left = _left(threads)
    assert not left, f"the test left threads: {', '.join(thread.name for thread in left)}"


def _process() -> dict[str, object]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return {"environment": environment, "cwd": os.getcwd(), "signals": [*map(signal.getsignal, SIGNALS)]}


def _left(threads: set[threading.Thread]) -> set[threading.Thread]:
    """The threads that are new and won't end in a while."""
    until = time.monotonic() + ENDING_S
    for thread in set(threading.enumerate()) - threads:
        thread.join(max(until - time.monotonic(), 0.0))
    return set(threading.enumerate()) - threads
