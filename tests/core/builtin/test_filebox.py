"""Jobs from files: taken once, reported, put away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import evolve

from pilot_core.builtin.filebox import FileBox, JobFile
from pilot_core.model.files import Checksum, Receipt
from pilot_core.model.job import RUNNING
from pilot_core.model.payload import Outcome
from pilot_core.model.records import pack, unpack
from pilot_core.sdk import Code, Letter, PilotError, Update
from pilot_core.sdk.wire import BadMessage

GOOD = "command: [x]\n"


@pytest.fixture
def box(tmp_path: Path) -> Path:
    (tmp_path / "box").mkdir()
    return tmp_path / "box"


@pytest.fixture
def filebox(make, box):
    return make(FileBox, filebox={"path": str(box)})


def put(box: Path, name: str, text: str = GOOD, age_s: float = 0.0) -> Path:
    path = box / name
    path.write_text(text)
    moment = time.time() - age_s
    os.utime(path, (moment, moment))
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def report(box: Path, name: str) -> dict:
    return json.loads((box / "reports" / f"{name}.json").read_text())


def take(filebox):
    (raw,) = filebox.acquire({}).jobs
    job = filebox.read(raw)
    filebox.taken(raw)
    return job


def tell(filebox, job, final=False):
    return filebox.compose(Update(job=job, final=final, at=1.0, node="n"))


# --- taking -----------------------------------------------------------------------------------------------------------


def test_jobs_come_by_name_until_the_box_is_empty(filebox, box):
    put(box, "b.yaml")
    put(box, "a.json", '{"command": ["x"]}')
    put(box, "c.yml")
    put(box, "notes.txt")
    put(box, ".hidden.yaml")
    (box / "folder.yaml").mkdir()
    assert [take(filebox).id for _ in range(3)] == ["a", "b", "c"]
    offer = filebox.acquire({})
    assert (offer.jobs, offer.over) == ((), True)
    assert len(names(box / "taken")) == 3
    assert names(box) == [".hidden.yaml", "folder.yaml", "notes.txt", "offered", "taken"]


def test_paths_are_seen_from_the_box_wherever_the_file_is_now(filebox, box):
    put(box, "a.yaml", "command: [x]\ninputs: [../in.txt]\noutputs: [{name: o, destination: out/}]")
    job = take(filebox)
    assert job.inputs[0].replicas[0].url == str(box / "../in.txt")
    assert job.outputs[0].replicas[0].url == str(box / "out/o")


def test_a_raw_job_survives_a_journal(filebox, box):
    put(box, "a.yaml", "command: [x]\nenvironment: {A: 1.5e3x}")
    (raw,) = filebox.acquire({}).jobs
    assert filebox.read(json.loads(json.dumps(raw))) == filebox.read(raw)


TAKER = """
import sys
from pathlib import Path
from pilot_core.builtin.filebox import FileBox, FileBoxOptions
from pilot_core.config.layers import Layer, Rank, Schema

box = FileBox(Schema([FileBoxOptions]).merge(Layer(Rank.SITE, "", {"filebox": {"path": sys.argv[1]}})))
print("ready", flush=True)
sys.stdin.readline()
while (offer := box.acquire({})).jobs:
    print(box.read(offer.jobs[0]).id, flush=True)
    if "all" in sys.argv:
        box.taken(offer.jobs[0])
    else:
        sys.stdin.readline()
"""


def start_taker(box, *how):
    command = [sys.executable, "-c", TAKER, box, *how]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_two_pilots_never_take_one_job(box):
    for number in range(150):
        put(box, f"job{number:03}.yaml", age_s=60)
    takers = [start_taker(box, "all") for _ in range(3)]
    for taker in takers:
        assert taker.stdout.readline() == "ready\n"
    with ThreadPoolExecutor() as pool:
        said = pool.map(lambda taker: taker.communicate("go\n", timeout=60)[0], takers)
    assert sorted("".join(said).split()) == [f"job{number:03}" for number in range(150)]
    assert [taker.returncode for taker in takers] == [0, 0, 0]


def test_a_job_offered_to_a_pilot_that_dies_goes_back_into_the_box(filebox, box):
    put(box, "a.yaml", age_s=60)
    put(box, "b.yaml", age_s=60)
    mortal = start_taker(box)
    mortal.stdin.write("go\n")
    mortal.stdin.flush()
    assert [mortal.stdout.readline() for _ in range(2)] == ["ready\n", "a\n"]
    assert take(filebox).id == "b", "a living pilot keeps what it was offered"
    mortal.kill()
    mortal.communicate()
    assert filebox.acquire({}).over, "who is present does not look for the dead again"
    heir = type(filebox)(filebox.settings)
    assert take(heir).id == "a"


def test_a_job_that_was_never_begun_is_given_back(filebox, box):
    put(box, "a.yaml")
    (raw,) = filebox.acquire({}).jobs
    filebox.taken(raw)
    assert names(box / "taken") == [Path(raw["file"]["origin"]).name]
    assert filebox.give_back(raw)
    assert take(filebox).id == "a"


def test_what_was_given_back_before_is_given_back(filebox, make, box):
    """Found: a job that another pilot had finished was then refused, over its report."""
    put(box, "a.yaml")
    (raw,) = filebox.acquire({}).jobs
    filebox.give_back(raw)
    other = make(FileBox, filebox={"path": str(box)})
    other.send(tell(other, take(other), final=True))
    assert filebox.give_back(raw)
    assert (names(box / "done"), [name for name in names(box) if "yaml" in name]) == (["a.yaml"], [])


@pytest.mark.parametrize("origin", ["elsewhere/a.yaml", "gone/offered/1-a.yaml"])
def test_what_came_from_no_box_or_from_one_that_is_gone_goes_nowhere(filebox, tmp_path, origin):
    assert not filebox.give_back({"file": {"path": "a.yaml", "origin": str(tmp_path / origin)}})


def test_a_job_goes_back_into_its_own_box_and_its_report_too(filebox, make, box, tmp_path):
    """Found: it was reported into the box of the pilot that recovered it."""
    (tmp_path / "other").mkdir()
    other = make(FileBox, filebox={"path": str(tmp_path / "other")})
    put(box, "a.yaml")
    put(box, "b.yaml")
    job = take(filebox)
    (raw,) = filebox.acquire({}).jobs
    other.send(tell(other, job, final=True))
    assert report(box, "a")["final"]
    assert other.give_back(raw)
    assert (box / "b.yaml").is_file()
    assert names(tmp_path / "other") == []


def test_a_watched_box_is_looked_at_less_and_less_often(make, box):
    filebox = make(FileBox, filebox={"path": str(box), "watch": True})
    offers = [filebox.acquire({}) for _ in range(6)]
    assert [offer.again_s for offer in offers] == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    assert not any(offer.over for offer in offers)
    put(box, "a.yaml")
    assert take(filebox).id == "a"
    assert filebox.acquire({}).again_s == 5.0


def test_a_file_that_is_being_written_is_left_for_later(filebox, box):
    path = put(box, "a.yaml", "command: [x")
    offer = filebox.acquire({})
    assert (offer.jobs, offer.over, offer.again_s) == ((), False, 5.0)
    path.write_text(GOOD)
    assert take(filebox).id == "a"


def test_a_broken_file_does_not_keep_the_others_waiting(filebox, box):
    put(box, "a.yaml", "command: [x")
    put(box, "b.yaml")
    assert take(filebox).id == "b"


def test_a_box_that_is_not_there_is_an_error(filebox, box):
    box.rmdir()
    with pytest.raises(PilotError, match="No such file") as raised:
        filebox.acquire({})
    assert raised.value.code is Code.COMMUNICATIONFAILURE


@pytest.mark.parametrize("driver", [FileBox, JobFile])
def test_without_a_path_there_is_nothing_to_do(make, driver):
    with pytest.raises(PilotError, match=r"`pilot run --(filebox|job)"):
        make(driver)


# --- refusing ---------------------------------------------------------------------------------------------------------


def test_a_job_that_cannot_be_read_is_refused_and_reported(filebox, box):
    put(box, "a.yaml", "command: [x", age_s=60)
    (raw,) = filebox.acquire({}).jobs
    with pytest.raises(BadMessage, match=r"a\.yaml: line 2, column 1: wants to be YAML") as raised:
        filebox.read(raw)
    filebox.send(filebox.refuse(raw, PilotError(Code.CONVERSIONFAILURE, str(raised.value))))
    said = report(box, "a")
    assert (said["state"], said["final"], said["error"]["number"]) == ("failed", True, 1302)
    assert "a.yaml: line 2" in said["error"]["detail"]
    assert (names(box / "refused"), names(box / "taken")) == (["a.yaml"], [])


def test_a_file_that_may_not_be_read_is_refused(filebox, box, monkeypatch):
    put(box, "a.yaml", age_s=60)
    opened = Path.open

    def refuse(self, *how, **more):
        if self.parent.name == "offered":
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *how, **more)

    monkeypatch.setattr(Path, "open", refuse)
    (raw,) = filebox.acquire({}).jobs
    with pytest.raises(BadMessage, match=r"a\.yaml: cannot be read: Permission denied"):
        filebox.read(raw)


@pytest.mark.parametrize("raw", [{}, {"file": {"path": "/x/a.yaml", "origin": "/x/a.yaml"}}])
def test_too_little_known_to_refuse(filebox, raw):
    assert filebox.refuse(raw, PilotError(Code.GENERALERROR)) is None


# --- reporting --------------------------------------------------------------------------------------------------------


def test_a_job_is_reported_while_it_runs_and_when_it_ends(filebox, box):
    put(box, "a.yaml")
    job = evolve(take(filebox), phase=RUNNING, times={"running": 5.0})
    filebox.send(tell(filebox, job))
    assert (report(box, "a")["state"], report(box, "a")["final"]) == ("running", False)
    assert "error" not in report(box, "a")
    error = PilotError(Code.PAYLOADEXECUTIONFAILURE, "it said no")
    moved = Receipt(
        lfn="o", direction="out", url="/o", tool="local", size_b=3, checksum=Checksum("adler32", "0000001a"), took_s=0.5
    )
    ended = evolve(job, errors=(error,), receipts=(moved,), outcome=Outcome(exit_code=3, wall_s=2.0))
    filebox.send(tell(filebox, ended, final=True))
    said = report(box, "a")
    assert (said["id"], said["attempt"], said["state"], said["final"]) == ("a", 1, "failed", True)
    assert (said["error"]["number"], said["error"]["detail"]) == (1305, "it said no")
    assert said["error"]["advice"]
    assert said["outcome"] == {"exit_code": 3, "wall_s": 2.0, "said": "exit code 3"}
    assert said["files"][0]["checksum"] == "adler32:0000001a"
    assert said["times"] == {"running": 5.0}
    assert (names(box / "done"), names(box / "taken")) == (["a.yaml"], [])


def test_sending_twice_does_no_harm_and_a_late_update_changes_nothing(filebox, box):
    put(box, "a.yaml")
    job = take(filebox)
    early, late = tell(filebox, job), tell(filebox, job, final=True)
    filebox.send(late)
    before = report(box, "a")
    filebox.send(early)
    assert report(box, "a") == before
    filebox.send(late)
    assert report(box, "a") == before
    assert names(box / "done") == ["a.yaml"]


def test_another_pilot_delivers_the_letter_as_it_was_written(make, filebox, box, tmp_path):
    put(box, "a.yaml")
    letter = tell(filebox, take(filebox), final=True)
    (tmp_path / "other").mkdir()
    other = make(FileBox, filebox={"path": str(tmp_path / "other")})
    other.send(unpack(Letter, json.loads(json.dumps(pack(letter)))))
    assert report(box, "a")["final"]
    assert names(box / "done") == ["a.yaml"]


def test_the_same_name_again_is_a_new_job_with_a_report_of_its_own(filebox, box):
    for name in ("a", "a.2"):
        put(box, "a.yaml")
        job = take(filebox)
        filebox.send(tell(filebox, job))
        assert not report(box, name)["final"]
        filebox.send(tell(filebox, job, final=True))
        filebox.send(tell(filebox, job))
        assert report(box, name)["final"]
        assert report(box, name)["taken"] == Path(job.origin).name
    assert names(box / "reports") == ["a.2.json", "a.json"]
    done = names(box / "done")
    assert len(done) == 2
    assert all(name.endswith("a.yaml") for name in done)


def test_a_refusal_is_written_over_no_other_job_s_report(filebox, box):
    put(box, "a.yaml")
    filebox.send(tell(filebox, take(filebox), final=True))
    before = report(box, "a")
    put(box, "a.yaml", "command: [x", age_s=60)
    (raw,) = filebox.acquire({}).jobs
    filebox.send(filebox.refuse(raw, PilotError(Code.CONVERSIONFAILURE)))
    assert report(box, "a") == before
    assert report(box, "a.2")["refused"]


def test_pilots_that_report_one_id_at_once_get_a_name_each(make, box):
    boxes = [make(FileBox, filebox={"path": str(box)}) for _ in range(4)]
    letters = []
    for number, each in enumerate(boxes):
        put(box, f"{number}.yaml", "{id: same, command: [x]}")
        letters.append(tell(each, take(each)))
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda each, letter: each.send(letter), boxes, letters))
    assert names(box / "reports") == ["same.2.json", "same.3.json", "same.4.json", "same.json"]
    said = {report(box, name)["taken"] for name in ("same", "same.2", "same.3", "same.4")}
    assert said == {letter.body["taken"] for letter in letters}


def test_a_file_system_without_links_takes_reports(filebox, box, monkeypatch):
    def link(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", link)
    put(box, "a.yaml")
    filebox.send(tell(filebox, take(filebox)))
    assert names(box / "reports") == ["a.json"]


def test_a_report_stays_in_the_box_whatever_a_letter_says(filebox, box, tmp_path):
    put(box, "a.yaml")
    letter = tell(filebox, take(filebox), final=True)
    body = {**letter.body, "taken": "../../../secret.yaml"}
    filebox.send(evolve(letter, job="../../evil", body=body))
    assert names(box / "reports") == ["evil.json"]
    assert names(tmp_path) == ["box"]


def test_a_report_that_cannot_be_written_is_an_error(filebox, box):
    put(box, "a.yaml")
    letter = tell(filebox, take(filebox), final=True)
    (box / "reports").write_text("in the way")
    with pytest.raises(PilotError) as raised:
        filebox.send(letter)
    assert raised.value.code is Code.COMMUNICATIONFAILURE
    assert len(names(box / "taken")) == 1


# --- one job ----------------------------------------------------------------------------------------------------------


def test_a_job_file_is_one_job_and_then_no_more(make, tmp_path):
    path = put(tmp_path, "one.yaml", "command: [x]\ninputs: [a]")
    driver = make(JobFile, jobfile={"path": str(path)})
    offer = driver.acquire({})
    assert offer.over
    job = driver.read(offer.jobs[0])
    assert (job.id, job.origin, job.inputs[0].replicas[0].url) == ("one", str(path), str(tmp_path / "a"))
    driver.send(tell(driver, job, final=True))
    assert names(tmp_path) == ["one.yaml"]


def test_a_job_file_that_cannot_be_read_is_a_bad_message(make, tmp_path):
    driver = make(JobFile, jobfile={"path": str(tmp_path / "none.yaml")})
    with pytest.raises(BadMessage, match=r"none\.yaml: cannot be read: No such file"):
        driver.read(driver.acquire({}).jobs[0])
