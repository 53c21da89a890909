import os
import stat
from base64 import urlsafe_b64encode
from hmac import digest

import pytest

from pilot_core.dispatcher.tokens import ROLES, Tokens
from pilot_core.testing.fakes import FakeClock


def text_of(tokens, role):
    return tokens.path(role).read_text().strip()


def test_three_tokens_are_made_once_for_their_owner_only(tmp_path):
    tokens = Tokens(tmp_path / "tokens")
    texts = {role: text_of(tokens, role) for role in ROLES}
    assert len(set(texts.values())) == 3
    assert all(len(text) >= 40 for text in texts.values())
    assert stat.S_IMODE((tmp_path / "tokens").stat().st_mode) == 0o700
    assert {stat.S_IMODE(tokens.path(role).stat().st_mode) for role in ROLES} == {0o600}
    again = Tokens(tmp_path / "tokens")
    assert {role: text_of(again, role) for role in ROLES} == texts


def test_a_file_that_others_could_read_is_shut_and_told(tmp_path, caplog):
    tokens = Tokens(tmp_path / "tokens")
    assert not caplog.records
    for role in ("submit", "key"):
        tokens.path(role).chmod(0o640)
    Tokens(tmp_path / "tokens")
    assert {stat.S_IMODE(tokens.path(role).stat().st_mode) for role in (*ROLES, "key")} == {0o600}
    assert [text.split()[-1] for text in caplog.messages] == ["submit", "key"]
    assert "(mode 640); now only its owner can; if somebody did, replace it: pilot token rotate" in caplog.messages[0]


def test_a_token_has_its_role_and_nothing_else_has_one(tmp_path):
    tokens = Tokens(tmp_path / "tokens")
    for role in ROLES:
        assert tokens.role(text_of(tokens, role)) == role
    right = text_of(tokens, "run")
    for wrong in ("", " ", "x", right[:-1], right + "x", right.swapcase(), "ä" * 43, "\x80"):
        assert tokens.role(wrong) is None


def test_a_replaced_file_revokes(tmp_path):
    tokens = Tokens(tmp_path / "tokens")
    old = text_of(tokens, "submit")
    assert tokens.role(old) == "submit"
    tokens.path("submit").write_text("n" * 43)
    assert tokens.role(old) is None
    assert tokens.role("n" * 43) == "submit"


def test_a_token_that_was_issued_is_a_pilots_until_it_ends(tmp_path):
    clock = FakeClock()
    tokens = Tokens(tmp_path / "tokens", clock)
    token = tokens.issue("c", 60)
    assert tokens.role(token) == "run"
    assert Tokens(tmp_path / "tokens", clock).role(token) == "run"
    clock.advance(61)
    assert tokens.role(token) is None


def test_nobody_else_can_issue_one(tmp_path):
    tokens = Tokens(tmp_path / "tokens")
    head, claims, _ = tokens.issue("c", 60).split(".")
    longer = urlsafe_b64encode(b'{"exp":9999999999}').rstrip(b"=").decode()
    for secret in (tokens.key, tokens.token("run"), "", "\0"):
        for body in (claims, longer):
            made = urlsafe_b64encode(digest(secret.encode(), f"{head}.{body}".encode(), "sha256")).rstrip(b"=").decode()
            assert tokens.role(f"{head}.{body}.{made}") is None
    for wrong in (f"{head}.{claims}.", f"{head}.{claims}", f".{claims}.", "..", ".", tokens.key, "é.é.é"):
        assert tokens.role(wrong) is None


@pytest.mark.parametrize("role", ["run", "admin"])
def test_a_replaced_file_revokes_what_was_issued(tmp_path, role):
    tokens = Tokens(tmp_path / "tokens")
    token = tokens.issue("c", 60)
    tokens.path(role).write_text("n" * 43)
    assert tokens.role(token) is None
    assert tokens.role(tokens.issue("c", 60)) == "run"
    tokens.path(role).unlink()
    assert tokens.issue("c", 60) == ""


def test_one_of_the_same_length_and_time_is_noticed_too(tmp_path):
    tokens = Tokens(tmp_path / "tokens")
    old, path = text_of(tokens, "run"), tokens.path("run")
    assert tokens.role(old) == "run"
    found = path.stat()
    (tmp_path / "new").write_text("n" * 43 + "\n")
    os.utime(tmp_path / "new", ns=(found.st_atime_ns, found.st_mtime_ns))
    (tmp_path / "new").rename(path)
    assert (tokens.role(old), tokens.role("n" * 43)) == (None, "run")


@pytest.mark.parametrize("content", [None, "", "\n", "short"])
def test_without_a_token_worth_the_name_nobody_has_the_role(tmp_path, content, caplog):
    tokens = Tokens(tmp_path / "tokens")
    old = text_of(tokens, "admin")
    tokens.path("admin").unlink()
    if content is not None:
        tokens.path("admin").write_text(content)
    assert tokens.role(old) is None
    assert tokens.role((content or "").strip()) is None
    assert tokens.role(text_of(tokens, "run")) == "run"
    assert caplog.text.count("nobody has the role admin now") == 1


def test_one_token_in_two_files_counts_as_the_lesser_role(tmp_path):
    tokens = Tokens(tmp_path / "tokens")
    tokens.path("admin").write_text(text_of(tokens, "run"))
    assert tokens.role(text_of(tokens, "run")) == "run"
