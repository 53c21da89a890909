"""``pilot status`` and its kin against a control socket that answers as a pilot does, and against nobody."""

from __future__ import annotations

import json
import selectors
import threading
from pathlib import Path

import pytest

from pilot_core.agent.control import ControlSocket

ANSWER = {
    "mode": "open",
    "slot": {"cores": 8, "memory_b": 16_000_000_000, "gpus": ["0"]},
    "taken": 3,
    "finished": 1,
    "failed": 0,
    "reason": None,
    "jobs": [
        {
            "id": "4711",
            "attempt": 2,
            "phase": "running",
            "step": "run",
            "waits_for_slot": False,
            "since": 1.0,
            "running_s": 75.0,
            "pid": 1234,
            "cpu_s": 70.0,
            "rss_b": 1_500_000_000,
            "stored": ["a.txt"],
            "error": None,
        },
        {
            "id": "4712",
            "attempt": 0,
            "phase": "stage_in",
            "step": "prepare",
            "waits_for_slot": True,
            "since": 2.0,
            "running_s": 3.0,
            "pid": None,
            "cpu_s": 0.0,
            "rss_b": 0,
            "stored": [],
            "error": "1099 STAGEINFAILED",
        },
    ],
    "left_behind": ["stage_in/4700 in socket.py:1 recv"],
}


@pytest.fixture
def living(tmp_path: Path):
    """A door with nobody behind it but this answer; what was asked is kept."""
    own, asked = tmp_path / "pilot.control", []
    own.mkdir()

    def obey(request):
        asked.append(request["order"])
        return ANSWER

    door = ControlSocket(own, obey)
    ended = threading.Event()

    def serve():
        with selectors.DefaultSelector() as selector:
            selector.register(door.listener, selectors.EVENT_READ)
            while not ended.is_set():
                if selector.select(0.05):
                    door.accept()

    thread = threading.Thread(target=serve)
    thread.start()
    yield asked
    ended.set()
    thread.join()
    door.close()


def test_status_is_readable(pilot, living):
    said = pilot("status")
    assert said.code == 0
    assert said.out.splitlines() == [
        "the pilot is open: 1 finished, 0 failed",
        "slot: 8 cores, 16.0 GB, 1 GPU",
        "",
        "JOB   ATTEMPT  PHASE     STEP                FOR         PID   CPU         MEMORY  STORED  ERROR",
        "4711  2        running   run                 1 min 15 s  1234  1 min 10 s  1.5 GB  a.txt   -",
        "4712  0        stage_in  waits for the slot  3.0 s       -     -           -       -       1099 STAGEINFAILED",
        "left behind: stage_in/4700 in socket.py:1 recv",
    ]


@pytest.mark.parametrize(("asks_s", "later"), [(None, ""), (3.0, "; it is asked for work again in 3.0 s")])
def test_the_silence_of_the_server_is_told(pilot, living, monkeypatch, asks_s, later):
    silent = {"silent_s": 75.0, "asks_again_s": asks_s, "why": "nobody listens"}
    monkeypatch.setitem(ANSWER, "server", silent)
    told = f"the server has not answered for 1 min 15 s{later}, because nobody listens"
    assert pilot("status").out.splitlines()[2] == told


def test_status_as_json_is_the_pilots_answer(pilot, living, tmp_path):
    assert json.loads(pilot("status", tmp_path, "--json").out) == ANSWER
    assert living == ["status"]


@pytest.mark.parametrize("order", ["drain", "pause", "resume", "stop"])
def test_an_order_is_given_and_confirmed(pilot, living, order):
    said = pilot(order)
    assert (said.code, living) == (0, [order])
    assert said.out.endswith("(2 jobs under way)\n")
    assert json.loads(pilot(order, "--json").out)["finished"] == 1


@pytest.mark.parametrize("order", ["status", "drain", "stop"])
def test_where_no_pilot_ever_was(pilot, order, tmp_path):
    said = pilot(order, tmp_path / "elsewhere")
    assert said.code == 1
    assert "elsewhere is not the work directory of a pilot" in said.out + said.err


def test_of_a_dead_pilot_without_jobs(pilot, tmp_path):
    (tmp_path / "pilot.control").mkdir()
    said = pilot("status")
    assert (said.code, said.out) == (1, f"no pilot runs in {tmp_path}\n")
    told = json.loads(pilot("status", "--json").out)
    assert (told["mode"], told["jobs"]) == ("gone", [])
