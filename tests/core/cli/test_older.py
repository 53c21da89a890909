"""A command line of the older pilot: every option of its table, alone and together, by what it does here."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot_core.agent.setup import Sources, prepare
from pilot_core.cli import older
from pilot_core.cli.legacy import BY_NAME, TABLE
from pilot_core.cli.mistakes import Usage
from pilot_core.cli.parser import Parser, sources_of
from pilot_core.cli.run import describe
from pilot_core.errors import PilotError
from pilot_core.testing.server import PilotServer

CLEAN = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
QUEUE = ["--pilot-user", "generic", "-q", "Q"]
HERE = Path("/here")


def read(*words, environ=None, cwd=HERE):
    """What a line means."""
    parser = Parser(prog="pilot run")
    describe(parser)
    arguments = parser.read([*QUEUE, *words], command="run")
    return older.meaning(arguments.older, environ or {}, cwd)


def flags(*words, **more):
    return read(*words, **more).flags


SETTINGS = {
    ("--cleanup", "False"): ("pilot.cleanup", "false"),
    ("-i", "RC"): ("panda.version_tag", "RC"),
    ("-d",): ("log.level", "debug"),
    ("--debug",): ("log.level", "debug"),
    ("-j", "managed"): ("panda.label", "managed"),
    ("-v", "7"): ("pilot.empty_answers", "7"),
    ("-x", "7"): ("pilot.failed_answers", "7"),
    ("--job-type", "user"): ("panda.job_type", "user"),
    ("--allow-same-user", "no"): ("panda.same_task", "false"),
    ("-w", "generic"): ("pilot.workflow", "standard"),
    ("-w", "stager"): ("pilot.workflow", "stagein"),
    ("-w", "generic_hpc"): ("pilot.workflow", "hpc"),
    ("-w", "eventservice_hpc"): ("pilot.workflow", "hpc"),
    ("-l", "100"): ("pilot.lifetime_s", "100"),
    ("--lifetime", "100"): ("pilot.lifetime_s", "100"),
    ("--resource-type", "MCORE_HIMEM"): ("panda.resource_type", "MCORE_HIMEM"),
    ("--stageout-attempts", "3"): ("data.attempts", "3"),
    ("--input-destination-dir", "/in"): ("data.cache", "/in"),
    ("--output-dir", "/out"): ("data.output_dir", "/out"),
    ("--pod",): ("pilot.resource", "auto"),
    ("-y",): ("panda.renew", "false"),
    ("--cacert", "/p"): ("connection.proxy", "/p"),
    ("--capath", "/ca"): ("connection.ca_path", "/ca"),
    ("--url", "https://h:1"): ("connection.url", "https://h:1"),
    ("--url", "h"): ("connection.url", "https://h:25443"),
    ("--url", "http://h/a", "-p", "81"): ("connection.url", "http://h:81/a"),
    ("--url", "https://[::1]:1", "--port", "81"): ("connection.url", "https://[::1]:1"),
    ("--queuedata-url", "http://h/{pandaqueue}.json"): ("queue_environment.queues", "http://h/Q.json"),
    ("--storagedata-url", "/s.json"): ("queue_environment.storages", "/s.json"),
    ("-k",): ("panda.worker_status", "false"),
    ("--realtime-logging-server", "logserver=loki;http://h:1"): ("loki.url", "http://h:1"),
    ("--realtime-logging-server", "logstash:h:1"): ("logstash.url", "https://h:1"),
    ("--use-rucio-traces", "0"): ("rucio.traces", "false"),
    ("--rucio-host", "https://r"): ("rucio.host", "https://r"),
    ("--harvester-submit-mode", "push"): ("pilot.failed_answers", "12"),
    ("--harvester-submit-mode", "push", "-x", "5"): ("pilot.failed_answers", "12"),
    ("--harvester-submit-mode", "push", "-x", "6"): ("pilot.failed_answers", "6"),
}
OTHERWISE = {
    "--workdir": ("-a", "/w"),
    "--noserverupdate": ("-z",),
    "--redirect-stdout": ("--redirect-stdout", "said"),
    "--nocvmfs": ("-b",),
    "--baseurls": ("-g", "http://a,http://b"),
    "--harvester-workdir": ("--harvester-workdir", "/ap"),
    "--harvester-datadir": ("--harvester-datadir", "/ap"),
    "--use-realtime-logging": ("--use-realtime-logging",),
}
"""Options that are no setting, each with a test of its own below."""


@pytest.mark.parametrize("words", SETTINGS, ids=" ".join)
def test_an_option_is_a_setting_here(words):
    path, value = SETTINGS[words]
    assert flags(*words)[path] == value


def test_every_option_of_the_table_is_tested_or_does_nothing():
    tested = {BY_NAME[word].name for words in SETTINGS for word in words if word in BY_NAME}
    rest = {row.name for row in TABLE if not row.obsolete} - tested - OTHERWISE.keys()
    assert rest == {"--pilot-user", "--queue"}
    assert {row.names for row in TABLE if not older.told(row)} == set()


@pytest.mark.parametrize("row", [row for row in TABLE if row.obsolete], ids=lambda row: row.name)
def test_what_does_nothing_is_taken(row):
    """pilot:A02"""
    word = ["yes"] if row.takes == "BOOL" else ["7"] if row.takes else []
    for name in row.names:
        assert read(name, *word) == read()


def test_experiment_and_queue():
    assert read().flags["bootstrap.experiment"] == "generic"
    assert flags("--pilot-user", "Other", "--queue", "R")["bootstrap.experiment"] == "other"
    assert flags("--queue", "R")["pilot.queue"] == "R"


@pytest.mark.parametrize(
    ("tag", "label", "sent"),
    [
        ("RC", "rc_test2", "rc_test2"),
        ("RC", "ptest", "ptest"),
        ("RCM", "ptest", "rcm_test2"),
        ("ALRB", "managed", "rc_alrb"),
        ("PR", "user", "user"),
        ("RC", "user", "user"),
    ],
)
def test_tag_and_label_choose_what_is_asked_for(tag, label, sent):
    assert flags("-i", tag, "-j", label)["panda.label"] == sent


def test_a_lifetime_in_the_environment_counts_more():
    assert flags("-l", "1", environ={"PANDAPILOT_LIFETIME": "2"})["pilot.lifetime_s"] == "2"
    assert flags("-l", "1", environ={"PANDAPILOT_LIFETIME": "long"})["pilot.lifetime_s"] == "1"


def test_a_work_directory_is_made_below_the_named_one():
    made = read("-a", "/w").workdir
    assert made.parent == Path("/w")
    assert made.name.startswith(f"PanDA_Pilot3_{os.getpid()}_")
    assert read("-a", "").workdir is None


def test_what_experiments_read_in_the_environment():
    meant = read("-b", "-g", "http://a,http://b")
    assert meant.environ == {"NO_CVMFS_OK": "1", "PANDA_BASE_URLS": "http://a,http://b"}
    assert meant.sources(Sources(environ={"A": "1"})).environ["NO_CVMFS_OK"] == "1"
    assert read().environ == {}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *about):
        pass


@pytest.fixture
def port(tmp_path, monkeypatch):
    """Of a server without https, whose name is not this node's, with the queue's facts where the field has them."""
    facts = tmp_path / "cache" / "schedconfig" / "Q.all.json"
    facts.parent.mkdir(parents=True)
    facts.write_text('{"nickname": "Q", "status": "online", "corecount": 8}')
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as listening:
        here = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", listening.server_address)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: here)
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield listening.server_port
        listening.shutdown()
        thread.join()


def test_facts_come_by_plain_http_from_a_host_that_the_site_names(port):
    meant = read("--queuedata-url", f"http://facts.example.org:{port}/cache/schedconfig/{{pandaqueue}}.all.json")
    with pytest.raises(PilotError, match=r"let connection\.plain_http name facts\.example\.org"):
        prepare(meant.sources(Sources()))
    allowed = Sources(environ={"PILOT_CONNECTION_PLAIN_HTTP": f"facts.example.org:{port}"})
    assert prepare(meant.sources(allowed)).queue.cores == 8


@pytest.fixture
def places(tmp_path):
    """Where a file with jobs may lie, the best first."""
    folders = [tmp_path / name for name in ("data", "here", "work", "env")]
    for folder in folders:
        folder.mkdir()
    return [
        folders[0] / "pandaJobData.out",
        folders[1] / "pandaJobData.out",
        *(f / "HPCJobs.json" for f in folders[2:]),
    ]


def test_a_file_with_jobs_is_looked_for_where_it_was(places):
    """pilot:B06"""
    data, here, work, env = places
    words = ("-z", "--harvester-workdir", str(work.parent))
    more = {"environ": {"HARVESTER_WORKDIR": str(env.parent)}, "cwd": here.parent}
    with pytest.raises(Usage, match=r"-z wants jobs from a file, and there is none at .*HPCJobs.json"):
        flags(*words, **more)
    for path in (env, work, here):
        path.touch()
        assert flags(*words, **more)["pandafile.path"] == str(path)
    data.touch()
    chosen = flags(*words, "--harvester-datadir", str(data.parent), **more)
    assert (chosen["pilot.communicator"], chosen["pandafile.path"]) == ("pandafile", str(data))
    assert chosen["pandafile.told"] == str(here.parent / "heartbeat.json")
    assert flags(**more)["panda.jobs_file"] == str(here)


@pytest.mark.parametrize("name", ["HARVESTER_ID", "HARVESTER_WORKER_ID"])
def test_the_worker_of_a_harvester_that_pushes_waits_for_its_file(tmp_path, name):
    pushed = {"cwd": tmp_path, "environ": {name: "7"}}
    words = ("--harvester-submit-mode", "PUSH", "--harvester-datadir", "data")
    meant = flags(*words, **pushed)
    assert (meant["panda.jobs_file"], meant["panda.jobs_file_s"]) == (str(tmp_path / "data/pandaJobData.out"), "1800")
    assert not {"panda.jobs_file", "panda.jobs_file_s"} & {*flags(*words[2:], **pushed), *flags(*words, cwd=tmp_path)}
    (tmp_path / "HPCJobs.json").touch()
    assert "panda.jobs_file_s" not in flags(*words, "--harvester-workdir", str(tmp_path), **pushed)


def test_the_numbers_of_jobs_go_where_wrappers_look(tmp_path):
    assert flags(cwd=tmp_path)["panda.ids_file"] == str(tmp_path / "pandaIDs.out")
    (tmp_path / "pilot3").mkdir()
    assert flags(cwd=tmp_path)["panda.ids_file"] == str(tmp_path / "pilot3" / "pandaIDs.out")
    (tmp_path / "src").mkdir()
    named = {"PANDA_PILOT_SOURCE": str(tmp_path / "src")}
    assert flags(cwd=tmp_path, environ=named)["panda.ids_file"] == str(tmp_path / "src" / "pandaIDs.out")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cleanup", "perhaps"], "--cleanup: 'perhaps' is not yes or no"),
        (["-v", "many"], "--getjobrequests: 'many' is no whole number"),
        (["--resource-type", "HUGE"], "--resource-type: 'HUGE' is not SCORE, MCORE"),
        (["--realtime-logging-server", "loki"], "--realtime-logging-server: 'loki' is not logserver=TYPE;URL"),
        (["--url", "https://h:x"], "--url: https://h:x: "),
        (["--joblable", "x"], "no option --joblable; did you mean '--joblabel'"),
        (["-q"], "-q/--queue: expected one argument"),
        (["--redirect-stdout", "no/where"], "--redirect-stdout: no/where: No such file or directory"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_is_wrong_is_said_in_a_sentence(pilot, words, said):
    done = pilot(*QUEUE, *words)
    assert (done.code, said in done.err, done.out) == (2, True, ""), done.err


def test_a_workflow_that_is_not_there_is_refused_at_once(pilot):
    """pilot:A10"""
    done = pilot(*QUEUE, "--url", "https://127.0.0.1:1", "-w", "production")
    assert done.code == 2
    assert "production" in done.err


def test_a_line_without_a_queue_is_refused(pilot):
    """pilot:A01"""
    done = pilot("--pilot-user", "generic", "--url", "https://127.0.0.1:1")
    assert (done.code, done.err.splitlines()[0]) == (2, "pilot: run: -q QUEUE is missing")


def test_the_new_words_count_more(tmp_path):
    parser = Parser(prog="pilot run")
    describe(parser)
    arguments = parser.read([*QUEUE, "--set", "pilot.queue=mine", "--max-jobs", "1"], command="run")
    sources = older.meaning(arguments.older, {}, tmp_path).sources(sources_of(arguments))
    assert "pilot.queue" not in sources.flags
    assert sources.assignments == ("pilot.queue=mine",)
    assert sources.flags["pilot.max_jobs"] == "1"


def test_the_table_is_told(pilot):
    said = "\n".join(older.help_older())
    assert all(name in said for name in BY_NAME)
    with pytest.raises(SystemExit):
        pilot("run", "--help-older")


@given(st.lists(st.sampled_from([name for row in TABLE for name in row.names if not row.takes]), unique=True))
def test_flags_may_come_in_any_order(names):
    names = [name for name in names if name not in ("-z", "--noserverupdate")]
    assert read(*names) == read(*reversed(names))


class Older:
    """A pilot started as a wrapper starts it, and its server."""

    def __init__(self, root: Path, server: PilotServer) -> None:
        self.root, self.server = root, server
        (root / "pilot3").mkdir(parents=True)

    def run(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        line, how = self.line(*words, **environ)
        return subprocess.run(line, **how, capture_output=True, timeout=60)

    def start(self, *words: str, **environ: str) -> subprocess.Popen[str]:
        line, how = self.line(*words, **environ)
        return subprocess.Popen(line, **how, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def line(self, *words: str, **environ: str) -> tuple[list[str], dict[str, object]]:
        told = {"PILOT_CONNECTION_TOKEN": self.server.token(), "PILOT_CONNECTION_FINGERPRINT": self.server.fingerprint}
        line = [sys.executable, "-m", "pilot_core", "--pilot-user", "generic", "-q", "local", "-j", "managed", *words]
        env = {**CLEAN, **{name: str(value) for name, value in told.items()}, **environ}
        return line, {"cwd": self.root, "env": env, "text": True}

    @property
    def ids(self) -> str:
        return (self.root / "pilot3" / "pandaIDs.out").read_text()


@pytest.fixture
def place(tmp_path):
    with PilotServer(tmp_path / "server") as server:
        yield Older(tmp_path / "node", server)


def test_the_line_of_a_wrapper_runs_jobs_and_leaves_its_files(place):
    first, second = place.server.submit({"script": "true"}, 2)
    words = ["-i", "PR", "-t", "-w", "generic", "-v", "1", "--allow-same-user", "False", "--url"]
    done = place.run(*words, place.server.url, "-d", "-r", "X", "-s", "Y", "--set", "panda.pause_s=0.1")
    assert done.returncode == 0, done.stderr
    assert [job["state"] for job in place.server.jobs()] == ["finished", "finished"]
    assert place.ids == f"{first}\n{second}\n"
    assert {*json.loads((place.root / "pilot_heartbeat.json").read_text())} == {
        *("last_pilot_update", "max_diff_time", "time_since_detection")
    }
    assert (place.root / "pilotlog.txt").stat().st_size


def test_a_file_in_place_comes_before_the_servers_jobs_and_is_not_left(place):
    """pilot:B05"""
    job = {"PandaID": 77, "taskID": 7, "transformation": "true", "jobPars": "", "attemptNr": 1}
    (place.root / "pandaJobData.out").write_text(json.dumps({"77": job}))
    done = place.run("--url", place.server.url, "-v", "1", "--set", "report.final_budget_s=0.1")
    assert place.ids == "77\n", done.stderr
    assert (place.root / "pandaJobData.out.taken.77").exists()
    assert not (place.root / "pandaJobData.out").exists()


def test_a_file_that_is_brought_late_is_taken_though_no_server_answers(place):
    """pilot:B04"""
    job = {"PandaID": 77, "taskID": 7, "transformation": "true", "jobPars": "", "attemptNr": 1}
    words = ["--url", "https://127.0.0.1:1", "--harvester-submit-mode", "PUSH", "-l", "60"]
    settings = ["--set", "report.final_budget_s=0.1", "--set", "connection.info_sources=file"]
    (place.root / "queuedata.json").write_text(json.dumps({"local": {"name": "local", "status": "online"}}))
    with place.start(*words, *settings, HARVESTER_ID="h") as pilot:
        assert any("waiting for jobs in" in line for line in pilot.stderr)
        (place.root / "written").write_text(json.dumps({"77": job}))
        os.utime(place.root / "written", (1, 1))
        (place.root / "written").rename(place.root / "pandaJobData.out")
        said = pilot.stderr.read()
    assert pilot.returncode == 79, said
    assert place.ids == "77\n"
    assert (place.root / "pandaJobData.out.taken.77").exists()


def test_without_a_server_what_it_would_hear_is_in_a_file(place):
    """pilot:H08"""
    job = {"PandaID": 77, "taskID": 7, "transformation": "true", "jobPars": "", "attemptNr": 1}
    (place.root / "pandaJobData.out").write_text(json.dumps({"77": job}))
    done = place.run("-z", "--redirect-stdout", "said")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    told = json.loads((place.root / "heartbeat.json").read_text())
    assert (told["job_id"], told["job_status"]) == (77, "finished")
    assert place.ids == "77\n"
    assert "1 finished" in (place.root / "said").read_text()
