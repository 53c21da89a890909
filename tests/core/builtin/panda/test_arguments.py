"""What is hidden in a job's arguments: found where it is an option, cut out, and no other byte touched."""

from __future__ import annotations

import base64
import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilot_core.builtin.panda.arguments import Hidden, uncover

ROUGH = """-p "a 'b' $VAR `id`" 'c "d"' \\" %20\té漢; x=1 --athenaopts "-e $HOME" |&>"""
NEAR = {"direct_access_lan": True, "params": {"pilot_rss_grace": 2}}
WRITTEN = [
    "--overwriteQueueData={'direct_access_lan': True, 'params': {'pilot_rss_grace': 2}}",
    '--overwriteQueueData {"direct_access_lan": true, "params": {"pilot_rss_grace": 2}}',
    """--overwriteQueueData='{"direct_access_lan": true, "params": {"pilot_rss_grace": 2}}'""",
    """--overwriteQueueData '{"direct_access_lan": true, "params": {"pilot_rss_grace": 2}}'""",
    """--overwriteQueueData="{'direct_access_lan': True, 'params': {'pilot_rss_grace': 2}}\"""",
    """'--overwriteQueueData={"direct_access_lan": true, "params": {"pilot_rss_grace": 2}}'""",
]


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize(("before", "after"), [("", ""), ("", ROUGH), (ROUGH, ""), (ROUGH, ROUGH)])
def test_what_a_job_changes_of_its_queue_is_taken_out(written, before, after):
    """server:D-13"""
    given_text = " ".join(filter(None, (before, written, after)))
    assert uncover(given_text) == Hidden(parameters=" ".join(filter(None, (before, after))), queue=NEAR)


def test_the_last_of_two_that_change_one_thing_counts():
    text = """--overwriteQueueData={"a": 1, "b": {"c": null}} x --overwriteQueueData {'a': [2]}"""
    assert uncover(text) == Hidden(parameters="x", queue={"a": [2], "b": {"c": None}})


@pytest.mark.parametrize("wrong", ["{", "{'a'}", "7", "{1: 2}", "{'a': b'x'}", "{'a': __import__('os')}", "'{}}'", ""])
def test_what_is_no_dictionary_is_not_obeyed_and_said(wrong, caplog):
    """server:D-13 (an invalid literal)"""
    hidden = uncover(f"a --overwriteQueueData={wrong} b")
    assert (hidden.parameters, hidden.queue) == ("a b", {})
    assert "is no dictionary" in caplog.text


def test_storages_and_the_old_spelling_are_taken_out_without_effect(caplog):
    text = """a --overwriteStorageData={'E': {'state': 'x'}} --overwriteQueuedata={'allow_wan': True} b"""
    assert uncover(text) == Hidden(parameters="a b")
    assert "changes no storage" in caplog.text


@pytest.mark.parametrize("text", ["--containerImage=img:1 a", "a --containerImage img:1", "a '--containerImage=img:1'"])
def test_an_image_is_taken_out_unless_the_program_wants_to_see_it(text):
    assert uncover(text) == Hidden(parameters="a", image="img:1")
    assert uncover(text, keeps_image=True) == Hidden(parameters=text, image="img:1")


@pytest.mark.parametrize(
    ("text", "access"),
    [
        ("--accessmode=direct", "direct"),
        ("--accessmode=copy -x", "copy"),
        ("a --useLocalIO", "copy"),
        ("--accessmode=odd", ""),
        ("'--x --accessmode=direct'", ""),
    ],
)
def test_how_inputs_are_read_stays_in_the_arguments(text, access):
    assert uncover(text) == Hidden(parameters=text, access=access)


def test_what_is_to_be_packed_is_taken_out():
    packed = {"one.zip": ("*.root", "*.txt"), "two.zip": ("x",)}
    for block in ("<ZIP_MAP>one.zip:*.root,*.txt two.zip:x broken</ZIP_MAP>",):
        for written in (block, f"'{block}'"):
            assert uncover(f"a {written} b") == Hidden(parameters="a b", archives=packed)


@pytest.mark.parametrize(
    "text",
    [
        ROUGH,
        'x "--containerImage=i --overwriteQueueData={}"',
        "it's --containerImage=i",
        "a --containerImage=i 'b",
        'a --containerImage=i "b',
        "a\\ --containerImage=i",
        "x--containerImage=i --containerImagesOf=7",
        base64.b64encode(b"--containerImage=img").decode(),
        "é" * 100_000,
        "--overwriteQueueData={ 'a" * 5001,
    ],
)
def test_all_else_is_left_as_it_is(text):
    """server:D-12 (what is read), server:D-14"""
    assert uncover(text) == Hidden(parameters=text)


PIECES = st.sampled_from(
    ["a", "'b c'", '"$d \\" e"', "f\\ g", "\\'", "é", "{", "}", "=", "--x={'y': 1}", ";", "''", "-1"]
)
TEXTS = st.lists(PIECES, max_size=12).map(" ".join)
OPTIONS = st.sampled_from([*WRITTEN, "--containerImage=i", "--containerImage i"])


@given(TEXTS, OPTIONS, TEXTS)
@settings(max_examples=200, deadline=None)
def test_the_words_that_are_left_are_the_words_that_were_there(before, option, after):
    hidden = uncover(" ".join(filter(None, (before, option, after))))
    assert hidden.parameters == " ".join(filter(None, (before, after)))
    assert hidden.image or hidden.queue


@given(st.text("""ab '"\\{}=-\n$""", max_size=60), OPTIONS)
@settings(max_examples=300, deadline=None)
def test_nothing_but_options_is_ever_lost(text, option):
    for whole in (f"{text} {option}", f"{option} {text}", text):
        left = uncover(whole).parameters
        try:
            words = shlex.split(whole)
        except ValueError:
            continue
        if left != whole:
            assert shlex.split(left) == shlex.split(text)
        else:
            assert words == shlex.split(left)
