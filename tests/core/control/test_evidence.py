"""What a line's level, its place and the payload's end say about a known failure that it tells of."""

from __future__ import annotations

from pathlib import Path
from signal import SIGKILL, SIGSEGV

import pytest

from pilot_core.builtin.failures import pilot_payload_patterns
from pilot_core.control.diagnosis import complaint, exit_problem, known_problem
from pilot_core.control.evidence import recognise
from pilot_core.control.levels import Level, level_of
from pilot_core.control.patterns import Pattern, read_patterns
from pilot_core.control.said import Said
from pilot_core.model.failure import failure_of
from pilot_core.model.job import Job
from pilot_core.model.payload import Outcome
from pilot_core.redact import Redactor

KNOWN = [pattern for path in pilot_payload_patterns() for pattern in read_patterns(path)]
TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 3, in <module>\n    fit(x)\nValueError: no fit\n'
MISSING = "run.sh: line 2: root: command not found\n"
CUDA = "2026-02-03 04:05:06.7: W tensorflow/dso_loader.cc:64] Could not load dynamic library 'libcudart.so.11.0'\n"

GEANT4 = """-------- WWWW ------- G4Exception-START -------- WWWW -------
*** G4Exception : GeomNav1002
*** This is just a warning message. ***
-------- WWWW -------- G4Exception-END --------- WWWW -------
"""


def wrote(folder: Path, stderr: str, stdout: str = "") -> Said:
    (folder / "payload.stderr").write_text(stderr)
    (folder / "payload.stdout").write_text(stdout)
    return Said(folder, Redactor())


@pytest.fixture
def cause(tmp_path: Path):
    """The class of what a payload failed by that said this and ended so, or nothing."""

    def found(stderr: str, exit_code: int = 1, **ended: int) -> str:
        outcome = Outcome(**ended) if ended else Outcome(exit_code=exit_code)
        known = known_problem(wrote(tmp_path, stderr), outcome, KNOWN)
        return failure_of(known).kind if known else ""

    return found


# --- levels ---


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("03:41:12 IOVDbSvc         WARNING no folder", Level.WARNING),
        ("2026-02-03 04:05:06,123 AthMpEvtLoopMgr...   INFO started", Level.CHAT),
        ("ToolSvc.Fit           DEBUG Permission denied", Level.CHAT),
        ("AthAlgSeq              ERROR INFO field missing", Level.PLAIN),
        ("2026-02-03 04:05:06.789: W tensorflow/core/allocator.cc:101] exceeds memory", Level.WARNING),
        ("W1122 01:22:33.123456 12345 client.cc:118] timed out", Level.WARNING),
        ("I1122 01:22:33.123456 12345 client.cc:118] connected", Level.CHAT),
        ("E1122 01:22:33.123456 12345 client.cc:118] refused", Level.PLAIN),
        ("WARNING:root:refused", Level.WARNING),
        ("2026-02-03 04:05:06,123 - fit.core - DEBUG - refused", Level.CHAT),
        ("a.py:1: DeprecationWarning: old", Level.WARNING),
        ("Warning in <TClass::Init>: no dictionary", Level.WARNING),
        ("Info in <TFile::Recover>: recovered", Level.CHAT),
        ("Error in <TFile::Open>: Info in <x>: no", Level.PLAIN),
        ("[2026-02-03 04:05:06 +0000][Dump   ][XRootD ] refused", Level.CHAT),
        ("[2026-02-03 04:05:06 +0000][Warning][XRootD ] refused", Level.WARNING),
        ("[2026-02-03 04:05:06 +0000][Error  ][XRootD ] refused", Level.PLAIN),
        ("26/02/03 04:05:06 WARN util.NativeCodeLoader: none", Level.WARNING),
        ("[2026-02-03T04:05:06Z WARN  store] refused", Level.WARNING),
        ('{"level":"warn","msg":"refused"}', Level.WARNING),
        ("time=04:05 level=info msg=refused", Level.CHAT),
        ("a.c:1:16: warning: unused variable 'error'", Level.WARNING),
        ("ERROR: ld.so: object 'a.so' cannot be preloaded: ignored.", Level.WARNING),
        ("connection refused, retrying in 5 s", Level.WARNING),
        ("curl: (28) timed out (reached max retries: 4)", Level.PLAIN),
        ("bash: fork: retry: Resource temporarily unavailable", Level.PLAIN),
        ("cp: cannot stat 'INFO': No such file or directory", Level.PLAIN),
        ("KeyError: 'WARNING'", Level.PLAIN),
        ("terror WARNINGS information", Level.PLAIN),
    ],
)
def test_a_line_names_its_level(line: str, level: Level) -> None:
    assert level_of(line) is level


@pytest.mark.parametrize("filler", ["a", " ", "warning", "level=", "INFO-", "1:"])
def test_no_line_takes_long(filler: str) -> None:
    assert level_of(filler * 1_000_000) in Level


# --- what is believed ---


