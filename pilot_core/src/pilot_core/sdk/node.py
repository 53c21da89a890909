"""What there is on this node, for drivers that tell somebody of it."""

from pilot_core.io.node import NodeFacts, Program, output_of
from pilot_core.io.node_cpu import Cpu
from pilot_core.io.node_gpu import Gpu
from pilot_core.io.node_use import (
    AMD_USE,
    NVIDIA_USE,
    GpuUse,
    energy_j,
    read_amd_use,
    read_energy,
    read_network,
    read_nvidia_use,
)
from pilot_core.plugins.drivers import batch_job

__all__ = [
    "AMD_USE",
    "NVIDIA_USE",
    "Cpu",
    "Gpu",
    "GpuUse",
    "NodeFacts",
    "Program",
    "batch_job",
    "energy_j",
    "output_of",
    "read_amd_use",
    "read_energy",
    "read_network",
    "read_nvidia_use",
]
