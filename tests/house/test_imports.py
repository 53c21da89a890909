"""Importing any module reads no file, no environment and no clock, and starts nothing."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import importlib, os, pkgutil, sys, threading, time

PACKAGES = ("pilot_core", "pilot_copytools", "pilot_hpc", "pilot_atlas", "pilot_lsst")

def ours():
    return [name for name in sys.modules if name.partition(".")[0] in PACKAGES]

def import_all():
    for package in PACKAGES:
        top = importlib.import_module(package)
        for found in pkgutil.walk_packages(top.__path__, package + "."):
            if ".templates" not in found.name:
                importlib.import_module(found.name)
                yield found.name

modules = list(import_all())  # once freely, so that what others do when they are imported is over
for name in ours():
    del sys.modules[name]

class Poison(dict):
    def refuse(self, *arguments, **named):
        raise SystemExit(f"{importing}: reads the environment")
    __getitem__ = __contains__ = __iter__ = get = copy = items = keys = refuse

def refuse_clock(*arguments):
    raise SystemExit(f"{importing}: reads a clock")

def refuse_thread(*arguments):
    raise SystemExit(f"{importing}: starts a thread")

def refuse(event, arguments):
    if event == "open" and not str(arguments[0]).endswith((".py", ".pyc", ".so")):
        raise SystemExit(f"{importing}: opens {arguments[0]}")
    if event in ("os.listdir", "os.scandir") and not str(arguments[0]).startswith(looked_in):
        raise SystemExit(f"{importing}: lists {arguments[0]}")
    if event.startswith(("socket.", "subprocess.", "os.fork", "os.exec", "os.mkdir")):
        raise SystemExit(f"{importing}: {event} {arguments}")

importing, looked_in = "nothing", tuple(filter(None, sys.path))
os.environ = Poison()
for clock in ("time", "monotonic", "time_ns", "monotonic_ns", "perf_counter", "localtime", "gmtime"):
    setattr(time, clock, refuse_clock)
threading.Thread.start = refuse_thread
sys.addaudithook(refuse)
for importing in modules:
    importlib.import_module(importing)
print(len(modules), "modules")
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


def test_importing_has_no_side_effect(sources):
    imported = run(PROGRAM)
    assert imported.returncode == 0, imported.stderr
    packages = {name for source in sources if (name := source.name).count("/") == 1 and name.endswith("__init__.py")}
    assert imported.stdout == f"{len(sources) - len(packages)} modules\n"
