"""Updates in the server's words: each of its type, none too long, nothing that was not asked for."""

from __future__ import annotations

import json
import math

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from pilot_core.builtin.panda.extras import BATCH
from pilot_core.builtin.panda.reading import read_job
from pilot_core.builtin.panda.updating import SPARED, Identity, fields_of, reduced
from pilot_core.builtin.panda.words import ASKS, TELLS, fitted, head, last_lines, line, pairs, tail
from pilot_core.model.files import Checksum, FileSpec, Receipt
from pilot_core.model.payload import Outcome, Usage
from pilot_core.model.queue import Resources
from pilot_core.model.texts import clean
from pilot_core.sdk import (
    ACCEPTED,
    FAILED,
    FINISHED,
    RUNNING,
    STAGE_IN,
    STAGE_OUT,
    Code,
    Job,
    JobExtras,
    Phase,
    PilotError,
    Update,
)

NOON = 1_788_264_000.0
WHO = Identity(site="Q", node="slot1@wn17", pilot="url|PR|0.1.0", batch="4711.ce", scheduler="s")
USED = Usage(
    cpu_user_s=3000.4,
    cpu_system_s=600.0,
    rss_b=5 * 2**20,
    rss_peak_b=9 * 2**20,
    read_b=10**15,
    written_b=7,
    processes=3,
    disk_b=42,
)
TIMES = {ACCEPTED: NOON, STAGE_IN: NOON + 12, RUNNING: NOON + 53, STAGE_OUT: NOON + 3658}
WIDTHS = {
    **dict.fromkeys(("node", "scheduler_id", "cpu_consumption_unit"), 128),
    **dict.fromkeys(("pilot_error_diag", "exe_error_diag", "job_metrics"), 500),
    **dict.fromkeys(("source_site", "destination_site"), 36),
    **dict.fromkeys(("batch_id", "job_sub_status"), 80),
    "pilot_id": 200,
    "pilot_timing": 100,
    "stdout": 2048,
    "pilot_log": 4000,
    "grid": 50,
    "cpu_architecture_level": 20,
}
ADLER = Checksum("adler32", "0000001a")
CODED = PilotError(Code.PAYLOADEXECUTIONFAILURE, "exit code 3", trf=3)


def a_job(**changes):
    job = Job(
        id="7",
        attempt=2,
        outputs=(FileSpec(lfn="o", guid="g-o"), FileSpec(lfn="kept", guid="g-kept", always=True)),
        log=FileSpec(lfn="log.tgz", guid="g-log"),
        needs=Resources(cores=8),
        times=dict(TIMES),
        extras=JobExtras({BATCH.name: "4711.ce"}),
    )
    return evolve(job, **changes)


def stored(lfn, checksum=ADLER, **changes):
    told = {"direction": "out", "url": f"https://s/{lfn}", "tool": "https", "size_b": 3, "endpoint": "E"}
    return Receipt(lfn=lfn, checksum=checksum, **{**told, **changes})


def told(job=None, *, final=False, at=NOON + 3663, got_s=0.0, **changes):
    update = Update(job=job or a_job(), final=final, at=at, node="host", **changes)
    return fitted(TELLS, fields_of(update, WHO, got_s=got_s))


# --- what is said when ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phase", "state"),
    [(ACCEPTED, "starting"), (STAGE_IN, "starting"), (RUNNING, "running"), (STAGE_OUT, "running"), ("own", "running")],
)
def test_a_phase_has_its_word_on_the_server(phase, state):
    said = told(a_job(phase=Phase(phase)))
    assert (said["job_status"], said["job_sub_status"]) == (state, phase)


def test_every_update_says_what_it_is_about():
    """server:D-23"""
    for job in (a_job(attempt=0), a_job(phase=RUNNING, attempt=0)):
        for final in (False, True):
            said = told(job, final=final)
            assert (said["job_id"], said["attempt_nr"]) == (7, 0)
            assert (said["node"], said["site_name"], said["pilot_id"]) == ("slot1@wn17", "Q", "url|PR|0.1.0")


