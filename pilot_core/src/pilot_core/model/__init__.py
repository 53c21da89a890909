"""Frozen values: what a job, a file, a queue and a payload are, and how messages are read into them."""
