"""Payload Control: the command, the environment that is built, and what the end of a payload is judged to be."""

from __future__ import annotations

import os
import resource
import signal
import string
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pilot_core.config.layers import Layer, Rank, Schema
from pilot_core.config.schema import CORE
from pilot_core.control.diagnosis import complaint
from pilot_core.control.payload import CREDENTIAL, PayloadControl
from pilot_core.control.said import Said
from pilot_core.errors import Code, PilotError, merge
from pilot_core.io.cancel import CancelFlag
from pilot_core.io.cgroup import Group, Groups
from pilot_core.machine.events import Result
from pilot_core.model.failure import failure_of
from pilot_core.model.job import Job
from pilot_core.model.payload import Command, Outcome, SideProcess
from pilot_core.model.queue import Queue, Resources
from pilot_core.plugins.guard import PluginFailed
from pilot_core.plugins.hooks import Hooks, Tier
from pilot_core.redact import MASK, Redactor
from pilot_core.spec import payload
from pilot_core.spec.drivers import Container, Launcher, Mount
from pilot_core.spec.markers import hookimpl
from pilot_core.spec.patch import Patch
from pilot_core.spec.work import Task

SECRET = "hunter2-and-then-some"


class Box(Container):
    name = "box"

    def wrap(self, command: Command, image: str, workdir: Path, mounts: Sequence[Mount]) -> Command:
        return Command("box", image, *command.argv, env=command.env)


class Srun(Launcher):
    name = "srun"

    def launch(self, command: Command, job: Job) -> Command:
        return Command("srun", f"-n{job.needs.cores}", *command.argv, env=command.env)


class Stage:
    """A PayloadControl with all around it."""

    def __init__(self, root: Path, *plugins: dict[str, Callable[..., Any]], **environ: str) -> None:
        self.workdir = root / "PanDA_Pilot-1"
        self.workdir.mkdir(exist_ok=True)
        self.root = root
        hooks = Hooks(payload)
        for number, impls in enumerate(plugins):
            marked = SimpleNamespace(number=number, **{name: hookimpl(impl) for name, impl in impls.items()})
            hooks.register(marked, f"p{number}", tier=Tier.PLUGIN, distribution=f"pilot-p{number}", version="1.2")
        hooks.seal()
        self.control = PayloadControl(
            hooks,
            Box(None),
            Srun(None),
            environ,
            Redactor([SECRET]),
            self.groups,  # type: ignore[arg-type]
        )

    def groups(self) -> Groups:
        """Control groups made of files below the test's own directory."""
        return Groups(Group(self.root, self.root, 2), None)

    def task(self, job: Job, queue: Queue | None = None, **options: Any) -> Task:
        return Task(
            job=job,
            queue=queue or Queue(name="q"),
            settings=Schema(CORE).merge(Layer(Rank.SITE, "the test", {"payload": options})),
            workdir=self.workdir,
            control=self.workdir,
            cancel=CancelFlag(),
            stored=lambda _: None,
        )

    def prepare(self, job: Job, queue: Queue | None = None, **options: Any) -> Result:
        return self.control.prepare(self.task(job, queue, **options))

    def environment(self, job: Job, queue: Queue | None = None, **options: Any) -> Mapping[str, str]:
        command = self.prepare(job, queue, **options).command
        assert command is not None
        return command.env

    def diagnose(self, outcome: Outcome | None, **job: Any) -> tuple[PilotError, ...]:
        return self.control.diagnose(self.task(Job(id="1", outcome=outcome, **job))).errors


def runs(*argv: str, **env: str) -> dict[str, Callable[..., Any]]:
    return {"pilot_payload_command": lambda: Command(*(argv or ("prog", "-x")), env=env)}


def crash() -> None:
    raise ZeroDivisionError("by hand")


JOB = Job(id="1", attempt=2, task="77", needs=Resources(cores=4))

# --- the command ---


