"""Workflows: what a job goes through, as tables of steps; each is a driver like anybody's."""
