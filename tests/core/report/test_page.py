"""The page: everything is told, nothing of a job becomes an element, nothing comes from elsewhere."""

from __future__ import annotations

import re

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pilot_core.errors import Code, PilotError
from pilot_core.model.failure import failure_of
from pilot_core.report.account import Account, Fault, File, Sample, Span, faults_of
from pilot_core.report.markup import Markup, escaped, tag
from pilot_core.report.page import page
from pilot_core.report.story import cores

HOSTILE = "</pre></style><script>alert(1)</script><img src=x onerror=alert(2)>\"'&<b>\x1b[31m\u202e\ud800\x00"


def story(text: str = "word", state: str = "failed", number: float = 5.0) -> Account:
    """An account with ``text`` wherever a text may be."""
    return Account(
        id=text,
        source=text,
        attempt=text,
        state=state,
        node=text,
        began=1000.0,
        lasted_s=60.0,
        spans=(
            Span(name=text, phase=text, at=1000.0, lasted_s=20.0),
            Span(name="run", phase="running", at=1020.0, lasted_s=40.0, open=True),
        ),
        usage=tuple(
            Sample(
                at=1020.0 + 10 * each,
                cpu_s=each * number,
                rss_b=each * number,
                read_b=1.0,
                written_b=2.0,
                processes=2,
                disk_b=3.0,
                more={text: number, f"{text}_b": number},
            )
            for each in range(4)
        ),
        totals={"cpu_user_s": 2.0, "rss_peak_b": 10.0},
        files=(
            File(
                name=text, direction="out", state=text, size_b=5.0, checksum=text, url=f"javascript:{text}", tool=text
            ),
        ),
        faults=(Fault(number=text, acronym=text, sentence=text, detail=text, party=text, advice=text, reported=True),),
        command=(text, "-c", text),
        ended=text,
        facts={text: text},
        notes={text: text},
        environment={text: text},
        plugins={text: text},
        extras={text: text},
        unused={text: text},
        message=text,
        log=text,
        said={text: text},
        remarks=(text,),
    )


@pytest.mark.parametrize("count", [1, 2])
def test_no_element_comes_from_a_job(parsed, count):
    hostile = parsed(page([story(HOSTILE, HOSTILE)] * count, HOSTILE, 0.0, "1"))
    harmless = parsed(page([story()] * count, "here", 0.0, "1"))
    assert [each.name for each in hostile.elements] == [each.name for each in harmless.elements]
    assert [set(each.attributes) for each in hostile.elements] == [set(each.attributes) for each in harmless.elements]
    links = {value for each in hostile.elements for name, value in each.attributes.items() if name in ("href", "src")}
    assert all(re.fullmatch(r"#job-\d+", link) for link in links)
    assert "alert(1)" in hostile.text
    assert not re.search("[\x00-\x08\x1b\u202e\ud800]", hostile.text)
    assert "\\x1b[31m\\u202e\\ud800" in hostile.text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text())
def test_any_text_comes_back_or_is_spelt_out(parsed, text):
    (paragraph,) = parsed(tag("p", text)).named("p")
    plain = text.replace("\r", "\\r")
    if plain.isprintable():
        assert paragraph.text == plain
    assert "<" not in escaped(text)


def test_the_page_is_alone_in_the_world(parsed):
    text = page([story()], "here", 0.0, "1")
    html = parsed(text)
    assert text.startswith('<!doctype html>\n<html lang="en"><head><meta charset="utf-8">')
    assert {each.name for each in html.elements} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "form",
        "base",
    } == set()
    assert not re.search(r"url\(|@import|https?://|\bon\w+=", text)
    policies = [each.attributes["content"] for each in html.named("meta") if "http-equiv" in each.attributes]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"]
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_one_job_from_top_to_bottom(parsed):
    html = parsed(page([story()], "here", 1_000_000.0, "0.1.0"))
    assert [each.text for each in html.named("h1")] == ["Job word"]
    assert [each.text for each in html.classed("state")] == ["failed"]
    assert [each.text for each in html.named("h3")] == [
        "Timeline",
        "Usage",
        "Files",
        "Command",
        "Circumstances",
        "Environment asked for",
        "Plugins that had a say",
        "What plugins made of the message",
        "Fields of the message that are found nowhere in the job",
        "Notes",
    ]
    assert [each.text for each in html.named("summary")] == [
        "What the payload said: word",
        "The end of the pilot's log",
        "What else is known",
        "The message as it came",
    ]
    assert "What to do: word." in html.classed("fault")[0].text
    assert "Made by pilot 0.1.0 on 1970-01-12 13:46:40 UTC from here." in html.text


