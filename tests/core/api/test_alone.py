"""The APIs are usable without a pilot: nothing that runs one is loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "text",
    [
        "from pilot_core.api.services import watch; watch(['true'])",
        "from pilot_core.api.environment import look; look(resource='node')",
    ],
    ids=["services", "environment"],
)
def test_no_part_of_an_agent_is_loaded(text):
    parts = "tuple(f'pilot_core.{name}' for name in ('agent', 'control', 'cli', 'dispatcher'))"
    text += f"; import sys; print([name for name in sys.modules if name.startswith({parts})])"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
