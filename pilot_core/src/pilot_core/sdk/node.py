"""What there is on this node, for drivers that tell somebody of it."""

from pilot_core.io.node import NodeFacts, Program, output_of
from pilot_core.io.node_cpu import Cpu
from pilot_core.io.node_gpu import Gpu

__all__ = ["Cpu", "Gpu", "NodeFacts", "Program", "output_of"]
