import base64
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot_core.io.join import BEGIN, BadJoin, Join, find_join

JOIN = Join("https://here:8443", "a-secret-token", "ab" * 32, "local")


@given(token=st.text(), queue=st.text(), fingerprint=st.text())
def test_what_is_packed_is_read_back(token, queue, fingerprint):
    join = Join("http://h:1", token, fingerprint, queue)
    text = join.text()
    assert text.startswith(BEGIN)
    assert "=" not in text
    assert text.isascii()
    assert Join.read(f" {text}\n") == join


def packed(value):
    return BEGIN + base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "does not begin"),
        ("hello", "does not begin"),
        (BEGIN, "damaged"),
        (BEGIN + "?", "damaged"),
        (JOIN.text()[:-7], "damaged"),
        (packed([]), "damaged"),
        (packed({}), "lacks 'url'"),
        (packed({"url": "https://h:1", "token": 7}), "lacks 'token'"),
        (packed({"url": "ftp://h", "token": "a-secret-token", "fingerprint": "", "queue": "q"}), "no address"),
    ],
)
def test_what_is_none_is_named_without_what_it_holds(text, why):
    with pytest.raises(BadJoin, match=why) as caught:
        Join.read(text, "the file f")
    told = str(caught.value)
    assert told.startswith("the file f: ")
    assert "pilot serve" in told
    assert "secret" not in told
    assert text[len(BEGIN) :] == "" or text[len(BEGIN) :] not in told


def test_it_comes_from_a_file_from_input_or_from_the_environment(tmp_path, monkeypatch):
    (tmp_path / "join").write_text(JOIN.text() + "\n")
    monkeypatch.setattr("sys.stdin", io.StringIO(JOIN.text() + "\n"))
    assert find_join(str(tmp_path / "join"), {"PILOT_JOIN": "other"}) == JOIN
    assert find_join("-", {}) == JOIN
    assert find_join("", {"PILOT_JOIN": JOIN.text()}) == JOIN
    assert find_join("", {}) is None


def test_on_a_command_line_it_has_no_place(tmp_path):
    with pytest.raises(BadJoin, match="everybody here can read it"):
        find_join(JOIN.text(), {})
    with pytest.raises(BadJoin, match="No such file"):
        find_join(str(tmp_path / "none"), {})


def test_the_token_is_not_shown():
    assert "secret" not in repr(JOIN)
