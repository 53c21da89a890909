"""The loop, for workflows that need one of their own: state, events, timers and workers as the pilot's own has."""

from pilot_core.agent.loop import Loop
from pilot_core.agent.workers import Workers
from pilot_core.clock import Clock, SystemClock
from pilot_core.io.box import Box

__all__ = ["Box", "Clock", "Loop", "SystemClock", "Workers"]