def test_a_command_is_launched_and_wrapped_only_if_there_is_an_image(tmp_path: Path) -> None:
    stage = Stage(tmp_path, runs())
    assert stage.prepare(JOB).command.argv == ("srun", "-n4", "prog", "-x")
    wrapped = stage.prepare(evolve(JOB, image="img")).command.argv
    assert wrapped[:4] == ("srun", "-n4", "box", "img")
    assert wrapped[-2:] == ("prog", "-x")


def test_a_container_may_be_one_for_this_process_of_this_job(tmp_path: Path) -> None:
    class Labelled(Box):
        label = ""

        def around(self, task: Task, name: str) -> Container:
            mine = Labelled(None)
            mine.label = f"{task.job.id}/{name}"
            return mine

        def wrap(self, command: Command, image: str, workdir: Path, mounts: Sequence[Mount]) -> Command:
            return Command("box", self.label, image, *command.argv, env=command.env)

    stage = Stage(tmp_path, runs("prog"))
    stage.control = evolve(stage.control, container=Labelled(None))
    assert stage.prepare(evolve(JOB, image="img")).command.argv[2:5] == ("box", "1/payload", "img")


@pytest.mark.parametrize(("answer", "argv"), [("other", ("box", "other")), ("", ())])
def test_a_plugin_has_the_last_word_on_the_image(tmp_path: Path, answer: str, argv: tuple[str, ...]) -> None:
    stage = Stage(tmp_path, runs("prog") | {"pilot_payload_container": lambda: answer})
    words = stage.prepare(evolve(JOB, image="img")).command.argv
    assert words[: 2 + len(argv)] == ("srun", "-n4", *argv)
    assert words[-1] == "prog"


def test_a_job_that_nobody_can_run_fails(tmp_path: Path) -> None:
    for plugins in ((), ({"pilot_payload_command": lambda: None},), ({"pilot_payload_command": Command},)):
        with pytest.raises(PilotError, match="1220"):
            Stage(tmp_path, *plugins).prepare(JOB)


def test_a_plugin_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(PluginFailed, match=r"p0 \(pilot-p0 1\.2\) failed in pilot_payload_command"):
        Stage(tmp_path, {"pilot_payload_command": crash}).prepare(JOB)


# --- the environment ---


def test_the_environment_is_built_and_not_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAK", "1")
    stage = Stage(tmp_path, runs(), PATH="/bin", LEAK="2", TZ="UTC")
    env = stage.environment(JOB)
    mark = env.pop("PILOT_JOB_MARK")
    assert len(mark) == 32
    assert stage.environment(JOB)["PILOT_JOB_MARK"] != mark
    assert env == {
        "PATH": "/bin",
        "TZ": "UTC",
        "HOME": str(stage.workdir),
        "TMPDIR": str(stage.workdir),
        "PANDAID": "1",
        "PanDA_TaskID": "77",
        "PanDA_AttemptNr": "2",
        "PILOT_CORES": "4",
        "OMP_NUM_THREADS": "4",
        "CUDA_VISIBLE_DEVICES": "",
        "ROCR_VISIBLE_DEVICES": "",
    }


def test_later_words_win_and_facts_are_nobodys_to_change_but_plugins(tmp_path: Path) -> None:
    asked = {"A": "job", "B": "job", "C": "job", "OMP_NUM_THREADS": "1", "HOME": "/", "CUDA_VISIBLE_DEVICES": "0,1,2"}
    plugin = runs("prog", B="command", C="command") | {"pilot_payload_environment": lambda: [Patch.set("C", "patch")]}
    queue = Queue(name="q", environment={"A": "queue", "PATH": "/site", "Q": "queue"})
    stage = Stage(tmp_path, plugin, PATH="/bin")
    env = stage.environment(evolve(JOB, environment=asked, devices=("7",)), queue)
    assert {name: env[name] for name in ("A", "B", "C", "PATH", "Q")} == {
        "A": "job",
        "B": "command",
        "C": "patch",
        "PATH": "/site",
        "Q": "queue",
    }
    assert (env["OMP_NUM_THREADS"], env["HOME"], env["CUDA_VISIBLE_DEVICES"]) == ("1", str(stage.workdir), "7")


