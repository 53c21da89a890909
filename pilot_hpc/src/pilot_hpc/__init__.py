"""Batch systems, launchers and allocations for the PanDA pilot. Nearly empty: it registers nothing yet."""