def test_times_are_text_in_utc_and_the_end_is_said_at_the_end(monkeypatch):
    """server:U-01 (the form of it), server:F-18"""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    running, final = told(a_job(phase=RUNNING)), told(final=True)
    assert running["start_time"] == final["start_time"] == "2026-09-01 12:00:53"
    assert "end_time" not in running
    assert final["end_time"] == "2026-09-01 13:01:03"
    assert "start_time" not in told(a_job(times={ACCEPTED: NOON}))


def test_the_timing_has_six_numbers_none_below_zero():
    """server:F-18"""
    job = a_job(outcome=Outcome(exit_code=0, wall_s=3605.4))
    assert told(job, final=True)["pilot_timing"] == "0|41|3605|5|12|0"
    begun = evolve(job, notes={"payload_at": TIMES[RUNNING] + 7.2})
    assert told(begun, final=True, got_s=2.6)["pilot_timing"] == "3|41|3605|5|12|7", "nothing is said to take no time"
    back = {**TIMES, RUNNING: NOON - 7200, STAGE_OUT: NOON - 3600}
    timing = told(evolve(job, times=back), final=True, at=NOON - 7200)["pilot_timing"]
    assert timing == "0|0|3605|0|12|0"
    assert told(a_job(times={}), final=True)["pilot_timing"] == "0|0|0|0|0|0"
    assert "pilot_timing" not in told(a_job(phase=RUNNING))


def test_numbers_have_the_servers_types():
    """server:U-04"""
    said = told(a_job(phase=RUNNING, usage=USED), at=NOON + 53 + 474)
    assert (said["cpu_consumption_time"], said["mean_core_count"], said["core_count"]) == (3600, 8, 8)
    assert (said["max_rss"], said["tot_rbytes"], said["tot_wbytes"]) == (9 * 1024, 10**15, 7)
    assert all(type(said[name]) is int for name in ("cpu_consumption_time", "mean_core_count", "max_rss"))
    assert said["job_metrics"] == f"cpu=3600.4 rss={5 * 2**20} processes=3 workDirSize=42 coreCount=8"


def test_what_a_monitor_measures_under_a_fields_name_is_that_field():
    """server:U-05 (a monitor's numbers), server:R-09 (n_events)"""
    more = {"avg_pss": 77.7, "max_rss": 5 * 10**6, "n_events": 250, "rate_rchar": -1, "leak": 12.5}
    said = told(a_job(phase=RUNNING, usage=evolve(USED, more=more)))
    assert (said["avg_pss"], said["max_rss"], said["n_events"]) == (78, 5 * 10**6, 250)
    assert "rate_rchar" not in said
    assert said["job_metrics"].endswith(" coreCount=8 leak=12.5")


def test_rates_are_by_the_time_that_the_payload_ran():
    said = told(a_job(phase=RUNNING, usage=USED), at=NOON + 53 + 100)
    assert (said["rate_rbytes"], said["rate_wbytes"]) == (10**13, 0)
    assert "rate_rbytes" not in told(a_job(phase=RUNNING, usage=USED, times={}))


def test_what_is_not_known_is_not_said():
    """server:U-06"""
    said = told()
    assert not {"max_rss", "job_metrics", "job_output_report", "pilot_error_code", "stdout", "meta_data"} & said.keys()
    assert None not in said.values()
    assert "" not in said.values()


@pytest.mark.parametrize("broken", [math.nan, math.inf, -1, "1e5x", None, [1], True])
def test_a_number_that_is_none_is_left_out(broken):
    """server:U-05"""
    said = fitted(TELLS, {"job_id": 7, "max_rss": broken, "cpu_consumption_time": broken, "mean_core_count": broken})
    assert said == {"job_id": 7}


def test_big_numbers_are_whole_and_implausible_ones_are_dropped():
    """server:U-13"""
    huge = evolve(USED, cpu_user_s=1e12)
    said = told(a_job(usage=huge, receipts=(stored("o", size_b=5 * 10**12),)), final=True)
    assert "cpu_consumption_time" not in said
    assert said["tot_rbytes"] == 10**15
    assert "e" not in json.dumps(said["tot_rbytes"])
    assert json.loads(said["job_output_report"])["o"]["fsize"] == 5 * 10**12