def test_plugins_that_disagree_are_both_named(tmp_path: Path) -> None:
    wants = ({"pilot_payload_environment": lambda n=n: [Patch.set("A", n)]} for n in (1, 2))
    with pytest.raises(PilotError, match=r"1110.*A.*p1 and p2"):
        Stage(tmp_path, runs(), *wants).prepare(JOB)


SECRETS = {
    "X509_USER_PROXY": "/tmp/x509",
    "X509_USER_KEY": "/k",
    "PANDA_AUTH_ID_TOKEN": "t",
    "BEARER_TOKEN_FILE": "/t",
    "AWS_SECRET_ACCESS_KEY": "s",
    "SSHKEY": "s",
    "PGPASSWORD": "p",
    "KRB5CCNAME": "c",
    "PLAIN": f"a {SECRET}",
    "PROXY": "http://user:pass@host:1",
}


def test_credentials_are_never_kept_even_when_they_are_listed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(tmp_path, runs(), X509_CERT_DIR="/certs", **SECRETS)
    env = stage.environment(JOB, keep_environment=["X509_CERT_DIR", *SECRETS])
    assert env.keys() & SECRETS.keys() == set()
    assert env["X509_CERT_DIR"] == "/certs"
    assert all(f"${name}" in caplog.text for name in SECRETS)
    assert SECRET not in caplog.text


@given(st.text(string.ascii_uppercase + "_", max_size=8), st.sampled_from(["TOKEN", "_KEY", "KEY", "PASSWORD"]))
def test_a_name_that_ends_like_a_credential_is_one(begin: str, end: str) -> None:
    assert CREDENTIAL.search(begin + end)


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (Job(id="1", environment={"A": SECRET}), "the value of $A holds a secret"),
        (Job(id="1", environment={"A": "a\0b"}), "the value of $A holds a NUL"),
        (Job(id="1", environment={"A": "\ud800"}), "the value of $A has no bytes"),
        (Job(id="1", environment={"A=B": "x"}), "'A=B' cannot name a variable"),
        (Job(id="1", environment={"": "x"}), "'' cannot name a variable"),
    ],
)
def test_what_no_program_can_be_given_is_refused_by_name(tmp_path: Path, job: Job, said: str) -> None:
    with pytest.raises(PilotError) as refused:
        Stage(tmp_path, runs()).prepare(job)
    assert refused.value.code is Code.SETUPFAILURE
    assert said in str(refused.value)
    assert SECRET not in str(refused.value)


def test_all_that_is_unfit_is_told_and_secrets_stay_off_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(PilotError) as refused:
        Stage(tmp_path, runs("prog", f"--pw={SECRET}", "a\0", A="\0")).prepare(JOB)
    assert all(word in str(refused.value) for word in ("word 3", "word 4", "$A"))
    assert SECRET not in str(refused.value)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3), st.lists(st.text(max_size=5), max_size=3))
def test_what_is_prepared_can_be_started(tmp_path: Path, env: dict[str, str], words: list[str]) -> None:
    stage = Stage(tmp_path, runs("/bin/true", *words))
    try:
        command = stage.prepare(Job(id="1", environment=env)).command
    except PilotError:
        assert any("\0" in text or not text.isprintable() for text in (*env, *env.values(), *words, "\0" * ("" in env)))
        return
    assert command is not None
    pid = os.posix_spawn("/bin/true", command.argv[2:], command.env)
    assert os.waitpid(pid, 0)[1] == 0


# --- the processes beside it ---


def test_sides_share_the_environment_and_have_their_own_files(tmp_path: Path) -> None:
    side = SideProcess(name="prmon", command=Command("prmon", env={"A": "side"}))
    stage = Stage(tmp_path, runs("prog", A="payload", B="payload") | {"pilot_payload_sides": lambda: [side]})
    task = stage.task(JOB, nofile=99)
    result = stage.control.prepare(task)
    job = evolve(JOB, command=result.command, notes=result.notes)
    plan = stage.control.plan(job, stage.workdir, task.settings)
    spec, (beside,) = plan.payload, plan.beside
    assert (spec.name, spec.cwd, spec.nofile) == ("payload", stage.workdir, 99)
    assert (spec.stdout, spec.stderr) == (stage.workdir / "payload.stdout", stage.workdir / "payload.stderr")
    assert (beside.env["A"], beside.env["B"]) == ("side", "payload")
    assert beside.stdout == stage.workdir / "prmon.stdout"


