"""Processes before, beside and after a payload: what each may cost, and what its end means for the job."""

from __future__ import annotations

import json
import signal

import pytest

PLUGIN = """
from pilot_core.sdk import Command, SideProcess, hookimpl

def sides(*scripts, **more):
    named = ((script.partition(": ")[0], script.partition(": ")[2]) for script in scripts)
    return [SideProcess(name=name, command=Command("/bin/sh", "-c", script), **more) for name, script in named]

@hookimpl
def pilot_payload_preprocesses():
    return sides(*{before!r}, **{more!r})

@hookimpl
def pilot_payload_sides():
    return sides(*{beside!r})

@hookimpl
def pilot_payload_postprocesses():
    return sides(*{after!r}, **{more!r})
"""
SAYS = "echo {0}; echo {0} >> ../order"
FIRST, SECOND, LAST = (f"{name}: {SAYS.format(name)}" for name in ("first", "second", "last"))
PAYLOAD = SAYS.format("payload")


@pytest.fixture
def begin(site):
    """Starts a pilot with a job and what runs around its payload."""

    def start(script, *, before=(), beside=(), after=(), outputs=(), **more):
        plugin = site.root / "pilotfile.py"
        plugin.write_text(PLUGIN.format(before=before, beside=beside, after=after, more=more))
        log = {"name": "log.tgz", "destination": str(site.store / "log.tgz")}
        site.job("one", script, outputs=[site.output(name) for name in outputs], log=log)
        return site.start(
            *site.arguments(f"bootstrap.pilotfile={plugin}", "payload.grace_s=1", "payload.output_b=1 MB")
        )

    return start


@pytest.fixture
def run(site, begin):
    """The report of such a job, when its pilot has ended."""

    def until_the_end(script, **around):
        pilot = begin(script, **around)
        said, _ = pilot.communicate(timeout=60)
        assert (site.store / "log.tgz").exists(), said
        return site.report("one")

    return until_the_end


def order(site):
    return (site.work / "order").read_text().split()


def failure(report):
    assert report["state"] == "failed"
    return report["error"]["number"], report["error"]["facts"].get("trf"), report["error"]["detail"]


def test_they_run_in_their_order_and_their_words_are_kept(site, run):
    """pilot:C12"""
    beside = "coprocess: echo beside; sleep 300"
    report = run(f"sleep 0.3; {PAYLOAD}", before=(FIRST, SECOND), beside=(beside,), after=(LAST,))
    assert report["state"] == "finished"
    assert order(site) == ["first", "second", "payload", "last"]
    import tarfile

    with tarfile.open(site.store / "log.tgz") as log:
        kept = {name.rpartition("/")[2] for name in log.getnames()}
    assert {f"{name}.stdout" for name in ("first", "second", "coprocess", "last", "payload")} <= kept


def test_one_that_fails_before_the_payload_fails_the_job(site, run):
    """pilot:C09"""
    report = run(PAYLOAD, before=(FIRST, "bad: exit 1", SECOND), after=(LAST,))
    assert failure(report) == (1356, 1, "bad ended with exit code 1")
    assert order(site) == ["first"]


@pytest.mark.parametrize("status", [160, 161, 162])
def test_one_that_finds_nothing_to_do_finishes_it(site, run, status):
    """pilot:C10"""
    enough = (160, 161, 162)
    report = run(PAYLOAD, before=(FIRST, f"looks: exit {status}", SECOND), after=(LAST,), outputs=["x"], enough=enough)
    assert report["state"] == "finished", report
    assert order(site) == ["first"]


def test_one_that_fails_after_the_payload_fails_the_job_and_keeps_none_from_running(site, run):
    """pilot:C11"""
    report = run(PAYLOAD, after=("bad: exit 1", LAST))
    assert failure(report) == (1357, 1, "bad ended with exit code 1")
    assert order(site) == ["payload", "last"]


