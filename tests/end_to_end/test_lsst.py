"""Whole pilots with Rubin's jobs: what the workflow service submits, with a stand-in for its decoder and pipelines."""

from __future__ import annotations

import json
import tarfile
from base64 import b64encode

import pytest
from tests.atlas.world import Desk, web_server

BASH_C_ENC = b"""\
#!/bin/bash
command=$(echo "$1" | base64 -d) || exit 99
exec /bin/bash -c "$command"
"""
URL = "/containers/bash-c-enc"
DECODER = """\
import os, sys
line = bytes.fromhex(sys.argv[1]).decode().replace("<FILE:butlerConfig>", sys.argv[3])
for pair in sys.argv[2].split("+")[1:]:
    name, _, value = pair.partition(":")
    line = line.replace("{" + name + "}", value)
status = os.system(line)
sys.exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
"""
"""Reads a command from hexadecimal digits, fills it in and runs it, as the workflow service's does."""
PIPETASK = """\
import json, pathlib, sys
repo, node, ends = sys.argv[1:]
with open("payload-log.json", "w") as log:
    for level, told in ((15, "verbose"), (30, "few stars")):
        log.write(json.dumps({"name": "lsst.isr", "levelno": level, "message": told, "MDC": {"LABEL": node}}) + "\\n")
pathlib.Path(repo, node).write_text("image")
pathlib.Path("EXEC_REPO-1").mkdir()
exec(ends)
"""


class Observatory(Desk):
    """A node with the pipelines, a butler's repository, and a server for transforms."""

    def __init__(self, root, web) -> None:
        super().__init__(root, root)
        self.web, self.repo = web, root / "repo"
        self.repo.mkdir()
        (root / "decoder.py").write_text(DECODER)
        (root / "pipetask.py").write_text(PIPETASK)
        web.put(URL, BASH_C_ENC)

    def settings(self, more):
        site = super().settings({**more, "bootstrap": {"experiment": "lsst", **more.get("bootstrap", {})}})
        del site["atlas"], site["rucio"]
        site["lsst"] = {"transforms": [f"{self.web.url}/containers"], **more.get("lsst", {})}
        return site

    def submitted(self, ends: str = "", **more: object) -> dict[str, object]:
        """A job of one quantum, as the workflow service has it encoded."""
        line = f"python3 {self.root}/pipetask.py <FILE:butlerConfig> {{qgraphNodeId}} '{ends}'"
        decode = f"python3 {self.root}/decoder.py {line.encode().hex()} isr:file+qgraphNodeId:q7 {self.repo}"
        runner = f'logDir=`pwd`; /bin/bash -c "{decode} & pJob=\\$!; wait \\$pJob; ret=\\$?; exit \\$ret;" >&2; exit $?'
        encoded = b64encode(runner.encode()).decode()
        return {"transformation": self.web.url + URL, "jobPars": encoded, "outFiles": "job.log.tgz", **more}


@pytest.fixture
def site(tmp_path):
    with web_server() as web:
        yield Observatory(tmp_path, web)


def test_a_quantum_is_run_as_it_was_submitted_and_the_butler_has_what_it_made(site):
    record = site.run(site.submitted(inFiles="isr:eventservice_0,raw"))
    assert record["state"] == "finished", site.said
    assert (site.repo / "q7").read_text() == "image"
    with tarfile.open(site.store / "job.log.tgz") as log:
        kept = {name.partition("/")[2].partition("/")[0] for name in log.getnames()}
    assert {"payload-log.json", "payload.stderr"} <= kept
    assert "EXEC_REPO-1" not in kept


LOOKED = """
from pathlib import Path
from pilot_core.sdk import Job, Usage, hookimpl

@hookimpl
def pilot_payload_sampled(job: Job, usage: Usage) -> None:
    Path({place!r}).touch()
"""


def test_what_is_grave_in_its_log_is_shipped_with_the_pilots(site):
    (site.root / "pilotfile.py").write_text(LOOKED.format(place=str(site.repo / "looked")))
    settings = {"monitor": {"monitors": ["lsst_log"], "sample_s": 0.05}}
    work = 'import time\nwhile not pathlib.Path(repo, "looked").exists(): time.sleep(0.02)'
    record = site.run(site.submitted(work), **settings, bootstrap={"pilotfile": str(site.root / "pilotfile.py")})
    assert record["state"] == "finished", site.said
    assert "payload: q7 lsst.isr few stars" in site.said
    assert "verbose" not in site.said


@pytest.mark.parametrize(
    ("ends", "number", "retry"),
    [("sys.exit(20)", 1305, "never"), ("sys.exit(21)", 1305, "never"), ("sys.exit(1)", 1305, None)],
)
def test_what_its_exit_code_means_is_told_with_advice(site, ends, number, retry):
    record = site.run(site.submitted(ends))
    assert record["state"] == "failed", site.said
    error = record["error"]
    assert (error["number"], error["facts"].get("retry")) == (number, retry)
    assert site.body()["trans_exit_code"] == int(ends[9:-1])


def test_a_log_without_a_place_goes_to_the_sites(site):
    record = site.run(site.submitted(destinations={}), lsst={"logs": str(site.store)})
    assert record["state"] == "finished", site.said
    assert [path.name for path in site.store.rglob("job.log.tgz")] == ["job.log.tgz"]


def test_a_transform_from_elsewhere_is_not_fetched(site):
    record = site.run(site.submitted(transformation="https://storage.example.org/bash-c-enc"))
    assert record["error"]["number"] == 1149
    assert json.dumps(record).count("see lsst.transforms")
    assert site.web.asked == []
