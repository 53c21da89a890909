"""``pilot completion``: what a shell offers after it has read the script."""

from __future__ import annotations

import shlex
import shutil
import subprocess

import pytest

from pilot_core.cli.main import COMMANDS

NAMES = [name for group in COMMANDS.values() for name in group]
ASK = """
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_pilot
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def offered(pilot):
    """What bash offers for the last of these words."""
    script = pilot("completion", "bash").out

    def ask(*words):
        text = script + ASK.format(words=" ".join(map(shlex.quote, words)))
        said = subprocess.run(["bash", "-u", "-c", text], capture_output=True, text=True, check=True)
        assert said.stderr == ""
        return said.stdout.split()

    return ask


def test_all_commands_are_offered(offered):
    assert {*offered("pilot", "")} == {*NAMES, "help", "--help", "--version"}
    assert offered("pilot", "recov") == ["recover"]
    assert offered("pilot", "help", "stat") == ["status"]


def test_the_options_of_a_command_are_offered(offered):
    assert offered("pilot", "run", "--jo") == ["--job", "--join"]
    assert {"--workdir", "--filebox", "--set", "--json"} <= {*offered("pilot", "run", "--")}
    assert offered("pilot", "run", "--until") == []


def test_words_of_which_one_is_wanted_are_offered(offered):
    assert offered("pilot", "completion", "z") == ["zsh"]
    assert offered("pilot", "config", "c") == ["check"]


def test_after_an_option_that_takes_a_file_the_shell_offers_files(offered):
    assert offered("pilot", "run", "--job", "") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_and_its_options_stand_in_each_script(pilot, shell):
    said = pilot("completion", shell)
    assert (said.code, said.err) == (0, "")
    assert all(name in said.out for name in NAMES)
    assert ("-l workdir" if shell == "fish" else "--workdir") in said.out
    if found := shutil.which(shell):
        subprocess.run([found, "-n", "-c", said.out], check=True)


def test_quotes_in_a_help_text_stay_text(pilot):
    for shell in ("zsh", "fish"):
        for line in pilot("completion", shell).out.splitlines()[:-1]:
            assert line.replace("\\'", "").replace("'\"'\"'", "").count("'") % 2 == 0, line


def test_another_shell_is_refused(pilot):
    said = pilot("completion", "fisch")
    assert (said.code, "did you mean 'fish'?" in said.err) == (2, True)
