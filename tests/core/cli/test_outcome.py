"""What is told of a job when it is over."""

from __future__ import annotations

from pathlib import Path

from pilot_core.cli.outcome import story
from pilot_core.errors import Code, PilotError


def record(*errors):
    told = {"id": "1", "state": "failed", "phases": [], "files": [], "left_in_workdir": [], "delivered": True}
    return {**told, "errors": [error.to_wire() for error in errors]}


def test_an_attempt_that_another_has_replaced_is_told_so_once():
    """Found: each of its files was told with "try again", and that the server was at fault."""
    late = [PilotError(Code.PANDAKILL, f"{name}: attempt 2 is in its place", superseded=True) for name in "abc"]
    said = story(record(*late), Path("work/PanDA_Pilot-1.control/record.json"))
    assert said.count("attempt 2 is in its place") == said.count("nothing is to be done") == 1
    assert "try again" not in said
    other = PilotError(Code.MISSINGOUTPUTFILE, "no d")
    assert "1165" in story(record(*late, other), Path("work/PanDA_Pilot-1.control/record.json"))
