"""Running pip, and what it says when it fails."""

from __future__ import annotations

import subprocess
import sys

from pilot_core.cli.mistakes import Usage

NO_PIP = f"{sys.executable} has no pip; use a Python that has"


def run_pip(*words: str) -> None:
    """Run one of pip's commands."""
    quiet = ("--quiet", "--disable-pip-version-check", "--no-input")
    command = [sys.executable, "-m", "pip", *words[:1], *quiet, *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise Usage(f"pip {words[0]} failed: {_reason(done.stderr)}", "bundle")


def _reason(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if any("No module named pip" in line for line in lines):
        return NO_PIP
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return " ".join(errors or lines[-1:]) or "it did not say why"