def test_the_batch_id_is_told_by_the_pilot_that_began_the_job():
    """server:U-11 (a heir with another id would be a second incarnation)"""
    assert told(a_job(phase=STAGE_IN))["batch_id"] == "4711.ce"
    assert told(a_job(phase=RUNNING))["batch_id"] == told(final=True)["batch_id"] == "4711.ce"


def test_what_the_payload_says_is_shown_to_whoever_follows_it():
    said = told(a_job(phase=RUNNING), log_tail="line 1\nline 2\x1b[31m", debug=True)
    assert said["stdout"] == "line 1\nline 2"
    assert not {"stdout", "pilot_log"} & told(a_job(phase=RUNNING), log_tail="x").keys()
    assert told(final=True, log_tail="it said\nno")["pilot_log"] == "it said\nno"


# --- the end ----------------------------------------------------------------------------------------------------------


def test_a_finished_job_lists_what_was_stored_and_no_errors():
    """server:F-01, server:R-01"""
    receipts = (stored("o"), stored("log.tgz", Checksum("md5", "a" * 32)), stored("in", direction="in"))
    job = a_job(phase=FINISHED, receipts=receipts, outcome=Outcome(exit_code=0))
    said = told(job, final=True)
    assert (said["job_status"], said["pilot_error_code"], said["trans_exit_code"]) == ("finished", 0, 0)
    assert len(said["pilot_timing"].split("|")) == 6
    assert json.loads(said["job_output_report"]) == {
        "o": {"guid": "g-o", "fsize": 3, "adler32": "0000001a", "surl": "https://s/o", "endpoint": "E"},
        "log.tgz": {"guid": "g-log", "fsize": 3, "md5sum": "a" * 32, "surl": "https://s/log.tgz", "endpoint": "E"},
    }


def test_inputs_and_files_of_nobody_are_not_listed():
    """server:R-06, server:R-07"""
    said = told(a_job(receipts=(stored("foreign"), stored("in", direction="in"))), final=True)
    assert "job_output_report" not in said


def test_the_storage_that_was_really_used_is_named():
    """server:R-02"""
    said = told(a_job(receipts=(stored("o", endpoint="OTHER"),)), final=True)
    assert json.loads(said["job_output_report"])["o"]["endpoint"] == "OTHER"


def test_a_failed_job_lists_its_log_and_what_was_wanted_whatever_happens():
    """server:F-02, server:R-12"""
    receipts = (stored("o"), stored("kept"), stored("log.tgz"))
    job = a_job(phase=FAILED, errors=(CODED,), receipts=receipts, outcome=Outcome(exit_code=3))
    said = told(job, final=True)
    assert (said["job_status"], said["trans_exit_code"], said["pilot_error_code"]) == ("failed", 3, 1305)
    assert json.loads(said["job_output_report"]).keys() == {"log.tgz", "kept"}


def test_without_a_payload_there_is_no_exit_code_unless_all_went_well():
    assert "trans_exit_code" not in told(a_job(errors=(CODED,)), final=True)
    assert told(a_job(), final=True)["trans_exit_code"] == 0
    assert told(a_job(errors=(CODED,), outcome=Outcome(signal=9)), final=True)["trans_exit_code"] == 137


def test_the_payloads_own_error_is_told_beside_the_pilots():
    error = PilotError(Code.PAYLOADEXECUTIONFAILURE, "no such calibration", exe=-65, trf=1)
    said = told(a_job(phase=FAILED, errors=(error,)), final=True)
    assert (said["pilot_error_code"], said["exe_error_code"]) == (1305, 65)
    assert said["exe_error_diag"] == "no such calibration"
    assert said["pilot_error_diag"] == "The payload failed: no such calibration"


def test_a_diagnosis_says_no_time_of_day():
    error = PilotError(Code.STAGEINFAILED, "2026-09-01 10:20:30,123 a.root: no\n such  file")
    said = told(a_job(errors=(error,)), final=True)
    assert said["pilot_error_diag"] == "An input could not be fetched: a.root: no such file"


