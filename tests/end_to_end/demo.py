"""The demo: a dispatcher, four jobs, one real pilot, and what came of it.

``python3 noxfile.py demo`` runs it in ``.nox/demonstration``; at a terminal the dispatcher stays until Enter is hit.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

JOBS = {
    "count-words": """
script: |
  wc -w < poem.txt > words.txt
inputs: [poem.txt]
outputs: [words.txt]
log: count-words.log.tar.gz
""",
    "say-hello": """
script: |
  echo "hello from $(hostname)" | tee hello.txt
outputs: [hello.txt]
""",
    "work-a-while": """
script: |
  i=0; until=$(($(date +%s) + 3))
  while [ "$(date +%s)" -lt $until ]; do i=$((i + 1)); done
  echo "counted to $i" > count.txt
outputs: [count.txt]
log: work.log.tar.gz
""",
    "fail-on-purpose": """
script: |
  echo "ERROR: the detector's geometry is older than the data" >&2
  exit 3
log: fail.log.tar.gz
""",
}
POEM = "So much depends upon\na red wheel barrow\nglazed with rain water\nbeside the white chickens\n"
EXPECTED = {"count-words": "finished", "say-hello": "finished", "work-a-while": "finished", "fail-on-purpose": "failed"}
PILOT = Path(sys.executable).with_name("pilot")


def pilot(*words: str, check: bool = True) -> None:
    """Run the command as a person would, and show that."""
    print(f"\n$ pilot {' '.join(words)}", flush=True)
    done = subprocess.run([PILOT, *words], check=False)
    if check and done.returncode:
        sys.exit(f"pilot {words[0]} ended with exit code {done.returncode}")


def answer(*words: str) -> object:
    """What the command answers in JSON."""
    return json.loads(subprocess.run([PILOT, *words, "--json"], check=True, capture_output=True).stdout)


def lay_out(top: Path) -> list[str]:
    """The descriptions, beside their input."""
    shutil.rmtree(top, ignore_errors=True)
    top.mkdir(parents=True)
    os.chdir(top)
    Path("poem.txt").write_text(POEM)
    for name, description in JOBS.items():
        Path(f"{name}.yaml").write_text(f"id: {name}\n{description.lstrip()}")
    return [f"{name}.yaml" for name in JOBS]


@contextmanager
def dispatcher() -> Iterator[dict[str, str]]:
    """``pilot serve`` with a home of its own, which all that follows finds; what it says of itself."""
    os.environ["PILOT_SERVER_HOME"] = str(Path("server").absolute())
    print("$ pilot serve &", flush=True)
    process = subprocess.Popen([PILOT, "serve", "--json"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def judge() -> bool:
    """Whether all ended as they should; one line for each that did not."""
    jobs = answer("jobs")
    assert isinstance(jobs, dict)
    states = {job["name"]: job["state"] for job in jobs["jobs"]}
    for name, state in EXPECTED.items():
        if states.get(name) != state:
            print(f"{name} is {states.get(name)}, and should be {state}")
    return states == EXPECTED


def main() -> int:
    began = time.monotonic()
    files = lay_out(Path(__file__).parents[2] / ".nox" / "demonstration")
    with dispatcher() as served:
        pilot("submit", *files)
        pilot("run", "--workdir", "work", "--set", "monitor.sample_s=0.3")
        pilot("jobs")
        pilot("jobs", "4")
        pilot("fetch", "1", "--to", "fetched")
        pilot("report", "work", "--to", "report.html")
        well = judge()
        print(f"\nall of it took {time.monotonic() - began:.1f} s")
        print(f"the report:  {Path('report.html').absolute()}")
        print(f"the page:    {served['url']}/   (its token: {Path('server/tokens/admin').absolute()})", flush=True)
        if sys.stdin.isatty():
            input("the dispatcher stays until you press Enter ")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
