from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot_core.builtin.generic.words import Reader, Text, fill_words, values_of
from pilot_core.model.files import FileSpec
from pilot_core.model.job import Job
from pilot_core.model.queue import Queue, Resources
from pilot_core.model.wire import Fields
from pilot_core.sdk import Code, PilotError

JOB = Job(
    id="7",
    arguments=("-n", "{id}"),
    parameters="--name 'two words'",
    inputs=(FileSpec(lfn="run9.raw", path="raw"),),
    needs=Resources(cores=4, memory_b=2 * 10**9),
)
VALUES = values_of(JOB, Queue(name="q"), None, {"run": "9"})


def read(*words: str) -> tuple[Text, ...]:
    fields = Fields({"command": list(words)})
    texts = Reader().with_fields(["run"]).words(fields, "command")
    fields.raise_problems()
    return texts


def problems(word: str) -> list[str]:
    fields = Fields({"command": [word]})
    Reader().with_fields(["run"]).words(fields, "command")
    return [str(each) for each in fields.problems]


def test_fields_are_filled():
    words = read("run", "--run={run}", "{cores}x{memory_mb}", "{{run}}", "{id}{queue}")
    assert fill_words(words, VALUES) == ("run", "--run=9", "4x2000", "{run}", "7q")


def test_a_list_alone_is_as_many_words_and_nothing_in_it_is_read_again():
    assert fill_words(read("{arguments}", "{inputs}", "{outputs}"), VALUES) == (
        "-n",
        "{id}",
        "--name",
        "two words",
        "raw",
    )


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("{zz}", "command[0]: there is no field {zz}; there are arguments, attempt"),
        ("{progrem}", "did you mean 'program'?"),
        ("x{arguments}", "{arguments} is a list: it is a word of a command, by itself"),
        ("{run", "expected '}' before end of string; a field is written as {name}, a brace as {{ or }}"),
        ("{run!r}", "{run} is no plain field"),
        ("{run:>10}", "{run} is no plain field"),
        ("{}", "{} is no plain field"),
    ],
)
def test_what_is_no_field_is_told(word, told):
    (problem,) = problems(word)
    assert told in problem


@pytest.mark.parametrize("word", ["{wall_s}", "{label}", "{workdir}"])
def test_what_the_job_does_not_say_cannot_be_filled(word):
    with pytest.raises(PilotError, match="of which the job says nothing") as raised:
        fill_words(read(word), VALUES)
    assert raised.value.code is Code.SETUPFAILURE


def test_parameters_that_are_no_words_matter_only_to_who_wants_them():
    values = values_of(Job(id="7", parameters="it's"), None, None, {})
    assert fill_words(read("{id}", "{parameters}"), values) == ("7", "it's")
    with pytest.raises(PilotError, match=r"\{arguments\}"):
        fill_words(read("{arguments}"), values)


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc"])), st.text(max_size=20))
def test_whatever_is_said_comes_out_as_it_is(said, value):
    words = read(said.replace("{", "{{").replace("}", "}}") + "{run}")
    assert fill_words(words, {"run": value}) == (said + value,)
