"""The keeper: owns what must outlive or outwatch the pilot.

A program, not a library: the pilot starts `PROGRAM` as ``python -I -S PROGRAM FD PID`` with one end of a
socket pair. It imports little, and nothing of the pilot, so it is small; it has one thread, so it may
fork; it wakes only when something happens. It forks a *tree* per job: the sub-reaper and parent of that
job's processes, which serves whoever connects to `SOCKET` in the job's control directory, has every exit
status in `PROCESSES` before it tells anybody, and follows the orphan policy once nobody is connected.
Trees outlive pilot and keeper. All speak JSON, a message a line.

It is a package because a script is compiled at every start, which takes as much memory as all it does
later.
"""

PROGRAM = "__main__.py"
HIDING = "hiding.py"
"""The program that tries whether paths can be hidden."""
SOCKET = "keeper.sock"
ADDRESS = "keeper.addr"
PROCESSES = "processes.jsonl"
LOG = "keeper.log"
FORMAT = 1