@pytest.mark.parametrize(
    ("isolates", "image", "boxed"),
    [(False, "", "yours"), (False, "img", "yours"), (True, "", "mine yours"), (True, "img", "mine yours")],
)
def test_what_nobody_vouches_for_is_in_the_box_of_an_isolated_payload(
    tmp_path: Path, isolates: bool, image: str, boxed: str
) -> None:
    sides = [
        SideProcess(name="mine", command=Command("x")),
        SideProcess(name="yours", command=Command("x"), image="other"),
        SideProcess(name="watch", command=Command("x"), trusted=True),
    ]
    stage = Stage(tmp_path, runs() | {"pilot_payload_postprocesses": lambda: sides})
    control = evolve(stage.control, isolation=Box(None) if isolates else None)
    task = stage.task(evolve(JOB, image=image))
    result = control.prepare(task)
    plan = control.plan(evolve(task.job, command=result.command, notes=result.notes), stage.workdir, task.settings)
    seen = {side.spec.name: side.spec.argv[:2] for side in plan.after if side.spec.contained}
    assert seen == {name: ("box", {"mine": image, "yours": "other"}[name]) for name in boxed.split()}
    assert [side.spec.argv for side in plan.after if not side.spec.contained] == [("x",)] * (3 - len(seen))
    assert result.notes["isolation"]["outside"] == [name for name in ("mine", "watch") if name not in seen]


def test_sides_that_cannot_be_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ("good", "good", "../up", "payload", "")
    sides = [SideProcess(name=name, command=Command("x")) for name in names]
    sides += [SideProcess(name="none", command=Command()), SideProcess(name="bad", command=Command(SECRET))]
    stage = Stage(tmp_path, runs() | {"pilot_payload_sides": lambda: sides})
    result = stage.prepare(JOB)
    [good] = result.notes["sides"]["beside"]
    assert (good["name"], good["command"]["argv"]) == ("good", ["x"])
    assert caplog.text.count("is left out") == 6
    assert SECRET not in caplog.text


def test_a_plugin_that_fails_to_name_sides_fails_no_job(tmp_path: Path) -> None:
    assert Stage(tmp_path, runs() | {"pilot_payload_sides": crash}).prepare(JOB).notes["sides"] == {}


# --- the diagnosis ---


def ended(*argv: str, cwd: Path) -> Outcome:
    """How a real process ended, its words in the payload's files."""
    with (cwd / "payload.stdout").open("wb") as out, (cwd / "payload.stderr").open("wb") as err:
        code = subprocess.run(argv, stdout=out, stderr=err, cwd=cwd).returncode
    return Outcome(exit_code=code) if code >= 0 else Outcome(signal=-code)


def sh(script: str) -> tuple[str, ...]:
    limit = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, limit[1]))
    return "sh", "-c", script


@pytest.mark.parametrize(
    ("script", "code", "trf", "said"),
    [
        ("echo 'ERROR: boom' >&2; exit 1", 1305, 1, "boom"),  # pilot:D02
        ("exit 2", 1305, 2, "exit code 2"),  # pilot:D03
        ("exit 3", 1305, 3, "exit code 3"),  # pilot:D04
        ("exit 254", 1305, 254, "exit code 254"),  # pilot:D05
        ("exit 255", 1305, 255, "exit code 255"),  # pilot:D06
        ("sh -c 'kill -SEGV $$'; exit $?", 1328, 139, "SIGSEGV"),  # pilot:D07
        ("kill -SEGV $$", 1328, 139, "SIGSEGV"),  # pilot:D08
        ("sh -c 'kill -KILL $$'; exit $?", 1305, 137, "SIGKILL"),  # pilot:D09
        ("kill -KILL $$", 1305, 137, "SIGKILL"),  # pilot:D10
        ("no-such-program", 1305, 127, "no-such-program"),
    ],
)
def test_exit_codes_and_signals_are_judged(tmp_path: Path, script: str, code: int, trf: int, said: str) -> None:
    stage = Stage(tmp_path)
    (error,) = stage.diagnose(ended(*sh(script), cwd=stage.workdir))
    assert (error.code.number, error.facts["trf"]) == (code, trf)
    assert said in str(error)


