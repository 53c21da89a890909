"""Forms of lines, files of patterns, and what is made of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot_core.control import said as reading
from pilot_core.control.evidence import recognise
from pilot_core.control.patterns import Form, Pattern, read_patterns
from pilot_core.control.said import Said
from pilot_core.errors import Code
from pilot_core.model.failure import Where, failure_of
from pilot_core.model.wire import BadMessage
from pilot_core.redact import MASK, Redactor

PATTERN = """
- name: geometry
  class: input
  lines: ["no geometry {!tag} in {file}"]
  cause: The geometry {tag} is not in {file}
  remedy: Name a geometry that is there
  examples: ["ERROR no geometry v7 in cond.db"]
"""


def patterns(folder: Path, text: str = PATTERN) -> tuple[Pattern, ...]:
    path = folder / f"p{len(list(folder.iterdir()))}.yaml"
    path.write_text(text)
    return read_patterns(path)


def wrote(folder: Path, **texts: str) -> Said:
    for name, text in texts.items():
        (folder / f"payload.{name}").write_text(text)
    return Said(folder, Redactor(["hunter2-and-more"]))


# --- forms ---


@pytest.mark.parametrize(
    ("form", "line", "holes"),
    [
        ("disk full", "the disk full now", {}),
        ("disk full", "the disk was full", None),
        ("^disk", "disk full", {}),
        ("^disk", "a disk", None),
        ("full$", "disk full", {}),
        ("full$", "full disk", None),
        ("^Killed$", "Killed", {}),
        ("^Killed$", "Killed by", None),
        ("{library}: cannot open", "prog: error: libA.so: cannot open", {"library": "libA.so"}),
        ("loading {library}: cannot open", "loading a: b: cannot open", {"library": "a: b"}),
        ("no module '{module}'", "no module 'a.b'", {"module": "a.b"}),
        ("line {!number}: {pid} Killed", "line 3: 77 Killed", {"number": "3", "pid": "77"}),
        ("line {!number}: {pid} Killed", "line is too: long Killed", None),
        ("^{!error}Error: {what}", "ValueError: no x", {"error": "Value", "what": "no x"}),
        ("^{!error}Error: {what}", "in a ValueError: no x", None),
        ("{a} of {b}$", "x of y of z", {"a": "x", "b": "y of z"}),
        ("{a} ended$", "it ended and ended", {"a": "it ended and"}),
        ("a{}b{}a$", "abba", {}),
        ("ab{x}b$", "ab", None),
        ("error", "terror, errors, error_rate=0", None),
        ("error", "terror: an error", {}),
        ("0 killed", "10 killed", None),
        ("^Killed", "Killed_by", None),
        ("{what} lost", "2 losts, 3 lost", {"what": "2 losts, 3"}),
        ("{}Error: {what}", "KeyError: a", {"what": "a"}),
        ("ORA-1{}", "ORA-12541: no listener", {}),
    ],
)
def test_a_line_fits_a_form_or_does_not(form: str, line: str, holes: dict[str, str] | None) -> None:
    assert Form.of(form).fit(line) == holes


@given(
    st.lists(st.text("ab-", max_size=3), min_size=1, max_size=4).filter(any),
    st.booleans(),
    st.booleans(),
    st.text("abc-", max_size=12),
)
def test_a_form_fits_what_the_same_expression_finds(parts: list[str], begins: bool, ends: bool, line: str) -> None:
    form = Form.of("^" * begins + "{}".join(parts) + "$" * ends)
    side = r"(?:(?<!\w)|(?!\w))"
    first, last = side * bool(parts[0]), side * bool(parts[-1])
    expression = ("^" if begins else first) + ".*".join(parts) + (r"\Z" if ends else last)
    assert (form.fit(line) is not None) is bool(re.search(expression, line))


@pytest.mark.parametrize("filler", ["a", "ab ", "{", ": "])
def test_no_line_takes_more_than_linear_time(filler: str) -> None:
    form = Form.of("{a}a{b}a{c}a{d}: {e}a{f} not there")
    assert form.fit(filler * 1_000_000) is None


# --- files ---


def test_a_pattern_says_what_happened_and_what_to_do(tmp_path: Path) -> None:
    (pattern,) = patterns(tmp_path)
    said = wrote(tmp_path, stderr="begin\nERROR no geometry v9 in cond.db\n", stdout="")
    (match,) = recognise(said, [pattern])
    failure = failure_of(match.error())
    assert (failure.cause, failure.kind) == ("The geometry v9 is not in cond.db", "input")
    assert (str(failure.evidence), failure.code) == ("payload.stderr, line 2", 1305)
    assert failure.advice.where is Where.NEVER


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("class: input", "class: inputs"), "'inputs' is none of"),
        (("class: input", "class: input\n  code: NOSUCH"), "no error code 'NOSUCH'"),
        (("class: input", "class: input\n  code: SIGTERM"), "belongs to another stage"),
        (("class: input", "class: input\n  code: STAGEOUTFAILED"), "belongs to another stage"),
        (("class: input", "class: input\n  retry: uncounted"), "never make its attempt not count"),
        (("class: input", "class: input\n  retry: latr"), "did you mean 'later'"),
        (("class: input", "class: input\n  fault: me"), "'me' is none of payload"),
        (("class: input", "class: input\n  memory: 0.5"), "wants a factor from 1 to 10"),
        (("class: input", "class: input\n  colour: red"), "colour"),
        (("class: input", "class: input\n  counterexamples: ['no geometry a in b']"), "'no geometry a in b' fits"),
        (("{!tag} in {file}", "{tag}"), "names file, which no line of the pattern has"),
        (('["no geometry {!tag} in {file}"]', "['{tag}', '{file} a']"), "fits almost any line"),
        (('["no geometry {!tag} in {file}"]', "[]"), "write at least one form"),
        (("v7 in cond.db", "v7 at cond.db"), "does not fit"),
        (("cause:", "reason:"), "cause"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_place(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    with pytest.raises(BadMessage, match=re.escape(said)) as refused:
        patterns(tmp_path, PATTERN.replace(*change))
    assert "patterns[0]" in str(refused.value)


def test_a_name_stands_once_and_a_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(BadMessage, match="'geometry' stands twice"):
        patterns(tmp_path, PATTERN + PATTERN.lstrip())
    with pytest.raises(BadMessage, match=r"none\.yaml: No such file"):
        read_patterns(tmp_path / "none.yaml")


# --- what is found first ---


def named(name: str, line: str, rank: int, more: str = "") -> str:
    return f"- {{name: {name}, class: input, lines: ['{line}'], cause: c, remedy: r, rank: {rank}{more}}}\n"


def found(said: Said, known: tuple[Pattern, ...]) -> list[str]:
    return [match.pattern.name for match in recognise(said, known)]


def test_what_tells_most_is_first_and_of_equals_what_was_said_first(tmp_path: Path) -> None:
    known = patterns(tmp_path, named("late", "beta", 42) + named("early", "alpha", 40) + named("deep", "gamma", 90))
    assert found(wrote(tmp_path, stderr="alpha\nbeta\ngamma\n"), known) == ["deep", "early", "late"]


def test_a_word_beside_it_can_rule_a_line_out(tmp_path: Path) -> None:
    known = patterns(tmp_path, named("a", "refused", 40, ", unless: [by us]"))
    assert found(wrote(tmp_path, stderr="refused by us\n"), known) == []
    assert found(wrote(tmp_path, stderr="refused by us\nrefused\n"), known) == ["a"]


def test_ordinary_talk_fits_nothing(tmp_path: Path) -> None:
    known = patterns(tmp_path, named("a", "refused", 40) + named("b", "DEBUG lost", 40))
    assert found(wrote(tmp_path, stderr="INFO refused\nDEBUG lost\n"), known) == ["b"]


def test_a_text_that_names_a_level_is_sought_first(tmp_path: Path) -> None:
    (pattern,) = patterns(tmp_path, named("a", "refused", 40).replace("refused'", "refused', 'WARNING: refused'"))
    (match,) = recognise(wrote(tmp_path, stderr="WARNING: refused\n"), [pattern])
    assert match.doubts == 0


def test_a_pattern_names_the_logs_in_which_it_is_looked_for(tmp_path: Path) -> None:
    known = patterns(tmp_path, named("a", "alpha", 40, ", files: ['log.*']"))
    assert found(wrote(tmp_path, stderr="alpha\n"), known) == []
    (tmp_path / "log.reco").write_text("x\nalpha\n")
    (match,) = recognise(Said(tmp_path, Redactor()), known)
    assert (match.line.file, match.line.number) == ("log.reco", 2)


@pytest.mark.parametrize("lines", [3, 9000, 60_000])
def test_lines_are_counted_through_what_is_left_out(tmp_path: Path, lines: int) -> None:
    said = wrote(tmp_path, stderr="0123456\n" * (lines - 1) + "the alpha\nend\n")
    (match,) = recognise(said, patterns(tmp_path, named("a", "alpha", 40)))
    assert match.line.number == lines


def test_where_a_log_is_too_long_lines_count_from_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "COUNTED_B", 1)
    said = wrote(tmp_path, stderr="0123456\n" * 60_000 + "the alpha\nend")
    (match,) = recognise(said, patterns(tmp_path, named("a", "alpha", 40)))
    assert match.line.number == -2
    assert str(failure_of(match.error()).evidence) == "payload.stderr, line 2 from the end"


def test_no_secret_is_evidence(tmp_path: Path) -> None:
    said = wrote(tmp_path, stderr="alpha hunter2-and-more\n")
    (match,) = recognise(said, patterns(tmp_path, named("a", "alpha", 40)))
    assert match.error().facts["said"] == f"alpha {MASK}"
    assert MASK in said.tail("payload.stderr")


def test_a_code_of_its_own_is_the_error(tmp_path: Path) -> None:
    known = patterns(tmp_path, named("a", "alpha", 40, ", code: PAYLOADOUTOFMEMORY, memory: 2"))
    (match,) = recognise(wrote(tmp_path, stderr="alpha\n"), known)
    assert match.error().code is Code.PAYLOADOUTOFMEMORY
    assert failure_of(match.error()).advice.memory_factor == 2
