"""Words exchanged in texts for the shell, with a real shell as the judge."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilot_atlas.quoting import exchange, values_of

NAME = "EVNT.1._000123.pool.root.1"
TURLS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40).map("root://h//{}".format)
WORDS = st.text(st.sampled_from("aZ0 .,=$`\"'\\*;&|<>()#\n\tä"), max_size=12)


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """The words that a shell makes of a text."""
    folder = tmp_path_factory.mktemp("shell")

    def words(text: str) -> list[str]:
        shell = ["/bin/sh", "-c", f"printf '%s\\0' x {text}"]
        said = subprocess.run(shell, capture_output=True, check=True, text=True, cwd=folder).stdout
        return said.split("\0")[1:-1]

    return words


def single(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def double(word: str) -> str:
    return '"' + "".join(f"\\{sign}" if sign in '\\"$`' else sign for sign in word) + '"'


def bare(word: str) -> str:
    return "".join("'\n'" if sign == "\n" else sign if sign.isalnum() else f"\\{sign}" for sign in word)


@settings(max_examples=60)
@given(st.lists(st.tuples(WORDS, st.booleans(), st.sampled_from([single, double])), max_size=4), TURLS)
def test_a_shell_sees_the_other_name_and_every_other_word_as_it_was(seen, words, turl):
    told = [f"--in={NAME},{word}" if named else word for word, named, _ in words]
    text = " ".join(quote(word) for word, (_, _, quote) in zip(told, words, strict=True))
    assert seen(exchange(text, {NAME: turl})) == [word.replace(NAME, turl) for word in told]


@settings(max_examples=30)
@given(TURLS)
def test_a_name_without_quotes_gets_those_that_it_needs(seen, turl):
    assert seen(exchange(f"--in={NAME} {bare(NAME)}x", {NAME: turl}))[0] == f"--in={turl}"


@pytest.mark.parametrize("text", [f"x{NAME}", f"{NAME}.2", f"a-{NAME}", "'unclosed", '"unclosed', "end\\"])
def test_what_is_another_name_or_no_text_for_a_shell_stays(text):
    assert exchange(text, {NAME: "root://x"}) == text
    assert exchange(text + NAME, {}) == text + NAME


def test_the_longest_name_is_meant():
    assert exchange("a.1 a", {"a": "X", "a.1": "Y"}) == "Y X"


def test_values_of_an_option():
    assert list(values_of("-i \"['a']\" -i=b -x -i", "-i")) == ["['a']", "b"]
    assert list(values_of("-i 'unclosed", "-i")) == []
