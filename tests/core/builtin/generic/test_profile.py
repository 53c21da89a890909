"""A profile as a whole: what it may say, and everything that is wrong with it at once, each with its line."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import ClassVar

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pilot_core.builtin.generic import of_profile
from pilot_core.builtin.generic.profile import read_profile
from pilot_core.model.files import FileSpec, Replica
from pilot_core.model.job import JobExtras
from pilot_core.model.queue import Queue
from pilot_core.model.wire import BadMessage
from pilot_core.sdk import Job, Patch
from pilot_core.testing.contracts.plugin import PluginContract
from pilot_core.testing.kit import PilotKit, a_job

WRONG = """\
about: [x]
fact: {run: runNumber}
limits: {memry: 2 GB, looping: 1 h}
settings:
  looping: {limit_s: 3}
container: {imag: x}
environment:
  set: {RUN: "{progrem}", A-B: x}
command: ["{arguments}x"]
processes:
  before: [{name: look}]
  during: []
  after: [{name: look, command: [x]}]
inputs:
  - {match: /x, way: drct}
outputs:
  - match: regex|hits_(
    destination: store/
log: {leave_ot: []}
errors:
  - {name: a, class: inputt, lines: [abcdef], cause: c, remedy: r}
exit_codes:
  - {codes: [0], class: input, cause: c, remedy: r}
"""
TOLD = (
    "line 1: about: wants text",
    "line 2: fact: no such key; did you mean 'facts'?",
    "line 3: limits.memry: no such key; did you mean 'memory'?",
    "line 5: settings.looping.limit_s: sets looping.limit_s, which stands elsewhere",
    "line 6: container.imag: no such key; did you mean 'image'?",
    "line 8: environment.set.RUN: there is no field {progrem}; did you mean 'program'?",
    "line 8: environment.set.A-B: cannot name a variable",
    "line 9: command[0]: {arguments} is a list",
    "line 11: processes.before[0].command: is missing",
    "line 12: processes.during: no such key",
    "line 10: processes: 'look' stands twice",
    "line 15: inputs[0].way: 'drct' is none of copy, direct, skip; did you mean 'direct'?",
    "line 15: inputs[0].match: '/x' leaves the job's directory",
    "line 17: outputs[0].match: 'regex|hits_(' is no regular expression",
    "line 18: outputs[0].destination: 'store/' is no place",
    "line 19: log.leave_ot: no such key",
    "line 21: errors[0].class: 'inputt' is none of",
    "line 23: exit_codes[0].codes[0]: wants exit codes from 1 to 255, not 0",
)


def test_everything_wrong_is_told_at_once_with_its_line(profile):
    with pytest.raises(BadMessage) as raised:
        profile(WRONG)
    problems = [str(each) for each in raised.value.problems]
    assert [told for told in TOLD if not any(told in problem for problem in problems)] == []
    lines = [int(problem.split(":")[0].removeprefix("line ")) for problem in problems]
    assert lines == sorted(lines)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "wants to be YAML, which this is not"),
        ("- a", "wants a mapping"),
        ("about: x\nabout: y", "has the key 'about' twice"),
    ],
)
def test_a_file_that_is_no_profile(profile, text, told):
    with pytest.raises(BadMessage, match=r"profile\.yaml") as raised:
        profile(text)
    assert told in str(raised.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(BadMessage, match="No such file"):
        read_profile(tmp_path / "none.yaml")


KEYS = ("about", "facts", "limits", "settings", "setup", "command", "processes", "inputs", "outputs", "log", "errors")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["x", *KEYS]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
                ["match", "name", "source", "run", "before", "command", "codes", "memory", "lines", "{id}"]
            ), inner, max_size=3),
            max_leaves=8,
        ),
        max_size=4,
    )
)  # fmt: skip
def test_no_document_makes_it_fail_otherwise(tmp_path, document):
    path = tmp_path / "profile.yaml"
    path.write_text(json.dumps(document))
    with suppress(BadMessage):
        read_profile(path)


# --- a whole pilot ---

FULL = """\
about: all that can be said in one place
facts:
  run: runNumber
  tag: {from: globalTag, default: main}
limits: {memory: 2 GB, looping: 1 h}
servers: {url: https://panda.example.org}
container: {image: "/images/{tag}.sif"}
environment:
  set: {RUN: "{run}"}
  unset: [LANG]
  prepend: {PATH: "/opt/{tag}/bin"}
  append: {LD_LIBRARY_PATH: /opt/lib}
inputs:
  - {match: "skip*", way: skip}
  - {match: "*.raw", path: "raw/{name}", way: direct}
input_list: inputs.txt
command: [reco, "--run={run}", "{inputs}"]
processes:
  before: [{name: look, command: [look, "{run}"], limit: 2 min, nothing_to_do: [160]}]
  with: [{name: watch, command: [watch], environment: {EVERY: "5"}}]
  after: [{name: pack, command: [pack], image: "{image}"}]
"""


@pytest.fixture
def experiment(tmp_path):
    (tmp_path / "full.yaml").write_text(FULL)
    return of_profile(tmp_path / "full.yaml")


class TestContract(PluginContract):
    plugin = None
    wire: ClassVar[dict[str, int]] = {"runNumber": 9}

    @pytest.fixture(autouse=True)
    def _of_a_profile(self, tmp_path):
        (tmp_path / "p.yaml").write_text("facts: {run: runNumber}\nenvironment: {set: {RUN: '{run}'}}\n")
        type(self).plugin = of_profile(tmp_path / "p.yaml")


def test_its_answers_reach_the_payload(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(FULL[: FULL.index("processes:")].replace("servers:", "#").replace("container:", "#"))
    kit = PilotKit(experiment=of_profile(path), files={"a.raw": b"raw"}, tmp=tmp_path)
    run = kit.run(a_job(inputs=["a.raw", "skip.raw"], wire={"runNumber": 9}))
    assert run.trail[-1] == "finished", run.story()
    assert run.command.argv == ("reco", "--run=9", "raw/a.raw", "skip.raw")
    env = run.command.env
    assert (env["RUN"], env["PATH"].split(":")[0], env["LD_LIBRARY_PATH"]) == ("9", "/opt/main/bin", "/opt/lib")
    assert "LANG" not in env
    assert {"inputs.txt": "raw/a.raw\n"} in [each.value for each in run.calls("pilot_inputs_staged")[0].answer]


def test_hooks_are_answered_as_it_says(experiment):
    job, queue = Job(id="7", image="", extras=extras(experiment, runNumber=9, globalTag="v3")), Queue(name="q")
    assert experiment.pilot_payload_container(job, queue) == "/images/v3.sif"
    assert Patch.prepend("PATH", "/opt/v3/bin", between=":") in experiment.pilot_payload_environment(job, queue, None)
    defaults = experiment.pilot_config_defaults()
    assert defaults["memory"] == {"limit_b": "2 GB"}
    assert defaults["connection"] == {"url": ["https://panda.example.org"], "info_sources": ["server", "file"]}
    assert defaults["pilot"] == {"communicator": "panda"}


def extras(experiment, **wire):
    return JobExtras({key.name: value for key, value in experiment.pilot_job_extras(wire).items()})


def test_an_image_of_the_jobs_counts_unless_it_says_always(experiment, profile):
    job, queue = Job(id="7", image="mine.sif", extras=extras(experiment, runNumber=9)), Queue(name="q")
    assert experiment.pilot_payload_container(job, queue) is None
    always = profile("container: {image: theirs.sif, always: true}")
    assert type(experiment)(always).pilot_payload_container(job, queue) == "theirs.sif"


def test_processes_are_made_as_it_says(experiment, tmp_path):
    job, queue = Job(id="7", image="i.sif", extras=extras(experiment, runNumber=9)), Queue(name="q")
    (look,) = experiment.pilot_payload_preprocesses(job, queue, tmp_path, None)
    (watch,) = experiment.pilot_payload_sides(job, queue, tmp_path, None)
    (pack,) = experiment.pilot_payload_postprocesses(job, queue, tmp_path, None)
    assert (look.command.argv, look.limit_s, look.enough) == (("look", "9"), 120.0, (160,))
    assert (watch.command.argv, watch.command.env) == (("watch",), {"EVERY": "5"})
    assert (pack.name, pack.image) == ("pack", "i.sif")


def test_inputs_are_listed_as_the_payload_finds_them(experiment):
    files = (FileSpec(lfn="a.raw"), FileSpec(lfn="b.raw"), FileSpec(lfn="skip.raw"), FileSpec(lfn="c.txt"))
    job = Job(id="7", inputs=files, extras=extras(experiment, runNumber=9))
    chosen = experiment.pilot_inputs_select(job, Queue(name="q"))
    assert [(file.local, file.direct) for file in chosen] == [
        *(("raw/a.raw", True), ("raw/b.raw", True), ("skip.raw", False), ("c.txt", False)),
    ]
    job = evolve(job, inputs=tuple(chosen))
    written = experiment.pilot_inputs_staged(job, {"b.raw": Replica("root://h//b.raw")})
    assert written == {"inputs.txt": "raw/a.raw\nroot://h//b.raw\nc.txt\n"}
