"""Descriptions: what each key means, what is refused, and ten thousand broken ones."""

from __future__ import annotations

import copy
import json
import random
import re
from pathlib import Path

import pytest
import yaml
from attrs import evolve

from pilot_core.model.described import describe, read_job
from pilot_core.model.files import Checksum
from pilot_core.model.queue import Resources
from pilot_core.sdk.wire import BadMessage, Fields
from pilot_core.sdk.wire import Problem as WireProblem

MANUAL = Path(__file__).parents[3] / "docs" / "job-description.md"
EXAMPLE = re.search(r"```yaml\n(.*?)```", MANUAL.read_text(), re.DOTALL)[1]


def read(text: str | bytes, name: str = "job.yaml"):
    data = text.encode() if isinstance(text, str) else text
    return read_job(describe(Path("/site") / name, data, f"/site/{name}"))


def refused(text: str | bytes, name: str = "job.yaml") -> str:
    with pytest.raises(BadMessage) as raised:
        read(text, name)
    return str(raised.value)


# --- what is read -----------------------------------------------------------------------------------------------------


def test_the_manuals_example_loads():
    job = read(EXAMPLE)
    assert (job.id, job.attempt, job.transformation) == ("fit-2026-07", 1, "/bin/sh")
    assert job.arguments == ("-c", 'sort "$NAMES" > sorted.txt\n')
    assert job.environment == {"NAMES": "names.txt"}
    source, earlier = job.inputs
    assert earlier == job.checkpoint.before
    assert earlier.replicas[0].url == "/site/stored/earlier.tar.gz"
    assert (job.checkpoint.file.lfn, job.checkpoint.warning_s) == ("state.tar.gz", 600.0)
    assert (source.lfn, source.size_b, source.checksum) == ("names.txt", 2000, Checksum("adler32", "1a2b3c4d"))
    assert [replica.url for replica in source.replicas] == ["/site/data/names.txt"]
    (output,) = job.outputs
    assert [replica.url for replica in output.replicas] == ["/site/stored/sorted.txt"]
    assert job.log.replicas[0].url == "/site/stored/fit-2026-07.log.tar.gz"
    assert job.needs == Resources(cores=1, memory_b=500 * 10**6, disk_b=10**9)
    assert (job.wall_limit_s, job.looping_limit_s) == (7200.0, 1800.0)
    assert (job.task, job.label, job.options) == ("4711", "test", {"data.attempts": 3})
    assert job.origin == "/site/job.yaml"


def test_every_key_is_in_the_manual_and_every_documented_key_is_one(monkeypatch):
    asked: set[str] = set()
    get = Fields._get

    def note(self, name, required=False):
        asked.add(name)
        return get(self, name, required)

    monkeypatch.setattr(Fields, "_get", note)
    read(EXAMPLE)
    box = MANUAL.read_text().index("## A box")
    documented = set(re.findall(r"^\| `(\w+)` \|", MANUAL.read_text()[:box], re.MULTILINE))
    assert documented == asked - {"NAMES"}


def test_json_reads_as_yaml_does():
    as_json = read(json.dumps(yaml.safe_load(EXAMPLE)), "job.json")
    assert evolve(as_json, origin="/site/job.yaml") == read(EXAMPLE)


def test_the_least_job():
    job = read("command: [true.sh, 3]", "my first (job).yaml")
    assert (job.id, job.transformation, job.arguments) == ("my-first-job", "true.sh", ("3",))
    assert job.log is None


def test_plain_texts_stand_for_files():
    job = read("command: [x]\ninputs: [a/b.txt, 'https://h/c.root']\noutputs: [d]\nlog: my.log.tgz")
    assert [(file.lfn, file.replicas[0].url) for file in job.inputs] == [
        ("b.txt", "/site/a/b.txt"),
        ("c.root", "https://h/c.root"),
    ]
    assert [file.lfn for file in (*job.outputs, job.log)] == ["d", "my.log.tgz"]


def test_an_input_without_a_source_is_left_to_a_catalogue():
    (file,) = read("command: [x]\ninputs: [{name: a, scope: s}]").inputs
    assert (file.lfn, file.scope, file.replicas) == ("a", "s", ())


