"""The running pilot: one loop that owns all state, workers that block for it, and the way in and out."""