def test_the_timeline_is_to_scale(parsed):
    html = parsed(page([story()], "here", 0.0, "1"))
    assert [each.attributes["style"] for each in html.classed("bar")] == [
        "left:0.00%;width:33.33%",
        "left:33.33%;width:66.67%",
    ]
    assert [each.attributes["class"] for each in html.classed("bar")] == ["bar phase0", "bar phase1 open"]
    assert [each.text for each in html.classed("span")] == ["word20 s", "run40 s so far"]


def test_every_quantity_has_its_plot(parsed):
    html = parsed(page([story()], "here", 0.0, "1"))
    titles = [each.text for each in html.classed("title")]
    assert titles == [
        "Memory (B)",
        "CPU in use, cores",
        "Read and written (B)",
        "Processes",
        "Job's directory (B)",
        "word",
        "word_b (B)",
    ]
    assert html.named("figcaption")[0].text == "at most 15 B"


def test_a_job_that_was_never_measured(parsed):
    html = parsed(page([evolve(story(), usage=())], "here", 0.0, "1"))
    assert "The payload ended before it was measured" in html.text
    assert html.named("svg") == []


def test_little_that_is_known_makes_a_little_page(parsed):
    html = parsed(page([Account(id="1", source="s", state="unknown")], "here", 0.0, "1"))
    assert [each.text for each in html.named("h3")] == ["Usage"]


def test_several_jobs_have_a_table_first(parsed):
    html = parsed(page([story("one", "finished"), evolve(story("two"), faults=())], "here", 0.0, "1"))
    assert [each.text for each in html.named("h1")] == ["2 jobs"]
    assert "1 failed, 1 finished; found in here" in html.text
    links = [(each.text, each.attributes["href"]) for each in html.named("a")]
    assert links == [("two", "#job-1"), ("one", "#job-2")]
    assert ["open" in each.attributes for each in html.named("details") if "Usage" in each.text] == [True, False]
    ends = [each.text for each in html.named("td") if each.attributes.get("data-label") == "Ended by"]
    assert ends == ["two", "one one"]


def test_cores_are_busy_between_two_looks():
    samples = [Sample(at=0, cpu_s=each) for each in (10.0, 10.0, 40.0, 39.0)]
    assert cores([10.0, 10.0, 20.0, 30.0], samples) == [(10.0, 1.0), (20.0, 3.0), (30.0, 0.0)]


def test_markup_alone_is_not_escaped():
    assert tag("p", "<b>", Markup("<i>")) == "<p>&lt;b&gt;<i></p>"
    assert tag("meta", data_x='"', class_="") == '<meta data-x="&quot;">'


def test_a_checkpoint_is_nobodys_fault(parsed):
    error = PilotError(Code.CHECKPOINTED)
    record = {"error": error.to_wire(), "errors": [error.to_wire()], "failure": failure_of(error).to_wire()}
    told = parsed(page([evolve(story(), faults=faults_of(record))], "here", 0.0, "1")).classed("fault")[0].text
    assert "Class: stopped. Nobody's fault. What to do: try again" in told


def test_what_was_found_out_about_a_failure_is_told(parsed):
    failure = {
        "class": "memory",
        "fault": "payload",
        "remedy": "Ask for more memory",
        "evidence": {"file": "payload.stderr", "line": 5, "text": "MemoryError"},
        "advice": {"where": "same site", "memory_factor": 1.5, "time_factor": 1.0, "counts": False},
    }
    error = {"number": 1212, "acronym": "A", "sentence": "s", "detail": "d", "party": "payload", "advice": "a"}
    record = {"error": error, "errors": [error], "failure": failure}
    told = parsed(page([evolve(story(), faults=faults_of(record))], "here", 0.0, "1")).classed("fault")[0].text
    assert "payload.stderr, line 5: MemoryError" in told
    assert "Class: memory. Fault of the payload. What to do: Ask for more memory." in told
    assert "Retry: same site, memory x 1.5, this attempt does not count." in told