def test_yaml_has_no_surprises():
    job = read("command: [x, on, 0755, 1:30, 012, ~x, +5, 1_000, .5]\nenvironment: {A: no, B: 2026-01-02}")
    assert job.arguments == ("on", "0755", "1:30", "012", "~x", "+5", "1_000", ".5")
    assert job.environment == {"A": "no", "B": "2026-01-02"}


def test_fields_for_plugins_stand_where_those_of_a_server_do():
    raw = describe(Path("/site/job.yaml"), b"command: [x]\nwire: {globalTag: main}", "/site/job.yaml")
    assert raw["globalTag"] == "main"
    assert read_job(raw).id == "job"


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{}", "job.yaml: command: is missing; write 'command: [program, argument]' or 'script:' with shell text"),
        ("comand: [x]\nscript: x", "job.yaml: comand: no such key; did you mean 'command'?"),
        ("command: sleep 5", "wants a list of program and arguments (shell text goes into 'script'), not 'sleep 5'"),
        ("command: []", "command: wants a list that begins with a program"),
        ("command: [x]\nscript: y", "script: stands beside 'command'; a job has one of them, remove the other"),
        ("script: ' '", "script: is empty; write what /bin/sh is to run"),
        ("command: [x]\nid: ../../etc", "id: '../../etc' wants letters, digits"),
        ("command: [x]\nid: a.control", "id: 'a.control' holds '.control'"),
        ("command: [x]\nid: " + "a" * 129, "id: has 129 characters; 128 are allowed"),
        ("command: [x]\noutputs: [../x]", "outputs[0].name: '../x' cannot name a file: it holds a slash"),
        ("command: [x]\noutputs: ['..']", "outputs[0].name: '..' cannot name a file"),
        ('command: [x]\noutputs: ["a\\nb"]', "outputs[0].name: holds a control character"),
        ("command: [x]\noutputs: [" + "a" * 256 + "]", "outputs[0].name: "),
        ("command: [x]\noutputs: [a, a]", "outputs[1].name: 'a' is the name of outputs[0] already"),
        ("command: [x]\ninputs: [b/a]\noutputs: [a]", "outputs[0].name: 'a' is the name of inputs[0] already"),
        ("command: [x]\noutputs: [a.tgz]\nlog: a.tgz", "log.name: 'a.tgz' is the name of outputs[0] already"),
        ("command: [x]\ninputs: [payload.stdout]", "inputs[0].name: 'payload.stdout' is the name of what"),
        ("command: [x]\nlog: journal", "log.name: 'journal' names no archive"),
        ("command: [x]\ninputs: [{name: a, checksum: what}]", "inputs[0].checksum: "),
        ("command: [x]\nenvironment: {A-B: 1}", "environment: 'A-B' cannot name a variable"),
        ("command: [x]\noptions: {attempts: 1}", "options: 'attempts' is no option; write 'section.name'"),
        ("command: [x]\nlimits: {wall: 0}", "limits.wall: is 0; write a time"),
        ("command: [x]\nneeds: {cores: 0}", "needs.cores: wants a whole number from 1 to 1000000, not 0"),
        ("command: [x]\ncommand: [y]", "line 2, column 1: has the key 'command' twice in one mapping; remove one"),
        ("a: &x 1\nb: *x", "line 1, column 4: anchors and aliases are not read here"),
        ("!!python/object:os.system x", "tags are not read here"),
        ("- a", "job.yaml: wants a mapping of names to values, not a list"),
        ("--- a\n--- b", "holds more than one document"),
        (b"\xff\xfe", "is not UTF-8 at byte 0"),
        ("[" * 100_000, "is nested more than 32 deep"),
        ("#" + "x" * (5 << 20), "is longer than 4194304 bytes"),
        ("script: " + "x" * 100_001, "script: is longer than 100000 bytes; bring it as an input"),
    ],
    ids=range(32),
)
def test_what_is_refused_is_named_with_its_path_and_the_way_out(text, told):
    assert told in refused(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1, column 1: wants to be JSON"),
        ('{"a": 1, "a": 2}', "has the key 'a' twice"),
        ('{"attempt": NaN}', "holds NaN"),
        ("[" * 100_000, "is nested more than 32 deep"),
        ("1" * 5000, "holds a number that is too long"),
        ('{"attempt": 1e999}', "attempt: wants a whole number"),
        ('{"id": "\\ud800"}', "id: holds half of a character pair"),
    ],
    ids=range(7),
)
def test_json_is_refused_as_clearly(text, told):
    assert told in refused(text, "job.json")


