"""Finding plugins and drivers, calling them, and saying in whose name something failed."""
