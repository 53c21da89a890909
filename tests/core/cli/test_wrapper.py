"""``pilot wrapper`` prints the script as it is shipped."""

from __future__ import annotations

from pilot_core.cli.wrapper import SCRIPT


def test_the_script_is_printed_whole(pilot):
    said = pilot("wrapper")
    assert (said.code, said.out) == (0, SCRIPT.read_text())
    assert said.out.startswith("#!/bin/sh\n")
