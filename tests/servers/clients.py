"""The reference clients, as a user would start them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

KEPT = ("PATH", "LANG", "TMPDIR")


def run(*command: str | Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A client with no credentials and no settings but those given."""
    clean = {name: os.environ[name] for name in KEPT if name in os.environ}
    clean["PATH"] = f"{Path(sys.executable).parent}:{clean['PATH']}"
    clean |= {"HOME": "/nonexistent", **(env or {})}
    return subprocess.run([*map(str, command)], capture_output=True, text=True, env=clean, timeout=60)


def done(*command: str | Path, env: Mapping[str, str] | None = None) -> str:
    """What a client says that has to come through."""
    ran = run(*command, env=env)
    assert ran.returncode == 0, f"{command}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout
