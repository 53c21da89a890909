"""Job Control over a communicator that keeps what it is told, with real files and processes."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot_core.clock import SystemClock
from pilot_core.config.layers import Layer, Rank, Schema, Settings
from pilot_core.config.schema import CORE
from pilot_core.control.job import JobControl, Refusal, why_kept
from pilot_core.control.outbox import (
    _deliver,
    deliver_left,
    deliver_outbox,
    put_letter,
    set_room_aside,
    waiting_below,
)
from pilot_core.control.past import forget_past
from pilot_core.control.said import tail_of
from pilot_core.errors import Code, PilotError
from pilot_core.infosys.queue import WALL
from pilot_core.io.cancel import CancelFlag
from pilot_core.io.journal import Journal
from pilot_core.model.files import FileSpec, Receipt
from pilot_core.model.job import Job, JobExtras, JobKey
from pilot_core.model.payload import Command, Outcome
from pilot_core.model.queue import Queue, Resources
from pilot_core.model.wire import BadMessage, Problem
from pilot_core.plugins.hooks import Hooks, Tier
from pilot_core.redact import MASK, Redactor
from pilot_core.spec import jobs, reporting, startup
from pilot_core.spec.drivers import Communicator, Letter, Offer, Reply, Update
from pilot_core.spec.markers import hookimpl
from pilot_core.spec.patch import Patch
from pilot_core.spec.work import Task

SECRET = "hunter2-and-then-some"
BOOM = PilotError(Code.COMMUNICATIONFAILURE, "nobody answers")


class Post(Communicator):
    """Takes letters; ``trouble`` is raised by the next calls of ``send``."""

    name = "post"

    def __init__(self) -> None:
        self.sent: list[Letter] = []
        self.asked: list[Mapping[str, object]] = []
        self.trouble: list[Exception] = []
        self.extras = JobExtras()

    def acquire(self, request: Mapping[str, object]) -> Offer:
        self.asked.append(request)
        return Offer(over=True)

    def read(self, raw: Mapping[str, object]) -> Job:
        if "wrong" in raw:
            raise BadMessage([Problem("id", "is missing"), Problem("log", "wants a name")], "raw.json")
        return Job(id=str(raw["id"]), extras=self.extras)

    def compose(self, update: Update) -> Letter:
        body = {"state": update.job.phase, "at": update.at, "tail": update.log_tail, "why": str(update.job.error or "")}
        return Letter(
            communicator=self.name, job=update.job.id, attempt=update.job.attempt, final=update.final, body=body
        )

    def send(self, letter: Letter) -> Reply:
        if self.trouble:
            raise self.trouble.pop(0)
        self.sent.append(letter)
        return Reply(notes={"seen": len(self.sent)})

    def refuse(self, raw: Mapping[str, object], error: PilotError) -> Letter | None:
        if "id" not in raw:
            return None
        return Letter(communicator=self.name, job=str(raw["id"]), attempt=0, final=True, body={"why": str(error)})


class Desk:
    """A JobControl with all around it."""

    def __init__(self, root: Path, plugins: tuple[dict[str, Callable[..., Any]], ...] = (), **options: Any) -> None:
        self.root, self.post = root, Post()
        self.settings = settings_with(**options)
        hooks = Hooks(jobs, reporting, startup)
        for number, impls in enumerate(plugins):
            marked = SimpleNamespace(number=number, **{name: hookimpl(impl) for name, impl in impls.items()})
            hooks.register(marked, f"p{number}", tier=Tier.PLUGIN, distribution=f"pilot-p{number}", version="1.2")
        hooks.seal()
        redactor = Redactor([SECRET])
        self.queue = Queue(name="q")
        self.jobs = JobControl(self.post, hooks, self.settings, lambda: self.queue, SystemClock(), "node7", redactor)

    def task(self, job: Job) -> Task:
        workdir, control = self.root / job.directory, self.root / f"{job.directory}.control"
        workdir.mkdir(exist_ok=True)
        control.mkdir(mode=0o700, exist_ok=True)
        return Task(
            job=job,
            queue=self.jobs.queue(),
            settings=self.settings,
            workdir=workdir,
            control=control,
            cancel=CancelFlag(),
            stored=lambda _: None,
        )

    def record(self, task: Task) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((task.control / "record.json").read_text())
        return record


def settings_with(**options: Any) -> Settings:
    given: dict[str, dict[str, Any]] = {}
    for path, value in options.items():
        section, _, name = path.partition("__")
        given.setdefault(section, {})[name] = value
    return Schema(CORE).merge(Layer(Rank.SITE, "the test", given))


def done(**more: Any) -> Job:
    notes = {"delivered": True, **more.pop("notes", {})}
    return Job(id="1", outcome=Outcome(exit_code=0), notes=notes, **more)


# --- getting jobs ---


def test_a_request_carries_what_plugins_want_of_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path, ({"pilot_job_request": lambda: [Patch.set("label", "x")]},))
    assert desk.jobs.ask(Resources(cores=4)).over
    assert desk.post.asked == [{"queue": "q", "cores": 4, "label": "x"}]


def test_plugins_that_disagree_about_a_request_are_both_named(tmp_path: Path) -> None:
    wants = ({"pilot_job_request": lambda: [Patch.set("a", 1)]}, {"pilot_job_request": lambda: [Patch.set("a", 2)]})
    with pytest.raises(PilotError, match="p0 and p1"):
        Desk(tmp_path, wants).jobs.ask(Resources())


def test_a_job_gets_the_facts_of_all_plugins(tmp_path: Path) -> None:
    key: JobKey[object] = JobKey("p0.tag")
    desk = Desk(tmp_path, ({"pilot_job_extras": lambda wire: {key: wire["tag"]}},))
    assert desk.jobs.read({"id": 7, "tag": "main"}).extras == JobExtras({"p0.tag": "main"})


@pytest.mark.parametrize(("told", "limit_s"), [({"job_maxwalltime": True}, 600.0), ({"job_maxwalltime": False}, None)])
def test_the_queue_says_whether_a_wall_time_is_a_limit(
    tmp_path: Path, told: dict[str, object], limit_s: float | None
) -> None:
    """pilot:G06"""
    desk = Desk(tmp_path)
    desk.post.extras = JobExtras({WALL.name: 600.0})
    desk.queue = Queue(name="q", params=told)
    assert desk.jobs.read({"id": 7}).wall_limit_s == limit_s


def one_key() -> dict[JobKey[object], object]:
    return {JobKey("x.y"): 1}


def no_json() -> dict[JobKey[object], object]:
    return {JobKey("x.y"): Path()}


def crash() -> None:
    raise ZeroDivisionError("by hand")


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ((one_key, one_key), ("p0", "p1", "x.y")),
        ((no_json,), ("p0", "x.y", "JSON")),
        ((crash,), ("p0", "pilot-p0 1.2", "pilot_job_extras", "by hand")),
    ],
)
def test_facts_that_cannot_be_kept_reject_the_job_in_the_plugins_name(
    tmp_path: Path, answers: tuple[Callable[[], Any], ...], said: tuple[str, ...]
) -> None:
    desk = Desk(tmp_path, tuple({"pilot_job_extras": answer} for answer in answers))
    with pytest.raises(PilotError) as refused:
        desk.jobs.read({"id": 1})
    assert refused.value.code is Code.PLUGINFAILED
    assert all(word in str(refused.value) for word in said)


def test_a_bad_message_is_refused_with_all_that_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(PilotError) as refused:
        Desk(tmp_path).jobs.read({"wrong": 1})
    assert refused.value.code is Code.CONVERSIONFAILURE
    assert "id: is missing" in str(refused.value)
    assert "log: wants a name" in str(refused.value)


def test_a_communicator_that_crashes_rejects_one_job_in_its_own_name(tmp_path: Path) -> None:
    with pytest.raises(PilotError, match="plugin post failed in read: KeyError"):
        Desk(tmp_path).jobs.read({})


@pytest.mark.parametrize("bad", ["", "..", "../../etc", "a/b", "a\0b", "x" * 250, "1.control", "1.control.2", "a\nb"])
def test_an_id_that_would_name_another_directory_is_refused(tmp_path: Path, bad: str) -> None:
    with pytest.raises(PilotError, match="the job's id"):
        Desk(tmp_path).jobs.read({"id": bad})


@given(st.text(max_size=300))
def test_directories_of_an_accepted_job_are_right_below_the_work_directory(tmp_path_factory: Any, name: str) -> None:
    try:
        job = Desk(Path()).jobs.read({"id": name})
    except PilotError:
        return
    for each in (job.directory, f"{job.directory}.control"):
        path = Path(os.path.normpath(Path("/w") / each))
        assert path.parent == Path("/w")
        assert len(os.fsencode(path.name)) <= 255
    assert ".control" not in job.directory


def test_a_refused_job_is_reported_without_secrets(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    refusal = desk.jobs.refuse({"id": 1}, PilotError(Code.CONVERSIONFAILURE, f"password {SECRET}"), tmp_path)
    assert refusal.waits_in is not None
    assert SECRET not in refusal.waits_in.read_text()
    desk.jobs.deliver(refusal.waits_in)
    assert not refusal.waits_in.exists()
    assert MASK in str(desk.post.sent[0].body)
    assert SECRET not in str(desk.post.sent[0].body)
    assert desk.jobs.refuse({}, BOOM, tmp_path) == Refusal()


def test_a_refusal_that_does_not_arrive_waits_in_the_outbox(tmp_path: Path) -> None:
    desk = Desk(tmp_path, report__outbox=str(tmp_path / "out"))
    desk.post.trouble = [BOOM]
    refusal = desk.jobs.refuse({"id": 1}, BOOM, tmp_path)
    assert refusal.waits_in is not None
    with pytest.raises(PilotError):
        desk.jobs.deliver(refusal.waits_in)
    assert [each.error for each in deliver_outbox(tmp_path / "out", {"post": desk.post.send})] == [None]
    assert desk.post.sent[0].job == "1"
    desk.jobs.deliver(refusal.waits_in)
    assert len(desk.post.sent) == 1, "another pilot has told it"


def test_without_an_outbox_it_waits_where_the_next_pilot_here_looks(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.jobs.refuse({"id": 1}, BOOM, tmp_path)
    assert [each.error for each in deliver_left(tmp_path, {"post": desk.post.send})] == [None]
    assert waiting_below(tmp_path) == []


@pytest.mark.parametrize("trouble", [[], [BOOM]])
def test_where_no_disk_takes_it_it_is_told_at_once(tmp_path: Path, trouble: list[PilotError]) -> None:
    desk = Desk(tmp_path, report__outbox=str(tmp_path / "file" / "out"))
    (tmp_path / "file").write_text("")
    desk.post.trouble = list(trouble)
    assert desk.jobs.refuse({"id": 1}, BOOM, tmp_path / "file") == Refusal(job="1", told=not trouble)


# --- verifying ---


def test_verification_finds_everything_at_once(tmp_path: Path) -> None:
    job = Job(
        id="1",
        inputs=(FileSpec(lfn="../up"), FileSpec(lfn="same"), FileSpec(lfn="same")),
        outputs=(FileSpec(lfn="x" * 300), FileSpec(lfn="log.tgz")),
        log=FileSpec(lfn="log.tgz"),
        needs=Resources(cores=0, memory_b=-1, gpu_count=-2),
        wall_limit_s=float("nan"),
        image="/not/here.sif",
    )
    said = PilotError(Code.NORELEASEFOUND, "none")
    desk = Desk(tmp_path, ({"pilot_job_verify": lambda: [said]},))
    errors = desk.jobs.verify(desk.task(job)).errors
    assert [error.detail.partition(":")[0] for error in errors[:2]] == ["inputs[0].name", "outputs[0].name"]
    codes = sorted(error.code.number for error in errors)
    assert codes == [1190, 1244, *[1302] * 6, 1360, 1371, 1384]


def test_a_plugin_that_fails_to_verify_does_not_hide_what_was_found(tmp_path: Path) -> None:
    desk = Desk(tmp_path, ({"pilot_job_verify": crash},))
    errors = desk.jobs.verify(desk.task(Job(id="1", image="img"))).errors
    assert [error.code for error in errors] == [Code.QUEUENOTSETUPFORCONTAINERS, Code.PLUGINFAILED]
    assert errors[1].facts["distribution"] == "pilot-p0"


def test_a_sane_job_is_verified(tmp_path: Path) -> None:
    desk = Desk(tmp_path, payload__container="apptainer")
    job = Job(id="1", outputs=(FileSpec(lfn="out.ü"),), needs=Resources(cores=8, memory_b=1), image="img")
    assert desk.jobs.verify(desk.task(job)).errors == ()


# --- reporting ---


def test_a_report_carries_plugins_changes_and_no_secret(tmp_path: Path) -> None:
    desk = Desk(tmp_path, ({"pilot_report_fields": lambda final: [Patch.set("more", f"{final} {SECRET}")]},))
    task = desk.task(Job(id="1", errors=(PilotError(Code.PAYLOADEXECUTIONFAILURE, f"it said {SECRET}"),)))
    (task.workdir / "payload.stderr").write_text(f"token is {SECRET}\n")
    desk.jobs.report(task.job, task.workdir)
    body = desk.post.sent[0].body
    assert body["more"] == f"False {MASK}"
    assert SECRET not in json.dumps(body)
    assert "token is" in str(body["tail"])


@pytest.mark.parametrize("answer", [crash, lambda: [Patch.set("x", Path())], lambda: [Patch.min("tail", 1)]])
def test_a_report_goes_without_what_plugins_got_wrong(tmp_path: Path, answer: Callable[[], Any]) -> None:
    desk = Desk(tmp_path, ({"pilot_report_fields": answer},))
    task = desk.task(Job(id="1"))
    desk.jobs.report(task.job, task.workdir)
    assert set(desk.post.sent[0].body) == {"state", "at", "tail", "why"}


def test_half_a_secret_at_the_edge_of_the_tail_is_not_shown(tmp_path: Path) -> None:
    redactor = Redactor([SECRET])
    for cut in range(1, len(SECRET) + 20):
        (tmp_path / "payload.stderr").write_text("x" * 20000 + SECRET + "y" * 10)
        shown = tail_of(tmp_path, 10 + cut, redactor)
        assert len(shown) <= 10 + cut
        assert set(shown) <= set("xy*")


def test_a_tail_of_nothing_a_link_or_broken_text_is_harmless(tmp_path: Path) -> None:
    (tmp_path / "payload.stderr").symlink_to("/etc/passwd")
    (tmp_path / "payload.stdout").write_bytes(b"\xff\xfeend\xe2\x82")
    assert "end" in tail_of(tmp_path, 100, Redactor())
    assert "root" not in tail_of(tmp_path, 100, Redactor())
    assert tail_of(tmp_path, 0, Redactor()) == ""


def test_the_final_update_is_on_disk_before_it_is_sent_and_the_same_when_sent_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.post.trouble = [BOOM]
    task = desk.task(Job(id="1", attempt=3))
    with pytest.raises(PilotError):
        desk.jobs.conclude(task)
    written = json.loads((task.control / "final.json").read_text())
    other = Desk(tmp_path)
    (task.workdir / "payload.stderr").write_text("news")
    assert other.jobs.conclude(other.task(Job(id="1", errors=(BOOM,)))).notes == {"reply": {"seen": 1}}
    assert other.post.sent[0].body == written["body"]
    assert (other.post.sent[0].final, other.post.sent[0].attempt) == (True, 3)
    assert (task.control / "final.json").stat().st_mode & 0o777 == 0o600


def test_what_is_sent_first_is_what_a_recovering_pilot_would_read(tmp_path: Path) -> None:
    desk = Desk(tmp_path, ({"pilot_report_fields": lambda: [Patch.set("list", (1, 2))]},))
    desk.jobs.conclude(desk.task(Job(id="1")))
    desk.jobs.conclude(desk.task(Job(id="1")))
    assert desk.post.sent[0] == desk.post.sent[1]


def test_a_final_update_of_a_newer_pilot_is_left_alone(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    task = desk.task(Job(id="1"))
    (task.control / "final.json").write_text('{"format": 99}')
    with pytest.raises(PilotError, match=r"format 99.*reads up to 1.*newer"):
        desk.jobs.conclude(task)
    assert desk.post.sent == []


def test_a_damaged_final_update_is_composed_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    task = desk.task(Job(id="1"))
    (task.control / "final.json").write_text('{"format": 1, "comm')
    desk.jobs.conclude(task)
    assert json.loads((task.control / "final.json").read_text())["job"] == "1"


def test_a_final_update_is_sent_even_if_no_disk_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    desk = Desk(tmp_path)
    monkeypatch.setattr("pilot_core.control.job.write_letter", full)
    desk.jobs.conclude(desk.task(Job(id="1")))
    assert desk.post.sent[0].final


# --- the end ---


def test_a_clean_end_removes_the_directory_and_leaves_the_record(tmp_path: Path) -> None:
    told: list[Mapping[str, object]] = []

    def hear(record: Mapping[str, object]) -> None:
        told.append(record)

    desk = Desk(tmp_path, ({"pilot_node_facts": lambda: {"cpu": "fast"}, "pilot_job_recorded": hear},))
    receipt = Receipt(lfn="out", direction="out", url=f"x://u:{SECRET}@h/out", tool="t", size_b=100, took_s=2.0)
    task = desk.task(
        done(
            outputs=(FileSpec(lfn="out"), FileSpec(lfn="perhaps", optional=True)),
            receipts=(receipt,),
            command=Command("run", f"--pw={SECRET}", env={"A": SECRET}),
            times={"stage_in": 4.0, "running": 10.0},
            notes={"sides": [{"name": "s", "command": {"env": {"B": SECRET}}}]},
        )
    )
    (task.workdir / "deep" / "er").mkdir(parents=True)
    desk.jobs.clean_up(task)
    assert not task.workdir.exists()
    record = desk.record(task)
    assert told == [record]
    assert (record["state"], record["kept"], record["delivered"]) == ("finished", "", True)
    assert record["node"] == {"name": "node7", "cpu": "fast"}
    assert record["plugins"] == {"p0": "pilot-p0 1.2"}
    assert record["files"][0]["speed_b_s"] == 50.0
    assert [phase["phase"] for phase in record["phases"]] == ["stage_in", "running"]
    assert record["phases"][0]["lasted_s"] == 6.0
    assert "sides" not in record["notes"]
    assert SECRET not in (task.control / "record.json").read_text()


def test_the_record_of_a_failure_explains_and_advises(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    errors = (PilotError(Code.PAYLOADEXECUTIONFAILURE, "exit 1"), PilotError(Code.PAYLOADOUTOFMEMORY))
    task = desk.task(done(errors=errors, outputs=(FileSpec(lfn="out"),)))
    desk.jobs.clean_up(task)
    record = desk.record(task)
    assert record["error"]["acronym"] == "PAYLOADOUTOFMEMORY"
    assert record["error"]["advice"] == Code.PAYLOADOUTOFMEMORY.retry.value
    assert len(record["errors"]) == 2
    assert not task.workdir.exists()


@pytest.mark.parametrize(
    ("job", "cleanup", "why"),
    [
        (Job(id="1"), True, "not delivered"),
        (done(), False, "cleanup is off"),
        (done(notes={"left_in_workdir": ["a", "b"]}), True, "a, b"),
        (done(outputs=(FileSpec(lfn="gone"),)), True, "not stored: gone"),
        (done(outputs=(FileSpec(lfn="full"),), errors=(PilotError(Code.STAGEOUTFAILED, "no"),)), True, "stored: full"),
        (done(outputs=(FileSpec(lfn="cut"),), errors=(PilotError(Code.SIGTERM, "now"),)), True, "not stored: cut"),
    ],
)
def test_a_directory_stays_as_long_as_something_in_it_matters(
    tmp_path: Path, job: Job, cleanup: bool, why: str
) -> None:
    assert why in why_kept(job, cleanup)
    desk = Desk(tmp_path, pilot__cleanup=cleanup)
    task = desk.task(job)
    desk.jobs.clean_up(task)
    assert task.workdir.exists()
    assert why in desk.record(task)["kept"]


def test_clean_up_never_follows_a_link(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "file").write_text("alive")
    desk = Desk(tmp_path)
    task = desk.task(done())
    (task.workdir / "link").symlink_to(canary)
    desk.jobs.clean_up(task)
    assert not task.workdir.exists()
    task.workdir.symlink_to(canary)
    desk.jobs.clean_up(task)
    assert (canary / "file").read_text() == "alive"
    assert desk.record(task)["kept"]


def test_clean_up_twice_is_as_good_as_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    task = desk.task(done())
    desk.jobs.clean_up(task)
    desk.jobs.clean_up(task)
    assert desk.record(task)["kept"] == ""


# --- letters that wait ---


def undelivered(desk: Desk, job: Job) -> Task:
    desk.post.trouble = [BOOM]
    task = desk.task(job)
    with pytest.raises(PilotError):
        desk.jobs.conclude(task)
    desk.jobs.clean_up(task)
    return task


def test_an_undelivered_letter_goes_through_the_outbox_exactly_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path, report__outbox=str(tmp_path / "out"))
    task = undelivered(desk, Job(id="1"))
    desk.jobs.clean_up(task)
    assert [each.job for each in deliver_outbox(tmp_path / "out", {"post": desk.post.send})] == ["1"]
    assert deliver_outbox(tmp_path / "out", {"post": desk.post.send}) == []
    assert len(desk.post.sent) == 1
    assert list((tmp_path / "out").iterdir()) == []
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700


def test_without_an_outbox_a_letter_waits_beside_its_job(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    task = undelivered(desk, Job(id="1"))
    desk.jobs.clean_up(task)
    desk.post.trouble = [BOOM]
    assert [each.error for each in deliver_left(tmp_path, {"post": desk.post.send})] == [BOOM]
    assert [each.error for each in deliver_left(tmp_path, {"post": desk.post.send})] == [None]
    assert deliver_left(tmp_path, {"post": desk.post.send}) == []
    assert len(desk.post.sent) == 1
    assert (task.control / "final.json").exists()


def full(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_an_outbox_that_takes_nothing_leaves_the_letter_beside_its_job(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    desk = Desk(tmp_path, report__outbox=str(tmp_path / "out"))
    undelivered(desk, Job(id="1"))
    assert [each.error for each in deliver_left(tmp_path, {"post": desk.post.send})] == [None]


def test_what_finds_no_place_is_not_said_to_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found: the clean-up told nobody, and failed for want of room for the record."""
    desk = Desk(tmp_path)
    task = desk.task(Job(id="1"))
    with monkeypatch.context() as patched:
        patched.setattr("pilot_core.control.job.write_letter", full)
        patched.setattr("pilot_core.control.job.write_atomic", full)
        assert desk.jobs.clean_up(task).notes == {}
    place = str(task.control / "waiting.json")
    assert desk.jobs.clean_up(task).notes == {"waits_in": place}
    assert desk.record(task)["notes"]["waits_in"] == place


def test_the_last_word_gets_the_room_that_was_kept_for_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    task = desk.task(Job(id="1"))
    set_room_aside(task.control)
    kept = (task.control / "final.reserve").stat()
    assert kept.st_blocks * 512 >= 1 << 16
    desk.jobs.conclude(task)
    assert sorted(path.name for path in task.control.iterdir()) == ["final.json"]
    assert (task.control / "final.json").stat().st_ino == kept.st_ino


def test_letters_that_cannot_be_sent_are_explained_and_stay(tmp_path: Path) -> None:
    letter = Letter(communicator="pigeon", job="1", attempt=0, final=True, body={})
    put_letter(letter, tmp_path)
    (tmp_path / "new.json").write_text('{"format": 2}')
    (tmp_path / "torn.json").write_text('{"format"')
    (tmp_path / "odd.json").write_text("[1]")
    (tmp_path / "less.json").write_text('{"format": 1, "job": "x"}')
    (tmp_path / "link.json").symlink_to(tmp_path / "odd.json")
    said = {each.path.name: str(each.error) for each in deliver_outbox(tmp_path, {})}
    assert len(said) == 5
    assert "newer" in said["new.json"]
    assert "line 1" in said["torn.json"]
    assert "no letter" in said["odd.json"]
    assert "no letter" in said["less.json"]
    assert sum("'pigeon'" in each for each in said.values()) == 1
    assert len(list(tmp_path.glob("*.json"))) == 6


def test_the_outbox_of_another_user_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_letter(Letter(communicator="post", job="1", attempt=0, final=True, body={}), tmp_path)
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    assert deliver_outbox(tmp_path, {"post": crash}) == []  # type: ignore[dict-item]


def test_a_letter_that_somebody_sent_meanwhile_leaves_nothing_behind(tmp_path: Path) -> None:
    assert _deliver(tmp_path / "gone.json", {}) is None
    assert list(tmp_path.iterdir()) == []


def send_all(outbox: Path, gate: Any, log: Path) -> None:
    def note(letter: Letter) -> None:
        with log.open("a") as file:
            file.write(f"{letter.job}\n")

    gate.wait(10)
    deliver_outbox(outbox, {"post": note})


def test_several_pilots_send_each_letter_once(tmp_path: Path) -> None:
    outbox, log = tmp_path / "out", tmp_path / "log"
    for number in range(60):
        put_letter(Letter(communicator="post", job=str(number), attempt=0, final=True, body={}), outbox)
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(4)
    pilots = [context.Process(target=send_all, args=(outbox, gate, log)) for _ in range(4)]
    for pilot in pilots:
        pilot.start()
    for pilot in pilots:
        pilot.join(30)
    deliver_outbox(outbox, {"post": lambda _: pytest.fail("one was left")})
    assert sorted(map(int, log.read_text().split())) == list(range(60))
    assert list(outbox.iterdir()) == []


# --- control directories of the past ---


def past(root: Path, name: str, *, sealed: bool = True, age_days: float = 10.0) -> Path:
    control = root / f"PanDA_Pilot-{name}.control"
    control.mkdir()
    journal = Journal.create(control / "journal")
    journal.append({"raw": {}})
    if sealed:
        journal.seal()
    journal.close()
    os.utime(control / "journal", (1e9 - age_days * 86400,) * 2)
    return control


def test_only_old_sealed_directories_without_a_letter_are_forgotten(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, _ = past(tmp_path, "1"), past(tmp_path, "2", age_days=1.0)
    past(tmp_path, "3", sealed=False)
    (past(tmp_path, "4") / "waiting.json").write_text("{}")
    aside = past(tmp_path, "5").rename(tmp_path / "PanDA_Pilot-5.control.1")
    canary = past(tmp_path, "elsewhere").rename(tmp_path / "canary")
    (tmp_path / "PanDA_Pilot-6.control").symlink_to(canary)
    (tmp_path / "PanDA_Pilot-7").mkdir()
    assert forget_past(tmp_path, 7.0, now=1e9) == [old, aside]
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [*(f"PanDA_Pilot-{n}.control" for n in (2, 3, 4, 6)), "PanDA_Pilot-7", "canary"]
    assert (canary / "journal").exists()
    assert caplog.text == ""