def test_a_clean_end_is_one_whatever_was_said(tmp_path: Path) -> None:  # pilot:D14
    stage = Stage(tmp_path)
    outcome = ended(*sh("echo 'ERROR: Operation not permitted' >&2"), cwd=stage.workdir)
    assert stage.diagnose(outcome) == ()
    assert stage.diagnose(None) == ()


def test_a_payload_that_the_pilot_ended_is_not_blamed_for_it(tmp_path: Path) -> None:
    stage, stop = Stage(tmp_path), PilotError(Code.LOOPINGJOB)
    assert stage.diagnose(Outcome(signal=signal.SIGTERM), errors=(stop,)) == ()
    assert stage.diagnose(Outcome(signal=signal.SIGKILL), errors=(stop,)) == ()
    assert stage.diagnose(Outcome(exit_code=4), errors=(stop,))
    assert stage.diagnose(Outcome(signal=signal.SIGTERM))


def test_kills_for_want_of_memory_are_the_reason(tmp_path: Path) -> None:  # pilot:D11
    stage, events = Stage(tmp_path, runs()), tmp_path / "memory.events"
    events.write_text("oom 3\noom_kill 2\n")
    notes = stage.prepare(JOB).notes
    killed = Outcome(exit_code=137)
    assert [error.code.number for error in stage.diagnose(killed, notes=notes)] == [1305]
    events.write_text("oom 4\noom_kill 3\n")
    (tmp_path / "payload.stderr").write_text("cp: error writing 'a': No space left on device\n")
    errors = stage.diagnose(killed, notes=notes)
    assert merge(errors).code is Code.PAYLOADOUTOFMEMORY  # type: ignore[union-attr]
    assert errors[0].facts["kills"] == 1
    assert stage.diagnose(Outcome(exit_code=0), notes=notes) == ()
    assert [error.code.number for error in stage.diagnose(Outcome(exit_code=1), notes=notes)] == [1305], "another's"
    stopped = stage.diagnose(killed, notes=notes, errors=(PilotError(Code.REACHEDMAXTIME),))
    assert not any(error.code is Code.PAYLOADOUTOFMEMORY for error in stopped), "the pilot killed it"
    (stage.workdir / "payload.stderr").write_text("run.sh: line 3:  71 Killed   reco\n")
    told = merge(stage.diagnose(Outcome(exit_code=1), notes=notes))
    assert told is not None
    assert told.code is Code.PAYLOADOUTOFMEMORY
    other = {"memory_kills": {"group": "/elsewhere", "kills": 0}}
    assert [error.code.number for error in stage.diagnose(killed, notes=other)] == [1305]


def test_kills_in_its_own_group_are_its_own_and_no_others_count(tmp_path: Path) -> None:
    """Found: whoever failed while another job of the same pilot ran out of memory was told to have done so."""
    stage, shared, own = Stage(tmp_path, runs()), tmp_path / "memory.events", tmp_path / "own"
    own.mkdir()
    shared.write_text("oom_kill 2\n")
    notes = {**stage.prepare(JOB).notes, "control_group": [{"path": str(own)}]}
    shared.write_text("oom_kill 9\n")
    (own / "memory.events").write_text("oom_kill 0\n")
    assert [error.code.number for error in stage.diagnose(Outcome(exit_code=137), notes=notes)] == [1305]
    (own / "memory.events").write_text("oom_kill 1\n")
    errors = stage.diagnose(Outcome(exit_code=1), notes=notes)
    assert errors[0].detail == "the kernel killed 1 of its processes"
    (own / "memory.events").unlink()
    stage.diagnose(None, notes=notes)
    assert not own.exists(), "it is over, and nothing is there"