@pytest.mark.parametrize(
    "text", ["x" * 5000, "漢" * 600, "a" + "🚀" * 300, "\0\x1b[31mred\x1b[0m\x07" * 200, "\udc80" * 600]
)
def test_a_diagnosis_fits(text):
    """server:U-07, server:U-08, server:U-09"""
    said = told(a_job(errors=(PilotError(Code.STAGEINFAILED, text),)), final=True)["pilot_error_diag"]
    assert len(said.encode()) <= 500
    assert len(said.encode()) > 490 - len("\0\x1b[31mred\x1b[0m\x07")
    assert said.startswith("An input could not be fetched: ")
    assert said.isprintable()


def test_metrics_are_cut_at_a_blank():
    """server:U-12"""
    more = {f"metric number {number}": number / 3 for number in range(100)}
    said = told(a_job(usage=evolve(USED, more=more)), final=True)["job_metrics"]
    assert 450 < len(said) <= 500
    assert said.startswith("cpu=")
    known = {f"metric_number_{number}": f"{number / 3:.3f}".rstrip("0").rstrip(".") for number in range(100)}
    for name, value in (pair.split("=") for pair in said.split()[5:]):
        assert known[name] == value


TAKEN = """
job_id job_status attempt_nr job_sub_status site_name node scheduler_id pilot_id batch_id start_time end_time core_count
mean_core_count n_events n_input_files cpu_consumption_time cpu_consumption_unit cpu_conversion_factor
cpu_architecture_level max_rss max_vmem max_swap max_pss avg_rss avg_vmem avg_swap avg_pss tot_rchar tot_wchar
tot_rbytes tot_wbytes rate_rchar rate_wchar rate_rbytes rate_wbytes job_metrics pilot_timing trans_exit_code
pilot_error_code pilot_error_diag exe_error_code exe_error_diag job_output_report meta_data pilot_log stdout
corrupted_files grid source_site destination_site timeout
"""
"""All that a server takes in an update."""
NOT_SENT = {
    "job_sub_status": "a final update has none: its state says all; before that it is the phase",
    "stdout": "for whoever follows a job that still runs",
    "meta_data": "the report of a payload is read by the experiment, whose plugin says it",
    "corrupted_files": "inputs of a merging job, which the event service's workflow finds",
    "grid": "known to whoever submitted the pilot; a site's plugin says it",
    "source_site": "known to whoever submitted the pilot; a site's plugin says it",
    "destination_site": "known to whoever submitted the pilot; a site's plugin says it",
    "timeout": "the server's own is as good as any",
}
"""Fields of the update that a last word does not hold, each with the reason."""
MEASURED = {
    "n_events": "counted by the payload; the experiment's plugin reads it from its report",
    **dict.fromkeys(("max_vmem", "max_swap", "max_pss"), "a monitor of memory has to measure it"),
    **dict.fromkeys(("avg_rss", "avg_vmem", "avg_swap", "avg_pss"), "a monitor of memory has to measure it"),
    **dict.fromkeys(("tot_rchar", "tot_wchar", "rate_rchar", "rate_wchar"), "a monitor of I/O has to measure it"),
}
"""Fields that hold what somebody else measures under their name, and are left out where nobody does."""


def test_every_field_of_the_update_is_sent_or_there_is_a_reason_why_it_is_not():
    outcome = Outcome(exit_code=3, wall_s=60.0, usage=USED)
    error = PilotError(Code.PAYLOADEXECUTIONFAILURE, "no such calibration", exe=65)
    job = a_job(phase=FAILED, errors=(error,), outcome=outcome, receipts=(stored("log.tgz"),))
    update = Update(job=job, final=True, at=NOON + 9000, node="wn", log_tail="the end")
    cpu = {"cpu_consumption_unit": "s+Good CPU", "cpu_architecture_level": "x86-64-v3"}
    sent = fitted(TELLS, fields_of(update, WHO, cpu))
    assert set(TAKEN.split()) == TELLS.keys()
    assert TELLS.keys() - sent.keys() == NOT_SENT.keys() | MEASURED.keys()
    measured = evolve(job, outcome=evolve(outcome, usage=evolve(USED, more=dict.fromkeys(MEASURED, 7.0))))
    sent = fitted(TELLS, fields_of(evolve(update, job=measured), WHO, cpu))
    assert TELLS.keys() - sent.keys() == NOT_SENT.keys()
    running = told(a_job(phase=RUNNING, usage=USED), debug=True, log_tail="so far")
    assert {"job_sub_status", "stdout"} <= running.keys()


