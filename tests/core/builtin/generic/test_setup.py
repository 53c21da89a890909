"""The set-up of a payload, by real shells."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pilot_core.builtin.generic.setup import SIGN, read_setup, set_up, setup_problem
from pilot_core.builtin.generic.words import Reader
from pilot_core.model.payload import Command, Outcome
from pilot_core.model.wire import BadMessage, Fields

SAYS = "import json, os, sys; json.dump([sys.argv[1:], dict(os.environ), os.getcwd()], sys.stdout)"
SHELLS = [shell for shell in ("/bin/sh", "/bin/bash", "/bin/dash") if shutil.which(shell)]
WORDS = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0\r\n", exclude_categories=["Cs"]))


def setup_of(*steps, shell="/bin/bash"):
    fields = Fields({"setup": list(steps), "shell": shell})
    made = read_setup(fields, Reader())
    fields.refuse_unknown()
    fields.raise_problems()
    return made


def run(tmp_path, setup, *words, **values):
    """What the payload saw, or how its set-up ended."""
    command = set_up(setup, values, Command(sys.executable, "-c", SAYS, *words))
    done = subprocess.run(command.argv, cwd=tmp_path, capture_output=True, text=True, check=False, env={"PATH": "/bin"})
    outcome = Outcome(exit_code=done.returncode)
    return json.loads(done.stdout) if outcome.clean else setup_problem(setup, outcome, tmp_path)


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_and_commands_of_the_shell_prepare_the_payload(tmp_path, shell):
    (tmp_path / "first.sh").write_text('export FIRST="$#: $1"; greet() { export GREETED="$1"; }; cd /\n')
    (tmp_path / "second.sh").write_text('export SECOND="$#"\n')
    printer = tmp_path / "printer"
    printer.write_text("#!/bin/sh\necho \"export PRINTED='$1 $2';\"\n")
    printer.chmod(0o755)
    steps = [
        {"source": "first.sh", "arguments": ["two words", "b"]},
        {"source": str(tmp_path / "second.sh")},
        {"run": ["greet", "it's"]},
        {"eval": [str(printer), "a", "b  c"]},
    ]
    seen = run(tmp_path, setup_of(*steps, shell=shell), "x y", "")
    words, env, cwd = seen
    assert (words, cwd) == (["x y", ""], str(tmp_path))
    told = {name: env[name] for name in ("FIRST", "SECOND", "GREETED", "PRINTED")}
    assert told == {"FIRST": "2: two words", "SECOND": "0", "GREETED": "it's", "PRINTED": "a b  c"}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("step", "status"),
    [
        ({"source": "fails.sh"}, 7),
        ({"source": "ends.sh"}, 9),
        ({"source": "none.sh"}, None),
        ({"run": ["false"]}, 1),
        ({"run": ["no-such-command"]}, 127),
        ({"eval": ["false"]}, 1),
    ],
)
def test_the_step_that_fails_is_known(tmp_path, shell, step, status):
    (tmp_path / "fails.sh").write_text("return 7")
    (tmp_path / "ends.sh").write_text("exit 9")
    (problem,) = run(tmp_path, setup_of({"run": ["true"]}, step, shell=shell))
    assert "step 2 of the payload's set-up failed" in problem.detail
    assert status in (None, problem.facts["trf"])


def test_a_step_that_is_optional_may_fail(tmp_path):
    assert run(tmp_path, setup_of({"source": "none.sh", "optional": True}), "x")[0] == ["x"]


def test_a_payload_that_fails_after_its_set_up_is_no_failure_of_that(tmp_path):
    setup = setup_of({"run": ["true"]})
    command = set_up(setup, {}, Command("/bin/sh", "-c", "exit 7"))
    outcome = Outcome(exit_code=subprocess.run(command.argv, cwd=tmp_path, check=False).returncode)
    assert (outcome.exit_code, setup_problem(setup, outcome, tmp_path)) == (7, [])


@pytest.mark.parametrize("said", ["", "x", "0", "99", "-1", "9" * 50])
def test_a_sign_that_says_nothing_is_harmless(tmp_path, said):
    (tmp_path / SIGN).write_text(said)
    for error in setup_problem(setup_of({"run": ["true"]}), Outcome(exit_code=1), tmp_path):
        assert "true" not in error.detail


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(WORDS, max_size=3), st.lists(WORDS, max_size=3))
def test_no_word_is_ever_shell_text(tmp_path, of_step, of_payload):
    (tmp_path / "keep.sh").write_text('set -- "$@" end; for word; do export "SEEN=${SEEN}<$word>"; done\n')
    texts = [word.replace("{", "{{").replace("}", "}}") for word in of_step if word.isprintable()]
    setup = setup_of({"source": "keep.sh", "arguments": texts})
    words, env, _ = run(tmp_path, setup, *of_payload)
    assert words == of_payload
    assert env["SEEN"] == "".join(f"<{word}>" for word in (*(each for each in of_step if each.isprintable()), "end"))


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ({}, "setup[0].source: a step has one of source, eval, run, and this one none of them"),
        ({"source": "a", "run": ["b"]}, "and this one 2 of them"),
        ({"run": []}, "setup[0].run: is missing; write a list of words"),
        ({"source": "a", "argument": []}, "no such key; did you mean 'arguments'?"),
        ("source a", "setup[0]: wants a mapping of names to values"),
    ],
)
def test_a_step_that_is_none_is_told(step, told):
    with pytest.raises(BadMessage) as raised:
        setup_of(step)
    assert told in str(raised.value)
