"""What is known of a job: while it runs, after it, of what is damaged, and from an archive that somebody else made."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot_core.errors import Code, PilotError
from pilot_core.io.files import Lock
from pilot_core.machine import events as e
from pilot_core.model.files import FileSpec, Receipt
from pilot_core.model.job import JobExtras
from pilot_core.model.payload import Outcome, Usage
from pilot_core.redact import MASK
from pilot_core.report import account, packed
from pilot_core.report.found import Found, NothingToTell
from pilot_core.report.gather import account_of, accounts

CLEAN = Outcome(exit_code=0, wall_s=12.0, usage=Usage(cpu_user_s=3.0, rss_peak_b=10**6))


def only(place: Path, clock):
    (told,) = accounts(place, clock)
    return told


def test_a_running_job(life, clock):
    job = life(outputs=(FileSpec(lfn="out.root"),), environment={"A": "b"})
    job.run()
    job.sample(Usage(processes=1, rss_b=5), Usage(processes=2, rss_b=7, cpu_user_s=1.0))
    (job.root / job.job.directory).mkdir()
    (job.root / job.job.directory / "payload.stdout").write_text("so far so good\n")
    with Lock(job.control / "lock"):
        told = only(job.root, clock)
    assert (told.id, told.state, told.open) == ("1", "running", True)
    assert [(span.name, span.lasted_s, span.open) for span in told.spans] == [
        ("stage_in", 10.0, False),
        ("wait for the slot", 10.0, False),
        ("run", 980.0, True),
    ]
    assert [(each.at, each.rss_b) for each in told.usage] == [(1040.0, 5), (1050.0, 7)]
    assert told.said == {"payload.stdout": "so far so good\n"}
    assert [(file.name, file.state) for file in told.files] == [("out.root", "not stored yet")]
    assert "a pilot holds it" in told.remarks[0]


def test_a_job_that_another_pilot_took_over(life, clock):
    job = life()
    job.run()
    job.tell(e.Resumed, error=PilotError(Code.SIGTERM, "the pilot died"))
    told = only(job.control, clock)
    assert "Another pilot took the job over: 1201 SIGTERM" in " ".join(told.remarks)
    assert told.spans[-1].name == "run"


def test_a_job_that_nobody_holds(life, clock):
    job = life()
    job.run()
    before = os.listdir(job.control)
    assert "no pilot holds it: `pilot recover` ends it" in only(job.control, clock).remarks[0]
    assert os.listdir(job.control) == before


def test_a_job_that_is_over_without_its_record(life, clock):
    """The journal tells as much as the record, should the disk have had no room for that."""
    job = life(outputs=(FileSpec(lfn="a"), FileSpec(lfn="b")))
    job.run()
    job.tell(e.FileStored, receipt=Receipt(lfn="a", direction="out", url="/a", tool="t", size_b=10, took_s=2.0))
    job.end(CLEAN, errors=(PilotError(Code.PAYLOADEXECUTIONFAILURE, "boom"),))
    told = only(job.control, clock)
    assert (told.state, told.open, told.ended) == ("failed", False, "exit code 0")
    assert [fault.acronym for fault in told.faults] == ["PAYLOADEXECUTIONFAILURE"]
    assert told.faults[0].advice == Code.PAYLOADEXECUTIONFAILURE.retry.value
    assert [(file.name, file.state, file.speed_b_s) for file in told.files] == [
        ("a", "stored", 5.0),
        ("b", "not stored", None),
    ]
    assert told.lasted_s == pytest.approx(80.0)


def test_the_final_record_wins_and_what_the_payload_said_is_in_the_last_update(life, clock):
    job = life()
    job.run()
    job.end(CLEAN)
    record = {"id": "1", "state": "finished", "node": {"name": "n1", "site": "here"}, "kept": "off", "delivered": True}
    (job.control / "record.json").write_text(json.dumps(record))
    (job.control / "final.json").write_text(json.dumps({"body": {"log_tail": "hello\n"}}))
    told = only(job.control, clock)
    assert (told.node, told.facts["node: site"], told.facts["final update"]) == ("n1", "here", "delivered")
    assert told.said == {"the end of what it said": "hello\n"}
    assert told.spans[-1].name == "clean up"


def test_secrets_are_masked_and_strange_fields_are_kept(life, clock):
    raw = {"PandaID": 1, "newField": 17, "list": "a.root,b.root", "empty": "NULL", "proxyToken": "geheim77"}
    extras = JobExtras({"x.tag": "main", "x.password": "geheim88"})
    files = (FileSpec(lfn="a.root"), FileSpec(lfn="b.root"))
    job = life(raw, inputs=files, extras=extras, environment={"MY_TOKEN": "geheim99"})
    job.run()
    (job.control / "pilot.log").write_text("used geheim99\n")
    told = only(job.control, clock)
    assert told.unused == {"newField": "17", "proxyToken": MASK}
    assert told.extras == {"x.tag": "main", "x.password": MASK}
    assert told.environment == {"MY_TOKEN": MASK}
    assert told.log == f"used {MASK}\n"
    assert "geheim" not in str(told)
    assert json.loads(told.message) == {**raw, "proxyToken": MASK}


def test_several_jobs_in_the_order_of_their_beginning(life, clock):
    life(id="b")
    other = life(id="a", began=1500.0)
    assert [told.id for told in accounts(other.root, clock)] == ["b", "a"]
    other.control.rename(other.control.with_name(f"{other.control.name}.1"))
    assert [told.source[-2:] for told in accounts(other.root, clock)] == ["ol", ".1"]


def test_where_there_is_nothing_to_tell(tmp_path, clock):
    with pytest.raises(NothingToTell, match="no job has left its journal"):
        accounts(tmp_path, clock)
    with pytest.raises(FileNotFoundError):
        accounts(tmp_path / "missing", clock)


@pytest.mark.parametrize("damage", [b"nonsense\n", b"\0\0\0", b"deadbeef {}\n"])
def test_a_damaged_journal_is_read_as_far_as_it_goes(life, clock, damage):
    job = life()
    job.run()
    with (job.control / "journal").open("ab") as journal:
        journal.write(damage)
    told = only(job.control, clock)
    assert told.state == "running"
    assert any("damaged" in remark for remark in told.remarks) is bool(damage.strip(b"\0"))


def test_a_journal_of_another_kind_leaves_what_the_record_says(life, clock):
    job = life()
    (job.control / "journal").write_text("no journal at all\n")
    (job.control / "record.json").write_text('{"id": "7", "state": "finished"}')
    told = only(job.control, clock)
    assert (told.id, told.state) == ("7", "finished")
    assert "the journal cannot be read" in told.remarks[0]


def test_an_event_of_a_newer_pilot_ends_the_walk(life, clock):
    job = life()
    job.journal.append({"event": "Teleported", "job": "1"})
    assert "does not know" in " ".join(only(job.control, clock).remarks)


# --- archives ---


def archive(path: Path, entries: dict[str, bytes], folder: str = "tarball_PandaJob_1_q") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in entries.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def job_json(**more: object) -> bytes:
    return json.dumps({"record": {"id": "1", "state": "stage_out"}, "asked": {}, "message": {}, **more}).encode()


def test_an_archive_tells_the_job(tmp_path, clock):
    sample = b'{"at": 5, "rss_b": 7, "processes": 1, "more": {"x": 2, "y": "no"}}\nnonsense\n[]\n{"rss_b": 1}\n'
    entries = {
        "pilotjob.json": job_json(),
        "pilotusage.jsonl": sample,
        "pilotlog.txt": b"it began\n",
        "payload.stdout": b"x" * 100_000 + b"\nthe end\n",
    }
    told = only(archive(tmp_path / "a.tgz", entries), clock)
    assert (told.id, told.state, told.open) == ("1", "stage_out", True)
    assert [(each.at, each.rss_b, dict(each.more)) for each in told.usage] == [(5.0, 7.0, {"x": 2.0})]
    assert told.log == "it began\n"
    assert told.said == {"payload.stdout": "the end\n"}


def test_the_first_of_a_name_counts_and_only_at_the_top(tmp_path, clock):
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tar:
        for name, id_ in (("t/sub/pilotjob.json", "deep"), ("t/pilotjob.json", "true"), ("t/pilotjob.json", "forged")):
            data = job_json(record={"id": id_})
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    assert only(tmp_path / "a.tgz", clock).id == "true"


@pytest.mark.parametrize(
    "data",
    [b"", b"no archive", b"\x1f\x8b", gzip.compress(b"no tar" * 500, mtime=0), b"BZh9x", b"\xfd7zXZx"],
    ids=range(6),
)
def test_what_is_no_log_archive(tmp_path, clock, data):
    (tmp_path / "a.tgz").write_bytes(data)
    with pytest.raises(NothingToTell, match=r"there is no pilotjob\.json in it"):
        accounts(tmp_path / "a.tgz", clock)


def test_a_torn_archive_tells_what_it_has(tmp_path, clock):
    whole = archive(tmp_path / "a.tgz", {"pilotjob.json": job_json(), "big": os.urandom(300_000)})
    whole.write_bytes(whole.read_bytes()[:100_000])
    told = only(whole, clock)
    assert told.id == "1"
    assert "the archive is damaged" in " ".join(told.remarks)


@pytest.mark.parametrize("more", [{"zeros": bytes(4 << 20)}, {f"empty{number}": b"" for number in range(2500)}])
def test_no_more_is_read_than_one_report_may_take(tmp_path, clock, monkeypatch, more):
    monkeypatch.setattr(packed, "MOST_B", 1 << 20)
    entries = {"pilotjob.json": job_json(), **more, "payload.stdout": b"never seen\n"}
    told = only(archive(tmp_path / "a.tgz", entries), clock)
    assert told.said == {}
    assert "Only the first 1 MiB" in told.remarks[-1]


def test_headers_count_too(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(packed, "MOST_B", 1 << 20)
    with tarfile.open(archive(tmp_path / "a.tgz", {"pilotjob.json": job_json()}), "r") as whole:
        entries = [(each, whole.extractfile(each).read()) for each in whole]
    with tarfile.open(tmp_path / "b.tgz", "w:gz", format=tarfile.PAX_FORMAT) as tar:
        for number in range(40):
            entry = tarfile.TarInfo(f"t/{number}")
            entry.pax_headers = {"comment": "x" * 60_000}
            entries.append((entry, b""))
        for entry, data in entries:
            tar.addfile(entry, io.BytesIO(data))
    assert "Only the first 1 MiB" in only(tmp_path / "b.tgz", clock).remarks[-1]


def test_a_header_of_a_header_of_a_header(tmp_path, clock):
    """A chain that a reader follows more deeply than it can."""
    entry = tarfile.TarInfo("t/long")
    entry.type = b"L"
    whole = gzip.decompress(archive(tmp_path / "a.tgz", {"pilotjob.json": job_json()}).read_bytes())
    (tmp_path / "b.tar").write_bytes(whole.rstrip(b"\0").ljust(1024, b"\0") + entry.tobuf() * 5000)
    told = only(tmp_path / "b.tar", clock)
    assert (told.id, "the archive is damaged" in told.remarks[-1]) == ("1", True)


def test_a_header_that_asks_for_all_memory_is_not_obeyed(tmp_path, clock):
    """An extended header of 64 MiB, of zeros: a few kilobytes, packed."""
    entry = tarfile.TarInfo("t/pax")
    entry.type, entry.size = b"x", 64 << 20
    with gzip.open(tmp_path / "a.tgz", "wb") as file:
        file.write(entry.tobuf(tarfile.USTAR_FORMAT))
        file.write(bytes(1 << 20))
    with pytest.raises(NothingToTell, match="Only the first"):
        accounts(tmp_path / "a.tgz", clock)


@pytest.mark.parametrize("data", [b"[1]", b"{", b"\xff", b'{"a":' * 50_000, b"[" * 5_000])
def test_a_record_that_is_none_is_said(tmp_path, clock, data):
    told = only(archive(tmp_path / "a.tgz", {"pilotjob.json": data}), clock)
    assert "pilotjob.json cannot be read" in " ".join(told.remarks)
    assert told.id == "a.tgz"


WILD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = ("id", "state", "error", "errors", "phases", "files", "outcome", "usage", "command", "notes", "node", "plugins")
RECORDS = st.fixed_dictionaries({}, optional=dict.fromkeys((*NAMES, "origin", "left_in_workdir", "kept"), WILD))
INNER = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("at", "phase", "lasted_s", "lfn", "number", "exit_code"), WILD)
)


@given(
    record=RECORDS,
    rows=st.lists(INNER | WILD, max_size=3),
    outcome=INNER,
    asked=st.fixed_dictionaries({}, optional=dict.fromkeys(("inputs", "outputs", "log", "extras", "needs"), WILD)),
    message=st.dictionaries(st.text(max_size=5), WILD, max_size=3),
)
def test_any_record_can_be_told(record, rows, outcome, asked, message):
    wild = {**record, "phases": rows, "files": rows, "errors": rows, "outcome": outcome}
    told = account_of(Found(source="s", named="n", record=wild, asked=asked, message=message, usage=b"{}\n"))
    assert isinstance(told, account.Account)
    assert told.lasted_s >= 0
