"""For all tests: what is tested is installed, and a test is skipped only for a reason listed here."""

from __future__ import annotations

import re

import hypothesis
import pytest

import pilot_core

#: Every reason for which a test of ours may be skipped, and what would bring it back. CI prints what was.
SKIPS = {
    r"does not promise": "a driver declares what it can't do; its contract test is not for it",
    r"faketime is not installed": "no clock can be made to jump; Debian has it as faketime",
    r"needs a browser": "no Chromium on PATH or in $CHROMIUM: the page is then tested by its structure only",
    r"nothing can be hidden": "the machine gives its user no namespaces; CAP_SYS_ADMIN or user namespaces bring them",
    r"this machine has no": "a real server is not installed; tests/servers/install.py installs it",
    r"needs root|only root may|needs a cgroup|needs Linux|no pidfd|mount": "the machine lacks what the test is about",
    r"no core files|no memory group|no IPv6|files without names|ps is not": "the same",
}

if pilot_core.__file__ is None:
    pytest.exit("pilot_core is not installed: try `python3 noxfile.py tests`", 3)

hypothesis.settings.register_profile("house", deadline=None, print_blob=True)
hypothesis.settings.load_profile("house")


def sendable(text: str) -> str:
    """Captured text as xdist can send it, whatever a test printed."""
    return text.encode(errors="backslashreplace").decode()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    report.sections = [(name, sendable(text)) for name, text in report.sections]
    if report.skipped and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        if not any(re.search(listed, reason) for listed in SKIPS):
            report.outcome = "failed"
            report.longrepr = f"{reason}: not a reason listed in tests/conftest.py"
    return report
