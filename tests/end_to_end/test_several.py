"""Several jobs in one pilot: within the slot, the next one's input while this one runs, nothing carried over."""

from __future__ import annotations

import json

import pytest

TIMED = "date +%s.%N > {root}/{name}.begin; sleep {lasts}; date +%s.%N > {root}/{name}.end; env > {root}/{name}.env"


def timed(site, name, lasts=0.5, **needs):
    site.job(name, TIMED.format(root=site.root, name=name, lasts=lasts), needs=needs)


def span(site, name):
    return tuple(float((site.root / f"{name}.{edge}").read_text()) for edge in ("begin", "end"))


def overlap(site, one, two):
    (begin_1, end_1), (begin_2, end_2) = span(site, one), span(site, two)
    return begin_1 < end_2 and begin_2 < end_1


def test_jobs_share_the_slot_and_never_more(site):
    for name in ("a", "b", "c"):
        timed(site, name, cores=2, memory="1 GB")
    code, said = site.run("slot.cores=4", "slot.memory_b=3 GB")
    assert code == 0, said
    assert overlap(site, "a", "b")
    assert not overlap(site, "a", "c") or not overlap(site, "b", "c")


def test_a_large_job_waits_for_the_whole_slot(site):
    timed(site, "a", cores=1)
    timed(site, "b", cores=4)
    code, said = site.run("slot.cores=4")
    assert code == 0, said
    assert not overlap(site, "a", "b")


def test_each_job_has_gpus_of_its_own(site):
    timed(site, "a", gpus=1)
    timed(site, "b", gpus=1)
    code, said = site.run("slot.cores=4", "slot.gpus=gpu-x,gpu-y")
    assert code == 0, said
    assert overlap(site, "a", "b")
    devices = [
        next(line for line in (site.root / f"{name}.env").read_text().splitlines() if line.startswith("CUDA_VISIBLE"))
        for name in ("a", "b")
    ]
    assert sorted(devices) == ["CUDA_VISIBLE_DEVICES=gpu-x", "CUDA_VISIBLE_DEVICES=gpu-y"]


def test_the_next_jobs_input_comes_while_this_one_runs(site):
    (site.root / "in.txt").write_text("x")
    for name in ("a", "b"):
        site.job(
            name,
            TIMED.format(root=site.root, name=name, lasts=1),
            inputs=[{"name": "in.txt", "source": str(site.root / "in.txt")}],
        )
    code, said = site.run("slot.cores=1")
    assert code == 0, said
    assert not overlap(site, "a", "b")
    assert site.report("b")["times"]["stage_in"] < span(site, "a")[1]
    assert span(site, "b")[0] - span(site, "a")[1] < 0.5


def test_a_job_that_the_slot_can_never_hold_is_refused_with_the_reason(site):
    timed(site, "giant", cores=64)
    timed(site, "b")
    _, said = site.run("slot.cores=2")
    report = site.report("giant")
    assert report["state"] == "failed"
    assert "64 needed, 2 there" in report["error"]["detail"]
    assert site.report("b")["state"] == "finished", said


def test_a_good_job_a_bad_one_and_a_good_one(site):
    """pilot:J01, J03"""
    site.job("a", "true")
    site.job("b", "exit 4")
    site.job("c", "true")
    code, said = site.run("slot.cores=1", "pilot.prefetch_jobs=0")
    assert code == 0, said
    states = [site.report(name)["state"] for name in ("a", "b", "c")]
    assert states == ["finished", "failed", "finished"]
    assert site.report("b")["error"]["number"] == 1305
    assert site.report("b")["outcome"]["exit_code"] == 4
    assert "error" not in site.report("c")


@pytest.mark.parametrize("failures", [0, 3])
def test_a_node_that_fails_jobs_quickly_takes_no_more(site, failures):
    for number in range(6):
        site.job(f"bad{number}", "exit 1")
    code, said = site.run(f"pilot.black_hole_failures={failures}", "pilot.prefetch_jobs=0", "slot.cores=1")
    waiting = sorted(path.stem for path in site.box.glob("*.json"))
    if failures:
        assert code == 75, said
        assert waiting[-1:] == ["bad5"], "jobs that were asked for before the last failures were known are done"
        assert "takes no more work" in said
    else:
        assert (code, waiting) == (0, [])


def test_a_node_that_is_not_fit_takes_nothing(site):
    """pilot:A09"""
    site.job("a", "true")
    code, said = site.run("slot.free_disk_b=900000 TB")
    assert code == 69, said
    assert "1098" in said
    assert (site.box / "a.json").exists()


def test_the_records_tell_it_all(site):
    site.job("a", "echo oops >&2; exit 3", log={"name": "log.tgz", "destination": str(site.store / "log.tgz")})
    site.run()
    record = json.loads((site.work / "PanDA_Pilot-a.control" / "record.json").read_text())
    assert record["state"] == "failed"
    assert record["error"]["number"] == 1305
    assert "oops" in record["error"]["detail"]
    assert [phase["phase"] for phase in record["phases"]] == ["accepted", "stage_in", "running", "stage_out", "failed"]
    assert record["outcome"]["exit_code"] == 3
    assert [file["lfn"] for file in record["files"]] == ["log.tgz"]


def test_jobs_share_the_disk_and_never_more(site):
    for name in ("a", "b"):
        timed(site, name, disk="6 GB")
    code, said = site.run("slot.cores=4", "slot.disk_b=10 GB")
    assert code == 0, said
    assert not overlap(site, "a", "b")
