"""Batch systems, launchers and allocations for the PanDA pilot; so far what a slot or allocation is."""