@pytest.mark.parametrize(("needs_b", "factor", "set_b"), [(1000, 2.5, "2500"), (None, 2.5, "5000"), (1000, 0, None)])
def test_a_group_is_held_to_what_job_or_queue_say(tmp_path: Path, needs_b: int, factor: float, set_b: str) -> None:
    stage = Stage(tmp_path, runs())
    (tmp_path / "cgroup.procs").touch()
    stage.control = evolve(stage.control, groups=lambda: Groups(Group(tmp_path, tmp_path, 1), None))
    job = evolve(JOB, needs=Resources(cores=2, memory_b=needs_b))
    notes = stage.prepare(job, Queue(name="q", memory_b=4000, cores=4), group_memory=factor).notes
    (place,) = cast("list[dict[str, Any]]", notes["control_group"])
    assert place["set"].get("memory.limit_in_bytes") == set_b
    plan = stage.control.plan(evolve(job, command=Command("true"), notes=notes), tmp_path, stage.task(job).settings)
    assert plan.payload.groups == (place,)


def test_a_full_disk_is_told_beside_a_payload_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found: a payload whose own complaint found no room was an exit code without a word."""
    stage = Stage(tmp_path)
    monkeypatch.setattr("pilot_core.control.diagnosis.LEAST_FREE_B", 1 << 62)
    assert [error.code for error in stage.diagnose(Outcome(exit_code=9))] == [
        Code.PAYLOADEXECUTIONFAILURE,
        Code.NOLOCALSPACE,
    ]
    assert stage.diagnose(Outcome(exit_code=0)) == ()


def test_without_control_groups_nothing_is_said_of_memory(tmp_path: Path) -> None:
    stage = Stage(tmp_path, runs())
    notes = stage.prepare(JOB).notes
    assert notes["memory_kills"] == {}
    assert [error.code.number for error in stage.diagnose(Outcome(exit_code=137), notes=notes)] == [1305]


A_CORE = b"\x7fELF\2\1\1" + bytes(9) + b"\4\0" + bytes(14)


@pytest.mark.parametrize(
    ("name", "outcome", "counts"),
    [
        ("core.44", Outcome(exit_code=0), True),
        ("core.45", Outcome(exit_code=0), False),
        ("core.45", Outcome(exit_code=1), True),
        ("core", Outcome(signal=6), True),
        ("core.node7.45", Outcome(signal=6), True),
        ("score.44", Outcome(signal=6), False),
    ],
)
def test_core_files_are_told_of_and_removed(tmp_path: Path, name: str, outcome: Outcome, counts: bool) -> None:
    stage = Stage(tmp_path)  # pilot:D15
    (stage.workdir / name).write_bytes(A_CORE)
    errors = stage.diagnose(outcome, notes={"pid": 44})
    assert [error.facts["size_b"] for error in errors if error.code is Code.COREDUMP] == [len(A_CORE)] * counts
    assert (stage.workdir / name).exists() is not counts


def test_what_is_only_named_like_a_core_file_is_none_and_stays(tmp_path: Path) -> None:
    """Found: a folder, a module or a list of cores by such a name was told of as a crash, or removed."""
    stage = Stage(tmp_path)
    (stage.root / "elsewhere").write_bytes(A_CORE)
    (stage.workdir / "core").mkdir()
    (stage.workdir / "core.1").write_text("the core of the matter\n")
    (stage.workdir / "core.2").symlink_to(stage.root / "elsewhere")
    (stage.workdir / "core.3").write_bytes(A_CORE[:16] + b"\2\0" + A_CORE[18:])
    (stage.workdir / "core.4").write_bytes(A_CORE[:16])
    (stage.workdir / "core.5").write_bytes(A_CORE)
    os.mkfifo(stage.workdir / "core.6")
    before = set(os.listdir(stage.workdir))
    told = [error.detail for error in stage.diagnose(Outcome(signal=6)) if error.code is Code.COREDUMP]
    assert told == [f"core.5 ({len(A_CORE)} B) was left and is removed"]
    assert before - set(os.listdir(stage.workdir)) == {"core.5"}


def test_the_core_file_of_a_real_crash_is_one(tmp_path: Path) -> None:
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    stage = Stage(tmp_path)
    crash = "import os, resource; resource.setrlimit(resource.RLIMIT_CORE, (-1, -1)); os.abort()"
    ended = subprocess.run([sys.executable, "-c", crash], cwd=stage.workdir, check=False, capture_output=True)
    if not list(stage.workdir.glob("core*")):
        pytest.skip(f"this node puts no core files into the directory of a process ({pattern!r}, {ended.stderr!r})")
    assert Code.COREDUMP in [error.code for error in stage.diagnose(Outcome(signal=6))]
    assert list(stage.workdir.iterdir()) == []


def test_plugins_add_what_they_see_and_are_reported_among_equals(tmp_path: Path) -> None:
    seen = PilotError(Code.PAYLOADEXECUTIONFAILURE, "custom", exe=42)
    stage = Stage(tmp_path, {"pilot_payload_diagnose": lambda: [seen]})
    assert stage.diagnose(Outcome(exit_code=0)) == (seen,)
    errors = stage.diagnose(Outcome(exit_code=1))
    assert len(errors) == 2
    assert merge(errors).detail == "custom"  # type: ignore[union-attr]


def test_a_plugin_that_fails_does_not_hide_the_exit_code(tmp_path: Path) -> None:
    stage = Stage(tmp_path, {"pilot_payload_diagnose": crash})
    errors = stage.diagnose(Outcome(exit_code=5))
    assert [error.code for error in errors] == [Code.PLUGINFAILED, Code.PAYLOADEXECUTIONFAILURE]
    assert merge(errors).facts["trf"] == 5  # type: ignore[union-attr]
    assert errors[0].facts["hook"] == "pilot_payload_diagnose"


def the_complaint(workdir: Path, redactor: Redactor) -> str:
    """The text of the line that says why."""
    line = complaint(Said(workdir, redactor))
    return line.text if line else ""


@pytest.mark.parametrize(
    ("stdout", "stderr", "said"),
    [
        ("a CRITICAL thing\n", "Error: b\n", "a CRITICAL thing"),
        ("", "x\nsh: prog: command not found\nERROR: later\n", "sh: prog: command not found"),
        ("", "fine\n2 errors\nfatal: no\nError: b\n", "fatal: no"),
        ("", "Traceback\nValueError: boom\nmore", "ValueError: boom"),
        ("", "warning: w\nlast", "warning: w"),
        ("ERROR in stdout", "just talk", "ERROR in stdout"),
        ("", "one\nlast words\n\n", "last words"),
        ("", "", ""),
    ],
)
def test_the_line_that_says_why_is_found(tmp_path: Path, stdout: str, stderr: str, said: str) -> None:
    (tmp_path / "payload.stdout").write_text(stdout)
    (tmp_path / "payload.stderr").write_text(stderr)
    assert the_complaint(tmp_path, Redactor()) == said


def test_a_complaint_is_short_printable_and_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "payload.stderr").write_bytes(b"x" * 5000 + b" error \x1b[31m\xff " + SECRET.encode() + b"\0 y" * 500)
    said = the_complaint(tmp_path, Redactor([SECRET]))
    assert len(said) <= 300
    assert said.isprintable()
    assert "error" in said
    assert MASK in said
    assert SECRET not in said


def test_three_gigabytes_of_complaints_cost_nothing(tmp_path: Path) -> None:  # pilot:D17
    with (tmp_path / "payload.stderr").open("wb") as file:
        file.write(b"begin\n")
        file.truncate(3 * 10**9)
        file.seek(0, 2)
        file.write(b"\nlast Error: here\n")
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert the_complaint(tmp_path, Redactor()) == "last Error: here"
    assert time.process_time() - began < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000


@pytest.mark.parametrize("filler", [b"\n", b" ", b"a", b"error", b"er ", b"\xff", b"= "])
def test_no_text_takes_more_than_linear_time(tmp_path: Path, filler: bytes) -> None:  # pilot:D18
    for name in ("payload.stdout", "payload.stderr"):
        (tmp_path / name).write_bytes(filler * (200_000 // len(filler)))
    began = time.process_time()
    the_complaint(tmp_path, Redactor([SECRET]))
    assert time.process_time() - began < 3


def test_links_pipes_and_directories_in_place_of_output_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "payload.stdout").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "payload.stderr")
    assert the_complaint(tmp_path, Redactor()) == ""


# --- what logs tell ---

KNOWN = """
- name: geometry
  class: input
  lines: ["no geometry {tag}"]
  cause: The geometry {tag} is not there
  remedy: Name another
