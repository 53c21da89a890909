"""The demo: a file box with three described jobs, one real pilot, and what came of it.

``python3 noxfile.py demo`` runs it; ``-- --keep`` leaves the folder to look at.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

JOBS = {
    "count-words": """
script: |
  wc -w < poem.txt > words.txt
inputs: [{name: poem.txt, source: ../poem.txt}]
outputs: [{name: words.txt, destination: ../stored/words.txt}]
log: {name: count-words.log.tar.gz, destination: ../stored/count-words.log.tar.gz}
""",
    "say-hello": """
script: |
  echo "hello from $(hostname)" | tee hello.txt
outputs: [{name: hello.txt, destination: ../stored/hello.txt}]
""",
    "fail-on-purpose": """
script: |
  echo "ERROR: the detector's geometry is older than the data" >&2
  exit 3
log: {name: fail.log.tar.gz, destination: ../stored/fail.log.tar.gz}
""",
}
POEM = "So much depends upon\na red wheel barrow\nglazed with rain water\nbeside the white chickens\n"
EXPECTED = {"count-words": "finished", "say-hello": "finished", "fail-on-purpose": "failed"}


def lay_out(top: Path) -> Path:
    """A file box with the jobs in it, beside their input."""
    box = top / "box"
    box.mkdir()
    (top / "poem.txt").write_text(POEM)
    for name, description in JOBS.items():
        (box / f"{name}.yaml").write_text(f"id: {name}\n{description.lstrip()}")
    return box


def run_pilot(box: Path, workdir: Path) -> int:
    command = ["pilot", "run", "--filebox", str(box), "--workdir", str(workdir)]
    print(f"$ {' '.join(command)}", flush=True)
    return subprocess.run([Path(sys.executable).with_name(command[0]), *command[1:]], check=False).returncode


def explain(report: dict) -> Iterable[str]:
    """What a person wants to know of one job."""
    yield f"{report['id']:<18}{report['state']}"
    if error := report.get("error"):
        yield f"    {error['number']} {error['acronym']}: {error['sentence']}"
        yield f"    {error['detail']}"
        yield f"    whose fault: {error['party']}; {error['advice']}"


def show(top: Path, box: Path, wall_s: float) -> dict[str, str]:
    """Print the reports; return the state each job ended in."""
    reports = [json.loads(path.read_text()) for path in sorted((box / "reports").glob("*.json"))]
    print(f"\n{len(reports)} jobs in {wall_s:.1f} s\n")
    for report in reports:
        print("\n".join(explain(report)))
    print("\nstored:")
    for path in sorted((top / "stored").iterdir()):
        text = path.read_text().strip() if path.suffix == ".txt" else ""
        print(f"    {path.name:<28}{path.stat().st_size:>6} bytes  {text}")
    return {report["id"]: report["state"] for report in reports}


def main() -> int:
    parser = argparse.ArgumentParser(description="run three described jobs, one of which fails on purpose")
    parser.add_argument("--keep", action="store_true", help="leave the folder and say where it is")
    keep = parser.parse_args().keep
    top = Path(tempfile.mkdtemp(prefix="pilot-demo-"))
    try:
        box, began = lay_out(top), time.monotonic()
        exit_code = run_pilot(box, top / "work")
        states = show(top, box, time.monotonic() - began)
    finally:
        print(f"\nleft in {top}" if keep else "", end="\n" if keep else "")
        if not keep:
            shutil.rmtree(top)
    if exit_code or states != EXPECTED:
        print(f"\nthe demo went wrong: exit code {exit_code}, {states} instead of {EXPECTED}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
