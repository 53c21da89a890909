"""Copy tools for the PanDA pilot, one module a tool; a tool's library is imported where it is used."""
