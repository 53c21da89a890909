"""ATLAS for the PanDA pilot: ``pilot run --experiment atlas``."""
