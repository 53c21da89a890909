"""The command line, in this process: ``pilot("errors", "1305")`` gives exit code, output and error output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import frozen

from pilot_core.cli.main import main


@frozen
class Said:
    code: int
    out: str
    err: str


@pytest.fixture
def pilot(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """Runs a command in an empty directory and without settings in the environment."""
    import os

    for name in os.environ:
        if name.startswith("PILOT_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Said:
        code = main([str(word) for word in words])
        return Said(code, *capsys.readouterr())

    return run
