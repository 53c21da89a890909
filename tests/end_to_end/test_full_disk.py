"""A disk that fills up under the pilot: nothing is lost, and the reason is said."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile

import pytest

IN_A_SMALL_DISK = 'mount -t tmpfs -o size=4m tmpfs "$0" && exec "$@"'
FILL = "dd if=/dev/zero of=filler bs=64k 2>/dev/null; "


def may_mount() -> bool:
    """Whether this user may mount something in a namespace of its own."""
    tried = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    return shutil.which("unshare") is not None and not subprocess.run(tried, capture_output=True).returncode


pytestmark = pytest.mark.skipif(not may_mount(), reason="no mount in a namespace of one's own is allowed here")


def run_in_a_small_disk(site, *settings):
    """A pilot whose work directory is a disk of 4 MB; its exit code and what it said."""
    command = [sys.executable, "-m", "pilot_core", *site.arguments("slot.free_disk_b=1 MB", *settings)]
    wrapped = ["unshare", "-rm", "sh", "-c", IN_A_SMALL_DISK, str(site.work), *command]
    done = subprocess.run(wrapped, capture_output=True, text=True, timeout=90)
    return done.returncode, done.stdout + done.stderr


def described(site, script):
    site.job(
        "one",
        script,
        outputs=[site.output("out.txt")],
        log={"name": "log.tgz", "destination": str(site.store / "log.tgz")},
    )


def test_a_payload_that_fills_the_disk_is_finished_if_it_did_its_work(site):
    described(site, f"echo made > out.txt; {FILL} true")
    _, said = run_in_a_small_disk(site)
    report = site.report("one")
    assert report["final"], said
    assert (site.store / "out.txt").read_text() == "made\n", said
    stored = [file["lfn"] for file in report["files"]]
    assert "out.txt" in stored, said
    assert report["state"] == "finished" or report["error"]["number"] in (1098, 1320), report


def test_a_payload_that_fails_for_want_of_room_says_so(site):
    described(site, f"{FILL} echo made > out.txt || {{ echo 'No space left on device' >&2; exit 9; }}")
    _, said = run_in_a_small_disk(site)
    report = site.report("one")
    assert (report["state"], report["final"]) == ("failed", True), said
    assert "No space left on device" in str(report["error"]), report["error"]


def test_a_log_that_was_stored_is_whole_or_not_there(site):
    described(site, f"seq 100000 > noise; echo made > out.txt; {FILL} true")
    _, said = run_in_a_small_disk(site)
    log = site.store / "log.tgz"
    if log.exists():
        with tarfile.open(log) as archive:
            assert archive.getnames(), said
    assert not [path for path in site.store.iterdir() if path.name not in ("out.txt", "log.tgz")], said


def test_no_work_is_taken_where_there_is_no_room(site):
    described(site, "true")
    code, said = run_in_a_small_disk(site, "slot.free_disk_b=1 GB")
    assert code == 69, said
    assert (site.box / "one.json").exists()


def test_a_box_that_takes_no_report_does_not_lose_the_last_word(site):
    """The report cannot be written: it waits in the outbox, and the next pilot delivers it."""
    outbox = site.root / "outbox"
    script = f"echo made > out.txt; sleep 0.7; mv {site.box}/reports {site.box}/moved; touch {site.box}/reports"
    described(site, script)
    _, said = site.run(f"report.outbox={outbox}", "report.final_budget_s=1")
    assert (site.store / "out.txt").exists(), said
    assert len(list(outbox.glob("*.json"))) == 1, said
    (site.box / "reports").unlink()
    (site.box / "moved").rename(site.box / "reports")
    _, said = site.run(f"report.outbox={outbox}")
    assert not list(outbox.glob("*.json")), said
    assert site.report("one")["state"] == "finished"


ALL_IN_A_SMALL_DISK = """
mount -t tmpfs -o size=4m tmpfs "$0" && cp -r "$0".box "$0"/box && mkdir "$0"/work
python=$1; shift
"$python" -m pilot_core run --filebox "$0"/box --workdir "$0"/work --set report.outbox="$0"/outbox "$@"
ls "$0"/work/*.control
rm "$0"/work/PanDA_Pilot-one/filler
echo "--- recover"
"$python" -m pilot_core recover "$0"/work
cp "$0"/box/reports/one.json "$0".report
"""


@pytest.mark.parametrize("steal", ["", "rm ../PanDA_Pilot-one.control/final.reserve; "], ids=["reserve", "no_reserve"])
def test_a_disk_that_holds_all_and_is_full_does_not_lose_the_last_word(site, steal):
    """Found: neither sent nor kept, the journal sealed all the same, and ``pilot recover`` found nothing.

    server:F-15 (the reserve)
    """
    site.job("one", f"{steal}{FILL} exit 9")
    disk = site.root / "disk"
    disk.mkdir()
    site.box.rename(site.root / "disk.box")
    settings = ["--set", "slot.free_disk_b=1 MB", "--set", "report.final_budget_s=1"]
    command = ["unshare", "-rm", "sh", "-c", ALL_IN_A_SMALL_DISK, str(disk), sys.executable, *settings]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    said = done.stdout + done.stderr
    assert (site.root / "disk.report").exists(), said
    report = json.loads((site.root / "disk.report").read_text())
    assert (report["state"], report["final"]) == ("failed", True), said
    if steal:
        assert "neither delivered nor kept" in said, said
        assert "1 job left" in said, said
