"""The outside world, one concern a module."""
