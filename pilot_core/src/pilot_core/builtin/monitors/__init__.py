"""The core's own monitors, a module each: what a payload may use, what it uses, and whether it still gets on."""
