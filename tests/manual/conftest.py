"""The manual, built once: by the session that ran before, or here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .snippets import DOCS


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the pages. ``PILOT_MANUAL`` names one that was built already."""
    if folder := os.environ.get("PILOT_MANUAL"):
        return Path(folder)
    top = tmp_path_factory.mktemp("manual")
    words = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", top / "read", DOCS, top / "html"]
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(words, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return top / "html"
