"""The kit's server: each ordered fault as the real client and a real pilot see it."""

from __future__ import annotations

import gc
import io
import ssl
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from pilot_core.errors import PilotError
from pilot_core.io.cancel import CancelFlag
from pilot_core.io.http import Web
from pilot_core.testing import PilotKit
from pilot_core.testing.fakes import FakeClock, Payload
from pilot_core.testing.server import Fault, PilotServer

pytest_plugins = ["pilot_core.testing.fixtures"]
pytestmark = pytest.mark.usefixtures("unchanged_process")

ACQUIRE, UPDATE = "/api/v1/pilot/acquire_jobs", "/api/v1/pilot/update_job"
ALIVE = "/api/v1/system/is_alive"
SAID = b"said\n" * 40000


def says(here, env):
    (here / "out.txt").write_bytes(SAID)


@pytest.fixture
def pilot(panda_server, tmp_path):
    """Runs a pilot in this process that works for the server."""

    def run(jobs=1, **settings):
        usual = {**panda_server.settings(), "pilot.max_jobs": jobs, "pilot.ask_again_s": 0.05}
        kit = PilotKit(settings={**usual, **settings}, outcome=Payload(does=says), tmp=tmp_path / "kit")
        return kit.run()

    return run


def count(server, path):
    return sum(each.endswith(path) for each in server.heard)


def alive(web, **more):
    return web.call("GET", ALIVE, **more)


# --- without a fault ---


def test_a_pilot_does_its_work_over_tls(panda_server, pilot):
    assert panda_server.submit({"script": "true", "outputs": ["out.txt"], "log": "log.tgz"}, 2) == [1, 2]
    run = pilot(jobs=2)
    assert run.ending.finished == 2, run.story()
    assert [(job["id"], job["attempt"], job["state"]) for job in panda_server.wait_over()] == [
        (1, 1, "finished"),
        (2, 1, "finished"),
    ]
    kept = {file["name"]: file["size_b"] for file in panda_server.job(1)["files"]}
    assert kept["out.txt"] == len(SAID)
    assert panda_server.url.startswith("https://127.0.0.1:")


@pytest.fixture
def at_a_time(monkeypatch):
    """How many requests were under way at once at most, counted where they begin and end."""
    under_way, most, asked, lock = set(), [0], Web._ask, threading.Lock()

    def ask(self, *request):
        with lock:
            under_way.add(threading.get_ident())
            most[0] = max(most[0], len(under_way))
        try:
            return asked(self, *request)
        finally:
            with lock:
                under_way.remove(threading.get_ident())

    monkeypatch.setattr(Web, "_ask", ask)
    return most


def test_a_pilot_opens_no_more_connections_than_it_has_requests_at_a_time(panda_server, pilot, at_a_time):
    panda_server.submit({"script": "true", "outputs": ["out.txt"], "log": "log.tgz"}, 6)
    before = len(panda_server.opened)
    run = pilot(jobs=6, **{"slot.cores": 1})
    assert run.ending.finished == 6, run.story()
    assert len(panda_server.heard) > 6 * 5
    assert len(panda_server.opened) - before <= at_a_time[0] + 1  # the first is given up when the queue is known
    gc.collect()
    port = int(panda_server.url.rpartition(":")[2])
    kept = [each for each in psutil.Process().net_connections("tcp") if each.raddr and each.raddr.port == port]
    assert [each for each in kept if each.status == psutil.CONN_ESTABLISHED] == []


def test_nobody_who_does_not_know_its_certificate_is_answered(panda_server):
    with pytest.raises(OSError, match="certificate") as refused:
        urllib.request.urlopen(panda_server.url, timeout=10)
    assert isinstance(refused.value.reason, ssl.SSLCertVerificationError)
    assert not panda_server.heard


def test_its_configuration_is_what_its_file_would_say(tmp_path):
    with PilotServer(tmp_path, config={"queues": {"far": {"cores": 4}}}) as server:
        server.submit({"script": "true"}, queue="far")
        assert [job["queue"] for job in server.jobs()] == ["far"]
        with pytest.raises(AssertionError, match="no queue 'local' here"):
            server.submit({"script": "true"})


def test_all_jobs_are_listed_where_a_page_does_not_hold_them(panda_server):
    ids = panda_server.submit({"script": "true"}, 1001)
    assert [job["id"] for job in panda_server.jobs()] == ids


