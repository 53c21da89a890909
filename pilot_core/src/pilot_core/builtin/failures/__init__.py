"""The plugin that knows how programs say what went wrong: files of patterns, and the rules by which they rank.

90 and more: something was used up. 80: what the program needs does not fit or is not there. 70: another service failed.
60: an input, a right or a limit. 50: a crash. 40: a program's own error. Below 30: words that say little.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pilot_core.sdk import hookimpl

FILES: Final = ("node.yaml", "software.yaml", "services.yaml", "programs.yaml", "harmless.yaml")


@hookimpl
def pilot_payload_patterns() -> Sequence[Path]:
    """The files beside this module."""
    return [Path(__file__).with_name(name) for name in FILES]