@pytest.mark.parametrize("raw", [{}, {"file": 3}, {"described": {"command": ["x"]}}, {"file": {}, "described": 3}])
def test_what_never_was_a_description_is_refused_too(raw):
    with pytest.raises(BadMessage):
        read_job(raw)


# --- ten thousand broken descriptions ---------------------------------------------------------------------------------

COUNT = 10_000
ADVICE = re.compile(r"wants|did you mean|there are|write|choose|remove|leave|quotes|allowed|takes|make it|save it")
ODD = (None, True, -1, 0, 1.5, float("nan"), float("inf"), 10**400, "", " ", "../x", "a/b", "\x00", "\ud800", "é" * 300)
NESTED = ([], {}, [[]], [None], {"": 1}, {"a": {"b": []}}, [{"name": 3}], b"x", {1: 2}, (1,), {"name": ["x"]})


SYNTAX = (b"{", b"[", b"\n", b"\t", b"- ", b": ", b"&a ", b"*a", b"!!x ", b"\x00", b'"', b"'")


def deep() -> object:
    value: object = "x"
    for _ in range(2000):
        value = [value]
    return value


def places(value: object) -> list[tuple[dict | list, str | int]]:
    found: list[tuple[dict | list, str | int]] = []
    pending = [value]
    while pending:
        each = pending.pop()
        keys = each.keys() if isinstance(each, dict) else range(len(each)) if isinstance(each, list) else ()
        found += [(each, key) for key in keys]
        pending += [each[key] for key in keys]
    return found


def break_structure(chance: random.Random, good: dict) -> dict:
    """A copy of a description with one to three things changed in it."""
    broken = copy.deepcopy(good)
    for _ in range(chance.randint(1, 3)):
        holder, key = chance.choice(places(broken) or [(broken, "id")])
        match chance.randrange(5):
            case 0 | 1:
                holder[key] = chance.choice((*ODD, *copy.deepcopy(NESTED), deep()))
            case 2 if isinstance(holder, dict):
                holder[chance.choice(("x", f"{key}s", 3, "", "a\nb", "\ud800", "name "))] = chance.choice(ODD)
            case 3 if isinstance(holder, list):
                holder.append(copy.copy(holder[key]))
            case _:
                del holder[key]
    return broken


def break_text(chance: random.Random, good: bytes) -> bytes:
    """A text with some bytes changed, lost, doubled or cut off."""
    data = bytearray(good)
    for _ in range(chance.randint(1, 4)):
        data = data or bytearray(b"[")
        at = chance.randrange(len(data))
        match chance.randrange(4):
            case 0:
                data[at] = chance.randrange(256)
            case 1:
                del data[at : at + chance.randint(1, 30)]
            case 2:
                data[at:at] = chance.choice(SYNTAX)
            case 3:
                data = data[:at]
    return bytes(data)


def complaint(raw: dict) -> BadMessage | None:
    try:
        read_job(raw)
    except BadMessage as bad:
        return bad
    return None


def broken_descriptions(chance: random.Random):
    good = yaml.safe_load(EXAMPLE)
    texts = ((EXAMPLE.encode(), "job.yaml"), (json.dumps(good).encode(), "job.json"))
    while True:
        structure = break_structure(chance, good)
        yield {"file": {"path": "/site/job.yaml", "origin": ""}, "described": structure}
        text, name = chance.choice(texts)
        yield describe(Path("/site") / name, break_text(chance, text), "")


def test_ten_thousand_broken_descriptions_are_each_refused_in_clear_words():
    chance = random.Random(20260721)
    refusals = tried = 0
    for raw in broken_descriptions(chance):
        tried += 1
        if bad := complaint(raw):
            refusals += 1
            judge(bad)
        if refusals == COUNT:
            break
    assert tried < 3 * COUNT, "most of what is generated is broken"


def judge(bad: BadMessage) -> None:
    assert bad.problems
    assert len(str(bad)) < 10_000
    for line in str(bad).splitlines():
        assert line.startswith(("job.yaml: ", "job.json: ", "and "))
        assert line.isprintable(), line
    for problem in bad.problems:
        assert isinstance(problem, WireProblem)
        assert problem.path or problem.text.startswith(("wants", "holds", "is ", "has the key")), problem
        assert ADVICE.search(problem.text), problem