def test_talk_and_harmless_lines_are_no_evidence(cause) -> None:
    assert cause("INFO Connection refused\n") == ""
    assert cause("run.sh: line 2: lsb_release: command not found\n", 127) == ""
    assert cause("done: 0 killed, Segmentation fault\n") == ""


def test_a_warning_alone_is_no_cause_but_of_what_was_used_up(cause) -> None:
    assert cause(CUDA) == cause("WARNING: Connection refused\n") == ""
    assert cause("WARNING: No space left on device\n") == "disk"


def test_a_pattern_may_name_the_level_itself(cause) -> None:
    assert cause("md5sum: WARNING: 1 computed checksum did NOT match\n") == "input"


def test_what_fails_and_is_tried_again_is_no_cause(cause) -> None:
    assert cause("Connection refused, retrying\nconnected\nError: no convergence\n") == "program"
    assert cause("Connection refused, retrying\nConnection refused\n") == "network"


@pytest.mark.parametrize(
    "block",
    [
        GEANT4,
        "%MSG-w Adaptor:  open\nFailed to open file: [FATAL] Connection error\n%MSG\n",
        "Exception ignored in: <function A.__del__>\n" + TRACEBACK,
    ],
)
def test_a_block_of_warning_is_none_up_to_its_end(cause, block: str) -> None:
    assert cause(block) == ""
    assert cause(block + MISSING, 127) == "software"


@pytest.mark.parametrize("said", [MISSING + TRACEBACK, TRACEBACK + MISSING, CUDA + MISSING + TRACEBACK])
def test_the_exception_that_ends_a_program_says_why(cause, said: str) -> None:
    assert cause(said, 1) == "program"


def test_an_exception_that_follows_from_another_says_why_with_it(cause) -> None:
    chained = "\nDuring handling of the above exception, another exception occurred:\n\n"
    missing = TRACEBACK.replace("ValueError: no fit", "ModuleNotFoundError: No module named 'fit'")
    assert cause(missing + chained + TRACEBACK) == "software"
    assert cause(missing + "going on\n" + TRACEBACK) == "program"


def test_an_exception_that_relays_another_program_s_end_says_nothing_itself(cause) -> None:
    relayed = TRACEBACK.replace("ValueError: no fit", "subprocess.CalledProcessError: Command 'fit' returned 3")
    assert cause("curl: (22) The requested URL returned error: 503\n" + relayed) == "storage"


def test_what_was_used_up_counts_wherever_it_is_told(cause) -> None:
    assert cause("write failed: No space left on device\n" + TRACEBACK) == "disk"


def test_a_failure_ends_as_it_does(cause) -> None:
    crash = "run.sh: line 3: 42 Segmentation fault      ./sim\n"
    assert cause(MISSING + "Error: no fit\n", 127) == "software"
    assert cause(MISSING + "Error: no fit\n", 3) == "program"
    assert cause("sim: No module named 'fit'\n" + crash, 139) == "crash"
    assert cause("sim: No module named 'fit'\n" + crash, signal=SIGSEGV) == "crash"
    assert cause("curl: Connection refused\nKilled\n", signal=SIGKILL) == "memory"


def test_what_a_program_outlived_did_not_end_it(cause) -> None:
    talk = "".join(f"event {number}\n" for number in range(200))
    assert cause("Permission denied\n" + talk + "Error: no fit\n") == "program"
    assert cause("Permission denied\n" + talk) == "access"


def test_a_log_of_megabytes_is_judged_by_its_ends(tmp_path: Path) -> None:
    talk = "event has 12 tracks\n" * 300_000
    said = wrote(tmp_path, "Permission denied\n" + talk + "Error: no fit\n")
    found = recognise(said, KNOWN, Outcome(exit_code=1))
    assert [(match.pattern.kind, match.line.number) for match in found] == [("program", 300_002), ("access", 1)]


def test_without_an_end_only_lines_speak(tmp_path: Path) -> None:
    found: list[Pattern] = [match.pattern for match in recognise(wrote(tmp_path, MISSING), KNOWN)]
    assert [pattern.name for pattern in found] == ["command-missing"]


# --- the line that is told where nothing is known ---


@pytest.mark.parametrize("noise", ["run.sh: line 1: lsb_release: command not found\n", "INFO error is 0.3 %\n"])
def test_a_complaint_is_no_harmless_line(tmp_path: Path, noise: str) -> None:
    line = complaint(wrote(tmp_path, noise + "0 error\nerror_rate=0 terror\nan error after all\n"), KNOWN)
    assert line is not None
    assert line.text == "an error after all"
    (problem,) = exit_problem(Job(id="1"), Outcome(exit_code=3), wrote(tmp_path, noise + "an error\n"), None, KNOWN)
    assert problem.facts["said"] == "an error"


def test_last_words_are_no_harmless_line(tmp_path: Path) -> None:
    line = complaint(wrote(tmp_path, "gave up\ntput: No value for $TERM and no -T specified\n"), KNOWN)
    assert line is not None
    assert line.text == "gave up"