def test_a_payload_that_failed_is_what_is_reported(site, run):
    report = run(f"{PAYLOAD}; exit 3", after=(LAST, "bad: exit 1"))
    assert failure(report)[:2] == (1305, 3)
    assert order(site) == ["payload", "last"]


def test_nothing_of_the_payload_is_left_when_what_comes_after_it_begins(site, run):
    left = "echo $$ > ../pid; exec sleep 300"
    looks = "looks: kill -0 $(cat ../pid) 2>/dev/null && exit 1 || exit 0"
    report = run(f"setsid sh -c '{left}' & while [ ! -s ../pid ]; do sleep 0.05; done", after=(looks,))
    assert report["state"] == "finished", report


@pytest.mark.parametrize(("around", "number"), [("before", 1356), ("after", 1357)])
def test_each_has_a_limit_of_its_own(run, around, number):
    report = run(PAYLOAD, **{around: ("slow: sleep 300",)}, limit_s=0.3)
    assert failure(report)[::2] == (number, "slow was ended: it had 0.3 s")


@pytest.mark.parametrize(("around", "number"), [("before", 1356), ("after", 1357)])
def test_each_may_write_no_more_than_a_payload(run, around, number):
    report = run(PAYLOAD, **{around: ("chatty: exec head -c 9000000 /dev/zero",)})
    assert failure(report)[::2] == (number, "chatty wrote more than payload.output_b allows")


@pytest.mark.parametrize(("around", "number"), [("before", 1356), ("after", 1357)])
def test_one_that_cannot_be_started_is_named(site, run, around, number):
    site.job("one", PAYLOAD)
    odd = f"odd: {'x' * 200_000}"
    assert failure(run(PAYLOAD, **{around: (odd,)}))[0] == number


@pytest.mark.parametrize("makes", ["ln -s ../mine", "ln ../mine", "mkfifo"])
@pytest.mark.parametrize("around", ["before", "after"])
def test_no_output_goes_where_the_job_leads_it(site, run, around, makes):
    mine = site.work / "mine"
    leads = f"{PAYLOAD}; echo mine > ../mine; {makes} last.stdout"
    report = run(leads, after=(LAST,)) if around == "after" else run("exit 9", before=(f"odd: {leads}", LAST))
    number, _, told = failure(report)
    assert number == {"before": 1356, "after": 1357}[around]
    assert told.startswith("last did not start: ")
    assert "/last.stdout: it is not a plain file of one name" in told
    assert (mine.read_text(), order(site)) == ("mine\n", ["payload"])


@pytest.mark.parametrize("around", ["before", "after"])
def test_a_stop_leaves_out_what_has_not_begun(site, begin, around):
    waits = "waits: echo now > ../waiting; exec sleep 300"
    pilot = begin(PAYLOAD, **{around: (waits, LAST)})
    site.await_file(site.work / "waiting")
    pilot.send_signal(signal.SIGTERM)
    said, _ = pilot.communicate(timeout=60)
    assert site.report("one")["error"]["number"] == 1201, said
    assert "last" not in order(site) if around == "after" else not (site.work / "order").exists()
    assert (site.store / "log.tgz").exists()


@pytest.mark.parametrize("around", ["before", "after"])
def test_a_pilot_that_is_killed_meanwhile_leaves_a_job_that_can_be_ended(site, begin, around):
    once = "once: echo once >> ../order; [ -e ../waiting ] || { echo now > ../waiting; exec sleep 300; }"
    pilot = begin(PAYLOAD, **{around: (once, LAST)})
    site.await_file(site.work / "waiting")
    pilot.kill()
    pilot.communicate()
    code, said = site.recover()
    assert code == 0, said
    report = json.loads((site.box / "reports" / "one.json").read_text())
    assert (report["state"], order(site)) == {
        "before": ("failed", ["once"]),
        "after": ("finished", ["payload", "once", "once", "last"]),
    }[around], report