- name: room
  class: disk
  code: NOLOCALSPACE
  lines: ["no room"]
  cause: There was no room
  remedy: Make room
- name: broke
  class: node
  fault: site
  retry: elsewhere
  lines: ["it broke"]
  cause: It broke
  remedy: Go elsewhere
"""


def knowing(root: Path, text: str = KNOWN) -> dict[str, Callable[..., Any]]:
    path = root / "patterns.yaml"
    path.write_text(text)
    return {"pilot_payload_patterns": lambda: [path]}


@pytest.mark.parametrize(
    ("words", "outcome", "acronym", "kind"),
    [
        ("no geometry v7", Outcome(exit_code=3), "PAYLOADEXECUTIONFAILURE", "input"),
        ("no room", Outcome(exit_code=3), "NOLOCALSPACE", "disk"),
        ("no room", Outcome(signal=signal.SIGSEGV), "NOLOCALSPACE", "disk"),
        ("no geometry v7", Outcome(signal=signal.SIGSEGV), "PAYLOADSIGSEGV", "crash"),
        ("it broke", Outcome(exit_code=1), "PAYLOADEXECUTIONFAILURE", "node"),
        ("nothing known", Outcome(exit_code=1), "PAYLOADEXECUTIONFAILURE", "unknown"),
    ],
)
def test_logs_explain_an_exit_code(tmp_path: Path, words: str, outcome: Outcome, acronym: str, kind: str) -> None:
    stage = Stage(tmp_path, knowing(tmp_path))
    (stage.workdir / "payload.stderr").write_text(f"begin\n{words}\n")
    errors = stage.diagnose(outcome)
    reported = merge(errors)
    assert reported is not None
    failure = failure_of(reported)
    assert (failure.acronym, failure.kind) == (acronym, kind)
    assert errors[-1].facts["trf"] == outcome.transform_code
    if acronym != "PAYLOADSIGSEGV":
        assert (str(failure.evidence), failure.tail) == ("payload.stderr, line 2", f"begin\n{words}")


def test_what_the_kernel_says_is_more_certain_than_logs(tmp_path: Path) -> None:
    stage, events = Stage(tmp_path, runs(), knowing(tmp_path)), tmp_path / "memory.events"
    events.write_text("oom_kill 0\n")
    notes = stage.prepare(JOB).notes
    events.write_text("oom_kill 1\n")
    (stage.workdir / "payload.stderr").write_text("no room\n")
    errors = stage.diagnose(Outcome(exit_code=137), notes=notes)
    assert [error.code for error in errors] == [Code.PAYLOADOUTOFMEMORY, Code.PAYLOADEXECUTIONFAILURE]


def test_patterns_that_cannot_be_read_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(tmp_path, knowing(tmp_path, "- {name: x}\n"))
    (stage.workdir / "payload.stderr").write_text("no room\n")
    (error,) = stage.diagnose(Outcome(exit_code=3))
    assert error.code is Code.PAYLOADEXECUTIONFAILURE
    assert "patterns of plugin p0 are left out" in caplog.text
    assert "patterns.yaml: patterns[0].class" in caplog.text


def test_a_plugin_that_fails_to_name_patterns_is_named(tmp_path: Path) -> None:
    errors = Stage(tmp_path, {"pilot_payload_patterns": crash}).diagnose(Outcome(exit_code=5))
    assert [error.code for error in errors] == [Code.PLUGINFAILED, Code.PAYLOADEXECUTIONFAILURE]


def test_after_a_clean_end_no_log_is_looked_at(tmp_path: Path) -> None:
    stage = Stage(tmp_path, {"pilot_payload_patterns": crash})
    assert stage.diagnose(Outcome(exit_code=0)) == ()