def test_a_reduced_update_is_plain_and_keeps_what_matters():
    ended = Outcome(exit_code=1, usage=USED)
    job = a_job(errors=(PilotError(Code.STAGEINFAILED, "漢" * 400),), outcome=ended, receipts=(stored("log.tgz"),))
    full = told(job, final=True, log_tail="é")
    less = reduced(full)
    assert full.keys() - less.keys() == {"job_metrics", "pilot_log"}
    assert not SPARED & less.keys()
    kept = ("job_id", "attempt_nr", "job_status", "pilot_error_code", "job_output_report", "trans_exit_code")
    assert all(less[name] == full[name] for name in kept)
    assert json.dumps(less, ensure_ascii=False).isascii()
    assert len(less["pilot_error_diag"]) <= 250


def test_a_real_job_can_be_reported(wire_job):
    job = read_job(wire_job())
    assert told(job, final=True)["job_id"] == 7100000001


# --- for any values ---------------------------------------------------------------------------------------------------

TEXT = st.text(max_size=700) | st.text("漢é🚀 \t\n\x00\x1b[m\udc80", max_size=2000)
VALUES = st.one_of(TEXT, st.integers(), st.floats(), st.none(), st.booleans())


@given(st.dictionaries(st.sampled_from(sorted({*TELLS, *ASKS, "of_nobody"})), VALUES))
@settings(max_examples=250, deadline=None)
def test_whatever_is_said_fits_and_saying_it_again_changes_nothing(values):
    """server:U-10"""
    for words in (TELLS, ASKS):
        said = fitted(words, values)
        json.dumps(said, allow_nan=False).encode()
        assert said.keys() <= words.keys()
        assert None not in said.values()
        assert "" not in said.values()
        assert fitted(words, said) == said
        for name, width in WIDTHS.items():
            assert len(str(said.get(name, "")).encode()) <= width
        assert "\0" not in "".join(str(each) for each in said.values())


@given(TEXT, st.integers(0, 60))
@settings(max_examples=250, deadline=None)
def test_cutting_splits_no_character_and_keeps_all_that_fits(text, limit_b):
    text = clean(text)
    first, last = head(text, limit_b), tail(text, limit_b)
    assert text.startswith(first)
    assert text.endswith(last)
    for part, rest in ((first, text[len(first) :]), (last, text[: len(text) - len(last)][::-1])):
        size_b = len(part.encode())
        assert size_b <= limit_b
        assert not rest or size_b + len(rest[0].encode()) > limit_b


@given(st.lists(st.text("ab=漢", min_size=1, max_size=9), max_size=30), st.integers(1, 80))
@settings(max_examples=200, deadline=None)
def test_no_pair_is_cut_in_two(words, limit_b):
    kept = str(pairs(limit_b)(" ".join(words))).split()
    assert kept == words[: len(kept)]
    assert len(" ".join(kept).encode()) <= limit_b
    if len(kept) < len(words):
        assert len(" ".join(words[: len(kept) + 1]).encode()) > limit_b


@pytest.mark.parametrize("fit", [line(20), last_lines(20)])
def test_what_a_terminal_obeys_is_gone(fit):
    assert fit("a\x1b[2J\x1b]0;title\x07b\x00\x9bc\x7f\r\n") in ("abc", "abc\n")


def test_a_failure_says_of_which_class_it_is_before_what_was_measured() -> None:
    facts = {"class": "memory", "retry": "changed", "memory_factor": 1.5, "remedy": "Ask for more"}
    error = PilotError(Code.PAYLOADOUTOFMEMORY, "x ran out (payload.stderr:5: MemoryError)", **facts)
    said = told(a_job(errors=(error,), usage=USED), final=True)
    assert said["job_metrics"].startswith("failure=memory fault=payload retry=same memoryFactor=1.5 cpu=")
    assert said["pilot_error_diag"].endswith("(payload.stderr:5: MemoryError); Ask for more")
    assert "failure=" not in told(a_job(errors=(error,), usage=USED))["job_metrics"]