def test_what_does_not_come_is_not_waited_for_without_end(panda_server):
    panda_server.submit({"script": "true"})
    with pytest.raises(AssertionError, match=r"not so within 0 s.*activated"):
        panda_server.wait_over(0)


def test_a_silent_pilot_loses_its_job_when_the_clock_says_so(tmp_path):
    clock = FakeClock()
    with PilotServer(tmp_path, clock=clock) as server:
        server.submit({"script": "true"})
        server.web("run").call("POST", ACQUIRE, json={"site_name": "local"})
        server.sweep()
        assert [(job["state"], job["lost"]) for job in server.jobs()] == [("sent", 0)]
        clock.advance(301)
        server.sweep()
        assert [(job["state"], job["lost"]) for job in server.jobs()] == [("activated", 1)]


# --- each fault, as the client sees it ---


@pytest.mark.parametrize("number", [500, 503])
def test_a_status(panda_server, number):
    web = panda_server.web()
    panda_server.faults.next(ALIVE, Fault.status(number))
    assert alive(web).status == number
    assert alive(web).status == 200
    assert panda_server.faults.met == [(f"GET {ALIVE}", Fault.status(number))]


def test_slow(panda_server):
    web = panda_server.web()
    panda_server.faults.next(ALIVE, Fault.slow(30))
    with pytest.raises(PilotError) as failed:
        alive(web, limit_s=0.3)
    assert failed.value.facts["sent"]
    assert alive(web).status == 200


def test_slow_is_still_done(panda_server):
    panda_server.faults.next(ALIVE, Fault.slow(0.01))
    assert alive(panda_server.web()).json()["success"]
    assert panda_server.faults.met


@pytest.mark.parametrize(
    "fault",
    [Fault.cut(0), Fault.cut(5), Fault.garbage(), Fault.wrong_length(), Fault.lost_answer()],
    ids=lambda fault: f"{fault.name}-{fault.amount}",
)
def test_a_spoiled_answer_is_no_answer(panda_server, fault):
    web = panda_server.web()
    panda_server.faults.next(ALIVE, fault)
    with pytest.raises(PilotError) as failed:
        alive(web)
    assert failed.value.facts["sent"]
    assert str(panda_server.url) in str(failed.value)
    assert alive(web).status == 200


def test_too_small_a_length_is_a_broken_answer(panda_server):
    web = panda_server.web()
    panda_server.faults.next(ALIVE, Fault.wrong_length(-9))
    with pytest.raises(PilotError, match="no JSON"):
        alive(web).json()
    assert alive(web, repeat=True).json()["success"], "what was left on the line is nobody's answer"


@pytest.mark.parametrize("fault", [Fault.cut(100), Fault.wrong_length(), Fault.lost_answer()], ids=lambda f: f.name)
def test_a_file_that_does_not_come_whole(panda_server, pilot, fault):
    panda_server.submit({"script": "true", "outputs": ["out.txt"]})
    pilot()
    web, url = panda_server.web(), "/storage/1.1/out.txt"
    panda_server.faults.next(url, fault)
    with pytest.raises(PilotError):
        web.fetch(url, io.BytesIO(), limit_s=10, cancel=CancelFlag())
    whole = io.BytesIO()
    assert web.fetch(url, whole, limit_s=10, cancel=CancelFlag()).status == 200
    assert whole.getvalue() == SAID


def test_an_ordered_fault_may_be_taken_back(panda_server):
    panda_server.faults.next(ALIVE, Fault.garbage())
    panda_server.faults.clear()
    assert alive(panda_server.web()).status == 200
    assert not panda_server.faults.met


def test_the_second_address_is_found_and_kept(panda_server):
    dead, living = panda_server.dead_first_address()
    web = panda_server.web(urls=(dead, living))
    assert alive(web).url.startswith(living)
    with pytest.raises(PilotError, match="nobody listens there"):
        alive(panda_server.web(urls=(dead,)))


# --- each fault, as a pilot sees it ---


def test_a_lost_answer_to_a_request_for_work_is_not_repeated_blindly(panda_server, pilot):
    """The job that it held is nobody's; asking again would bring another one, not this one."""
    panda_server.submit({"script": "true", "outputs": ["out.txt"]}, 2)
    panda_server.faults.next(ACQUIRE, Fault.lost_answer())
    run = pilot(jobs=1, **{"pilot.failed_answers": 1})
    assert count(panda_server, ACQUIRE) == 1, run.story()
    assert [job["state"] for job in panda_server.jobs()] == ["sent", "activated"]


