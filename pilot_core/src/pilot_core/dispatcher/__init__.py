"""The embedded dispatcher: jobs on SQLite, handed to pilots by PanDA's own calls, shown and steered over HTTP."""
