"""GPUs as their makers' programs show them, recorded."""

from __future__ import annotations

import json

import pytest

from pilot_core.io.node_gpu import MIB, Gpu, read_amd, read_nvidia

HEAD = """
==============NVSMI LOG==============

Timestamp                                 : Tue Mar  4 10:11:12 2025
Driver Version                            : 550.54.15
CUDA Version                              : 12.4

Attached GPUs                             : 3
"""
ONE = """GPU {bus}
    Product Name                          : {name}
    Product Brand                         : NVIDIA
    Product Architecture                  : {kind}
    MIG Mode
        Current                           : Disabled
        Pending                           : Disabled
    FB Memory Usage
        Total                             : {memory}
        Reserved                          : 653 MiB
        Used                              : 4 MiB
        Free                              : 80895 MiB
    BAR1 Memory Usage
        Total                             : 131072 MiB
        Used                              : 1 MiB
    Processes                             : None

"""
A100 = {"name": "NVIDIA A100-SXM4-80GB", "kind": "Ampere", "memory": "81920 MiB"}
T4 = {"name": "Tesla T4", "kind": "Turing", "memory": "15360 MiB"}


def nvidia(*gpus):
    return HEAD + "".join(ONE.format(bus=f"00000000:{17 + n}:00.0", **gpu) for n, gpu in enumerate(gpus))


def test_gpus_of_a_kind_are_counted():
    general = {"framework": "CUDA", "framework_version": "12.4", "driver_version": "550.54.15"}
    assert read_nvidia(nvidia(A100, A100, T4)) == (
        Gpu(vendor="NVIDIA", model="A100-SXM4-80GB", count=2, vram_b=81920 * MIB, architecture="Ampere", **general),
        Gpu(vendor="NVIDIA", model="Tesla T4", count=1, vram_b=15360 * MIB, architecture="Turing", **general),
    )


def test_what_an_old_driver_does_not_know_stays_out():
    old = nvidia({**A100, "kind": "N/A", "memory": "[N/A]"}).replace("12.4", "Not Found")
    (gpu,) = read_nvidia(old)
    assert (gpu.architecture, gpu.vram_b, gpu.framework_version, gpu.driver_version) == ("", None, "", "550.54.15")


@pytest.mark.parametrize(
    "text",
    ["", "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", HEAD, "GPU 0:1:0\n :\n"],
)
def test_no_gpus(text):
    assert read_nvidia(text) == ()


MI250 = {
    "VRAM Total Memory (B)": "68702699520",
    "VRAM Total Used Memory (B)": "10960896",
    "Card series": "AMD INSTINCT MI250X",
    "Card model": "0x0b0c",
    "Card vendor": "Advanced Micro Devices, Inc. [AMD/ATI]",
    "Card SKU": "D65209",
}
NEWER = {"Card Series": "AMD Instinct MI300X", "GFX Version": "gfx942", "VRAM Total Memory (B)": "N/A"}


def test_amd_cards():
    text = "WARNING: AMD GPU device(s) is/are in a low-power state.\n\n" + json.dumps(
        {"card0": MI250, "card1": MI250, "card2": NEWER, "system": {"Driver version": "5.16.9.22.20"}}
    )
    own = {"vendor": "AMD", "framework": "ROCm", "framework_version": "5.7.1", "driver_version": "5.16.9.22.20"}
    assert read_amd(text, "5.7.1") == (
        Gpu(model="INSTINCT MI250X", count=2, vram_b=68702699520, **own),
        Gpu(model="Instinct MI300X", count=1, architecture="gfx942", **own),
    )


@pytest.mark.parametrize(
    "text", ["", "{", "No AMD GPUs specified", "{}", '{"card0": 3}', '{"card0": {}}', '{"system": {}}']
)
def test_no_cards(text):
    assert read_amd(text) == ()
