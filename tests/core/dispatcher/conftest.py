"""A browser for the tests of the page, and dispatchers for it to ask."""

from __future__ import annotations

import pytest

from . import browser
from .pretended import Pretended


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    if browser.program() is None:
        pytest.skip("needs a browser: chromium on PATH or $CHROMIUM")
    running = browser.Browser(tmp_path_factory.mktemp("profile"))
    yield running
    running.close()


@pytest.fixture
def serve():
    """Makes a pretended dispatcher; all are closed in the end."""
    made: list[Pretended] = []

    def make(*args, **kwargs) -> Pretended:
        made.append(Pretended(*args, **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def visit(chromium):
    """Opens a tab with a good token; in the end nothing in it may have gone wrong."""
    tabs = []

    def open_tab(server, place="", token="good", **kwargs):
        tabs.append(chromium.open(f"{server.url}#token={token}{place}", **kwargs))
        return tabs[-1]

    yield open_tab
    for tab in tabs:
        assert tab.complaints() == []
        tab.call("Page.close")
