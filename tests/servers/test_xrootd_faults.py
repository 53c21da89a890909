"""The copy tool "xrootd" and faults of servers, lines, disks, credentials: no wrong file, nothing left, a clear code.

Each fault meets the first place of a file; Data Control goes on to the next, as it would for a job.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot_copytools.xrootd import Xrootd, XrootdOptions
from pilot_core.config.layers import Layer, Rank, Schema, Settings
from pilot_core.config.schema import CORE
from pilot_core.control.data import DataControl
from pilot_core.errors import Code, ErrorCode
from pilot_core.io.cancel import CancelFlag
from pilot_core.machine.events import Result
from pilot_core.model.files import Checksum, FileSpec, Replica
from pilot_core.model.job import Job
from pilot_core.model.queue import Queue
from pilot_core.plugins.hooks import Hooks
from pilot_core.redact import Redactor
from pilot_core.spec import staging
from pilot_core.spec.work import Task
from pilot_core.testing.contracts.copytool import describe

from .conftest import insist
from .daemon import lacks_small_disk
from .faults import Fault
from .xrootd import XRootD

SIZE_B = 12 << 20
LARGE_B = 4 * SIZE_B
"""Half of it is more than lies in buffers on the way."""
CONTENT = os.urandom(SIZE_B)
QUICK = {"connect_s": 2, "answer_s": 4}


class Site:
    """A job's directory, and Data Control with this tool alone."""

    def __init__(self, top: Path, **options: object) -> None:
        self.top = top
        self.workdir = top / "job"
        self.workdir.mkdir(parents=True)
        (top / "control").mkdir()
        told = {"xrootd": {**QUICK, **options}, "data": {"stall_s": 2, "reserve_b": 0, "attempts": 1}}
        self.settings: Settings = Schema([*CORE, XrootdOptions]).merge(Layer(Rank.SITE, "the test", told))
        self.hooks = Hooks(staging)
        self.hooks.seal()

    def stage_in(self, file: FileSpec) -> Result:
        return self._control().stage_in(self._task(Job(id="1", inputs=(file,))))

    def stage_out(self, content: bytes, *places: Replica) -> Result:
        (self.workdir / "out").write_bytes(content)
        return self._control().stage_out(self._task(Job(id="1", outputs=(FileSpec(lfn="out", replicas=places),))))

    def _control(self) -> DataControl:
        return DataControl(self.hooks, [Xrootd(self.settings)], Redactor(), pause_s=0.0)

    def _task(self, job: Job) -> Task:
        return Task(
            job=job,
            queue=Queue(name="faults"),
            settings=self.settings,
            workdir=self.workdir,
            control=self.top / "control",
            cancel=CancelFlag(),
            stored=lambda _: None,
        )

    def names(self) -> list[str]:
        return sorted(os.listdir(self.workdir))


