"""What a payload's log tells of a failure: in the job's record, at the dispatcher, and in whether it begins again."""

from __future__ import annotations

import json
import subprocess

import pytest

from .cluster import CLEAN, PILOT, Cluster

FIRST_FAILS = """
if [ "$PanDA_AttemptNr" = 1 ]; then
    echo begin >&2
    echo "curl: (7) Failed to connect to store.invalid port 443: Connection refused" >&2
    exit 7
fi
echo made > out.txt
"""


@pytest.fixture
def cluster(tmp_path):
    made = Cluster(tmp_path)
    yield made
    made.close()


def record(cluster, job=1):
    return json.loads((cluster.root / f"work/PanDA_Pilot-{job}.control/record.json").read_text())


def test_what_may_pass_begins_again_and_finishes(cluster):
    cluster.configure(failed_retries=1)
    cluster.serve()
    cluster.submit(FIRST_FAILS, outputs=["out.txt"], log="log.tgz")
    cluster.run()
    cluster.run("other")  # the first pilot may have asked for more before it told of the failure
    job = cluster.job()
    assert (job["state"], job["attempt"]) == ("finished", 2)
    first = job["attempts"][0]["error"]
    assert (first["code"], first["failure"]["class"], first["failure"]["where"]) == (1305, "network", "same site")
    assert "payload.stderr:2: curl: (7)" in first["detail"]


def test_a_programs_own_error_is_told_everywhere_and_is_not_tried_again(cluster):
    cluster.configure(failed_retries=1)
    cluster.serve()
    cluster.submit("echo begin; python3 -c 'open(\"none.root\")'", log="log.tgz")
    cluster.run()
    job = cluster.job()
    assert (job["state"], job["attempt"]) == ("failed", 1)
    assert job["error"]["failure"]["class"] == "input"
    failure = record(cluster)["failure"]
    assert failure["cause"] == "A file that the program wants to read is not there"
    assert failure["evidence"]["file"] == "payload.stderr"
    assert failure["evidence"]["text"].startswith("FileNotFoundError")
    assert failure["tail"].endswith(failure["evidence"]["text"])
    assert (failure["fault"], failure["advice"]["where"]) == ("payload", "never")
    page = cluster.root / "page.html"
    words = ["report", str(cluster.root / "work"), "--to", str(page)]
    done = subprocess.run([*PILOT, *words], capture_output=True, text=True, cwd=cluster.root, env=CLEAN)
    assert done.returncode == 0, done.stderr
    assert "Class: input. Fault of the payload. What to do: Name it among the job" in page.read_text()
