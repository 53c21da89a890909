"""What is the node's: its network, its energy, and the pilot itself."""

from __future__ import annotations

import ctypes
import logging
import os
import subprocess
import sys
import threading

import pytest
from attrs import evolve

from pilot_core.builtin.monitors.energy import Energy
from pilot_core.builtin.monitors.health import Health
from pilot_core.builtin.monitors.network import Network


def test_a_payload_in_the_nodes_network_is_told_the_nodes_bytes(make, view):
    measures = make(Network).look(evolve(view, pids=(os.getpid(),))).measures
    assert measures == {"node_received_b": 0.0, "node_sent_b": 0.0}, "counted since the first look"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a network of its own")
def test_a_payload_with_a_network_of_its_own_is_told_its_bytes(make, view):
    program = "import ctypes; print(ctypes.CDLL(None).unshare(0x40000000), flush=True); input()"
    argv = [sys.executable, "-c", program]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "0\n"
        measures = make(Network).look(evolve(view, pids=(os.getpid(), process.pid))).measures
        process.stdin.close()
    assert measures == {"received_b": 0.0, "sent_b": 0.0}


def test_a_payload_that_has_gone_tells_nothing_of_the_network(make, view):
    assert make(Network).look(evolve(view, pids=(ctypes.c_int(-1).value,))).measures == {}
    assert make(Network).look(view).measures == {}


def test_energy_since_the_first_look(make, view, tmp_path, monkeypatch):
    monkeypatch.setattr(Energy, "root", tmp_path)
    assert "no energy counters" in Energy.probe()
    zone = tmp_path / "sys/class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    (zone / "max_energy_range_uj").write_text("262143328850\n")
    (zone / "energy_uj").write_text("5000000\n")
    assert Energy.probe() is None
    energy = make(Energy)
    assert energy.look(view).measures == {"node_energy_j": 0.0}
    (zone / "energy_uj").write_text("7500000\n")
    assert energy.look(view).measures == {"node_energy_j": 2.5}


def test_the_pilot_itself_is_measured_and_warned_of_once(make, view, caplog):
    caplog.set_level(logging.WARNING)
    health = make(Health, health={"memory_b": 1000, "threads": 10_000, "late_s": 3})
    for _ in range(2):
        measures = health.look(evolve(view, late_s=4.0)).measures
    assert measures["pilot_rss_b"] > 10**6
    assert measures["pilot_threads"] == threading.active_count()
    assert measures["pilot_late_s"] == 4.0
    assert len(caplog.records) == 2, "memory and lateness, once each"
    assert caplog.records[1].getMessage() == "the pilot itself: 4 s behind its own timers, more than 3"