@pytest.fixture(params=["bindings", "programs"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return Site(tmp_path / "site", bindings=request.param == "bindings")


@pytest.fixture
def name(tmp_path: Path) -> str:
    """A name on a server that is shared with the tests of other workers."""
    return f"{tmp_path.parent.name}-{tmp_path.name}"


def lay(server: XRootD, name: str, content: bytes = CONTENT) -> None:
    path = server.data / name
    path.write_bytes(content)
    path.chmod(0o666)


def behind(port: int, name: str) -> Replica:
    return Replica(f"root://localhost:{port}//{name}")


def came(site: Site, result: Result, server: XRootD, name: str, content: bytes = CONTENT) -> None:
    """The file came, from the place that has no fault."""
    assert result.errors == ()
    assert [receipt.url for receipt in result.receipts] == [server.root(name)]
    assert (site.workdir / "file").read_bytes() == content
    assert site.names() == ["file"]


def failed(site: Site, result: Result, code: ErrorCode) -> None:
    assert [error.code for error in result.errors] == [code]
    assert result.receipts == ()
    assert site.names() == []


@pytest.mark.parametrize(
    ("first", "then", "code"),
    [
        (Fault.cut(SIZE_B // 2), Fault.refuse(), Code.SERVICENOTAVAILABLE),
        (Fault.refuse(), Fault.refuse(), Code.SERVICENOTAVAILABLE),
        (Fault.stall(SIZE_B // 2, 30.0), Fault.stall(SIZE_B // 2, 30.0), Code.STAGEINTIMEOUT),
    ],
    ids=["cut at half", "refused", "30 s of silence"],
)
def test_a_bad_line_is_left_for_the_next_place(first, then, code, site, xrootd, faulty, name):
    lay(xrootd, name)
    line = faulty(xrootd.port)
    line.always(then)
    line.next(first)
    failed(site, site.stage_in(describe("file", CONTENT, behind(line.port, name))), code)
    assert line.met
    line.next(first)
    came(
        site,
        site.stage_in(describe("file", CONTENT, behind(line.port, name), Replica(xrootd.root(name)))),
        xrootd,
        name,
    )


def test_a_flipped_byte_never_stays(site, xrootd, faulty, name):
    """The programs have the page read again; the bindings see it by the checksum."""
    lay(xrootd, name)
    line = faulty(xrootd.port)
    line.always(Fault.flip(SIZE_B // 2))
    result = site.stage_in(describe("file", CONTENT, behind(line.port, name), Replica(xrootd.root(name))))
    assert result.errors == ()
    assert (site.workdir / "file").read_bytes() == CONTENT
    assert line.met


def test_a_wrong_checksum_in_the_catalogue_is_said(site, xrootd, name):
    lay(xrootd, name)
    file = FileSpec(lfn="file", checksum=Checksum("adler32", "0eeb7f17"), replicas=(Replica(xrootd.root(name)),))
    failed(site, site.stage_in(file), Code.GETADMISMATCH)


def test_a_missing_first_copy_is_passed_over(site, xrootd, name):
    lay(xrootd, name)
    lost = Replica(xrootd.root(f"lost-{name}"))
    failed(site, site.stage_in(describe("file", CONTENT, lost)), Code.MISSINGINPUTFILE)
    came(site, site.stage_in(describe("file", CONTENT, lost, Replica(xrootd.root(name)))), xrootd, name)


def test_a_server_that_dies_in_the_middle_is_left_for_the_next(site, own_xrootd, xrootd, faulty, name):
    large = CONTENT * (LARGE_B // SIZE_B)
    lay(own_xrootd, name, large)
    lay(xrootd, name, large)
    line = faulty(own_xrootd.port)
    line.next(Fault.hold(LARGE_B // 2))

    def kill() -> None:
        line.await_hold()
        own_xrootd.daemons[0].kill()
        line.let_go()

    killer = threading.Thread(target=kill)
    killer.start()
    result = site.stage_in(describe("file", large, behind(line.port, name), Replica(xrootd.root(name))))
    killer.join()
    came(site, result, xrootd, name, large)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for less than the file."""
    insist(lacks_small_disk())
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_B // 2}", "small", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("bindings", [True, False])
@pytest.mark.parametrize("size_b", [SIZE_B // 2 + 4096, SIZE_B])
def test_a_full_disk_here_is_no_success(bindings, size_b, full_disk, xrootd, name):
    """The program may leave with 0 and a short file; nobody believes it."""
    content = CONTENT[:size_b]
    lay(xrootd, name, content)
    site = Site(full_disk, bindings=bindings)
    file = describe("file", content, Replica(xrootd.root(name)))
    unknown = FileSpec(lfn="file", replicas=file.replicas)
    result = site.stage_in(unknown)
    wrong = {Code.NOLOCALSPACE} if bindings else {Code.NOLOCALSPACE, Code.GETADMISMATCH}
    assert {error.code for error in result.errors} <= wrong
    assert result.errors
    assert site.names() == []


def test_a_full_disk_there_is_told_and_nothing_stays(site, small_xrootd, xrootd, name):
    small = Replica(small_xrootd.root("full"))
    result = site.stage_out(CONTENT, small)
    assert [error.code for error in result.errors] == [Code.NOREMOTESPACE]
    told = subprocess.run(["xrdfs", f"localhost:{small_xrootd.port}", "ls", "/"], capture_output=True, text=True)
    assert told.stdout.split() == []
    other = Replica(xrootd.root(f"other-{name}"))
    result = site.stage_out(CONTENT, small, other)
    assert result.errors == ()
    assert [receipt.url for receipt in result.receipts] == [other.url]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (Fault.cut(SIZE_B // 2, up=True), Fault.refuse()),
        (Fault.stall(SIZE_B // 2, 30.0, up=True), Fault.stall(SIZE_B // 2, 30.0, up=True)),
    ],
    ids=["cut at half", "30 s of silence"],
)
def test_an_upload_over_a_bad_line_leaves_nothing_under_its_name(first, then, site, xrootd, faulty, name):
    line = faulty(xrootd.port)
    line.always(then)
    line.next(first)
    result = site.stage_out(CONTENT, behind(line.port, f"{name}/out"), Replica(xrootd.root(f"{name}/again")))
    assert result.errors == ()
    assert [receipt.url for receipt in result.receipts] == [xrootd.root(f"{name}/again")]
    assert not (xrootd.data / name / "out").exists()
    assert (xrootd.data / name / "again").read_bytes() == CONTENT


@pytest.mark.parametrize("bindings", [True, False])
def test_an_expired_proxy_is_named_and_a_good_one_is_used(bindings, secured_xrootd, pki, name, tmp_path, monkeypatch):
    lay(secured_xrootd, name)
    for variable, value in pki.by_proxy(pki.expired_proxy).items():
        monkeypatch.setenv(variable, value)
    file = describe("file", CONTENT, Replica(secured_xrootd.root(name)))
    late = Site(tmp_path / "late", bindings=bindings)
    failed(late, late.stage_in(file), Code.STAGEINAUTHENTICATIONFAILURE)
    good = Site(tmp_path / "good", bindings=bindings, proxy=str(pki.proxy))
    came(good, good.stage_in(file), secured_xrootd, name)


@pytest.mark.parametrize("bindings", [True, False])
def test_a_token_is_shown_over_tls(bindings, secured_xrootd, pki, name, tmp_path, monkeypatch):
    lay(secured_xrootd, name)
    monkeypatch.setenv("X509_CERT_DIR", str(pki.authorities))
    monkeypatch.delenv("X509_USER_PROXY", raising=False)
    site = Site(tmp_path / "site", bindings=bindings, token=str(pki.token_file("good")))
    result = site.stage_in(describe("file", CONTENT, Replica(secured_xrootd.roots(name))))
    assert result.errors == ()
    assert (site.workdir / "file").read_bytes() == CONTENT
