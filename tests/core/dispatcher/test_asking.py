"""What a pilot can be asked to show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot_core.builtin.panda.commands import wanted_in
from pilot_core.dispatcher.asking import PROGRAMS, WORDS, why_not_asked


@pytest.mark.parametrize("command", ["tail -n 5 payload.stdout", "ls -l", "du -sh .", "ps -o pid,comm", "gdb -p 12"])
def test_what_pilots_know_is_asked(command):
    assert why_not_asked(command) == ""


@pytest.mark.parametrize(("command", "told"), [
    ("rm -rf x", "'rm' is not one of tail, ls, ps, du, gdb"),
    ("tale payload.stdout", "'tale' is not one of tail, ls, ps, du, gdb; did you mean 'tail'?"),
    ("ls", "'ls' stands alone, and a pilot knows a command by the blank in it; write for example 'ls -l'"),
    ("ls .; rm x", "is more than a program and plain arguments; no shell ever sees it"),
    ("ls -l\nrm", "is more than a program and plain arguments; no shell ever sees it"),
    ("ls -l, tobekilled", "holds 'tobekilled', which is an order of the server's own"),
    ("ls " + "x" * 248, "has 251 characters; there is room for 250"),
])  # fmt: skip
def test_what_is_not_asked_is_told_why(command, told):
    assert why_not_asked(command) == told


WORD = st.one_of(st.sampled_from((*PROGRAMS, *WORDS, ",", " ", "-l")), st.text(max_size=8))


@given(st.lists(WORD, max_size=8).map("".join), st.sampled_from(("", "debug,")))
def test_what_is_asked_reaches_the_pilot_whole_and_nothing_else_does(command, before):
    """The dispatcher's reading of the contract against the communicator's."""
    command = command.strip()
    if why_not_asked(command):
        return
    wanted = wanted_in(before + command)
    assert set(wanted.words) <= {"debug"}
    assert wanted.order == command
