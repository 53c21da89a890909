"""The program prmon, as it is called, and the files that it writes: recorded from its version 3.2.0."""

from __future__ import annotations

import json
import os

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from pilot_core.builtin.monitors.prmon import SUMMARY, TEXT, Prmon, read_lines, read_summary, summary_in
from pilot_core.model.job import Job

RECORDED = json.dumps({
    "Avg": {"gpufbmem": 0.0, "nprocs": 1.0, "pss": 154.0, "rchar": 101257.0, "read_bytes": 0.0, "rss": 2048.0,
            "rx_bytes": 130642.0, "swap": 0.0, "vmem": 8292.0, "wchar": 0.0, "write_bytes": 0.0},
    "HW": {"cpu": {"CPUs": 16, "ModelName": "AMD Ryzen 7 7735HS with Radeon Graphics"}, "mem": {"MemTotal": 15591724}},
    "Max": {"nprocs": 1, "pss": 154, "rchar": 7088, "read_bytes": 0, "rss": 2048, "stime": 0, "swap": 0, "utime": 0,
            "vmem": 8292, "wchar": 0, "write_bytes": 0, "wtime": 7},
    "prmon": {"Version": "3.2.0"},
})  # fmt: skip
LINES = (
    "Time\twtime\tpss\trss\tswap\tvmem\trchar\tread_bytes\twchar\twrite_bytes\tstime\tutime\tnprocs\tnthreads\n"
    "1771507908\t1\t154\t2048\t0\t8292\t7088\t0\t0\t0\t0\t0\t1\t1\n"
    "1771507910\t3\t254\t4048\t0\t8292\t8088\t0\t0\t4096\t0\t0\t1\t1\n"
    "1771507912\t5\t9"
)
TOLD = {"max_pss": 154.0, "avg_rss": 2048.0, "max_vmem": 8292.0, "tot_rchar": 7088.0, "rate_rchar": 101257.0}


def test_its_summary_goes_by_the_servers_names():
    told = read_summary(RECORDED)
    assert TOLD.items() <= told.items()
    assert len(told) == 16


def test_its_lines_tell_the_same_while_it_has_no_summary():
    told = read_lines(LINES)
    assert (told["max_pss"], told["avg_pss"], told["tot_rchar"], told["tot_wbytes"]) == (254.0, 204.0, 8088.0, 4096.0)


@given(st.one_of(st.text(), st.builds(json.dumps, st.dictionaries(st.sampled_from(["Max", "Avg"]), st.integers()))))
def test_whatever_it_writes_is_read_or_left(text):
    assert read_summary(text) == {}
    assert isinstance(read_lines(text), dict)


def test_the_summary_counts_then_its_snapshot_then_the_lines(tmp_path):
    assert summary_in(tmp_path) == {}
    (tmp_path / TEXT).write_text(LINES)
    assert summary_in(tmp_path)["max_pss"] == 254.0
    (tmp_path / f"{SUMMARY}_snapshot").write_text(RECORDED)
    assert summary_in(tmp_path)["max_pss"] == 154.0
    (tmp_path / SUMMARY).write_text(RECORDED.replace('"pss": 154,', '"pss": 155,'))
    assert summary_in(tmp_path)["max_pss"] == 155.0


def test_it_is_started_for_the_payload_and_asked_to_end(make, view, tmp_path, monkeypatch):
    place, control = tmp_path / "bin", tmp_path / "control"
    place.mkdir()
    control.mkdir()
    (tmp_path / "recorded").write_text(RECORDED)
    (place / "prmon").write_text(
        "#!/bin/sh\n"
        f"trap 'cp {tmp_path}/recorded {SUMMARY}; exit 0' USR1\n"
        f'echo "$*" > arguments; mkfifo pipe; echo > {tmp_path}/ready; while :; do read line < pipe; done\n'
    )
    (place / "prmon").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:/usr/bin:/bin")
    assert Prmon.probe() is None
    os.mkfifo(tmp_path / "ready")
    prmon = make(Prmon, prmon={"interval_s": 30})
    assert prmon.look(evolve(view, control=control, job=Job(id="1", notes={"pid": 4711}))).measures == {}
    (tmp_path / "ready").read_text()
    prmon.close()
    assert TOLD.items() <= summary_in(control).items()
    wanted = f"--pid 4711 --filename {TEXT} --json-summary {SUMMARY} --interval 30\n"
    assert (control / "arguments").read_text() == wanted


@pytest.mark.parametrize("notes", [{}, {"pid": 5}], ids=["without a payload", "without a place"])
def test_without_a_payload_or_a_place_it_waits(make, view, notes):
    prmon = make(Prmon)
    assert prmon.look(evolve(view, job=Job(id="1", notes=notes))).measures == {}
    prmon.close()
