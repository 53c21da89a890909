"""GPUs as recorded from their makers' programs, asked as they are on a node that has them."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from pilot_core.builtin.monitors.gpu import Gpus
from pilot_core.model.job import Job

NVIDIA = """\
0, GPU-22b2c6ac-2d49-4863-197c-9c469071178a, 86, 3011, 176.98
1, GPU-5f3c7b21-8c0c-11ee-9f5a-0242ac120002, 50, 1000, [N/A]
"""
AMD = '{"card0": {"GPU use (%)": "19", "VRAM Total Used Memory (B)": "27856896"}}'


@pytest.fixture
def node(tmp_path_factory, monkeypatch):
    """``node(program, text)``: a node on which a program prints that, and notes its arguments."""
    place = tmp_path_factory.mktemp("bin")
    monkeypatch.setenv("PATH", f"{place}:/usr/bin:/bin")

    def add(program: str, text: str, status: int = 0) -> Path:
        (place / "told").write_text(text)
        (place / program).write_text(f'#!/bin/sh\necho "$*" > {place}/asked\ncat {place}/told\nexit {status}\n')
        (place / program).chmod(0o755)
        return place / "asked"

    return add


def with_gpus(view, *names):
    return evolve(view, job=Job(id="1", devices=names))


def test_the_gpus_of_the_job_are_told_together(make, view, node):
    asked = node("nvidia-smi", NVIDIA)
    both = make(Gpus).look(with_gpus(view, "0", "1")).measures
    assert both == {"gpu_busy": pytest.approx(1.36), "gpu_memory_b": float(4011 << 20), "gpu_power_w": 176.98}
    assert "--query-gpu=index,uuid,utilization.gpu,memory.used,power.draw" in asked.read_text()


def test_other_jobs_gpus_are_not_told(make, view, node):
    node("nvidia-smi", NVIDIA)
    assert make(Gpus).look(with_gpus(view, "GPU-5f3c7b21-8c0c-11ee-9f5a-0242ac120002")).measures["gpu_busy"] == 0.5
    assert make(Gpus).look(with_gpus(view, "7")).measures == {}


def test_the_other_maker_s(make, view, node):
    node("rocm-smi", AMD)
    assert make(Gpus).look(with_gpus(view, "0")).measures == {"gpu_busy": 0.19, "gpu_memory_b": 27856896.0}


def test_nobody_is_asked_for_a_job_without_gpus(make, view, node):
    asked = node("nvidia-smi", NVIDIA)
    assert make(Gpus).look(view).measures == {}
    assert not asked.exists()


def test_a_program_that_fails_tells_nothing(make, view, node):
    node("nvidia-smi", NVIDIA, status=9)
    assert make(Gpus).look(with_gpus(view, "0")).measures == {}