@pytest.mark.parametrize(
    "fault",
    [Fault.status(500), Fault.cut(20), Fault.garbage(), Fault.wrong_length(), Fault.lost_answer()],
    ids=lambda fault: fault.name,
)
def test_the_pilot_asks_again_in_its_own_time(panda_server, pilot, fault):
    panda_server.submit({"script": "true", "outputs": ["out.txt"]}, 2)
    panda_server.faults.next(ACQUIRE, fault)
    run = pilot()
    assert run.ending.finished == 1, run.story()
    assert "finished" in [job["state"] for job in panda_server.jobs()]


@pytest.mark.parametrize("path", [UPDATE, "/storage/"])
@pytest.mark.parametrize(
    "fault",
    [Fault.status(500), Fault.cut(3), Fault.garbage(), Fault.wrong_length(), Fault.lost_answer()],
    ids=lambda fault: fault.name,
)
def test_a_job_survives_one_fault_wherever_it_comes(panda_server, pilot, path, fault):
    panda_server.submit({"script": "true", "outputs": ["out.txt"], "log": "log.tgz"})
    panda_server.faults.next(path, fault)
    run = pilot()
    assert run.ending.finished == 1, run.story()
    (job,) = panda_server.jobs()
    assert (job["state"], job["attempt"]) == ("finished", 1), run.story()
    assert panda_server.faults.met


@pytest.mark.parametrize("fault", [Fault.status(500), Fault.cut(3), Fault.lost_answer()], ids=lambda f: f.name)
def test_a_pilot_starts_though_the_queues_facts_come_at_the_second_try_only(panda_server, pilot, fault):
    panda_server.submit({"script": "true", "outputs": ["out.txt"]})
    panda_server.faults.next("/cache/", fault)
    assert pilot().ending.finished == 1
    assert panda_server.faults.met


def test_where_something_else_answers_no_job_is_touched(panda_server, pilot):
    panda_server.submit({"script": "true"})
    panda_server.faults.next("/", Fault.garbage())
    with pytest.raises(PilotError, match=f"{panda_server.url}: the answer is no HTTP .* see that host and port"):
        pilot()
    assert [job["state"] for job in panda_server.jobs()] == ["activated"]


def test_a_lost_answer_to_the_last_word_does_no_harm(panda_server, pilot):
    panda_server.submit({"script": "true", "outputs": ["out.txt"]})
    panda_server.faults.next(UPDATE, Fault.lost_answer(), times=4)
    run = pilot()
    (job,) = panda_server.jobs()
    assert (job["state"], job["attempt"], run.ending.finished) == ("finished", 1, 1), run.story()


def test_a_pilot_finds_the_server_at_its_second_address(panda_server, pilot):
    panda_server.submit({"script": "true", "outputs": ["out.txt"]})
    run = pilot(**{"connection.url": list(panda_server.dead_first_address())})
    assert run.ending.finished == 1, run.story()


def test_a_pilot_that_lost_a_job_before_its_last_word_was_heard_runs_the_next_attempt(tmp_path):
    """Found: it held the first attempt's last word, refused the second attempt, and so the job had failed."""
    clock, away = FakeClock(), threading.Event()
    with PilotServer(tmp_path, clock=clock) as server:
        (job,) = server.submit({"script": "true"})

        def go_away(here, env):
            if not away.is_set():
                server.faults.next(UPDATE, Fault.status(503), 1000)
                away.set()

        def is_offered_again(jobs):
            if away.is_set() and jobs[0]["attempt"] == 1:
                clock.advance(400.0)
                server.sweep()
            return (jobs[0]["attempt"], jobs[0]["state"]) == (2, "sent")

        def come_back():
            server.wait(is_offered_again)
            server.faults.clear()

        settings = {**server.settings(), "pilot.max_jobs": 2, "pilot.empty_answers": 1000, "pilot.ask_again_s": 0.05}
        kit = PilotKit(settings=settings, outcome=Payload(does=go_away), tmp=tmp_path / "kit")
        with ThreadPoolExecutor(1) as pool:
            back = pool.submit(come_back)
            run = kit.run()
            back.result()
        told = [(each["attempt"], each["state"]) for each in server.job(job)["attempts"]]
        assert told == [(1, "failed"), (2, "finished")], run.story()
